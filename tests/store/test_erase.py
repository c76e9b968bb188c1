"""Erasing: what was named is gone from the disk, the log says so, and everything still holds."""

import errno
import hashlib
import json
import os
import re
import shlex
import threading
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
from intentproof_schemas import event_hash, payload_text
from intentproof_store import Ledger, Undecodable, fulfilment, revision
from intentproof_store.proving import Places, receipt_of
from intentproof_store.reader import Reader
from intentproof_store.receipt import decode_receipt, verify_receipt
from intentproof_store.requests import waiting_requests
from intentproof_store.segments import write_segment
from intentproof_store.selection import select_events
from intentproof_store.verify import Outcome

from tests.store.erasing import (
    REASON,
    claims,
    codes,
    commands,
    erase,
    holding,
    judged,
    plain_disk,
    run,
    salts,
    segments_of,
)
from tests.store.support import (
    REPOSITORY,
    TENANT,
    Place,
    append,
    check_sealed,
    event,
    events,
    place,
    read_log,
    until,
    verified,
)

SECRET = event(
    5,
    inputs='{"iban":"PAYLOAD-MARK-1"}',
    output='{"note":"PAYLOAD-MARK-2"}',
    intent="CONTEXT-MARK-1",
    correlation_id="CONTEXT-MARK-2",
    attributes='{"person":"CONTEXT-MARK-3","service.name":"CONTEXT-MARK-4"}',
)
YES = (*REASON, "--yes")
OTHER = SECRET._replace(inputs='{"iban":"PAYLOAD-MARK-3"}', correlation_id="CONTEXT-MARK-5")


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path)


def fill(where: Place) -> None:
    """The event in a segment between others, a conflict with it in another."""
    with where.ledger() as ledger:
        append(ledger, [*events(0, 5), SECRET, *events(6, 20)])
    with where.ledger() as ledger:
        assert append(ledger, [OTHER, event(30)]).conflicts == 1


def derived() -> list[bytes]:
    """Digests by which somebody could guess what was erased."""
    texts = [SECRET.inputs.encode(), payload_text(SECRET), payload_text(OTHER)]
    digests = [hashlib.sha256(text).digest() for text in texts]
    hashes = [event_hash(each).removeprefix("sha256:") for each in (SECRET, OTHER)]
    return [*digests, *(each.hex().encode() for each in digests), *map(str.encode, hashes)]


@pytest.mark.parametrize("running", [False, True], ids=["alone", "beside a receiver"])
@pytest.mark.parametrize("whole", [False, True], ids=["payload", "all"])
def test_no_byte_of_what_was_erased_is_left(here: Place, *, whole: bool, running: bool) -> None:
    """Sealed, hot and set aside: no file holds the bytes, their salts, or a digest of them."""
    with plain_disk():
        fill(here)
        gone = [b"PAYLOAD-MARK", *derived(), *salts(here, SECRET.event_id)[1::2]]
        if whole:
            gone += [b"CONTEXT-MARK", *salts(here, SECRET.event_id)[::2]]
        aside = here.hot / here.writer / "set-aside"
        with here.ledger() as ledger:
            append(ledger, [event(1)], tenant="beta")  # hot, and in the same file
            append(ledger, [event(40, inputs=SECRET.inputs, correlation_id="CONTEXT-MARK-2")])
            aside.mkdir(parents=True)
            (aside / "1.frames").write_bytes(b"damaged PAYLOAD-MARK-1")
            assert len(holding(here, b"PAYLOAD-MARK")) >= 4
            options = ["--correlation", "CONTEXT-MARK-2", *(["--all"] if whole else [])]
            if running:
                erase(here, *options)
                assert holding(here, *gone) == []
        if not running:
            erase(here, *options)
        assert holding(here, *gone) == []
        assert bool(holding(here, b"CONTEXT-MARK")) is not whole
    check_sealed(here)
    report = verified(here)
    assert report.logs[0].erased == {"payload": 3, "context": 3 if whole else 0}
    (claim,) = claims(here)
    assert claim["members"] == ("all" if whole else "payload")
    assert claim["reason"] == "request 17"


