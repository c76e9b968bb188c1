"""What can be judged only once all logs of a tenant were read."""

from collections.abc import Sequence

from ..note import VerifierKey
from ..period import Period
from .period import check_period
from .report import LogReport
from .roster import check_roster
from .rotations import check_rotations


def check_tenant_logs(
    logs: Sequence[LogReport],
    keys: Sequence[VerifierKey],
    period: Period | None,
    *,
    sealed_only: bool = False,
) -> None:
    """Judge what a tenant's logs say of keys and of each other, and whether each shows the period.

    `keys` are those that the reader brought.
    """
    for log in logs:
        check_rotations(log, keys)
    ends = check_roster(logs, keys, sealed_only=sealed_only)
    if period is None:
        return
    for log in logs:
        if log.writer:
            check_period(log, period, ends.get(log.writer))
