"""The attack table: who catches what (evidence.md section 4, receipt-kernel.md section 8).

Each attack is run by somebody who holds the disk and, where it says so, the log's key, and who
repairs all that this allows. Three auditors look at the result: one who has the log's public key
(`pinned`), one who also kept an old checkpoint (`holding`), and one who asks for witnesses and for
a period (`witnessed`). The table says who is the first to see it, and under which code; that
nobody sees it earlier is asserted too, so that the table promises neither too little nor too much.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from intentproof_schemas import PAYLOAD_DOMAIN, commitment
from intentproof_store.bloom import bitset_place
from intentproof_store.columns import COLUMNS
from intentproof_store.verify import Outcome, log_check

from tests.attacks.scene import (
    BATCHES,
    HOUR_NS,
    OURS,
    THEIRS,
    Attacker,
    Scene,
    build,
    releafed,
    write_batch,
)
from tests.store.support import Place

PINNED, HOLDING, WITNESSED, NOBODY = "pinned", "holding", "witnessed", "nobody"
OTHER_BYTES = "wrong_length or sha256_differs"  # as the compressed file happens to be
PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    name: str
    run: Callable[[Attacker], None]
    key: bool
    caught_by: str
    codes: frozenset[str]


ATTACKS: list[Attack] = []


def attack(
    name: str, caught_by: str, *codes: str, key: bool = False
) -> Callable[[Callable[[Attacker], None]], Callable[[Attacker], None]]:
    def add(run: Callable[[Attacker], None]) -> Callable[[Attacker], None]:
        ATTACKS.append(Attack(name, run, key, caught_by, frozenset(codes)))
        return run

    return add


# The 15 of evidence.md.


@attack("edit a row, data file only", PINNED, OTHER_BYTES)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    rows[3]["inputs"] = '{"amount":9999}'
    by.put(by.segments()[1], rows)


@attack("delete a row, data file only", PINNED, OTHER_BYTES)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    del rows[3]
    by.put(by.segments()[1], rows)


@attack("insert a row, data file only", PINNED, OTHER_BYTES)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    by.put(by.segments()[1], [*rows[:3], rows[4] | {"event_id": "forged"}, *rows[3:]])


@attack("reorder rows, data file only", PINNED, OTHER_BYTES)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    rows[3]["log_index"], rows[4]["log_index"] = rows[4]["log_index"], rows[3]["log_index"]
    by.put(by.segments()[1], rows)


@attack("truncate the tail, disk only", WITNESSED, "period_not_covered")
def _(by: Attacker) -> None:
    by.restore(BATCHES - 1)


@attack("rewrite all, stolen disk, without the key", PINNED, "checkpoint_invalid")
def _(by: Attacker) -> None:
    by.forge(by.rows(), with_own_key=True)


@attack("rewrite all, with the log key", HOLDING, "fork", key=True)
def _(by: Attacker) -> None:
    by.start_over()
    write_batch(by.place, 0, inputs='{"amount":1}')
    write_batch(by.place, 1)
    write_batch(by.place, 2)


@attack("rewrite only after the pin, with the log key", WITNESSED, "period_not_covered", key=True)
def _(by: Attacker) -> None:
    by.restore(1)
    write_batch(by.place, 1, inputs='{"amount":1}')
    write_batch(by.place, 2)


@attack("truncate and sign again, with the log key", WITNESSED, "period_not_covered", key=True)
def _(by: Attacker) -> None:
    by.forge(by.rows()[: BATCHES - 1])


@attack("back-date: append an event that claims an old time", WITNESSED, "outside_window", key=True)
def _(by: Attacker) -> None:
    segments = by.rows()
    last = dict(segments[-1][-1])
    old = str(int(last["received_ns"]) - 2 * HOUR_NS)
    back = releafed(last, event_id="late", received_ns=old)
    segments[-1].append(
        back | {"received_ns": int(old), "received_at": segments[0][-1]["received_at"]}
    )
    by.forge(segments)


@attack("back-date: forge the whole history today", HOLDING, "fork", key=True)
def _(by: Attacker) -> None:
    by.start_over()
    for number in range(BATCHES):
        write_batch(by.place, number, inputs='{"amount":2}')


@attack("split view: another history after the pin", WITNESSED, "period_not_covered", key=True)
def _(by: Attacker) -> None:
    by.restore(1)
    write_batch(by.place, 1, output='{"id":"other"}')
    write_batch(by.place, 2, output='{"id":"other"}')


@attack("replay an event under the next index", PINNED, "event_repeated", key=True)
def _(by: Attacker) -> None:
    segments = by.rows()
    segments[-1].append(dict(segments[-1][-1]))
    by.forge(segments)


@attack("present another tenant's log as ours", PINNED, "checkpoint_invalid")
def _(by: Attacker) -> None:
    layout = by.place.layout
    shutil.rmtree(layout.tenant_events(OURS))
    shutil.rmtree(layout.tenant_log(OURS))
    shutil.copytree(layout.tenant_events(THEIRS), layout.tenant_events(OURS))
    shutil.copytree(layout.tenant_log(THEIRS), layout.tenant_log(OURS))


@attack("splice another tenant's event into our log", PINNED, "leaf_misplaced", key=True)
def _(by: Attacker) -> None:
    segments = by.rows()
    segments[-1].append(dict(by.rows(THEIRS)[0][-1]))
    by.forge(segments)


# Those of receipt-kernel's 28 that have a counterpart here; a24 and a25 have none, because a log
# has no last event and no stage order.


@attack("a01 edit a payload only", PINNED, "commitment_differs", key=True)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    rows[3]["output"] = '{"id":"re_0"}'
    by.put(by.segments()[1], rows)


@attack("a02, a03 edit, and hash that row again", PINNED, "root_differs", key=True)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    text = b'{"inputs":{"amount":1},"output":null}'
    digest = commitment(PAYLOAD_DOMAIN, rows[3]["payload_salt"], text)
    rows[3] = releafed(rows[3], payload=digest) | {"inputs": '{"amount":1}', "output": "null"}
    by.put(by.segments()[1], rows)


@attack(
    "a04, a05, a27 delete an event in the middle, and number again",
    PINNED,
    "root_differs",
    key=True,
)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    taken = rows.pop(3)
    for row in rows[3:]:
        row["log_index"] -= 1
    rows.append(
        dict(rows[-1]) | {"log_index": rows[-1]["log_index"] + 1, "event_id": taken["event_id"]}
    )
    by.put(by.segments()[1], rows)


@attack("a06 swap two events", PINNED, "root_differs", key=True)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    rows[3]["log_index"], rows[4]["log_index"] = rows[4]["log_index"], rows[3]["log_index"]
    by.put(by.segments()[1], rows)


@attack("a07 put a forged event in the place of one", PINNED, "root_differs", key=True)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    rows[3] = releafed(rows[3], event_id="forged")
    by.put(by.segments()[1], rows)


@attack("a08 drop the last segment and its note", PINNED, "leaves_missing")
def _(by: Attacker) -> None:
    by.segments()[-1].unlink()


@attack(
    "a09 drop the tail, and append another through the receiver",
    WITNESSED,
    "period_not_covered",
    key=True,
)
def _(by: Attacker) -> None:
    by.restore(2)
    write_batch(by.place, 2, action="ledger.close")


@attack("a10 rewrite everything", HOLDING, "fork", key=True)
def _(by: Attacker) -> None:
    segments = by.rows()
    segments[0][2] = releafed(segments[0][2], action="refund.none")
    by.forge(segments)


def column(name: str, value: object) -> Callable[[Attacker], None]:
    """Another value in one column of one event; all signatures over the file are made again."""

    def run(by: Attacker) -> None:
        rows = by.rows()[1]
        rows[3][name] = value
        by.put(by.segments()[1], rows)

    return run


def found_by_duckdb(path: Path, column: str, value: str) -> int:
    """How many rows an engine finds that trusts what it may skip a row group by."""
    query = f"SELECT count(*) FROM read_parquet(?) WHERE {column} = ?"
    (found,) = duckdb.execute(query, [str(path), value]).fetchall()
    return int(found[0])


for name, column_name, value, code in (
    ("a11 flip the kind of an event", "kind", "conflict", "column_differs"),
    ("a12 hide an event by its kind", "kind", "heartbeat", "column_differs"),
    ("a13 back-date a column", "received_ns", 1, "column_differs"),
    ("a14 corrupt the leaf", "leaf", b"{}", "leaf_invalid"),
    ("a15, a16 move an event to another run", "run_id", "run-2", "column_differs"),
    ("a22 corrupt JSON", "inputs", "{", "column_differs"),
    ("a23 a key twice", "inputs", '{"amount":1,"amount":2}', "commitment_differs"),
    ("a28 raise the provenance", "provenance", "attested", "column_differs"),
):
    attack(name, PINNED, code, key=True)(column(column_name, value))


@attack("hide an event from searches by a bloom filter", PINNED, "row_hidden", key=True)
def _(by: Attacker) -> None:
    path = by.segments()[1]
    chunk = pq.read_metadata(path).row_group(0).column(COLUMNS.index("event_id"))
    offset, size = bitset_place(chunk.bloom_filter_offset, chunk.bloom_filter_length)
    raw = path.read_bytes()
    by.put_bytes(path, raw[:offset] + bytes(size) + raw[offset + size :])
    assert found_by_duckdb(path, "event_id", by.rows()[1][3]["event_id"]) == 0


@attack("hide an event from searches by statistics", PINNED, "row_hidden", key=True)
def _(by: Attacker) -> None:
    path = by.segments()[1]
    column = pq.read_metadata(path).row_group(0).column(COLUMNS.index("correlation_id"))
    least = column.statistics.min_raw
    raw = path.read_bytes()
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    by.put_bytes(path, raw[:footer] + raw[footer:].replace(least, b"~" * len(least)))
    assert found_by_duckdb(path, "correlation_id", least.decode()) == 0


@attack("a17, a20 exchange two payloads with their salts", PINNED, "commitment_differs", key=True)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    for name in ("inputs", "output", "payload_salt"):
        rows[3][name], rows[4][name] = rows[4][name], rows[3][name]
    by.put(by.segments()[1], rows)


@attack("a18 a payload gone, without an erasure", PINNED, "erased_without_leaf", key=True)
def _(by: Attacker) -> None:
    rows = by.rows()[1]
    rows[3] |= {"inputs": None, "output": None, "payload_salt": None}
    by.put(by.segments()[1], rows)


@attack("a19 delete a file of quarantine", PINNED, "quarantine_missing")
def _(by: Attacker) -> None:
    next(by.place.layout.quarantine(OURS).iterdir()).unlink()


@attack("a20 other bytes in quarantine", PINNED, "quarantine_differs")
def _(by: Attacker) -> None:
    path = next(by.place.layout.quarantine(OURS).iterdir())
    path.write_bytes(path.read_bytes() + b"x")


@attack("a21 delete the log entirely", PINNED, "log_missing")
def _(by: Attacker) -> None:
    shutil.rmtree(by.place.layout.tenant_events(OURS))
    shutil.rmtree(by.place.layout.tenant_log(OURS))
    shutil.rmtree(by.place.layout.quarantine(OURS))


@attack("a26 drop the first leaf, and number again", PINNED, "genesis_differs", key=True)
def _(by: Attacker) -> None:
    segments = by.rows()
    del segments[0][0]
    by.forge(segments)


# What no log can see.


@attack("log the same action again, with a fresh id at its true time", NOBODY, key=True)
def _(by: Attacker) -> None:
    write_batch(by.place, BATCHES)


@attack("log false content, live", NOBODY, key=True)
def _(by: Attacker) -> None:
    write_batch(by.place, BATCHES, output='{"id":"never"}')


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build(tmp_path_factory.mktemp("attacks"))


@pytest.fixture
def scene(before: Scene, tmp_path: Path) -> Scene:
    """A scene of its own for each attack; what is outside stays where it is."""
    place = Place(tmp_path / "here")
    shutil.copytree(before.place.root, place.root)
    return Scene(place, before.outside)


def seen(scene: Scene, auditor: str) -> tuple[Outcome, set[str]]:
    report = getattr(scene, auditor)()
    return report.outcome, {problem.code for log in report.logs for problem in log.problems}


def test_before_an_attack_every_auditor_is_content(scene: Scene) -> None:
    """What is caught below is caught for the attack, not for how the scene was built."""
    for auditor in (PINNED, HOLDING, WITNESSED):
        assert seen(scene, auditor) == (Outcome.VERIFIED, set())


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.name)
def test_an_attack_is_caught_by_whom_the_table_names(scene: Scene, row: Attack) -> None:
    """The first auditor who can see it says its code; those before him cannot."""
    row.run(Attacker(scene, key=row.key))
    caught = False
    for auditor in (PINNED, HOLDING, WITNESSED):
        outcome, codes = seen(scene, auditor)
        if auditor == row.caught_by:
            caught = True
        if caught:
            assert outcome is not Outcome.VERIFIED, auditor
            assert all(codes & set(each.split(" or ")) for each in row.codes), (auditor, codes)
        else:
            assert outcome is Outcome.VERIFIED, (auditor, codes)


def test_the_page_has_the_table() -> None:
    """docs/evidence.md shows each attack with who sees it first, and under which code."""
    lines = [
        "| attack | key | pinned | holding | witnessed | first seen as |",
        "|---|---|---|---|---|---|",
    ]
    for row in ATTACKS:
        auditors = (PINNED, HOLDING, WITNESSED, NOBODY)
        first = auditors.index(row.caught_by)
        seen_by = ["yes" if place >= first else "no" for place in range(3)]
        codes = ", ".join(f"`{code}`" for code in sorted(row.codes)) or "never"
        key = "key" if row.key else ""
        lines.append(f"| {row.name} | {key} | {' | '.join(seen_by)} | {codes} |")
    table = "\n".join(lines)
    assert table in PAGE.read_text(), f"the page needs this table:\n{table}"


def test_the_page_has_the_steps_of_the_code() -> None:
    """What the page says that `verify` does with a log is what its code says, word for word."""
    said = re.findall(r"^[0-9]+\. (?:.|\n   )+", log_check.__doc__ or "", flags=re.M)
    assert len(said) >= 8
    for step in said:
        assert " ".join(step.split()) in PAGE.read_text()