def test_the_bloom_filter_forgets_an_erased_correlation_id(here: Place) -> None:
    """A filter of the new file no longer says that the id may be in it, for any row group."""
    fill(here)
    before = probe(here, "CONTEXT-MARK-2")
    erase(here, "--event", SECRET.event_id, "--all")
    assert (before, probe(here, "CONTEXT-MARK-2"), probe(here, "order-1")) == (True, False, True)


def probe(where: Place, value: str) -> bool:
    """Whether any segment's filter says that the correlation id may be there."""
    with Reader(where.layout.root, hot=where.hot) as reader, reader.cursor() as cursor:
        return any(
            not excluded
            for path in segments_of(where)
            for (excluded,) in cursor.execute(
                "SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, 'correlation_id', ?)",
                [str(path), value],
            ).fetchall()
        )


def test_leaves_and_places_stay_as_they_were(here: Place) -> None:
    """The next revision has the same leaves, and all columns that are not erased."""
    fill(here)
    before = read_log(here).rows
    erase(here, "--event", SECRET.event_id)
    after = read_log(here).rows
    assert {at: row["leaf"] for at, row in before.items()}.items() <= {
        at: row["leaf"] for at, row in after.items()
    }.items()
    at = read_log(here).index_of(SECRET.event_id)
    changed = [i for i in before if before[i]["payload_salt"] != after[i]["payload_salt"]]
    assert changed == [at, read_log(here).index_of(event(30).event_id) - 1]


def test_the_views_and_the_commands_show_what_is_left(here: Place) -> None:
    """An erased event has its ids, action and times, and `erased` is true."""
    fill(here)
    erase(here, "--event", SECRET.event_id, "--all")
    with Reader(here.layout.root, hot=here.hot) as reader:
        found = reader.rows(
            "SELECT event_id, action, inputs, intent, service_name FROM events WHERE erased"
        )
        assert found == [
            {
                "event_id": SECRET.event_id,
                "action": SECRET.action,
                "inputs": None,
                "intent": None,
                "service_name": None,
            }
        ]
    assert run(here, "verify")[1].count("erased, as the log says: 2 contexts, 2 payloads") == 1


def test_receipts_from_before_and_after_verify(here: Place) -> None:
    """One made earlier shows what was erased later; one made now lacks the half, and holds."""
    fill(here)
    places = Places(store=here.layout.root, hot=here.hot, home=here.home)
    old = receipt_of(places, TENANT, SECRET.event_id)
    erase(here, "--event", SECRET.event_id)
    new = decode_receipt(receipt_of(places, TENANT, SECRET.event_id).encode())
    assert (new.payload, new.leaf) == (None, old.leaf)
    proved = verify_receipt(new, keys=())
    assert (proved.payload, proved.context) == (None, verify_receipt(old, keys=()).context)
    assert verify_receipt(old, keys=()).payload is not None


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_resent_after_erasing_is_a_duplicate(here: Place, *, restarted: bool) -> None:
    """Whatever has the id is a duplicate, and no byte of it is stored, also after a restart."""
    with plain_disk():
        fill(here)
        if restarted:
            erase(here, "--event", SECRET.event_id)
        with here.ledger() as ledger:
            append(ledger, [event(50)])
            if not restarted:
                append(ledger, [event(51)])
                erase(here, "--event", SECRET.event_id)
                erase(here, "--event", event(50).event_id)
            for again in (SECRET, OTHER, SECRET._replace(inputs='{"a":"PAYLOAD-MARK-9"}')):
                said = append(ledger, [again, event(1)])
                assert (said.stored, said.duplicates, said.conflicts) == (0, 2, 0)
            if not restarted:
                changed = event(50, inputs='{"a":"PAYLOAD-MARK-8"}')
                assert append(ledger, [changed]).duplicates == 1
            assert holding(here, b"PAYLOAD-MARK") == []
    check_sealed(here)
    verified(here)


