"""`make bench`, `make soak` and the row beside others: each measurement, tiny, that none rots."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.checkpointing import run_checkpoints
from bench.kernel import make_events, run_kernel
from bench.kernel import run_ours as run_ours_by_events
from bench.latency import Latency, latency_of, median_of
from bench.over_grpc import Answer
from bench.peers import PEERS, peer_workload, run_ours, run_peer
from bench.resident import MIB, Sample
from bench.soak import grown, miscounted, run_soak
from bench.throughput import over_http, run_served
from bench.whole import run_whole
from bench.workload import Again, make_workload

ROOT = Path(__file__).resolve().parents[2]

# A program that takes spans as MLflow does: told where to keep them, answering when it has.
STAND_IN = """#!{python}
import sqlite3, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        taken = self.path == "/v1/traces" and self.headers["x-mlflow-experiment-id"] == "0"
        request = ExportTraceServiceRequest.FromString(body)
        spans = request.resource_spans[0].scope_spans[0].spans
        with sqlite3.connect(database) as connection:
            connection.executemany("INSERT INTO spans VALUES (?)", [(s.span_id,) for s in spans])
        self.send_response(200 if taken else 422)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
database = flags["--backend-store-uri"].removeprefix("sqlite:///")
with sqlite3.connect(database) as connection:
    connection.execute("CREATE TABLE spans (id BLOB)")
ThreadingHTTPServer((flags["--host"], int(flags["--port"])), Handler).serve_forever()
"""


def test_the_table_has_every_row(tmp_path: Path) -> None:
    """`python -m bench` measures everything once and says of peers that are not there how to."""
    tiny = ["--runs", "1", "--spans", "600", "--seconds", "0.5", "--events", "600"]
    tiny += ["--kernel-events", "50"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *tiny, "--peers", str(tmp_path), "--peer-spans", "200"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for row in (
        *("floor:", "export(bytes)", "over gRPC", "highest memory", "over HTTP"),
        *("at 1,000/s", "at 10,000/s", "at 25,000/s", "sealed size", "verify; 1 core"),
        *("verify's highest memory, 600 events", "verify's highest memory, 60 events"),
        *(
            "one trace among",
            "the receipt of one event among 600",
            "checkpoints at seals",
            "with one each second",
        ),
        *("50 events, each durable", "by receipt-kernel 0.1.0", "ours, 512 at once"),
        *("stored of 200 spans", "mlflow", "phoenix"),
    ):
        assert row in done.stdout
    assert done.stderr.count(" s)\n") == 5
    assert done.stdout.count("not installed: make peers") == len(PEERS)


def test_a_log_that_the_kernel_refuses_is_no_figure(tmp_path: Path) -> None:
    """Both keep and verify the same events; a log in which an event differs is an error."""
    events = make_events(5)
    for found in (
        run_kernel(events, tmp_path),
        run_ours_by_events(events, tmp_path / "one"),
        run_ours_by_events(events, tmp_path / "many", batch=3),
    ):
        assert found.appended > 0
        assert found.verified > 0
    with pytest.raises(RuntimeError, match="8 events"):
        run_kernel(events[:3], tmp_path)  # a run that had five before


def test_checkpoints_are_counted_in_a_run(tmp_path: Path) -> None:
    """The share of checkpoints is of those of the run: genesis, and one over all its leaves."""
    found = run_checkpoints(make_workload(600), tmp_path)
    assert found.signed >= 2
    assert 0 < found.checkpoints < 1
    assert 0 < found.tree < 1


def test_a_soak_counts_what_it_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A soak of seconds acknowledges, finds and verifies each event once, and prints its lines."""
    soaked = run_soak(tmp_path, seconds=2, every=0.5, highest_spans=1024)
    assert [problem for problem in soaked.problems if not problem.startswith("memory")] == []
    assert soaked.sent > 1024
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if len(line.split()) == 9]) >= 2
    assert any("verify: verified" in line for line in printed)


def test_an_event_that_is_missing_fails_a_soak(tmp_path: Path) -> None:
    """What was sent and does not stand in `events` and in the logs is told with both numbers."""
    run_whole(make_workload(20), tmp_path)
    assert miscounted(tmp_path, 20) == []
    assert miscounted(tmp_path, 21) == ["events has 20 of 21 events", "leaves has 20 of 21 events"]


@pytest.mark.parametrize(("last_mib", "flat"), [(90, True), (109, True), (111, False)])
def test_memory_is_flat_up_to_a_tenth(last_mib: int, *, flat: bool) -> None:
    """Own memory may end a tenth above its second fifth; files and the warm-up do not count."""
    mebibytes = [500] * 20 + [100] * 20 + [300] * 40 + [last_mib] * 20
    samples = [Sample(at, (1000 + at) * MIB, own * MIB) for at, own in enumerate(mebibytes)]
    assert (grown(samples) == []) is flat


def test_the_load_of_a_soak_has_no_id_twice() -> None:
    """The spans that come again have other ids each time, and stay together in their traces."""
    requests = iter(Again(make_workload(30, spans_a_request=30)))
    ids: list[tuple[bytes, bytes]] = []
    for _ in range(3):
        raw, count = next(requests)
        (scope_spans,) = ExportTraceServiceRequest.FromString(raw).resource_spans[0].scope_spans
        assert count == len(scope_spans.spans) == 30
        ids += [(span.trace_id, span.span_id) for span in scope_spans.spans]
    assert len(set(ids)) == 90
    assert len({trace_id for trace_id, _ in ids}) == 3 * 4


def test_a_latency_is_of_every_answer() -> None:
    """The 99th percentile is the nearest rank, and several runs are told by their medians."""
    answers = [Answer(0.0, (100 - at) / 1000, 1) for at in range(100)]
    assert str(latency_of(answers)) == "50 / 99 ms"
    assert median_of([Latency(1, 9), Latency(3, 7), Latency(2, 8)]) == Latency(2, 8)
    assert str(latency_of([])) == "nan / nan ms"


def test_a_request_that_http_refuses_is_no_throughput(tmp_path: Path) -> None:
    """A run over HTTP in which a request was not answered 200 is an error, not a number."""
    workload = make_workload(10)
    broken = make_workload(10)
    broken.requests.append(b"\xff")
    assert run_served(workload, tmp_path / "good", over_http).events_a_second > 0
    with pytest.raises(RuntimeError, match="1 of 2 requests"):
        run_served(broken, tmp_path / "bad", over_http)


def test_peers_are_measured_as_we_are(tmp_path: Path) -> None:
    """Of a peer that is installed and of ours, what counts is found in the store."""
    program = tmp_path / "venvs" / "mlflow" / "bin" / "mlflow"
    program.parent.mkdir(parents=True)
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    workload = peer_workload(200)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    theirs.mkdir()
    for found in (
        run_ours(workload, ours),
        run_peer(PEERS[0], tmp_path / "venvs", workload, theirs),
    ):
        assert (found.sent, found.acknowledged, found.stored) == (200, 200, 200)
    with pytest.raises(FileNotFoundError):
        run_peer(PEERS[1], tmp_path / "venvs", workload, theirs)
