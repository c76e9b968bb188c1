"""What the schemas may raise.

* SchemaError
  + CanonicalError   a value has no RFC 8785 form
  + NotJson          a text is not JSON as the contract reads it
  + SpanRejected     a span that a rule takes cannot become an event
  + EventInvalid     an event breaks a semantic rule
  + LeafInvalid      a leaf cannot be built or read
"""


class SchemaError(Exception):
    """Base of everything that this room raises."""


class CanonicalError(SchemaError, ValueError):
    """A value that RFC 8785 cannot write: not finite, beyond 2^53 - 1, not text, not JSON."""


class NotJson(SchemaError, ValueError):
    """A text that is not RFC 8259 JSON within 64 levels and the range of a double."""


class SpanRejected(SchemaError, ValueError):
    """A span that a rule takes and that cannot become an event.

    `reason` is a stable word for counters and quarantine; `field` names what is wrong.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.reason = reason
        self.field = field
        self.message = message


class EventInvalid(SchemaError, ValueError):
    """An event whose fields contradict each other; `issues` names every one."""

    def __init__(self, issues: tuple[str, ...]) -> None:
        super().__init__("; ".join(issues))
        self.issues = issues


class LeafInvalid(SchemaError, ValueError):
    """A leaf over 32 KiB, not canonical, or without a member that every leaf has."""
