"""A block of spans to events: in columns where they are as most are, the rest named. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from ..decode import Block, Origin
from .group import Group, groups_of
from .mapping import Origins, map_group
from .origins import Constants, constants_of
from .plan import Plan, plan_of
from .texts import byte_lengths
from .wire import Numbers, SpanColumns, read_columns

BLOCK_MIN = 32  # spans for which columns are worth their while
GROUP_MIN = 16
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_ERROR = Status.STATUS_CODE_ERROR
_UNSET = Status.STATUS_CODE_UNSET
_KINDS = 8
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Mapped:
    """What became of a block's spans, by their places in it.

    `events` are those of the spans at `places`, in that order. `rest` are the places of spans
    that are to be looked at one by one. All others are spans that no rule takes: `not_kept`.
    """

    events: pa.RecordBatch | None
    places: Numbers
    rest: list[int]
    not_kept: int


def map_block(block: Block, *, event_bytes_max: int) -> Mapped:
    """Spans to events, as `map_span` would. Raises nothing on account of the spans."""
    spans = read_columns(block.raws) if len(block.raws) >= BLOCK_MIN else None
    if spans is None:
        return Mapped(None, np.empty(0, np.int64), list(range(len(block.raws))), 0)
    return _Mapper(spans, block.runs, event_bytes_max).mapped()


class _Mapper:
    """The spans of a block while they are mapped."""

    def __init__(
        self,
        spans: SpanColumns,
        runs: Sequence[tuple[Origin, int]],
        event_bytes_max: int,
    ) -> None:
        self._spans = spans
        self._origins = [origin for origin, _ in runs]
        self._origin_of = np.repeat(np.arange(len(runs)), [count for _, count in runs])
        self._event_bytes_max = event_bytes_max
        self._codes = _status_codes(spans.fields.column("status"))
        self._sound = (self._codes != _ERROR) & _ids_and_times_are_right(spans.fields)
        self._done = np.zeros(len(spans.exact), bool)

    def mapped(self) -> Mapped:
        whole = np.array([origin.fault is None for origin in self._origins])
        usable = self._spans.exact & whole[self._origin_of]
        not_kept = 0
        found: list[tuple[Numbers, pa.RecordBatch]] = []
        for group in groups_of(self._spans, usable, smallest=GROUP_MIN):
            plan = plan_of(group.shape)
            if plan is None:
                continue
            if plan.taken:
                found += self._map(group, plan)
            else:
                not_kept += len(group.rows)
                self._done[group.rows] = True
        events, places = _in_order(found)
        return Mapped(events, places, np.flatnonzero(~self._done).tolist(), not_kept)

    def _map(self, group: Group, plan: Plan) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
        sound = self._sound[group.rows]
        if plan.has_error_type:
            sound = sound & (self._codes[group.rows] != _UNSET)
        for part, origins in self._by_origin(group.only(sound)):
            mapped, events = map_group(part, plan, origins, self._event_bytes_max)
            if events is not None:
                self._done[mapped.rows] = True
                yield mapped.rows, events

    def _by_origin(self, group: Group) -> Iterator[tuple[Group, Origins]]:
        """The group's spans with their constants: by which constants their origins have."""
        marks, of_row = np.unique(
            self._origin_of[group.rows] * _KINDS + self._spans.kinds[group.rows],
            return_inverse=True,
        )
        by_keys: dict[tuple[str, ...], dict[int, Constants]] = {}
        for number, mark in enumerate(marks.tolist()):
            resource, scope_name, scope_version, *_ = self._origins[mark // _KINDS]
            constants = constants_of(resource, scope_name, scope_version, mark % _KINDS)
            if constants is not None:
                keys = tuple(key for key, _ in constants)
                by_keys.setdefault(keys, {})[number] = constants
        for known in by_keys.values():
            place_of = np.full(len(marks), -1)
            place_of[list(known)] = np.arange(len(known))
            chosen = place_of[of_row] >= 0
            if chosen.sum() >= GROUP_MIN:
                yield group.only(chosen), Origins(tuple(known.values()), place_of[of_row[chosen]])


def _status_codes(column: pa.Array) -> Numbers:
    """Each span's status code, by the library; of one that it refuses, one to be looked at."""
    encoded = column.dictionary_encode()  # most spans share a few statuses
    codes = []
    for raw in encoded.dictionary.to_pylist():
        try:
            codes.append(Status.FromString(raw).code)
        except DecodeError:
            codes.append(_ERROR)
    of_spans: Numbers = np.array(codes, np.int64)[encoded.indices.to_numpy()]
    return of_spans


def _ids_and_times_are_right(fields: pa.RecordBatch) -> Numbers:
    """Where ids are of the right length and not all zero, and times fit a signed number."""
    trace_ids, span_ids = fields.column("trace_id"), fields.column("span_id")
    parents = byte_lengths(fields.column("parent_span_id"))
    right: Numbers = (byte_lengths(trace_ids) == len(_NO_TRACE)) & (
        byte_lengths(span_ids) == len(_NO_SPAN)
    )
    right &= (parents == 0) | (parents == len(_NO_SPAN))
    zero = pc.or_(pc.equal(trace_ids, _NO_TRACE), pc.equal(span_ids, _NO_SPAN))
    right &= ~zero.to_numpy(zero_copy_only=False)
    for name in ("start_ns", "end_ns"):
        right &= fields.column(name).to_numpy() <= _INT64_MAX
    return right


def _in_order(
    found: Sequence[tuple[Numbers, pa.RecordBatch]],
) -> tuple[pa.RecordBatch | None, Numbers]:
    """All events in the order of their spans, with the places of those."""
    if not found:
        return None, np.empty(0, np.int64)
    if len(found) == 1:
        return found[0][1], found[0][0]
    places = np.concatenate([rows for rows, _ in found])
    order = np.argsort(places)
    events = pa.concat_batches([events for _, events in found])
    return events.take(pa.array(order)), places[order]