def test_other_events_are_still_recognised_after_erasing(here: Place) -> None:
    """The segment's other events are looked up in its new revision."""
    fill(here)
    with here.ledger() as ledger:
        append(ledger, [event(60)])
        erase(here, "--event", SECRET.event_id)
        assert append(ledger, events(0, 5)).duplicates == 5
        assert append(ledger, [event(2, inputs="{}")]).conflicts == 1
        assert append(ledger, [event(60, inputs="{}")]).conflicts == 1


@pytest.mark.parametrize(
    ("option", "value", "matches"),
    [
        ("--attribute", "person=ann", 2),
        ("--attribute", "retries=3", 1),
        ("--attribute", "flag=true", 1),
        ("--attribute", "person=an", 0),
        ("--attribute", "Person=ann", 0),
        ("--attribute", "note=a=b", 1),
        ("--attribute", "bad key!=ann", 1),
        ("--attribute", "person=", 0),
        ("--correlation", "order-1", 1),
        ("--correlation", "order-", 0),
        ("--correlation", "order-%", 0),
        ("--correlation", "ORDER-1", 0),
    ],
)
def test_matching_is_exact(here: Place, option: str, value: str, matches: int) -> None:
    """A whole value under a whole key, as text or as its JCS text; nothing is a pattern."""
    with here.ledger() as ledger:
        append(
            ledger,
            [
                event(1, attributes='{"person":"ann","retries":3}'),
                event(2, attributes='{"flag":true,"note":"a=b","person":"ann"}'),
                event(3, attributes='{"intentproof.other":"{\\"bad key!\\":\\"ann\\"}"}'),
                event(4, attributes='{"x":"\\"person\\":\\"ann\\""}', correlation_id=""),
            ],
        )
    code, _, err = run(here, "erase", "--tenant", TENANT, option, value, "--dry-run")
    assert code == 0
    said = "nothing" if not matches else f"{matches} event{'' if matches == 1 else 's'} and"
    assert err.startswith(said), err


def test_what_is_planned_while_others_are_erased_is_found(here: Place) -> None:
    """A query over files of which one was revised meanwhile is asked anew, and sees the next."""
    fill(here)
    ids = [SECRET.event_id, event(2).event_id]
    with Reader(here.layout.root, hot=here.hot, home=here.home, tenant=TENANT) as reader:
        erase(here, "--event", SECRET.event_id)
        with pytest.raises(duckdb.IOException):
            select_events(reader, TENANT, ids, context=False)
        found = reader.steadily(lambda: select_events(reader, TENANT, ids, context=False))
        assert (found[here.writer].events, found[here.writer].erased) == (1, 2)


def test_a_dry_run_changes_nothing(here: Place) -> None:
    """It tells the counts, and every file is as before."""
    fill(here)
    before = {path: path.read_bytes() for path in here.root.rglob("*") if path.is_file()}
    code, _, err = run(here, "erase", "--tenant", TENANT, "--event", SECRET.event_id, "--dry-run")
    assert (code, "1 event and 1 conflict of acme" in err) == (0, True)
    assert {path: path.read_bytes() for path in here.root.rglob("*") if path.is_file()} == before


def test_without_a_terminal_and_without_yes_it_is_refused(here: Place) -> None:
    """Nobody said yes, so nothing goes: exit code 8."""
    fill(here)
    code, _, err = run(here, "erase", "--tenant", TENANT, "--event", SECRET.event_id, *REASON)
    assert (code, "nobody is there to ask" in err) == (8, True)
    assert not read_log(here).details("erasure")


