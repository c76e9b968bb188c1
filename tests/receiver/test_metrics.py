"""Metrics: every place where an event can wait, be refused, be quarantined or be duplicated."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from intentproof_receiver.key_commands import create_key, run_revoke
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from tests.receiver import raw_grpc
from tests.receiver.serving import Served, served, until
from tests.receiver.support import (
    JSON,
    json_request,
    json_span,
    request_bytes,
    span_message,
)

# What a file of these names in the folder does to the process: faults cannot be had otherwise.
FAULTS = """
import errno, os, time
FOLDER = {folder!r}
def on(name): return os.path.exists(os.path.join(FOLDER, name))
write, now, get_footer = os.pwrite, time.time_ns, None
def pwrite(*args):
    while on("slow"): time.sleep(0.01)
    if on("full"): raise OSError(errno.ENOSPC, "No space left on device")
    return write(*args)
os.pwrite = pwrite
time.time_ns = lambda: now() - (3600 * 10**9 if on("back") else 0)
from intentproof_store import clerk
write_segment = clerk.write_segment
def refuse(*args, **options):
    if on("stuck"): raise OSError(errno.EIO, "Input/output error")
    return write_segment(*args, **options)
clerk.write_segment = refuse
"""
ENVIRON = {
    "INTENTPROOF_EXPORT_THREADS": "2",
    "INTENTPROOF_SEAL_ROWS": "40",
    "INTENTPROOF_CHECKPOINT_SECONDS": "1",
    "INTENTPROOF_MESSAGE_BYTES_MAX": str(1 << 20),
}
_numbers = iter(range(1000, 1_000_000))


class Place:
    """A running receiver whose faults can be switched on, and keys."""

    def __init__(self, folder: Path, running: Served, key: str) -> None:
        self.folder, self.running, self.key = folder, running, key

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        switch = self.folder / name
        switch.touch()
        try:
            yield
        finally:
            switch.unlink()

    def new_key(self, **more: Any) -> tuple[str, str]:
        record, key = create_key(self.folder / "home", tenant="acme", **more)
        return record.id, key

    def metric(self, name: str, **labels: str) -> float:
        return self.running.metric(f"intentproof_{name}", **labels)

    def post(self, count: int = 1, key: str = "", **headers: str) -> int:
        return self.running.post(new_spans(count), key or self.key, **headers)

    def settle(self) -> None:
        """Wait until nothing waits."""
        until(lambda: not self.metric("ledger_clerk_jobs"), what="an idle clerk")


def new_spans(count: int) -> bytes:
    return request_bytes(*(span_message(next(_numbers)) for _ in range(count)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("metrics")
    _, key = create_key(folder / "home", tenant="acme")
    prelude = FAULTS.format(folder=str(folder))
    with served(folder, environ=ENVIRON, prelude=prelude) as running:
        yield Place(folder, running, key)


def test_what_becomes_of_spans(place: Place) -> None:
    """Stored, duplicate, conflict, not kept and quarantined events are counted apart."""
    names = [
        ("events_total", {"result": "stored"}),
        ("events_total", {"result": "duplicate"}),
        ("events_total", {"result": "conflict"}),
        ("spans_total", {"fate": "not_kept"}),
        ("spans_total", {"fate": "quarantined"}),
        ("spans_total", {"fate": "rejected"}),
        ("rejected_spans_total", {"reason": "blank_intent"}),
    ]
    before = [place.metric(name, **labels) for name, labels in names]
    other = span_message(7, inputs="1")
    plain = span_message(8)
    del plain.attributes[:]
    bad = span_message(9, intent="")
    for span in (span_message(7), span_message(7), other, plain, bad):
        assert place.running.post(request_bytes(span), place.key) == 200
    after = [place.metric(name, **labels) for name, labels in names]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1, 1, 1, 1, 1]


def refused(place: Place, word: str) -> None:
    """Do what is answered so."""
    post = place.running.post
    body = new_spans(1)
    if word == "unauthenticated":
        assert post(body, "ipk_000000000000_" + "x" * 43) == 401
    elif word == "forbidden":
        assert post(body, place.new_key(roles=["read"])[1]) == 403
    elif word == "too_large":
        assert post(bytes(2 << 20), place.key) == 413
    elif word == "unsupported_media":
        assert post(body, place.key, content_encoding="br") == 415
    elif word == "invalid":
        assert post(b"\xff", place.key) == 400
    else:
        before = place.metric("refused_total", reason="store")
        with place.fault("full"):
            assert post(body, place.key) == 503
        assert place.metric("refused_total", reason="store") == before + 1
        assert place.post() == 200


@pytest.mark.parametrize(
    "word",
    ["unauthenticated", "forbidden", "too_large", "unsupported_media", "invalid", "unavailable"],
)
def test_refusals_over_http(place: Place, word: str) -> None:
    """Each kind of refusal has its outcome."""
    before = place.metric("requests_total", transport="http", outcome=word)
    refused(place, word)
    assert place.metric("requests_total", transport="http", outcome=word) == before + 1


def test_refusals_over_grpc(place: Place) -> None:
    """What the gRPC library refuses by itself is counted too: encodings and unreadable messages."""
    words = ("unsupported_encoding", "unreadable")
    before = [place.metric("requests_total", transport="grpc", outcome=word) for word in words]
    raw_grpc.call(place.running.grpc, b"abc", encoding="zstd", key=place.key)
    with grpc.insecure_channel(place.running.grpc) as channel:
        call: Any = channel.unary_unary(raw_grpc.EXPORT)
        with pytest.raises(grpc.RpcError):
            call(bytes(2 << 20), metadata=(("x-api-key", place.key),), timeout=20)

    def risen() -> bool:
        now = [place.metric("requests_total", transport="grpc", outcome=word) for word in words]
        return now == [count + 1 for count in before]

    until(risen, what="both counts")
    assert place.metric("native_lines_total") >= 1


def test_why_keys_are_refused(place: Place) -> None:
    """A missing, unknown, revoked and expired key are counted apart, and keys by state."""
    reasons = ("missing", "unknown", "revoked", "expired")
    before = [place.metric("unauthenticated_total", reason=reason) for reason in reasons]
    revoked_id, revoked = place.new_key()
    run_revoke(_arguments(place, revoked_id))
    _, expired = place.new_key()
    _expire(place, expired)
    unknown = "ipk_000000000000_" + "x" * 43
    for key in ("", unknown, revoked, expired):
        until(lambda key=key: place.running.post(b"", key) == 401, what="401")  # type: ignore[misc]
    after = [place.metric("unauthenticated_total", reason=reason) for reason in reasons]
    assert all(now > then for now, then in zip(after, before, strict=True))
    assert place.metric("keys", state="valid") >= 1
    assert place.metric("keys", state="revoked") >= 1
    assert place.metric("keys", state="expired") >= 1


def _arguments(place: Place, key_id: str) -> Any:
    return type("Arguments", (), {"home": place.folder / "home", "key_id": key_id})


def _expire(place: Place, key: str) -> None:
    """Put the end of a key into the past."""
    path = place.folder / "home" / "api-keys.json"
    entry = f'"id": "{key.split("_")[1]}"'
    head, _, tail = path.read_text().partition(entry)
    tail = tail.replace('"expires": ""', '"expires": "2026-01-01T00:00:00Z"', 1)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(head + entry + tail)
    unfinished.rename(path)


def test_the_next_expiry(place: Place) -> None:
    """When the next valid key expires is told as a time."""
    place.new_key(expires="90d")
    end = place.metric("key_next_expiry_timestamp_seconds")
    assert 0 < end - time.time() <= 90 * 86_400


def test_unreadable_keys(place: Place) -> None:
    """A file of keys that cannot be read is told."""
    path = place.folder / "home" / "api-keys.json"
    content = path.read_bytes()
    path.write_bytes(b"{")
    assert place.metric("keys_readable") == 0
    path.write_bytes(content)
    assert place.metric("keys_readable") == 1


def test_warnings(place: Place) -> None:
    """Requests with names in snake_case are counted."""
    before = place.metric("warned_requests_total")
    body = json_request(json_span()).replace(b"resourceSpans", b"resource_spans")
    assert place.running.post(body, place.key, content_type=JSON) == 200
    assert place.metric("warned_requests_total") == before + 1


def test_string_indices(place: Place) -> None:
    """Attributes by index are counted."""
    before = place.metric("strindex_texts_total")
    message = span_message(next(_numbers))
    message.attributes.add(key_strindex=3).value.string_value = os.urandom(8).hex()
    assert place.running.post(request_bytes(message), place.key) == 200
    assert place.metric("strindex_texts_total") == before + 1


def test_waiting_in_front_of_the_disk(place: Place) -> None:
    """While an fsync takes long, what waits shows in each place up to it, and goes again."""
    threads = [threading.Thread(target=place.post) for _ in range(4)]
    names = (
        "bytes_in_flight",
        "requests_in_flight",
        "requests_waiting",
        "bytes_waiting",
        "ledger_queued",
        "ledger_queued_bytes",
    )
    with place.fault("slow"):
        for thread in threads:
            thread.start()
        for name in names:
            until(lambda name=name: place.metric(name) > 0, what=name)  # type: ignore[misc]
    for thread in threads:
        thread.join(60)
    until(lambda: not any(map(place.metric, names)), what="the end of all waiting")


def test_stages(place: Place) -> None:
    """Each stage of a request is timed."""
    counts: dict[str, float] = {}
    for stage in ("authenticate", "admit", "read", "wait", "decode", "turn", "append"):
        counts[stage] = place.metric("stage_seconds_count", stage=stage)
    assert place.post() == 200
    for stage, count in counts.items():
        assert place.metric("stage_seconds_count", stage=stage) > count
    assert place.metric("export_seconds_count", transport="http") > 0


def test_the_event_loop(place: Place) -> None:
    """How late the event loop comes is measured all the time."""
    before = place.metric("event_loop_lag_seconds_count")
    until(lambda: place.metric("event_loop_lag_seconds_count") > before, what="a measurement")


def test_the_hot_log(place: Place) -> None:
    """Frames, fsyncs, hot rows and their age rise with an event."""
    names = ("ledger_frames_total", "ledger_fsyncs_total", "ledger_fsync_seconds_total")
    before = [place.metric(name) for name in names]
    leaves = place.metric("ledger_leaves")
    assert place.post(3) == 200
    assert all(place.metric(name) > then for name, then in zip(names, before, strict=True))
    assert place.metric("ledger_leaves") == leaves + 3
    assert place.metric("ledger_hot_rows") >= 3
    assert place.metric("ledger_hot_bytes") > 0
    assert place.metric("ledger_hot_age_seconds") > 0
    assert place.metric("ledger_healthy") == 1


def test_a_full_disk(place: Place) -> None:
    """A disk that refuses makes the ledger unhealthy, and what it refused is counted."""
    before = place.metric("ledger_refused_total")
    with place.fault("full"):
        assert place.post() == 503
        assert place.metric("ledger_healthy") == 0
    assert place.metric("ledger_refused_total") == before + 1
    assert place.post() == 200
    assert place.metric("ledger_healthy") == 1


def test_sealing_that_is_stuck(place: Place) -> None:
    """Segments that cannot be sealed wait, are tried again, and leave leaves unsigned."""
    segments = place.metric("ledger_segments_total")
    faults = place.metric("ledger_clerk_faults_total")
    with place.fault("stuck"):
        assert place.post(50) == 200
        until(lambda: place.metric("ledger_clerk_faults_total") > faults, what="a fault")
        assert place.metric("ledger_clerk_seals") >= 1
        assert place.metric("ledger_clerk_jobs") >= 1
        until(lambda: place.metric("ledger_unsigned_age_seconds") > 1, what="an old leaf")
    until(lambda: place.metric("ledger_segments_total") > segments, what="a segment")
    place.settle()


def test_a_clock_that_goes_back(place: Place) -> None:
    """A step back of the clock is counted with the gap that tells it."""
    before = place.metric("ledger_clock_steps_back_total")
    assert place.post() == 200
    with place.fault("back"):
        assert place.post() == 200
    assert place.metric("ledger_clock_steps_back_total") == before + 1


@pytest.mark.parametrize("folder", ["store", "hot", "home"])
def test_disks(place: Place, folder: str) -> None:
    """The room on each disk is told."""
    size = shutil.disk_usage(place.folder).total
    assert place.metric("disk_size_bytes", place=folder) == size
    assert 0 < place.metric("disk_free_bytes", place=folder) <= size


def test_versions_and_process(place: Place) -> None:
    """The version, the start and the limits of the process are told."""
    running = place.running
    assert place.metric("build_info") == 1
    assert running.metric("process_start_time_seconds") <= time.time() + 1
    assert running.metric("process_max_fds") > 0
    assert place.metric("message_bytes_max") == 1 << 20


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version="),
    ],
)
def test_formats(place: Place, accept: str, media_type: str) -> None:
    """Prometheus gets the format that it asks for."""
    status, page, headers = place.running.call("/metrics", accept=accept)
    assert status == 200
    assert headers["content-type"].startswith(media_type)
    assert page.endswith("# EOF\n") == bool(accept)


def test_openmetrics(place: Place) -> None:
    """The page is OpenMetrics to a strict parser, and no label names a tenant or a key."""
    assert place.post() == 200
    page = place.running.call("/metrics", accept="application/openmetrics-text")[1]
    families = list(openmetrics_families(page))  # type: ignore[no-untyped-call]
    assert len(families) > 40
    labels = {name for family in families for one in family.samples for name in one.labels}
    assert labels <= {
        *("transport", "outcome", "fate", "reason", "result", "stage", "state", "place"),
        *("le", "version", "python"),
    }
    assert "acme" not in page


def test_promtool_has_nothing_to_say(place: Place) -> None:
    """Prometheus' own linter accepts the names and units."""
    promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not promtool:
        pytest.skip("needs promtool, of Debian's package prometheus")
    page = place.running.call("/metrics")[1]
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
