"""What `verify` answers: problems, one report a log, and the outcome that follows from them."""

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from .life import Life


class Outcome(Enum):
    """What was found; the first that applies, in this order."""

    FORK = "fork"
    TAMPERED = "tampered"
    INCOMPLETE = "incomplete"
    UNANCHORED = "unanchored"
    VERIFIED = "verified"

    @property
    def exit_code(self) -> int:
        """The command's exit code (contract §7)."""
        return {Outcome.VERIFIED: 0, Outcome.UNANCHORED: 3}.get(self, 2)


# Problem codes by what they mean. A code that is in none is a remark, and decides nothing.
_FORK = frozenset(("fork",))
_TAMPERED = frozenset(
    (
        "archive_invalid",
        "archive_too_large",
        "bundle_invalid",
        "checkpoint_invalid",
        "column_differs",
        "commitment_differs",
        "duplicate_member",
        "cosignature_invalid",
        "erased_without_leaf",
        "event_repeated",
        "event_unproved",
        "extra_columns",
        "frame_forged",
        "genesis_differs",
        "hot_differs",
        "key_given_up",
        "key_not_named",
        "key_invalid",
        "leaf_invalid",
        "leaf_misplaced",
        "manifest_differs",
        "not_parquet",
        "note_invalid",
        "outside_window",
        "proof_invalid",
        "quarantine_differs",
        "receipt_differs",
        "report_differs",
        "root_differs",
        "rotation_invalid",
        "row_hidden",
        "sha256_differs",
        "stamp_invalid",
        "tile_differs",
        "unknown_member",
        "wrong_date",
        "wrong_length",
    )
)
_INCOMPLETE = frozenset(
    (
        "behind_known",
        "empty_store",
        "frame_damaged",
        "heartbeat_missing",
        "leaves_missing",
        "log_missing",
        "no_checkpoint",
        "not_a_segment",
        "not_stamped",
        "overlap",
        "period_not_covered",
        "quarantine_missing",
        "stamp_missing",
        "unknown_tenant",
        "unsigned_file",
        "unsigned_sealed",
        "writer_behind",
        "writer_missing",
        "wrong_rows",
    )
)


@dataclass(frozen=True)
class Problem:
    """One finding: a stable code, words, and where, as far as that is known."""

    code: str
    message: str
    file: str | None = None
    log_index: int | None = None

    def document(self) -> dict[str, Any]:
        """As in the JSON of `verify`."""
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "log_index": self.log_index,
        }


@dataclass(frozen=True)
class WitnessedReport:
    """What the witnesses of a policy say of one log.

    `size` is that of the largest checkpoint with the quorum, `at_s` when it was reached, in Unix
    seconds, None where no witness gave a time, `by` who cosigned it and when. `since_s` is the time
    of the first such checkpoint: when the leaves below that one were received, no witness says.
    `not_yet` leaves stand above the largest.
    """

    size: int
    at_s: int | None
    since_s: int | None
    by: dict[str, int]
    not_yet: int

    def document(self) -> dict[str, Any]:
        """As in the JSON of `verify`."""
        return asdict(self)


@dataclass(frozen=True)
class StampedTime:
    """A time stamp that holds: the first `size` leaves existed before `seconds` (Unix, UTC).

    `by_log`: who asked for it signed so with the log's key. Anybody can have an old checkpoint
    stamped today; the log's own receiver has only its newest.
    """

    size: int
    seconds: int
    file: str
    by_log: bool = False


@dataclass
class LogReport:
    """One log. `size` counts the leaves at hand without a hole; `root` is theirs, in base64.

    `erased` counts halves of events that are gone, by half; `hash_only` leaves of which, after
    retention, the hash alone is left. Both are as leaves of the log say, or a problem tells.
    """

    tenant: str
    writer: str
    size: int = 0
    root: str = ""
    checkpoint_size: int = 0
    unsigned_sealed: int = 0
    hot: int = 0
    beyond: int = 0
    problems: list[Problem] = field(default_factory=list)
    events_verified: int = 0
    anchored: bool = False
    life: Life = field(default_factory=Life)
    erased: dict[str, int] = field(default_factory=dict)
    hash_only: int = 0
    anchor_size: int = 0
    witnessed: WitnessedReport | None = None
    stamps: list[StampedTime] | None = None  # None where the reader trusts no authority

    @property
    def stamped_size(self) -> int:
        """How many leaves existed at some time that an authority vouches for."""
        return max((each.size for each in self.stamps or ()), default=0)

    def stamped_times(self, size: int) -> list[int]:
        """The times before which the checkpoint of `size` leaves existed, Unix seconds, ascending.

        Empty where it has no time stamp that holds.
        """
        return sorted(each.seconds for each in self.stamps or () if each.size == size)

    def document(self) -> dict[str, Any]:
        """As in the JSON of `verify`; `witnessed` and `stamps` where they are asked for."""
        more = {} if self.witnessed is None else {"witnessed": self.witnessed.document()}
        return {
            "tenant": self.tenant,
            "writer": self.writer,
            "size": self.size,
            "root": self.root,
            "checkpoint_size": self.checkpoint_size,
            "unsigned_sealed": self.unsigned_sealed,
            "hot": self.hot,
            "beyond": self.beyond,
            "erased": {half: self.erased.get(half, 0) for half in ("context", "payload")},
            "hash_only": self.hash_only,
            **self._stamps(),
            "problems": [problem.document() for problem in self.problems],
            **more,
        }

    def _stamps(self) -> dict[str, Any]:
        """The newest of the log's time stamps, and how many there are."""
        if self.stamps is None:
            return {}
        size = self.stamped_size
        before_s = self.stamped_times(size)[0] if self.stamps else None
        return {"stamps": {"count": len(self.stamps), "size": size, "before_s": before_s}}


@dataclass(frozen=True)
class Report:
    """The whole answer."""

    outcome: Outcome
    anchor: str
    logs: list[LogReport]
    period: dict[str, str] | None = None

    @property
    def events_verified(self) -> int:
        """Events that stand, unaltered, under a valid checkpoint."""
        return sum(log.events_verified for log in self.logs)

    def document(self) -> dict[str, Any]:
        """The JSON of `verify` (contract §7)."""
        document = {
            "ok": self.outcome is Outcome.VERIFIED,
            "outcome": self.outcome.value,
            "anchor": self.anchor,
            "logs": [log.document() for log in self.logs],
            "events_verified": self.events_verified,
        }
        return document if self.period is None else document | {"period": self.period}


def outcome_of(logs: list[LogReport]) -> Outcome:
    """The first outcome that applies. Verified asks for an anchor of every log."""
    codes = {problem.code for log in logs for problem in log.problems}
    if codes & _FORK:
        return Outcome.FORK
    if codes & _TAMPERED:
        return Outcome.TAMPERED
    if codes & _INCOMPLETE:
        return Outcome.INCOMPLETE
    anchored = bool(logs) and all(log.anchored for log in logs)
    return Outcome.VERIFIED if anchored else Outcome.UNANCHORED
