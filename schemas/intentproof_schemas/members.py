"""Status, error, inputs and output of a span (contract §2 and §3). Pure."""

from typing import Any

from . import names
from .canonical import canonical
from .errors import NotJson, SpanRejected
from .fields import BLANK, first_of_each, string_of
from .jsontext import LEVELS_MAX, Duplicates, json_value, read_json, whole_text
from .rules import Rule
from .span import Span, Value

_INPUTS = (names.INPUTS,)
_OUTPUT = (names.OUTPUT,)
_STATUS_ERROR = 2
_STATUS_UNSET = 0


def status_of(
    span: Span, given: dict[str, Value], duplicates: Duplicates
) -> tuple[str, bytes | None]:
    """An event's status, and its error as JCS where it failed."""
    failed = span.status_code == _STATUS_ERROR or (
        span.status_code == _STATUS_UNSET and "error.type" in given
    )
    if not failed:
        return "ok", None
    exception: dict[str, Value] = {}
    for event in reversed(span.events):
        if event.name == "exception":
            exception = first_of_each(event.attributes, duplicates)
            break
    error = {
        "name": string_of(exception, "exception.type") or string_of(given, "error.type") or "Error",
        "message": string_of(exception, "exception.message") or whole_text(span.status_message),
    }
    stack = string_of(exception, "exception.stacktrace")
    if stack:
        error["stack"] = stack
    return "error", canonical(error)


def _source(given: dict[str, Value], keys: tuple[str, ...]) -> str | None:
    """The first key that brings a value; text that is blank is as if absent."""
    for key in keys:
        if key in given:
            value = given[key]
            if not isinstance(value, str) or value[:1] > " " or value.strip(BLANK):
                return key
    return None


def _read(
    given: dict[str, Value], key: str, rule: Rule | None, found: Duplicates
) -> tuple[Any, bytes]:
    """What stands at `key`: its JSON value, and its JCS text."""
    value = given[key]
    try:
        if isinstance(value, str):
            if _is_json_text(given, key, rule):
                try:
                    return read_json(value, found)
                except NotJson:
                    pass  # contract §2: text that is not JSON is a string
            value = whole_text(value)
            return value, canonical(value)
        plain = json_value(value, found, LEVELS_MAX)
    except SpanRejected as error:
        raise SpanRejected(error.reason, key, error.message) from error
    return plain, canonical(plain)


def _is_json_text(given: dict[str, Value], key: str, rule: Rule | None) -> bool:
    if rule is None:
        return True
    for source, mime_key in rule.json_types:
        mime = given.get(mime_key)
        if source == key and isinstance(mime, str):
            bare = mime.partition(";")[0].strip().lower()
            return bare == "application/json" or bare.endswith("+json")
    return True


def inputs_of(given: dict[str, Value], rule: Rule | None, duplicates: Duplicates) -> bytes:
    """An event's inputs as JCS. Raises SpanRejected."""
    key = _source(given, _INPUTS if rule is None else (*_INPUTS, *rule.inputs))
    if key is None:
        return b"{}"
    value, jcs = _read(given, key, rule, duplicates)
    if isinstance(value, dict):
        return bytes(jcs)
    return (b'{"args":' if isinstance(value, list) else b'{"value":') + jcs + b"}"


def output_of(
    given: dict[str, Value], rule: Rule | None, duplicates: Duplicates, status: str
) -> bytes | None:
    """An event's output as JCS, or None where it has none. Raises SpanRejected."""
    key = _source(given, _OUTPUT if rule is None else (*_OUTPUT, *rule.output))
    if key is None:
        return b"null" if status == "ok" else None
    return bytes(_read(given, key, rule, duplicates)[1])