@pytest.mark.parametrize(
    "argv",
    [
        ("--tenant", "acme", "--event", "x"),  # no reason
        ("--tenant", "acme", "--event", "x", "--reason", " "),
        ("--tenant", "acme", "--event", "x", "--reason", "a\nb"),
        ("--tenant", "acme", "--event", "x", "--reason", "x" * 1025),
        ("--tenant", "acme", "--attribute", "person", *REASON),
        ("--tenant", "acme", "--attribute", "=ann", *REASON),
        ("--tenant", "acme", "--quarantine", "abc", *REASON),
        ("--tenant", "../x", "--event", "x", *REASON),
    ],
)
def test_bad_input_is_told(here: Place, argv: tuple[str, ...]) -> None:
    """Exit code 6, and a sentence that names the option."""
    fill(here)
    code, _, err = run(here, "erase", *argv, "--yes")
    assert code == 6
    assert err.strip()
    assert not waiting_requests(here.home)


def test_erasing_again_finds_nothing(here: Place) -> None:
    """What is erased is not claimed a second time; its context can still go."""
    fill(here)
    erase(here, "--event", SECRET.event_id)
    said = erase(here, "--event", SECRET.event_id)
    assert "nothing that is not erased matches" in said
    assert "2 more were erased before" in said
    erase(here, "--event", SECRET.event_id, "--all")
    assert [claim["members"] for claim in claims(here)] == ["payload", "all"]
    assert verified(here).logs[0].erased == {"payload": 2, "context": 2}


def test_quarantined_bytes_are_erased_by_their_hash(here: Place) -> None:
    """Their file goes with its salt, the leaf stays, and `verify` takes the claim for it."""
    with plain_disk():
        with here.ledger() as ledger:
            append(ledger, [event(1)], [Undecodable(b"PAYLOAD-MARK raw", "blank_intent")])
        (detail,) = map(json.loads, read_log(here).details("quarantine"))
        name = detail["sha256"].removeprefix("sha256:")
        salt = (here.layout.quarantine(TENANT) / name).read_bytes()[:32]
        erase(here, "--quarantine", detail["sha256"])
        assert holding(here, b"PAYLOAD-MARK", salt) == []
    assert codes(judged(here)) == set()
    assert "nothing that is not erased" in erase(here, "--quarantine", name)


def test_quarantined_bytes_of_the_same_span_are_told(here: Place) -> None:
    """Taken later, they still stand in quarantine: exit code 8, and how to erase them."""
    raws = [
        b"\x12\x08" + bytes.fromhex(SECRET.span_id) + b"PAYLOAD-MARK",
        b'{"spanId":"%s"}' % SECRET.span_id.upper().encode(),
        b"of another span",
    ]
    with here.ledger() as ledger:
        append(ledger, [SECRET], [Undecodable(raw, "bad") for raw in raws])
    named = [json.loads(each)["sha256"] for each in read_log(here).details("quarantine")]
    tenant = ("erase", "--tenant", TENANT, *YES)
    code, _, err = run(here, *tenant, "--event", SECRET.event_id)
    told = [name for name in named if name.removeprefix("sha256:") in err]
    assert (code, told) == (8, named[:2])
    for name in told:
        assert run(here, *tenant, "--quarantine", name)[0] == 0
    assert run(here, *tenant, "--event", SECRET.event_id)[0] == 0
    verified(here)


@pytest.mark.parametrize("command", ["erase", "hold"])
def test_an_unknown_tenant_is_told(here: Place, command: str) -> None:
    """A slip of the pen must not look like a tenant of whom nothing is left: exit code 6."""
    fill(here)
    argv = (command, "--tenant", "acne", "--event", SECRET.event_id, *YES)
    code, _, err = run(here, *argv)
    assert (code, "'acne'" in err) == (6, True)


def test_what_the_leaves_say_passes_their_schemas(here: Place) -> None:
    """Every detail that the commands write is one that `schemas/` describes."""
    fill(here)
    tenant = ("--tenant", TENANT, *YES)
    hold_id = run(here, "hold", *tenant, "--event", event(1).event_id)[1].strip()
    assert run(here, "hold", "release", hold_id, *tenant)[0] == 0
    assert run(here, "hold", *tenant, "--period", "2030-01-01..2030-01-02")[0] == 0
    erase(here, "--event", SECRET.event_id)
    argv = ("retain", *tenant, "--before", "2026-11-22", "--drop", "payloads")
    assert run(here, *argv)[0] == 0
    for kind, count in (("hold", 3), ("erasure", 1), ("retention", 1)):
        found = claims(here, kind)
        assert len(found) == count
        for detail in found:
            jsonschema.validate(detail, schema_of(kind))


