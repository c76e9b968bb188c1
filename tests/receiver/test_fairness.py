"""A noisy tenant beside a quiet one, through a whole receiver, over both transports."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from intentproof_receiver.key_commands import create_key

from tests.receiver.support import request_bytes, span_message
from tests.receiver.test_serve import EXPORT, Process, process

THREADS = 3  # of the receiver
NOISY = 24  # requests of the noisy tenant that wait at any time
SPANS = 1500  # in each of them
QUIET = 6  # requests of the quiet tenant, one after the other, on each transport
IMPATIENCE_SECONDS = (
    0.1  # after which the noisy tenant comes back when refused, whatever it is told
)
# What one quiet request may be behind: the noisy requests that run, those that were taken from the
# queue before it came to each place where tenants take turns, and the answers on their way.
BOUND = 4 * THREADS


class Noise:
    """Clients of a tenant that send large requests as fast as they are answered."""

    def __init__(self, running: Process, key: str) -> None:
        self._running, self._key = running, key
        self._channel = grpc.insecure_channel(running.grpc)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.answers: Counter[str] = Counter()
        self.first = threading.Semaphore(0)
        half = NOISY // 2
        targets = [self._over_http] * half + [self._over_grpc] * half
        self._threads = [
            threading.Thread(target=self._send, args=(target, number))
            for number, target in enumerate(targets)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the last answers."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(120)
        self._channel.close()

    @property
    def taken(self) -> int:
        """Requests that were answered with success."""
        return self.answers["ok"]

    def _send(self, target: Any, number: int) -> None:
        body = request_bytes(*(span_message(number << 32 | n + 1) for n in range(SPANS)))
        taken = False
        while not (taken and self._stopped.is_set()):
            answer = target(body)
            with self._lock:
                self.answers[answer] += 1
            taken = taken or answer == "ok"
            self.first.release()
            if answer != "ok":
                self._stopped.wait(IMPATIENCE_SECONDS)

    def _over_http(self, body: bytes) -> str:
        status = self._running.post(body, self._key)
        return "ok" if status == 200 else str(status)

    def _over_grpc(self, body: bytes) -> str:
        call: Any = self._channel.unary_unary(EXPORT)
        try:
            call(body, metadata=(("x-api-key", self._key),), timeout=120)
        except grpc.RpcError as error:
            caught: Any = error
            return str(caught.code())
        return "ok"


@contextmanager
def noise(running: Process, key: str) -> Iterator[Noise]:
    made = Noise(running, key)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("requests_max", "refusals"),
    [(2 * NOISY, set()), (NOISY // 2, {"503", "StatusCode.UNAVAILABLE"})],
    ids=["queued", "refused"],
)
def test_a_noisy_tenant_does_not_starve_a_quiet_one(
    tmp_path: Path, requests_max: int, refusals: set[str]
) -> None:
    """Each request of the quiet tenant is taken, behind a bounded number of the noisy one's."""
    config = tmp_path / "receiver.yaml"
    limits = f"export_threads: {THREADS}\ntenant_requests_in_flight_max: {requests_max}\n"
    config.write_text(limits)
    loud = create_key(tmp_path / "home", tenant="noisy")[1]
    calm = create_key(tmp_path / "home", tenant="quiet")[1]
    with (
        process(tmp_path, "--config", str(config)) as running,
        grpc.insecure_channel(running.grpc) as channel,
    ):
        call: Any = channel.unary_unary(EXPORT)
        with noise(running, loud) as noisy:
            assert noisy.first.acquire(timeout=120)
            behind = []
            for number in range(QUIET):
                before = noisy.taken
                body = request_bytes(span_message(2 * number + 1))
                assert running.post(body, calm) == 200
                between = noisy.taken
                body = request_bytes(span_message(2 * number + 2))
                call(body, metadata=(("x-api-key", calm),), timeout=60)
                behind += [between - before, noisy.taken - between]
        text = running.get("/metrics")[1]
        assert set(noisy.answers) - {"ok"} <= refusals
        assert bool(refusals) == (noisy.answers.total() > noisy.taken)
        assert max(behind) <= BOUND < NOISY - THREADS, behind
        stored = 2 * QUIET + NOISY * SPANS
        assert f'intentproof_events_total{{result="stored"}} {stored}.0' in text
        assert running.stop() == 0
