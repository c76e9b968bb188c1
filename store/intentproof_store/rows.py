"""Events to rows and leaves: the columns that a frame and a segment hold. Pure but for salts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from intentproof_schemas import detail_leaf, numbered_leaf

from .columns import COLUMNS, SEGMENT_SCHEMA
from .events import EVENT_SCHEMA
from .fromrow import event_of_row
from .leafcolumns import EventTexts, make_leaves
from .servicename import SERVICE_MARK, service_name
from .textcolumns import Piece

_MOMENT = pa.timestamp("us", tz="UTC")
_PASSED = tuple(name for name in EVENT_SCHEMA.names if name in COLUMNS)
_EXACT_MAX = 2**53  # beyond, a float does not hold each integer
_NUMBERED = ("event_id", "trace_id", "stream_id", "sequence")

Columns = dict[str, pa.Array]


@dataclass
class RowMaker:
    """Makes the rows of one tenant's group, all received at one moment, in the order of adding."""

    tenant: str
    writer: str
    received_ns: int
    _parts: list[Columns] = field(default_factory=list)

    def add_events(self, events: pa.RecordBatch, texts: EventTexts, kinds: Piece) -> None:
        """Add events and conflicts, of which `texts` are the committed members."""
        leaves = make_leaves(
            texts,
            kinds=kinds,
            tenant=self.tenant,
            writer=self.writer,
            received_ns=self.received_ns,
        )
        made = {name: events.column(name) for name in _PASSED}
        made |= _times(events)
        made["kind"] = _repeated(kinds, events.num_rows) if isinstance(kinds, str) else kinds
        made["service_name"] = _service_names(events.column("attributes"))
        made["context_salt"] = leaves.context_salt
        made["payload_salt"] = leaves.payload_salt
        made["leaf"] = leaves.leaf
        self._parts.append(made)

    def add_numbered(self, events: pa.RecordBatch) -> None:
        """Add leaves that keep one more stream number of each event."""
        leaves = [
            numbered_leaf(
                event_of_row(row),
                tenant=self.tenant,
                writer=self.writer,
                received_ns=self.received_ns,
            )
            for row in events.to_pylist()
        ]
        self._add_leaves("numbered", leaves, {name: events.column(name) for name in _NUMBERED})

    def add_detail(self, kind: str, detail: dict[str, Any]) -> None:
        """Add a leaf of a kind that has only a detail."""
        leaf = detail_leaf(
            kind, detail, tenant=self.tenant, writer=self.writer, received_ns=self.received_ns
        )
        text = orjson.loads(leaf)["detail"]
        self._add_leaves(kind, [leaf], {"detail": pa.array([text], pa.string())})

    def _add_leaves(self, kind: str, leaves: list[bytes], made: Columns) -> None:
        made["kind"] = _repeated(kind, len(leaves))
        made["leaf"] = pa.array(leaves, pa.binary())
        self._parts.append(made)

    @property
    def rows(self) -> int:
        """How many were added."""
        return sum(len(part["leaf"]) for part in self._parts)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def batch(self, first: int) -> pa.RecordBatch:
        """The rows as columns, the first at log index `first`."""
        made = []
        for part in self._parts:
            made.append(self._whole(part, first))
            first += made[-1].num_rows
        return made[0] if len(made) == 1 else pa.concat_batches(made)

    def _whole(self, part: Columns, first: int) -> pa.RecordBatch:
        """A part with the columns that all its rows share, or do not have."""
        rows = len(part["leaf"])
        shared = {
            "log_index": pa.array(np.arange(first, first + rows, dtype=np.int64)),
            "writer": _repeated(self.writer, rows),
            "received_ns": pa.repeat(pa.scalar(self.received_ns, pa.int64()), rows),
            "received_at": pa.repeat(pa.scalar(self.received_ns // 1000, _MOMENT), rows),
        }
        columns = [part.get(column.name, shared.get(column.name)) for column in SEGMENT_SCHEMA]
        return pa.RecordBatch.from_arrays(
            [
                pa.nulls(rows, column.type) if values is None else values
                for column, values in zip(SEGMENT_SCHEMA, columns, strict=True)
            ],
            schema=SEGMENT_SCHEMA,
        )


def _repeated(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), rows)


def _times(events: pa.RecordBatch) -> Columns:
    """The time columns that follow from an event's own."""
    started = events.column("started_ns").to_numpy() // 1000
    completed = np.maximum(started, events.column("completed_ns").to_numpy() // 1000)
    return {
        "started_at": pa.array(started).view(_MOMENT),
        "completed_at": pa.array(completed).view(_MOMENT),
        "duration_ms": pa.array(_milliseconds(completed - started)),
    }


def _milliseconds(took: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    if took.max() <= _EXACT_MAX:
        made: np.ndarray[Any, Any] = took / 1000
        return made
    return np.array([each / 1000 for each in took.tolist()])  # as exact as from Python's integers


def _service_names(attributes: pa.Array) -> pa.Array:
    """`service_name` of each row. A batch is mostly of one service, and that is quick to tell."""
    rows = len(attributes)
    first = attributes[0].as_py()
    name = service_name(first) if first else None
    if name is not None and attributes.null_count == 0:
        raw = _bytes(attributes)
        # The mark is the member itself, of which a row has one: as many as rows is one in each.
        if raw.count(SERVICE_MARK.encode() + orjson.dumps(name)) == rows:
            return _repeated(name, rows)
    texts = attributes.to_pylist()
    return pa.array([service_name(text) if text else None for text in texts], pa.string())


def _bytes(column: pa.Array) -> bytes:
    _, places, data = column.buffers()
    ends = np.frombuffer(places, np.int32, len(column) + 1, column.offset * 4)
    raw: bytes = data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
    return raw