def schema_of(kind: str) -> Any:
    folder = resources.files("intentproof_schemas") / "data"
    return json.loads((folder / f"{kind}.v1.schema.json").read_text())


def test_the_commands_of_the_page_are_commands() -> None:
    """Every line of docs/erasure.md that runs this program is one that it understands."""
    page = (REPOSITORY / "docs" / "erasure.md").read_text()
    lines = re.findall(r"^intentproof-otel (.+)$", page, re.MULTILINE)
    parser = commands()
    for line in lines:
        assert parser.parse_args(shlex.split(line, comments=True)).tenant == "acme"
    assert {line.split()[0] for line in lines} == {"erase", "retain", "hold"}


def test_a_list_of_indexes_takes_as_many_leaves_as_it_needs(here: Place) -> None:
    """Thousands of single leaves are named in several leaves of the log, each within its limit."""
    every = [event(n, correlation_id="a" if n % 2 else "b") for n in range(6000)]
    with here.ledger() as ledger:
        append(ledger, every)
    erase(here, "--correlation", "a")
    assert len(claims(here)) > 1
    assert sum(len(claim["log_indexes"]) for claim in claims(here)) == 3000
    assert verified(here).logs[0].erased["payload"] == 3000


def test_events_of_another_writer_are_told_and_left(here: Place) -> None:
    """Only its own home may write a log: exit code 8 says that something still stands there."""
    fill(here)
    with here.ledger(new_writer=True) as ledger:
        append(ledger, [event(70)])
    code, _, err = run(here, "erase", "--tenant", TENANT, "--event", SECRET.event_id, *YES)
    assert code == 8
    assert "which only its own home can write" in err


