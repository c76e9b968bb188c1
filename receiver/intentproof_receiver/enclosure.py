"""What goes to quarantine: a span's bytes as received, inside a request of that one span.

Taken out again, by a decoder that was repaired or a limit that was raised, it must give the event
that it would have given at first. That takes the span's scope and of its resource what the mapping
reads, so both stand around the span, in the encoding that it came in. Pure.
"""

from typing import NamedTuple

# Of a resource and of a scope, each: they stand in the file of each span of theirs.
KEPT_BYTES_MAX = 4096
# In place of what is larger: nothing that can be read, so that no event is made without it.
UNKEPT = b"\x0a"
UNKEPT_JSON = b'"too large to be kept"'

_HEAD, _MIDDLE, _INNER, _TAIL = (
    b'{"resourceSpans":[{"resource":',
    b',"scopeSpans":[{"scope":',
    b',"spans":[',
    b"]}]}]}",
)


class Enclosure(NamedTuple):
    """A resource and a scope in the encoding of a request, as they are kept around a span."""

    resource: bytes = b""
    scope: bytes = b""
    is_json: bool = False

    def request(self, raw: bytes) -> bytes:
        """An ExportTraceServiceRequest of one span; over protobuf `raw` ends it."""
        if self.is_json:
            resource, scope = self.resource or b"{}", self.scope or b"{}"
            return b"".join((_HEAD, resource, _MIDDLE, scope, _INNER, raw, _TAIL))
        scope_spans = (length_delimited(1, self.scope) if self.scope else b"") + length_delimited(
            2, raw
        )
        resource = length_delimited(1, self.resource) if self.resource else b""
        return length_delimited(1, resource + length_delimited(2, scope_spans))

    def within(self) -> "Enclosure":
        """The same, without what is too large to stand in every file."""
        unkept = UNKEPT_JSON if self.is_json else UNKEPT
        return self._replace(
            resource=self.resource if len(self.resource) <= KEPT_BYTES_MAX else unkept,
            scope=self.scope if len(self.scope) <= KEPT_BYTES_MAX else unkept,
        )

    @property
    def is_whole(self) -> bool:
        """Whether both were small enough to be kept."""
        unkept = UNKEPT_JSON if self.is_json else UNKEPT
        return unkept not in (self.resource, self.scope)


def is_json_request(kept: bytes) -> bool:
    """Whether bytes of quarantine are a request of one span in JSON."""
    return kept.startswith(_HEAD)


def length_delimited(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes; `number` is below 16."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A protobuf varint of a number that is not negative."""
    more = number >> 7
    return bytes((number & 0x7F | 0x80,)) + varint(more) if more else bytes((number,))
