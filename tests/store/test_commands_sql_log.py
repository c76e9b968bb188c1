"""`sql` and `log`, as the console script runs them."""

import base64
import json
from pathlib import Path

import pytest

from tests.store.reader_support import (
    Run,
    Site,
    commander,
    event,
)

ERROR = '{"message":"no","name":"E"}'


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; its exit code, stdout and stderr."""
    return commander(site, capsys)


def test_sql_formats(site: Site, run: Run) -> None:
    """The same answer as a table, as JSON and as CSV."""
    site.keep([event(1)])
    query = ("sql", "SELECT event_id, 1 AS n FROM events", "--tenant", "acme")
    assert run(*query)[1] == "event_id  n\nevent-1   1\n(1 row)\n"
    assert json.loads(run(*query, "--format", "json")[1]) == [{"event_id": "event-1", "n": 1}]
    assert run(*query, "--format", "csv")[1].splitlines() == ["event_id,n", "event-1,1"]


def test_sql_of_all_tenants(site: Site, run: Run) -> None:
    """Without --tenant a query sees every tenant."""
    site.keep([event(1)], tenant="acme")
    site.keep([event(1)], tenant="globex")
    code, out, _ = run("sql", "SELECT DISTINCT tenant FROM events ORDER BY 1", "--format", "csv")
    assert (code, out.split()) == (0, ["tenant", "acme", "globex"])


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM evnts", 6),
        ("SELEC", 6),
        ("SELECT 1; SELECT 2", 8),
        ("DROP VIEW events", 8),
        ("SELECT * FROM read_text('/etc/passwd')", 8),
    ],
)
def test_sql_exit_codes(site: Site, run: Run, statement: str, code: int) -> None:
    """SQL that fails is invalid input, anything but one SELECT an unsafe operation."""
    site.keep([event(1)])
    got, out, err = run("sql", statement)
    assert (got, out) == (code, "")
    assert err


def test_what_is_left_out_is_told_on_stderr(site: Site, run: Run) -> None:
    """A file that is not read is named on stderr, and stdout stays one document."""
    site.keep([event(1)])
    (site.segments()[0].parent / "stray\x1b.parquet").write_bytes(b"x")
    code, out, err = run("trace", event(1).trace_id, "--tenant", "acme", "--json")
    assert code == 0
    assert len(json.loads(out)["events"]) == 1
    assert "stray\\u001b.parquet" in err


def test_log_list_shows_size_and_root(site: Site, run: Run) -> None:
    """Every log has its checkpoint's size and root, and whether a key of ours signed it."""
    site.keep([event(1)], tenant="acme")
    site.keep([event(1), event(2)], tenant="globex")
    code, out, _ = run("log", "list", "--json")
    logs = json.loads(out)["logs"]
    assert code == 0
    assert [(log["tenant"], log["size"], log["trusted"]) for log in logs] == [
        ("acme", 2, True),
        ("globex", 3, True),
    ]
    assert all(len(base64.b64decode(log["root"])) == 32 for log in logs)
    assert logs[0]["root"] in run("log", "list")[1]


def test_log_list_names_a_broken_checkpoint(site: Site, run: Run) -> None:
    """A checkpoint whose signature does not hold is a problem, and its numbers are not shown."""
    site.keep([event(1)])
    path = next(site.store.glob("log/acme/*/checkpoint.2"))
    path.write_bytes(path.read_bytes().replace(b"\n2\n", b"\n3\n"))
    log = json.loads(run("log", "list", "--json")[1])["logs"][0]
    assert (log["size"], log["root"]) == (0, None)
    assert "does not hold" in log["problem"]


def test_log_key_prints_vkeys(site: Site, run: Run) -> None:
    """The public keys of all logs, or of a tenant's, one a line."""
    site.keep([event(1)], tenant="acme")
    site.keep([event(1)], tenant="globex")
    assert len(run("log", "key")[1].splitlines()) == 2
    keys = run("log", "key", "--tenant", "globex")[1].splitlines()
    assert len(keys) == 1
    assert keys[0].startswith("intentproof.local/globex/")
