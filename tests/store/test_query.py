"""SQL from outside: what it may do, what it may not, and how it is answered."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_store import QueryFailed, QueryRefused
from intentproof_store.query import ask, check_select
from intentproof_store.reader import Reader

from tests.store.reader_support import PAYLOAD, Site, event


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.keep([event(1), event(2)], tenant="acme")
    site.keep([event(3, inputs='"SECRET"')], tenant="globex")
    return site


def rows(reader: Reader, statement: str) -> list[tuple[Any, ...]]:
    return [row for chunk in ask(reader, statement).chunks for row in chunk]


def test_one_select_is_answered(site: Site) -> None:
    """A SELECT over the views gives its rows, names and types."""
    with site.reader() as reader:
        answer = ask(reader, "SELECT event_id, log_index FROM events ORDER BY 2;")
        assert answer.columns == ("event_id", "log_index")
        assert answer.types == ("VARCHAR", "BIGINT")
        assert [row for chunk in answer.chunks for row in chunk] == [("event-1", 1), ("event-2", 2)]


@pytest.mark.parametrize(
    "statement",
    [
        "WITH few AS (FROM events LIMIT 1) SELECT * FROM few JOIN traces USING (trace_id)",
        "FROM events",
        "DESCRIBE events",
        "SHOW TABLES",
        "SUMMARIZE traces",
        "VALUES (1)",
        "SELECT inputs ->> '$.amount' FROM events",
        "SELECT value FROM events, json_each(attributes)",
        "SELECT unnest(services) FROM traces",
        "SELECT * FROM range(3)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) FROM n",
        "SELECT date_trunc('hour', started_at) h, count(*) FROM events GROUP BY h",
        "SELECT count(*) OVER w FROM events WINDOW w AS (PARTITION BY trace_id)",
        "PIVOT events ON status IN ('ok', 'error') USING count(*)",
        "-- a remark\nSELECT 1 UNION SELECT 2",
    ],
)
def test_reading_is_allowed(site: Site, statement: str) -> None:
    """Whatever only reads the views is answered."""
    with site.reader() as reader:
        rows(reader, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        ";",
        "SELECT 1; SELECT 2",
        "COPY events TO 'out.csv'",
        "ATTACH 'x.db'",
        "PRAGMA version",
        "CALL pragma_version()",
        "SET threads = 1",
        "RESET threads",
        "INSTALL httpfs",
        "LOAD json",
        "CREATE TABLE t AS FROM events",
        "DROP VIEW events",
        "DELETE FROM ours.hot",
        "EXPORT DATABASE 'x'",
        "EXPLAIN ANALYZE SELECT 1",
        "BEGIN",
        "USE ours",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('events')",
        "SELECT * FROM json_execute_serialized_sql('{}')",
        "SELECT * FROM read_parquet('x')",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM GLOB('/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM enable_logging(storage = 'file', storage_path = 'x')",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM pandas_scan(1)",
    ],
)
def test_anything_else_is_refused(statement: str) -> None:
    """What is not one SELECT over the views is refused before anything of it runs."""
    with pytest.raises(QueryRefused):
        check_select(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "WITH x AS (COPY events TO 'out.csv') SELECT 1",
        "WITH x AS (INSERT INTO ours.hot FROM ours.hot RETURNING 1) FROM x",
        "SELECT (WITH x AS (COPY events TO 'out.csv') SELECT 1)",
        "SELECT 1 WHERE EXISTS (WITH x AS (DELETE FROM ours.hot) SELECT 1)",
    ],
)
def test_a_cte_may_not_write(statement: str) -> None:
    """What DuckDB 2 allows within a SELECT is refused; before, it was no SQL."""
    with pytest.raises((QueryRefused, QueryFailed)):
        check_select(statement)


@pytest.mark.parametrize(
    "statement",
    ["SELEC 1", "SELECT 'x", "SELECT \x00", "SELECT '\ud800'"],
    ids=["word", "quote", "null", "surrogate"],
)
def test_what_is_no_sql_fails(statement: str) -> None:
    """A text that cannot be parsed fails as SQL, and nothing of the engine's leaks out."""
    with pytest.raises(QueryFailed):
        check_select(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM nothing",
        "SELECT nothing FROM events",
        "SELECT getenv('HOME')",
        "SELECT $1",
        "SELECT 'x'::INTEGER",
        "SELECT error('no') FROM events",
        "SELECT '9999999-01-01'::DATE FROM range(2)",
    ],
)
def test_sql_that_fails_says_so(site: Site, statement: str) -> None:
    """What the engine or Python cannot do is QueryFailed, before or between rows."""
    with site.reader() as reader:
        try:
            found = rows(reader, statement)
        except QueryFailed:
            return
        assert statement.startswith("SELECT '9999999"), found


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "SELECT",
                "FROM",
                "events",
                "(",
                ")",
                "WITH x AS",
                "COPY",
                "TO",
                "'a'",
                ";",
                "*",
                "1",
                ",",
            ]
        )
    ).map(" ".join)
)
def test_any_text_is_judged(statement: str) -> None:
    """Whatever the text, it is passed, refused or failed with our own error."""
    try:
        check_select(statement)
    except (QueryRefused, QueryFailed):
        return


def test_nothing_of_another_tenant_is_reachable(site: Site) -> None:
    """Even a query that is let through reads no file but the tenant's own segments."""
    other = site.segments("globex")[0]
    with site.reader("acme") as reader:
        assert rows(reader, "SELECT count(*) FROM leaves WHERE inputs LIKE '%SECRET%'") == [(0,)]
        for name in (other, other.parent.parent / "**", site.home / "trusted.vkeys"):
            with pytest.raises(QueryFailed):
                rows(reader, f"SELECT * FROM '{name}'")
        with reader.cursor() as cursor:  # the engine alone, without our check of the statement
            for attempt in (
                f"SELECT * FROM read_parquet('{other}')",
                f"SELECT * FROM read_blob('{site.home / 'signing.key'}')",
                f"SELECT * FROM glob('{site.store}/**')",
                f"COPY (SELECT 1) TO '{site.root / 'out.csv'}'",
                f"ATTACH '{site.root / 'x.db'}'",
                "SET enable_external_access = true",
                "SET allowed_paths = ['/']",
                "LOAD httpfs",
            ):
                with pytest.raises(Exception, match=r"(?i)permission|locked|disabled|cannot"):
                    cursor.execute(attempt)
        assert not (site.root / "out.csv").exists()


def test_sealed_files_cannot_be_written(site: Site) -> None:
    """A COPY over the very file that the engine may read is refused, and the file unchanged."""
    path = site.segments("acme")[0]
    before = path.read_bytes()
    with site.reader("acme") as reader:
        for options in ("", " (USE_TMP_FILE false)"):
            with pytest.raises((QueryRefused, QueryFailed)):
                ask(reader, f"WITH x AS (COPY (SELECT 1) TO '{path}'{options}) SELECT 1")
    assert path.read_bytes() == before


def test_an_erased_revision_is_not_reachable(site: Site) -> None:
    """A superseded file is not among those that a query may open, even while it is there."""
    first = site.segments("acme")[0]
    site.erase(first, PAYLOAD)
    with site.reader("acme") as reader, pytest.raises(QueryFailed):
        rows(reader, f"SELECT inputs FROM '{first}'")


def test_python_variables_are_not_tables(site: Site) -> None:
    """A query does not see the objects of the process that runs it."""
    with site.reader() as reader, pytest.raises(QueryFailed):
        rows(reader, "SELECT * FROM site")
