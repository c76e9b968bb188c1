"""An OTLP/JSON body to the places of its spans, none of which is read here.

A parser of whole bodies loses all spans to one that is nested too deep or has a byte that is not
UTF-8. So a body is only cut: text and brackets are looked at, what stands between them is not.
Each byte is looked at twice at most, and the depth of what is passed over is only counted. Pure.
"""

import json
import re
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from .decode import Size
from .errors import InvalidRequest

LEVELS_KEPT = 320  # JSON levels of a span: 64 levels of OTLP are 260

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = rb'[^"{}\[\]]*+'
_USUAL_LEVELS = 10
_SPACE = re.compile(rb"[ \t\n\r]*+")
_MARK = re.compile(rb"\xef\xbb\xbf")  # RFC 8259 section 8.1: may be ignored
_STRING = re.compile(_TEXT, re.DOTALL)
_ATOM = re.compile(rb'[^ \t\n\r,:"{}\[\]]++')
_TOKEN = re.compile(rb"[{}\[\]]|" + _TEXT + rb'|"', re.DOTALL)
_OPENING, _CLOSING, _QUOTE = frozenset(b"{["), frozenset(b"}]"), b'"'


def _usual_value() -> re.Pattern[bytes]:
    """An array or object of few levels, in one match."""
    inner = _PLAIN + rb"(?:" + _TEXT + _PLAIN + rb")*+"
    for _ in range(_USUAL_LEVELS - 1):
        inner = _PLAIN + rb"(?:(?:" + _TEXT + rb"|[{\[]" + inner + rb"[}\]])" + _PLAIN + rb")*+"
    return re.compile(rb"[{\[]" + inner + rb"[}\]]", re.DOTALL)


# CPython 3.11.5 mended possessive repeats of groups (its issue 106052).
_USUAL = _usual_value() if sys.version_info >= (3, 11, 5) else re.compile(rb"(?!)")


@dataclass
class Spans:
    """The spans of a scope: `places` are begin and end of each in the body, one after another."""

    scope: bytes = b""
    places: "array[int]" = field(default_factory=lambda: array("q"))


@dataclass
class Resource:
    """A resource and the scopes below it."""

    resource: bytes = b""
    scopes: list[Spans] = field(default_factory=list)


@dataclass
class Envelope:
    """What a body is made of; `passed_over` tells of the first thing that cannot hold spans."""

    resources: list[Resource]
    names: set[str]
    passed_over: str

    def has_spans(self) -> bool:
        """Whether there is any."""
        return any(spans.places for one in self.resources for spans in one.scopes)


def split(body: bytes) -> Envelope:
    """The spans of a body by resource and scope, and the names of the members at its top.

    Raises InvalidRequest where the body is no request, TooLarge beyond SPANS_MAX.
    """
    scanner = _Scanner(body)
    if not scanner.is_at(b"{"):
        raise InvalidRequest("body", "must be a JSON object")
    found: list[Resource] = []
    seen: set[str] = set()
    for name in scanner.members("body"):
        seen.add(name)
        if name == "resourceSpans":
            found += [_resource(scanner) for _ in scanner.items(name)]
        else:
            scanner.skip()
    scanner.end()
    envelope = Envelope(found, seen, scanner.passed_over)
    if envelope.passed_over and not envelope.has_spans():
        raise InvalidRequest("body", envelope.passed_over)
    return envelope


def _resource(scanner: "_Scanner") -> Resource:
    found = Resource()
    for name in scanner.members("resourceSpans"):
        if name == "scopeSpans":
            found.scopes += [_spans(scanner) for _ in scanner.items(name)]
        elif name == "resource":
            found.resource = scanner.value()
        else:
            scanner.skip()
    return found


def _spans(scanner: "_Scanner") -> Spans:
    found = Spans()
    for name in scanner.members("scopeSpans"):
        if name == "spans":
            for _ in scanner.items(name):
                found.places.extend(scanner.skip())
        elif name == "scope":
            found.scope = scanner.value()
        else:
            scanner.skip()
    return found


