"""`export`: the events of a trace, a correlation id or a period, as a file."""

import argparse
import json
import os
import threading
from pathlib import Path

import pytest
from intentproof_store.commands import register as register_commands
from intentproof_store.errors import PeriodInvalid
from intentproof_store.export_commands import register
from intentproof_store.period import Period, read_period

from tests.store.reader_support import START_NS, Clock, Run, Site, append, event

DAY_NS = 86_400 * 10**9


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers(required=True)
        register_commands(subparsers)
        register(subparsers)
        places = argparse.Namespace(store=site.store, home=site.home, hot=site.hot)
        args = parser.parse_args(argv, places)
        capsys.readouterr()
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return command


def jsonl(run: Run, *asked: str) -> tuple[int, str, str]:
    return run("export", "--tenant", "acme", *asked, "--format", "jsonl", "-o", "-")


def ids(run: Run, *asked: str) -> list[str]:
    code, out, err = jsonl(run, *asked)
    assert (code, err) == (0, "")
    return [json.loads(line)["event"]["id"] for line in out.splitlines()]


def test_jsonl_is_what_the_reading_commands_show(site: Site, run: Run) -> None:
    """The lines of a trace and of a correlation id are those of `trace` and `correlation`."""
    site.keep([event(number) for number in range(20)])
    for command, option, value in (
        ("trace", "--trace", event(12).trace_id),
        ("correlation", "--correlation", "order-2"),
    ):
        shown = run(command, value, "--tenant", "acme", "--jsonl")
        assert shown[1].count("\n") >= 5
        assert jsonl(run, option, value) == shown


def test_period_is_by_receipt_and_ends_before_its_end(site: Site, run: Run) -> None:
    """A period takes what was received from its start on until before its end, in that order."""
    for day in range(3):
        clock = Clock(START_NS + day * DAY_NS)
        site.keep([event(10 * day + number) for number in (2, 1)], clock=clock)
    assert ids(run, "--period", "2026-11-21..2026-11-23") == [f"event-{n}" for n in (2, 1, 12, 11)]
    assert ids(run, "--period", "2026-11-23..2026-11-24") == ["event-22", "event-21"]
    first = json.loads(jsonl(run, "--period", "2026-11-22..2026-11-24")[1].splitlines()[0])
    at = first["received_at"]
    assert ids(run, "--period", f"{at}..2026-11-23T00:00:00Z") == ["event-12", "event-11"]
    assert jsonl(run, "--period", f"2026-11-22..{at}")[0] == 6


def test_hot_events_are_exported(site: Site, run: Run) -> None:
    """What was acknowledged a moment ago is in the export."""
    with site.ledger() as ledger:
        append(ledger, [event(1)])
        assert ids(run, "--period", "2026-11-21..2026-11-22") == ["event-1"]


def test_another_tenants_events_are_not_exported(site: Site, run: Run) -> None:
    """Only the tenant's own events are in it, also where ids are the same."""
    site.keep([event(1)], tenant="acme")
    site.keep([event(2)], tenant="other")
    assert ids(run, "--period", "2026-01-01..2027-01-01") == ["event-1"]
    assert ids(run, "--trace", event(1).trace_id) == ["event-1"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--trace", "f" * 32),
        ("--correlation", "no such order"),
        ("--period", "1999-01-01..1999-02-01"),
    ],
)
def test_unknown_ids_write_no_file(
    site: Site, run: Run, tmp_path: Path, option: str, value: str
) -> None:
    """Where nothing is known, a sentence says so, no file is made, and an old one stays."""
    site.keep([event(1)])
    file = tmp_path / "out.jsonl"
    for before in (None, b"old"):
        if before:
            file.write_bytes(before)
        argv = ("--tenant", "acme", option, value, "--format", "jsonl", "-o", str(file))
        code, out, err = run("export", *argv)
        assert (code, out) == (6, "")
        assert "nothing is known" in err
        assert (file.read_bytes() if file.exists() else None) == before


@pytest.mark.parametrize(
    "given",
    [
        "",
        "..",
        "2026-01-01",
        "2026-01-01..",
        "..2026-01-01",
        "2026-01-02..2026-01-01",
        "2026-01-01..2026-01-01",
        "2026-13-01..2027-01-01",
        "yesterday..today",
        "2026-01-01T00:00:00..2026-01-02T00:00:00",
        "2026-01-01..2026-01-02..2026-01-03",
    ],
)
def test_what_is_no_period_is_invalid(site: Site, run: Run, given: str) -> None:
    """Anything but two dates or instants in order is invalid input, with an example."""
    site.keep([event(1)])
    code, out, err = jsonl(run, f"--period={given}")
    assert (code, out) == (6, "")
    assert "2026-11-01..2026-12-01" in err
    with pytest.raises(PeriodInvalid):
        read_period(given)


def test_period_takes_dates_and_instants() -> None:
    """A date is its midnight UTC; an instant may have an offset and a fraction."""
    assert read_period("1970-01-01..1970-01-02") == Period(0, DAY_NS)
    assert read_period("1970-01-01T01:00:00.5+01:00..1970-01-01T00:00:01Z") == Period(
        500_000_000, 10**9
    )
    period = Period(1_500, 3_000_000)
    assert read_period(period.text()) == Period(1_000, 3_000_000)


def test_a_file_is_put_in_place_whole(site: Site, run: Run, tmp_path: Path) -> None:
    """The file appears under its name with everything in it, and nothing else is left beside."""
    site.keep([event(1), event(2)])
    folder = tmp_path / "out"
    asked = ("--tenant", "acme", "--trace", event(1).trace_id, "--format", "jsonl")
    assert run("export", *asked, "-o", str(folder / "x.jsonl")) == (0, "", "")
    assert [path.name for path in folder.iterdir()] == ["x.jsonl"]
    assert (folder / "x.jsonl").read_text() == jsonl(run, "--trace", event(1).trace_id)[1]
    code, _, err = run("export", *asked, "-o", str(folder))
    assert code == 6
    assert "cannot be written" in err
    assert [path.name for path in folder.iterdir()] == ["x.jsonl"]


def test_a_pipe_is_written_to_and_stays(site: Site, run: Run, tmp_path: Path) -> None:
    """A named pipe, or a device, is not replaced by a file."""
    site.keep([event(1)])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reading = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reading.start()
    asked = ("--tenant", "acme", "--trace", event(1).trace_id, "--format", "jsonl")
    assert run("export", *asked, "-o", str(pipe))[0] == 0
    reading.join(20)
    assert json.loads(got[0])["event"]["id"] == "event-1"
    assert pipe.is_fifo()


def test_a_malformed_question_is_invalid(site: Site, run: Run, tmp_path: Path) -> None:
    """A tenant or trace id that is none, and a store that is not there, exit with 6."""
    site.keep([event(1)])
    rest = ("--format", "jsonl", "-o", "-")
    trace = ("--trace", event(1).trace_id)
    assert run("export", "--tenant", "ACME", *trace, *rest)[0] == 6
    assert run("export", "--tenant", "acme", "--trace", "xyz", *rest)[0] == 6
    (site.root / "proofs").rename(site.root / "elsewhere")
    assert run("export", "--tenant", "acme", *trace, *rest)[0] == 6
