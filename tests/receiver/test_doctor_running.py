"""The doctor beside a receiver that runs, which it asks who is refused, and why."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from intentproof_receiver import doctor
from intentproof_receiver.checkup import Finding
from intentproof_receiver.config import Config
from intentproof_receiver.key_commands import create_key, run_revoke

from tests.receiver import raw_grpc
from tests.receiver.serving import Served, served, until
from tests.receiver.support import JSON, json_request, json_span, request_bytes, span_message
from tests.receiver.tls_support import Pki


def marks(findings: Iterable[Finding], word: str) -> list[str]:
    """The marks of the findings that say `word` anywhere."""
    return [one.mark for one in findings if any(word in text for text in one[:3])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    return create_key(folder / "home", tenant="acme")[1]


@pytest.fixture(scope="module")
def running(folder: Path, key: str) -> Iterator[Served]:
    with served(folder) as running:
        yield running


@pytest.fixture
def config(folder: Path, running: Served) -> Config:
    return Config(
        store=folder / "store", home=folder / "home", grpc=running.grpc, http=running.http
    )


def test_beside_a_receiver_that_runs(config: Config) -> None:
    """It works while `serve` holds the store, and knows the ports as our own."""
    findings = list(doctor.examine(config))
    assert [one.mark for one in findings if one.subject.startswith(("grpc", "http"))] == [
        "ok",
        "ok",
    ]
    assert marks(iter(findings), "ready, runs since") == ["ok"]


def test_settings_that_differ(config: Config) -> None:
    """A setting that was changed without a restart is told."""
    changed = replace(config, message_bytes_max=5 << 20)
    assert marks(doctor.examine(changed), "restart it") == ["NOTE"]


@pytest.mark.parametrize(
    ("cause", "word", "mark"),
    [
        ("zstd", "compression: gzip", "MEND"),
        ("damaged", "could not be read", "MEND"),
        ("too large", "(413)", "MEND"),
        ("media", "(415)", "MEND"),
        ("garbage", "(400)", "MEND"),
        ("method", "(405)", "NOTE"),
        ("revoked", "with a revoked key", "MEND"),
        ("unknown", "with an unknown key", "MEND"),
        ("missing", "without a key", "MEND"),
        ("forbidden", "--role ingest", "MEND"),
        ("snake_case", "snake_case", "MEND"),
        ("quarantine", "in quarantine", "NOTE"),
        ("conflict", "told differently", "NOTE"),
    ],
)
def test_symptoms(
    config: Config, running: Served, folder: Path, cause: str, word: str, mark: str
) -> None:
    """Whoever is refused for good shows in the doctor's words, with the cure."""
    assert marks(doctor.examine(config), word) == []
    provoke(cause, running, folder / "home")
    until(lambda: marks(doctor.examine(config), word) == [mark], what=word)


def provoke(cause: str, running: Served, home: Path) -> None:
    """Do what the symptom comes from."""
    record, key = create_key(home, tenant="acme")
    body = request_bytes(span_message())
    if cause == "zstd":
        raw_grpc.call(running.grpc, b"abc", encoding="zstd", key=key)
    elif cause == "damaged":
        raw_grpc.call(running.grpc, raw_grpc.damaged_gzip(), encoding="gzip", key=key)
    elif cause == "method":
        running.call("/v1/traces")
    elif cause == "revoked":
        run_revoke(type("Arguments", (), {"home": home, "key_id": record.id}))  # type: ignore[arg-type]
        until(lambda: running.post(body, key) == 401, what="401")
    elif cause == "forbidden":
        running.post(body, create_key(home, tenant="acme", roles=["read"])[1])
    elif cause == "snake_case":
        snake = json_request(json_span()).replace(b"resourceSpans", b"resource_spans")
        running.post(snake, key, content_type=JSON)
    elif cause == "conflict":
        for value in ("1", "2"):
            running.post(request_bytes(span_message(77, inputs=value)), key)
    else:
        bodies = {
            "garbage": b"\xff",
            "quarantine": request_bytes(span_message(intent="")),
            "too large": bytes((64 << 20) + 1),
        }
        keys = {"unknown": "ipk_000000000000_" + "x" * 43, "missing": ""}
        headers = {"content_type": "text/html"} if cause == "media" else {}
        running.post(bodies.get(cause, body), keys.get(cause, key), **headers)


def test_over_tls(tmp_path: Path) -> None:
    """A receiver that speaks TLS is asked over TLS."""
    pki = Pki(tmp_path)
    create_key(tmp_path / "home", tenant="acme")
    flags = ["--tls-certificate", str(pki.certificate), "--tls-key", str(pki.key)]
    with served(tmp_path, *flags) as running:
        config = Config(
            store=tmp_path / "store",
            home=tmp_path / "home",
            grpc=running.grpc,
            http=running.http,
            tls_certificate=pki.certificate,
            tls_key=pki.key,
        )
        assert marks(doctor.examine(config), "ready, runs since") == ["ok"]