def test_a_disk_that_refuses_is_asked_again(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says that it is not done, the receiver takes events on, and does it later."""
    fill(here)
    real, calls = write_segment, []

    def full(*args: Any, **options: Any) -> tuple[int, str]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(revision, "write_segment", full)
    monkeypatch.setattr(fulfilment, "_RETRY_SECONDS", 1.0)
    tenant = ("erase", "--tenant", TENANT, "--event", SECRET.event_id, *YES)
    with plain_disk(), here.ledger() as ledger:
        code, _, err = run(here, *tenant)
        assert (code, "No space left" in err) == (1, True)
        assert append(ledger, [event(200)]).stored == 1
        until(lambda: not waiting_requests(here.home))
    assert len(claims(here)) == 1
    assert verified(here).logs[0].erased["payload"] == 2


def test_a_segment_that_was_touched_is_not_signed_again(here: Place) -> None:
    """Bytes that are not what was signed are left as they are: erasing beside them vouches not."""
    fill(here)
    path = segments_of(here)[0]
    raw = bytearray(path.read_bytes())
    raw[200] ^= 1
    path.write_bytes(raw)
    code, _, err = run(here, "erase", "--tenant", TENANT, "--event", SECRET.event_id, *YES)
    assert (code, "is not what was signed" in err) == (1, True)
    assert path.read_bytes() == raw
    assert "sha256_differs" in codes(judged(here))


def test_a_request_for_another_store_is_refused(here: Place, tmp_path: Path) -> None:
    """Indexes of one log mean nothing in another: the running receiver looks at the checkpoint."""
    fill(here)
    image = here.crash_image("copy")
    with image.ledger() as ledger:
        append(ledger, events(80, 90))
    with here.ledger() as ledger:
        append(ledger, [event(100)])
        (image.home / "lock").unlink()
        strange = Place(image.root)
        (strange.root / "home2").mkdir()
        code, _, err = run_elsewhere(strange, here)
    assert (code, "another store" in err) == (8, True)
    assert not read_log(here).details("erasure")


def run_elsewhere(store: Place, home: Place) -> tuple[int, str, str]:
    """Erase with the store of the one and the home of the other."""

    class Mixed(Place):
        @property
        def home(self) -> Path:
            return home.home

    argv = ("erase", "--tenant", TENANT, "--event", SECRET.event_id, *YES)
    return run(Mixed(store.root), *argv)


def test_a_store_that_cannot_be_opened_leaves_no_request(here: Place) -> None:
    """Where even a start is refused, exit code 8 says so, and nothing is asked of later ones."""
    fill(here)
    segments_of(here)[1].unlink()  # less than was signed
    code, _, err = run(here, "erase", "--tenant", TENANT, "--event", SECRET.event_id, *YES)
    assert (code, "restored or incomplete" in err) == (8, True)
    assert not waiting_requests(here.home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_another_user_than_the_home_s_is_refused(here: Place) -> None:
    """The receiver could not read what root left in its home."""
    fill(here)
    os.chown(here.home, 12_345, -1)
    code, _, err = run(here, "erase", "--tenant", TENANT, "--event", SECRET.event_id, *YES)
    assert (code, "run this as that user" in err) == (6, True)
    assert not waiting_requests(here.home)


def test_damaged_hot_bytes_that_go_too_are_told_before(here: Place) -> None:
    """A dry run names their folder, because files of other tenants' bytes are among them."""
    fill(here)
    aside = here.hot / here.writer / "set-aside"
    aside.mkdir(parents=True)
    (aside / "1.frames").write_bytes(b"damaged")
    tenant = ("erase", "--tenant", TENANT, "--event", SECRET.event_id)
    assert "1 file of damaged hot bytes" in run(here, *tenant, "--dry-run")[2]
    assert (aside / "1.frames").exists()
    assert run(here, *tenant, *YES)[0] == 0
    assert not list(aside.iterdir())


def test_answers_that_nobody_took_do_not_stay(here: Place) -> None:
    """What somebody killed left goes at a start: half an answer at once, the rest after a day."""
    fill(here)
    folder = here.home / "requests"
    folder.mkdir()
    kept = {"1-new.answer", ".1-asks-now.request.7.8.tmp"}
    old = {"1-old.answer", ".1-asked.request.7.8.tmp"}
    for name in (*kept, *old, ".1-new.answer.7.8.tmp"):
        (folder / name).write_bytes(b"{}")
    for name in old:
        os.utime(folder / name, (0, 0))
    with here.ledger():
        pass
    assert {path.name for path in folder.iterdir()} == kept


def test_a_broken_request_file_stops_nothing(here: Place) -> None:
    """It is answered as refused and put away, and the receiver goes on."""
    with here.ledger() as ledger:
        append(ledger, [event(1)])
        folder = here.home / "requests"
        folder.mkdir()
        (folder / "1-x.request").write_bytes(b"{")
        until(lambda: not waiting_requests(here.home))
        assert json.loads((folder / "1-x.answer").read_bytes())["outcome"] == "refused"
        assert append(ledger, [event(2)]).stored == 1


def test_events_are_taken_while_others_are_erased(here: Place) -> None:
    """A receiver answers its callers meanwhile, and nothing that it acknowledged is lost."""
    fill(here)
    with here.ledger(seal_rows=50) as ledger:
        taken = keep_appending(ledger, here)
    log = check_sealed(here)
    assert {event(n).event_id for n in range(1000, 1000 + taken)} <= set(log.ids())
    assert verified(here).outcome is Outcome.VERIFIED


def keep_appending(ledger: Ledger, where: Place) -> int:
    thread = threading.Thread(target=erase, args=[where, "--event", SECRET.event_id])
    thread.start()
    taken = 0
    while thread.is_alive() or not taken:
        append(ledger, [event(1000 + taken)])
        taken += 1
    thread.join()
    return taken
