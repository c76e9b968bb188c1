"""A real Collector before a real receiver over mutual TLS, with a certificate in place of a key."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from intentproof_receiver.certificate_commands import map_certificate

from tests.collector.application import (
    DECLARED,
    expected_events,
    send,
    spans_of_one_trace,
    trace_id_of,
    wait_until_delivery_failed,
)
from tests.collector.processes import ROOT, Collector, Process, Receiver, get, running
from tests.receiver.test_serve import process
from tests.receiver.tls_support import Pki, chain, put, until

pytestmark = [
    pytest.mark.collector,
    pytest.mark.long,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


@dataclass(frozen=True)
class MutualTls(Collector):
    """The Collector with the override of collector/README.md laid over its configuration."""

    @contextmanager
    def collecting(self) -> Iterator[Process]:
        override = ROOT / "collector" / "client-certificate.yaml"
        argv = [str(self.binary), f"--config={self.config}", f"--config={override}"]
        files = {
            "INTENTPROOF_CA_FILE": str(self.folder / "ca.pem"),
            "INTENTPROOF_CLIENT_CERTIFICATE_FILE": str(self.folder / "client.pem"),
            "INTENTPROOF_CLIENT_KEY_FILE": str(self.folder / "client.key"),
        }
        log = self.folder / "collector.log"
        with running(argv, log=log, env=self._environment | files) as process:
            process.wait_for(lambda: get(self.health.url) is not None, what="healthy Collector")
            yield process

    def show(self, certificate: trustme.LeafCert) -> None:
        """Put the client certificate where the Collector reads it."""
        put(self.folder / "client.key", certificate.private_key_pem.bytes())
        put(self.folder / "client.pem", chain(certificate))


def test_a_client_certificate_may_replace_the_key(collector_binary: Path, tmp_path: Path) -> None:
    """What was sent under a certificate that the receiver refuses is delivered under a good one."""
    pki = Pki(tmp_path)
    put(tmp_path / "ca.pem", pki.server_ca.cert_pem.bytes())
    map_certificate(tmp_path / "home", identity="DNS:collector.shop.example", tenant="acme")
    spans = spans_of_one_trace(DECLARED)
    hot = ("--hot", str(tmp_path / "hot"))  # where the commands below look
    with process(tmp_path, *hot, *pki.flags(mutual=True)) as serving:
        config = ROOT / "collector-config.yaml"
        unused = tmp_path / "no.key"
        collector = MutualTls(collector_binary, config, tmp_path, serving.grpc, unused)
        collector.show(pki.client(ca=trustme.CA()))
        with collector.collecting() as collecting:
            send(spans, collector)
            wait_until_delivery_failed(collecting)
        collector.show(pki.client())
        receiver = Receiver(tmp_path)
        wanted = sorted(expected_events(spans, "declared", DECLARED))
        query = f"SELECT span_id, provenance FROM events WHERE trace_id = '{trace_id_of(spans)}'"
        with collector.collecting():
            rows = until(lambda: receiver.sql(query), seconds=90)
        assert sorted((row["span_id"], row["provenance"]) for row in rows) == wanted
        assert serving.stop() == 0


def test_the_override_is_valid(collector_binary: Path, tmp_path: Path) -> None:
    """The real binary validates the override over the shipped configuration."""
    pki = Pki(tmp_path)
    client = pki.client()
    key = put(tmp_path / "client.key", client.private_key_pem.bytes())
    certificate = put(tmp_path / "client.pem", chain(client))
    configs = (ROOT / "collector-config.yaml", ROOT / "collector" / "client-certificate.yaml")
    done = subprocess.run(
        [str(collector_binary), "validate", *(f"--config={one}" for one in configs)],
        env={
            "INTENTPROOF_CLIENT_CERTIFICATE_FILE": str(certificate),
            "INTENTPROOF_CLIENT_KEY_FILE": str(key),
            "INTENTPROOF_COLLECTOR_QUEUE": str(tmp_path / "queue"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
