"""Settings: where they come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from intentproof_receiver.config import Config, default, load, validate
from intentproof_receiver.errors import ConfigInvalid


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return str(path)


def loaded(
    file: str | None = None, environ: "dict[str, str] | None" = None, **flags: Any
) -> Config:
    return load(file=file, environ=environ or {}, flags=flags)


def test_defaults_are_valid() -> None:
    """Without anything the settings are the defaults, which are valid."""
    assert loaded() == default()
    validate(default(), {})
    assert default().hot_folder == Path("proofs/hot")


def test_order(tmp_path: Path) -> None:
    """Flags win over the environment, that over the file, that over defaults."""
    file = written(tmp_path, "grpc: a:1\nhttp: b:2\nstore: s\nseal_seconds: 5\n")
    config = loaded(
        file, {"INTENTPROOF_HTTP": "c:3", "INTENTPROOF_STORE": "t", "OTHER": "x"}, store="u"
    )
    assert (config.grpc, config.http, config.store) == ("a:1", "c:3", Path("u"))
    assert config.seal_seconds == 5.0


def test_a_tenant_has_half_by_default(tmp_path: Path) -> None:
    """What one tenant may have in flight follows what all may, unless it is given."""
    config = loaded(written(tmp_path, "bytes_in_flight_max: 200000000"))
    assert (config.tenant_bytes_max, config.tenant_requests_max) == (100_000_000, 128)
    assert loaded(written(tmp_path, "requests_in_flight_max: 1")).tenant_requests_max == 1
    text = "tenant_bytes_in_flight_max: 70000000\ntenant_requests_in_flight_max: 3"
    config = loaded(written(tmp_path, text))
    assert (config.tenant_bytes_max, config.tenant_requests_max) == (70_000_000, 3)


def test_an_empty_file(tmp_path: Path) -> None:
    """An empty file changes nothing."""
    assert loaded(written(tmp_path, "# nothing\n")) == default()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seal_rowz: 5", "seal_rowz in .*: no such setting; there are .*seal_rows"),
        ("seal_rows: many", "seal_rows in .*: must be a whole number"),
        ("seal_rows: 1.5", "seal_rows in .*: must be a whole number"),
        ("seal_rows: true", "seal_rows in .*: must be a whole number"),
        ("seal_rows: 0", "seal_rows in .*: must be from 1 to 100000000"),
        ("seal_seconds: .nan", "seal_seconds in .*: must be from"),
        ("seal_seconds: x", "seal_seconds in .*: must be a number"),
        ("store: 5", "store in .*: must be a text"),
        ("grpc: 4317", "grpc in .*: must be a text"),
        ("grpc: ':4317'", "grpc in .*: must be HOST:PORT"),
        ("http: 'h:70000'", "http in .*: must be HOST:PORT"),
        ("log_name: A", "log_name in .*: must be 1 to 100"),
        ("log_level: loud", "log_level in .*: must be one of debug"),
        ("message_bytes_max: 100000000", "bytes_in_flight_max .default.: .* twice"),
        (
            "tenant_bytes_in_flight_max: 1000",
            "tenant_bytes_in_flight_max in .*: must be at least message_bytes_max .67108864.",
        ),
        (
            "tenant_bytes_in_flight_max: 134217729",
            "tenant_bytes_in_flight_max in .*: must be at most bytes_in_flight_max .134217728.",
        ),
        (
            "tenant_requests_in_flight_max: 257",
            "tenant_requests_in_flight_max in .*: must be at most requests_in_flight_max .256.",
        ),
        ("- a", "must be a mapping"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    """Each error names the key, the file and the limit."""
    with pytest.raises(ConfigInvalid, match=message):
        loaded(written(tmp_path, text))


def test_a_missing_file() -> None:
    """A file that is not there is named."""
    with pytest.raises(ConfigInvalid, match=r"/nowhere\.yaml"):
        loaded("/nowhere.yaml")


def test_bad_environment_and_flags() -> None:
    """An error names the variable or the flag that it comes from."""
    with pytest.raises(ConfigInvalid, match="from INTENTPROOF_EXPORT_THREADS: must be a whole"):
        loaded(environ={"INTENTPROOF_EXPORT_THREADS": "x"})
    with pytest.raises(ConfigInvalid, match="from --http: must be HOST:PORT"):
        loaded(http="x")
    assert loaded(environ={"INTENTPROOF_DRAIN_SECONDS": "1.5"}).drain_seconds == 1.5
    assert loaded(http="[::1]:0").http == "[::1]:0"


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Of a setting that is given twice in a file, none is taken in silence."""
    file = tmp_path / "receiver.yaml"
    file.write_text("seal_rows: 1\nseal_rows: 2\n")
    with pytest.raises(ConfigInvalid, match="seal_rows"):
        load(file=str(file), environ={}, flags={})
