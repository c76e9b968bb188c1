"""What became of a request's spans."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The numbers of one request that was taken, and what its client is told.

    `received` = `taken` + `rejected` + `not_kept`. `stored`, `duplicates` and `conflicts` are what
    the ledger made of the taken ones, `quarantined` of the rejected ones; `reasons` counts these.
    `warned` says that the request hides spans that were not recognised.
    """

    received: int = 0
    taken: int = 0
    not_kept: int = 0
    rejected: int = 0
    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    warned: bool = False
    message: str = ""
