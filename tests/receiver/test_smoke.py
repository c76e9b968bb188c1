"""The command `smoke`, against a real receiver."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from intentproof_receiver.cli import main
from intentproof_receiver.key_commands import create_key
from intentproof_store import Reader

from tests.receiver.serving import Served, served
from tests.receiver.tls_support import Pki


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="module")
def key_file(place: Path) -> Path:
    path = place / "key"
    path.write_text(create_key(place / "home", tenant="acme")[1] + "\n")
    return path


@pytest.fixture(scope="module")
def running(place: Path, key_file: Path) -> Iterator[Served]:
    with served(place) as running:
        yield running


def smoke(running: Served, key_file: Path, *more: str) -> int:
    argv = ["smoke", "--endpoint", f"http://{running.http}", "--key-file", str(key_file)]
    return main([*argv, *more])


def test_all_steps(
    running: Served, place: Path, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both transports, the resend, the log and verify have a line each, and it ends with 0."""
    places = ["--store", str(place / "store"), "--home", str(place / "home")]
    assert smoke(running, key_file, "--grpc-endpoint", running.grpc, *places) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "ok    ready",
        "ok    http sends",
        "ok    http sends again",
        "ok    http resend is recognised",
        "ok    grpc sends",
        "ok    grpc sends again",
        "ok    grpc resend is recognised",
        "ok    store",
        "ok    store",
        "ok    verify acme",
    ]
    assert "intentproof.smoke" in lines[-1]


def test_what_it_sends_is_marked(running: Served, place: Path, key_file: Path) -> None:
    """Its events have an action and a service of their own."""
    assert smoke(running, key_file) == 0
    with Reader(place / "store", home=place / "home") as reader:
        rows = reader.rows("SELECT DISTINCT action, service_name FROM events")
    assert rows == [{"action": "intentproof.smoke", "service_name": "intentproof-smoke"}]


def test_a_wrong_key_fails(
    running: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that is unknown fails the step that sends, with the receiver's reason."""
    wrong = tmp_path / "wrong"
    wrong.write_text("ipk_000000000000_" + "x" * 43)
    assert smoke(running, wrong, "--grpc-endpoint", running.grpc) == 1
    out = capsys.readouterr().out
    assert "FAIL  http sends: " in out
    assert "FAIL  grpc sends: " in out
    assert "unknown API key" in out


def test_nobody_there(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing listens it fails, and says where it looked."""
    argv = ["smoke", "--endpoint", "http://127.0.0.1:9", "--key-file", str(key_file)]
    assert main([*argv, "--timeout", "1"]) == 1
    assert "FAIL  ready: http://127.0.0.1:9/ready" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["--endpoint", "http://receiver.example:4318"],
        ["--grpc-endpoint", "receiver.example:4317"],
        ["--endpoint", "receiver.example"],
    ],
)
def test_a_key_does_not_go_in_clear(
    argv: list[str], key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key is sent to another machine without TLS only if that is asked for."""
    assert main(["smoke", "--key-file", str(key_file), *argv]) == 6
    assert argv[0] in capsys.readouterr().err


def test_a_key_file_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key file that cannot be read, or is empty, is wrong input."""
    empty = tmp_path / "empty"
    empty.touch()
    for path in (tmp_path / "missing", empty):
        assert main(["smoke", "--key-file", str(path)]) == 6
    assert capsys.readouterr().err.count("--key-file") == 2


def test_over_mutual_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a CA and a client certificate both transports are tried over TLS."""
    pki = Pki(tmp_path)
    key_file = tmp_path / "key"
    key_file.write_text(create_key(tmp_path / "home", tenant="acme")[1])
    ca, client = tmp_path / "ca.pem", pki.client_ca.issue_cert("collector.example")
    ca.write_bytes(pki.server_ca.cert_pem.bytes())
    (tmp_path / "client.crt").write_bytes(client.cert_chain_pems[0].bytes())
    (tmp_path / "client.key").write_bytes(client.private_key_pem.bytes())
    flags = ["--tls-certificate", str(pki.certificate), "--tls-key", str(pki.key)]
    with served(tmp_path, *flags, "--tls-client-ca", str(pki.authorities)) as running:
        argv = ["smoke", "--key-file", str(key_file), "--ca-file", str(ca)]
        argv += ["--endpoint", f"https://{running.http}", "--grpc-endpoint", running.grpc]
        identity = ["--client-cert", str(tmp_path / "client.crt")]
        identity += ["--client-key", str(tmp_path / "client.key")]
        assert main([*argv, *identity]) == 0
        out = capsys.readouterr().out
        assert "ok    http resend is recognised" in out
        assert "ok    grpc resend is recognised" in out
        assert main([*argv, "--timeout", "2"]) == 1  # without the client certificate
