"""The SQL of the views (contract §5); `schemas/views.json` names their columns and types. Pure.

`ours.leaves_at_hand` holds every leaf once, sealed or hot; `ours.told` its events and conflicts
with what they are to each other. The public views stand on these two. A filter on `trace_id`
reaches the Parquet scan through all of them, because every window is partitioned by it.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from .columns import COLUMNS

HOT_TABLE = "ours.hot"
CONFLICTED_TABLE = "ours.conflicted"

_COLUMNS = ", ".join((*COLUMNS, "tenant", "date"))
# What two tellings of one event must share (contract §4); members that were erased are not asked.
_CORE = (
    "span_id",
    "parent_span_id",
    "action",
    "status",
    "started_ns",
    "completed_ns",
    "provenance",
    "run_id",
    "stage",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
)
_CONTEXT = ("attributes", "correlation_id", "intent")
_PAYLOAD = ("error", "inputs", "output")
_GLOB = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Texts as SQL literals with commas between."""
    return ", ".join(map(text, values))


def parquet(paths: Sequence[Path]) -> str:
    """Exactly these files as a table function; `tenant` and `date` come from their folders."""
    files = texts(str(path).translate(_GLOB) for path in paths)
    return (
        f"read_parquet([{files}], hive_partitioning = true, hive_types_autocast = false, "
        "hive_types = {'tenant': VARCHAR, 'date': DATE})"
    )


def view_statements(
    paths: Sequence[Path], *, tenants: Iterable[str], shared: Sequence[str], disputes: bool
) -> list[str]:
    """What creates or replaces all views.

    `shared` are those of the `tenants` with more than one writer: theirs alone need to be compared
    row by row. `disputes` says whether any conflict is known: without one, nothing is disputed.
    """
    made = {
        "ours.leaves_at_hand": _leaves_at_hand(paths),
        "ours.told": _told(set(tenants) - set(shared), shared, disputes=disputes),
        "events": f"SELECT {_COLUMNS}, disputed, erased FROM ours.told WHERE is_event",  # noqa: S608 - our own names
        "conflicts": f"SELECT {_COLUMNS}, erased FROM ours.told WHERE is_conflict",  # noqa: S608
        "leaves": "FROM ours.leaves_at_hand",
        "traces": _TRACES,
        "gaps": _GAPS,
        "quarantine": _QUARANTINE,
    }
    return [f"CREATE OR REPLACE VIEW {name} AS {query}" for name, query in made.items()]


def _leaves_at_hand(paths: Sequence[Path]) -> str:
    hot = f"SELECT {_COLUMNS} FROM {HOT_TABLE}"  # noqa: S608 - our own names
    if not paths:
        return hot
    return f"SELECT {_COLUMNS} FROM {parquet(paths)} UNION ALL {hot}"  # noqa: S608


def _told(alone: Collection[str], shared: Sequence[str], *, disputes: bool) -> str:
    known = (
        f"(tenant, writer, event_id) IN (SELECT (tenant, writer, event_id) FROM {CONFLICTED_TABLE})"  # noqa: S608
        if disputes
        else "false"
    )
    plain = (
        f"SELECT {_COLUMNS}, kind = 'event' AS is_event, kind = 'conflict' AS is_conflict, "  # noqa: S608
        f"kind = 'conflict' OR {known} AS disputed, {_ERASED} AS erased "
        "FROM ours.leaves_at_hand WHERE kind IN ('event', 'conflict')"
    )
    if not shared:
        return plain
    compared = _compared(shared, known)
    if not alone:
        return compared
    return f"{plain} AND tenant NOT IN ({texts(shared)}) UNION ALL {compared}"


_ERASED = "(context_salt IS NULL OR payload_salt IS NULL)"


