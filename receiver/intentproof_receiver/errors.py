"""What the receiver may raise, and the one table of what each error answers.

* ReceiverError
  + InvalidRequest        bytes that no retry can mend
  + Unauthenticated       no valid key and no mapped client certificate
  + Forbidden             without the role, or a key and a certificate of two tenants
  + TooLarge              more than a configured limit
  + UnsupportedMedia      a media type or content encoding that is not taken
  + MethodNotAllowed      another HTTP method than the path has
  + NotFound              nothing of that name, for the tenant that asks
  + Unavailable           our own fault, or too much at once: the client keeps and resends
    - Unreadable          a gRPC call without a message: cut, or refused by the library before us
    - KeysUnavailable     the file of keys cannot be read
    - MappingsUnavailable the file of client certificates cannot be read
    - StoreRefused        the store cannot take it: its queue or disk is full, or sealing lags
    - NotYet              what a reader asks for comes later: no checkpoint covers it
    - OverQuota           a tenant has used up what its quota gives it for now
  + Unusable              the command line or the configuration cannot be used (exit code 6)
    - ConfigInvalid       a setting is unknown, has a wrong type, or is out of range
    - TlsInvalid          a certificate, key or CA cannot be used
  + WitnessFailed         a witness did not cosign: it is asked again later
  + WitnessDisagrees      a witness saw what this store does not have: a restored store, or a fork
  + TsaFailed             a time-stamping authority cannot be reached, or does not answer
  + Unsafe                would expose what must not be exposed (exit code 8)
"""

from typing import NamedTuple


class ReceiverError(Exception):
    """Base of everything that this room raises; `exit_code` is that of a command (contract §7)."""

    exit_code = 1


class InvalidRequest(ReceiverError):
    """Bytes that no retry can mend; `field` names what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.description = message


class Unauthenticated(ReceiverError):
    """Certainly neither a valid key nor a mapped certificate: the files could be read."""


class Forbidden(ReceiverError):
    """Known, and not allowed: the role is missing, or key and certificate disagree."""


class TooLarge(ReceiverError):
    """A request beyond a limit, counted after decompression."""


class UnsupportedMedia(ReceiverError):
    """A media type or content encoding that the receiver does not take."""


class MethodNotAllowed(ReceiverError):
    """Another HTTP method than the path has."""


class NotFound(ReceiverError):
    """Nothing of that name, as far as the tenant that asks can see."""


class Unavailable(ReceiverError):
    """Not taken, nothing kept: send it again after `retry_after_s` seconds.

    `reason` is what metrics count it under.
    """

    def __init__(self, message: str, *, retry_after_s: int = 5, reason: str = "fault") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class Unreadable(Unavailable):
    """A gRPC call without a message that our code could read.

    Where the library refused it, the client has the library's own, permanent answer. What is left
    is a connection that was cut within its message: that is to be sent again.
    """

    def __init__(self) -> None:
        super().__init__(
            "no message could be read: it is over message_bytes_max, its gzip is damaged, or the "
            "call ended before it",
            reason="unreadable",
        )


class KeysUnavailable(Unavailable):
    """The file of keys cannot be read: our fault, so never an answer that drops data."""

    exit_code = 6


class MappingsUnavailable(Unavailable):
    """The file of client certificates cannot be read: our fault, as with keys."""

    exit_code = 6


class StoreRefused(Unavailable):
    """The store kept nothing of it, and will take it later."""


class NotYet(Unavailable):
    """What a reader asks for is not there yet, and comes by itself."""


class OverQuota(Unavailable):
    """A tenant has used up its quota for now. Retryable: a client would delete its evidence."""


class Unusable(ReceiverError):
    """The command line, the configuration or the machine cannot be used as it is."""

    exit_code = 6


class ConfigInvalid(Unusable):
    """A setting is unknown, has a wrong type, or is out of range."""


class TlsInvalid(Unusable):
    """A certificate, key or CA file is missing, damaged, or does not fit the others."""


class WitnessFailed(ReceiverError):
    """A witness could not be reached, does not know the log, or answered otherwise than it may.

    `reason` is what metrics count it under.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WitnessDisagrees(ReceiverError):
    """A witness cosigned a larger or another log than this store holds: never our own fault."""

    exit_code = 8


class TsaFailed(ReceiverError):
    """The time-stamping authority gave no answer: it is asked again later."""


class Unsafe(ReceiverError):
    """Blocked: it would expose what must not be exposed."""

    exit_code = 8


class Answer(NamedTuple):
    """How an error is answered: `code` is a google.rpc.Code, `word` stands in logs and metrics."""

    code: int
    http: int
    retryable: bool
    word: str


# https://opentelemetry.io/docs/specs/otlp/#failures: a client deletes what gets an answer that is
# not retryable. Only what no retry can mend may have one.
ANSWERS: dict[type[ReceiverError], Answer] = {
    InvalidRequest: Answer(3, 400, retryable=False, word="invalid"),
    Unauthenticated: Answer(16, 401, retryable=False, word="unauthenticated"),
    Forbidden: Answer(7, 403, retryable=False, word="forbidden"),
    NotFound: Answer(5, 404, retryable=False, word="not_found"),
    MethodNotAllowed: Answer(12, 405, retryable=False, word="method_not_allowed"),
    TooLarge: Answer(8, 413, retryable=False, word="too_large"),
    UnsupportedMedia: Answer(3, 415, retryable=False, word="unsupported_media"),
    Unavailable: Answer(14, 503, retryable=True, word="unavailable"),
    Unreadable: Answer(14, 503, retryable=True, word="unreadable"),
    NotYet: Answer(14, 503, retryable=True, word="not_yet"),
    # Not RESOURCE_EXHAUSTED, which clients that do not look for a RetryInfo take for permanent.
    OverQuota: Answer(14, 429, retryable=True, word="over_quota"),
}
READERS_ONLY = (NotFound, NotYet)  # what no request of OTLP is answered


def answer_to(error: ReceiverError) -> Answer:
    """The row of `error`; what is not in the table is our own fault, hence retryable."""
    for kind in type(error).__mro__:
        if kind in ANSWERS:
            return ANSWERS[kind]
    return ANSWERS[Unavailable]
