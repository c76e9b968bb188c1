"""What the tests of witnesses share: logs made of numbered leaves, and a witness as a process."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_store.cosignature import WitnessKey
from intentproof_store.extension import Extension
from intentproof_store.merkle import leaf_hash, root_of, subtree_root
from intentproof_store.note import Checkpoint, VerifierKey, parse_note, sign_note
from intentproof_store.proofs import consistency_proof

from tests.receiver.serving import COMMAND, until

ORIGIN = "log.example/acme/w-00000001"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NAME = "witness.example/1"


class Log:
    """A log of numbered leaves; `name` of the leaves tells one history from another."""

    def __init__(
        self, origin: str = ORIGIN, key: Ed25519PrivateKey = LOG_KEY, name: str = "leaf"
    ) -> None:
        self.origin, self.key, self.name = origin, key, name

    def hashes(self, size: int) -> list[bytes]:
        return [leaf_hash(f"{self.name} {n}".encode()) for n in range(size)]

    def vkey(self) -> str:
        return VerifierKey(self.origin, self.key.public_key().public_bytes_raw()).vkey()

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, root_of(self.hashes(size)))

    def note(self, size: int) -> bytes:
        return sign_note(self.checkpoint(size).text(), name=self.origin, key=self.key)

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        hashes = self.hashes(size)

        def node(level: int, index: int) -> bytes:
            return subtree_root(b"".join(hashes[index << level : (index + 1) << level]))

        return tuple(consistency_proof(old, size, node)) if old else ()

    def submission(self, old: int, size: int) -> bytes:
        return Extension(old, self.proof(old, size), self.note(size)).encode()


@dataclass
class Answer:
    status: int
    type: str
    body: bytes


@dataclass
class Witness:
    """A witness that runs; its log is read all the time."""

    popen: "subprocess.Popen[str]"
    lines: list[dict[str, Any]] = field(default_factory=list)

    def logged(self, event: str) -> dict[str, Any]:
        until(lambda: any(line["event"] == event for line in self.lines), what=event)
        return next(line for line in self.lines if line["event"] == event)

    @property
    def address(self) -> str:
        return str(self.logged("ready")["http"])

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def key(self) -> WitnessKey:
        return WitnessKey.parse(str(self.logged("ready")["vkey"]))

    def post(self, body: bytes, path: str = "/add-checkpoint", method: str = "POST") -> Answer:
        connection = HTTPConnection(self.address, timeout=20)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers.get("content-type", ""), answer.read())
        finally:
            connection.close()

    def cosigned_at(self, log: Log, size: int, answer: Answer) -> int:
        """The time of the one cosignature in an answer; raises where it does not hold."""
        (line,) = parse_note(log.note(size) + answer.body).signatures[1:]
        assert (line.name, line.key_id) == (self.key.name, self.key.key_id)
        return self.key.verify(log.checkpoint(size).text(), line.signature)

    def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)

    def read(self) -> None:
        assert self.popen.stderr is not None
        for text in self.popen.stderr:
            if re.match(r"\{", text):
                self.lines.append(json.loads(text))


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command of ours, run to its end."""
    run = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def witness(
    home: Path, logs: Sequence[Path], *more: str, http: str = "127.0.0.1:0", name: str = NAME
) -> Iterator[Witness]:
    """A witness of these logs on a free port."""
    given = ["--log", *map(str, logs)]
    popen = subprocess.Popen(
        [
            *(sys.executable, "-c", COMMAND, "witness", "serve"),
            *("--home", str(home), "--http", http, "--name", name, *given, *more),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    running = Witness(popen)
    reader = threading.Thread(target=running.read)
    reader.start()
    try:
        running.logged("ready")
        yield running
    finally:
        popen.kill()
        popen.wait(30)
        reader.join(30)
        assert popen.stderr is not None
        popen.stderr.close()


def vkeys_file(path: Path, *logs: Log) -> Path:
    path.write_text("".join(f"{log.vkey()}\n" for log in logs))
    return path