def _compared(shared: Sequence[str], known: str) -> str:
    """Across writers: the first told is the event; equal ones are duplicates, others conflicts."""
    members = ", ".join(
        ["kind, writer, context_salt, payload_salt", *_CORE, *_CONTEXT, *_PAYLOAD],
    )
    same_event = "PARTITION BY tenant, trace_id, event_id"
    return f"""
        SELECT {_COLUMNS}, place = 1 AND kind = 'event' AS is_event, is_conflict,
            bool_or(is_conflict) OVER ({same_event}) OR {known} AS disputed, {_ERASED} AS erased
        FROM (
            SELECT *, {_DIFFERS} AS is_conflict
            FROM (
                SELECT {_COLUMNS}, row_number() OVER first_told AS place,
                    first_value(struct_pack({_packed(members)})) OVER first_told AS first
                FROM ours.leaves_at_hand
                WHERE kind IN ('event', 'conflict') AND tenant IN ({texts(shared)})
                WINDOW first_told AS (
                    {same_event} ORDER BY kind = 'conflict', received_ns, writer, log_index
                )
            )
        )"""  # noqa: S608 - our own names and checked tenant ids


def _packed(members: str) -> str:
    return ", ".join(f"{name} := {name}" for name in members.split(", "))


def _differ(names: Iterable[str]) -> str:
    return "(" + " OR ".join(f"{name} IS DISTINCT FROM first.{name}" for name in names) + ")"


def _both_have(salt: str) -> str:
    return f"{salt} IS NOT NULL AND first.{salt} IS NOT NULL"


# A writer's own conflict is one whatever was erased since; another's is judged by its content.
_DIFFERS = f"""(
    (kind = 'conflict' AND (first.kind = 'conflict' OR writer = first.writer))
    OR (place > 1 AND (
        {_differ(_CORE)}
        OR ({_both_have("context_salt")} AND {_differ(_CONTEXT)})
        OR ({_both_have("payload_salt")} AND {_differ(_PAYLOAD)})
    ))
)"""

_TRACES = """
    SELECT tenant, trace_id, min(started_at) AS "first", max(completed_at) AS "last",
        count(*) AS events, count(*) FILTER (status = 'error') AS errors,
        coalesce(list_sort(list(DISTINCT service_name) FILTER (service_name IS NOT NULL)), [])
            AS services
    FROM events WHERE trace_id IS NOT NULL GROUP BY tenant, trace_id"""

_DETAIL = "CASE WHEN json_valid(detail) THEN detail END"

# A leaf that tells of a gap in the log, and numbers that a producer gave and nobody received.
_GAPS = f"""
    SELECT tenant, date, 'log' AS source, {_DETAIL} ->> '$.reason' AS reason, writer, log_index,
        received_at, NULL::VARCHAR AS stream_id, NULL::BIGINT AS first_missing,
        NULL::BIGINT AS last_missing, {_DETAIL} ->> '$.message' AS message, detail
    FROM leaves WHERE kind = 'gap'
    UNION ALL
    SELECT tenant, NULL, 'stream', 'sequence_hole', NULL, NULL, NULL, stream_id, before + 1,
        sequence - 1, NULL, NULL
    FROM (
        SELECT tenant, stream_id, sequence, lag(sequence, 1, 0) OVER (
            PARTITION BY tenant, stream_id ORDER BY sequence
        ) AS before
        FROM (
            SELECT DISTINCT tenant, stream_id, sequence FROM leaves
            WHERE stream_id IS NOT NULL AND sequence IS NOT NULL
        )
    ) WHERE sequence > before + 1"""  # noqa: S608 - constants

_QUARANTINE = f"""
    SELECT tenant, date, writer, log_index, received_at, {_DETAIL} ->> '$.reason' AS reason,
        TRY_CAST({_DETAIL} ->> '$.size' AS BIGINT) AS size, {_DETAIL} ->> '$.sha256' AS sha256,
        replace({_DETAIL} ->> '$.sha256', 'sha256:', '') AS file, detail
    FROM leaves WHERE kind = 'quarantine'"""  # noqa: S608 - constants
