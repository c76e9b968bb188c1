"""A store in use is judged by what it held at one moment, although it goes on meanwhile."""

from functools import wraps
from pathlib import Path
from typing import Protocol, TypeVar

from ..layout import Layout, parse_segment_file

_TRIES_MAX = 4  # erasing changes files in seconds, and between two such times there are minutes


class _Asked(Protocol):
    @property
    def store(self) -> Path: ...


Request = TypeVar("Request", bound=_Asked, contravariant=True)
Progress = TypeVar("Progress", contravariant=True)
Found = TypeVar("Found", covariant=True)


class Judge(Protocol[Request, Progress, Found]):
    """What judges a store."""

    def __call__(self, request: Request, progress: Progress | None = None, /) -> Found:
        """Judge it."""
        ...


def at_one_moment(judge: Judge[Request, Progress, Found]) -> Judge[Request, Progress, Found]:
    """The judge, which begins anew where a segment was revised or dropped while it read.

    It may have read the checkpoints before the leaf that says so, and the segments after.
    """

    @wraps(judge)
    def steady(request: Request, progress: Progress | None = None) -> Found:
        for _ in range(_TRIES_MAX - 1):
            before = _files(request.store)
            try:
                found = judge(request, progress)
            except FileNotFoundError:
                continue
            if not _revised(before, _files(request.store)):
                return found
        return judge(request, progress)

    return steady


def _files(store: Path) -> frozenset[Path]:
    return frozenset(Layout(store).events.rglob("*.parquet"))


def _revised(before: frozenset[Path], after: frozenset[Path]) -> bool:
    """Whether a file went, or one came that is not a new segment's first."""
    came = (parse_segment_file(path.name) for path in after - before)
    return bool(before - after) or any(name is not None and name.rev > 0 for name in came)