class _Scanner:
    """A place in a body, which only moves on. Everything may raise InvalidRequest."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        mark = _MARK.match(body)
        self._at = mark.end() if mark else 0
        self._size = Size()
        self.passed_over = ""

    def is_at(self, first: bytes) -> bool:
        """Whether a value that begins so is next."""
        return self._next() == first

    def members(self, name: str) -> Iterator[str]:
        """The keys of an object; the caller moves over each value before it asks for the next."""
        if not self.is_at(b"{"):
            self._pass_over(f"{name} must be an array of objects")
            return
        self._at += 1
        while self._next() != b"}":
            key = self._match(_STRING)
            if self._next() != b":":
                raise self._invalid("a colon is missing")
            self._at += 1
            yield _text(key)
            self._separate(b"}")
        self._at += 1

    def items(self, name: str) -> Iterator[None]:
        """Once for each element of an array; the caller moves over it.

        All elements together are counted. Raises TooLarge.
        """
        if not self.is_at(b"["):
            self._pass_over(f"{name} must be an array")
            return
        self._at += 1
        while self._next() != b"]":
            if name == "spans":
                self._size.spans()
            else:
                self._size.envelope()
            yield
            self._separate(b"]")
        self._at += 1

    def skip(self) -> tuple[int, int]:
        """Move over a value; where it begins and ends."""
        first = self._next()
        start = self._at
        if first in (b"{", b"["):
            usual = _USUAL.match(self._body, start)
            self._at = usual.end() if usual else self._past_any(start)
        else:
            self._match(_STRING if first == _QUOTE else _ATOM)
        return start, self._at

    def _pass_over(self, why: str) -> None:
        """Move over what cannot hold spans: beside it there may be some. null is as if absent."""
        if self.value() != b"null":
            self.passed_over = self.passed_over or why

    def value(self) -> bytes:
        """Move over a value; its bytes."""
        start, end = self.skip()
        return self._body[start:end]

    def end(self) -> None:
        """Check that nothing stands behind."""
        if self._next():
            raise self._invalid("something stands behind the end")

    def _next(self) -> bytes:
        space = _SPACE.match(self._body, self._at)
        self._at = space.end() if space else self._at
        return self._body[self._at : self._at + 1]

    def _separate(self, closing: bytes) -> None:
        found = self._next()
        if found == b",":
            self._at += 1
            if self._next() == closing:
                raise self._invalid("a comma stands before the end")
        elif found != closing:
            raise self._invalid("a comma is missing")

    def _match(self, pattern: re.Pattern[bytes]) -> bytes:
        self._next()
        found = pattern.match(self._body, self._at)
        if found is None:
            raise self._invalid("not JSON")
        self._at = found.end()
        return found[0]

    def _past_any(self, start: int) -> int:
        depth = 0
        for token in _TOKEN.finditer(self._body, start):
            depth += _step(token[0])
            if not depth:
                return token.end()
        raise self._invalid("brackets that do not end")

    def _invalid(self, what: str) -> InvalidRequest:
        return InvalidRequest("body", f"{what} at byte {self._at}")


def _step(token: bytes) -> int:
    if token[0] in _OPENING:
        return 1
    if token == _QUOTE:
        raise InvalidRequest("body", "a text that does not end")
    return -1 if token[0] in _CLOSING else 0


def _text(quoted: bytes) -> str:
    """A key's text; one that cannot be read is none that we know."""
    try:
        return str(json.loads(quoted))
    except ValueError:
        return ""


def pruned(raw: bytes) -> bytes:
    """A value of JSON in which everything below LEVELS_KEPT levels is null."""
    kept: list[bytes] = []
    depth = since = 0
    for token in _TOKEN.finditer(raw):
        step = 0 if token[0] == _QUOTE else _step(token[0])
        if step > 0 and depth == LEVELS_KEPT:
            kept += (raw[since : token.start()], b"null")
        depth += step
        if step < 0 and depth == LEVELS_KEPT:
            since = token.end()
    return b"".join((*kept, raw[since:])) if kept else raw
