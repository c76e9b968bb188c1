"""TLS and mutual TLS on both ports of the real service, with certificates made on the spot."""

import socket
import ssl
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import trustme
from intentproof_receiver.key_commands import create_key
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.receiver.test_serve import Process, finished, process
from tests.receiver.tls_support import PORTS, Pki, call, chain, post, put, until


@dataclass
class Secure:
    """A receiver with TLS, its certificates, and a key of tenant `acme`."""

    pki: Pki
    running: Process
    key: str

    def address(self, port: str) -> str:
        return self.running.grpc if port == "grpc" else self.running.http

    def send(self, port: str, **how: Any) -> str:
        return self.pki.send(port, self.address(port), **how)

    def metric(self, name: str, client: trustme.LeafCert | None = None) -> float:
        connection = HTTPSConnection(
            self.running.http, context=self.pki.trusting(client), timeout=20
        )
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def served(self, port: str, client: trustme.LeafCert | None = None) -> bytes:
        """The certificate that a new connection is shown."""
        host, number = self.address(port).split(":")
        context = self.pki.trusting(client)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection((host, int(number)), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            wanted = "h2" if port == "grpc" else "http/1.1"
            assert tls.selected_alpn_protocol() == wanted
            return tls.getpeercert(binary_form=True) or b""


def secure(folder: Path, *, mutual: bool) -> Iterator[Secure]:
    pki = Pki(folder)
    key = create_key(folder / "home", tenant="acme")[1]
    with process(folder, *pki.flags(mutual=mutual)) as running:
        yield Secure(pki, running, key)
        assert running.stop() == 0


@pytest.fixture(scope="module")
def one_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """TLS without client certificates; no test changes its files."""
    yield from secure(tmp_path_factory.mktemp("tls"), mutual=False)


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Mutual TLS; no test changes its files."""
    yield from secure(tmp_path_factory.mktemp("mtls"), mutual=True)


@pytest.fixture
def renewing(tmp_path: Path) -> Iterator[Secure]:
    """Mutual TLS of one test, whose files may change, and whose log no other test wrote to."""
    yield from secure(tmp_path, mutual=True)


def sdk_delivers(port: str, secure: Secure) -> bool:
    """Whether OpenTelemetry's own exporter delivers a span, set up by its environment."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span("x", attributes={"intentproof.intent": "Try"}).end()
    exporter: Any = GrpcExporter if port == "grpc" else HttpExporter
    path = "" if port == "grpc" else "/v1/traces"
    made = exporter(
        endpoint=f"https://{secure.address(port)}{path}",
        headers={"x-api-key": secure.key},
        timeout=2,
    )
    try:
        return bool(made.export(memory.get_finished_spans()) is SpanExportResult.SUCCESS)
    finally:
        made.shutdown()
        provider.shutdown()


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names the files of an exporter in the standard variables."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)  # the SDK lets them win over its own

    def name(ca: trustme.CA, client: trustme.LeafCert | None = None) -> None:
        files = {"CERTIFICATE": ca.cert_pem.bytes()}
        if client is not None:
            files["CLIENT_CERTIFICATE"] = chain(client)
            files["CLIENT_KEY"] = client.private_key_pem.bytes()
        for variable, content in files.items():
            path = put(tmp_path / variable, content)
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", str(path))

    return name


@pytest.mark.parametrize("port", PORTS)
def test_tls(one_way: Secure, sdk: Any, port: str) -> None:
    """With a certificate and a key, both ports speak TLS with OpenTelemetry's exporters."""
    sdk(one_way.pki.server_ca)
    assert sdk_delivers(port, one_way)
    shown = ssl.DER_cert_to_PEM_cert(one_way.served(port)).strip()
    assert shown == one_way.pki.certificate.read_text().strip()


@pytest.mark.parametrize("port", PORTS)
def test_mutual_tls(mutual: Secure, sdk: Any, port: str) -> None:
    """With CAs of clients, an exporter that shows a certificate of theirs gets through."""
    sdk(mutual.pki.server_ca, mutual.pki.client())
    assert sdk_delivers(port, mutual)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("who", ["nobody", "stranger", "expired"])
def test_whoever_has_no_certificate_gets_no_answer(mutual: Secure, port: str, who: str) -> None:
    """Without a valid certificate of the right CA the handshake fails: clients keep their data."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    client = {
        "nobody": None,
        "stranger": mutual.pki.client(ca=trustme.CA()),
        "expired": mutual.pki.client(not_after=yesterday),
    }[who]
    assert mutual.send(port, key=mutual.key, client=client) == "no connection"
    assert mutual.send(port, key=mutual.key, client=mutual.pki.client()) == "OK"


def test_a_failed_handshake_is_told(renewing: Secure) -> None:
    """Over HTTP a handshake that fails is logged with its reason, and counted."""
    client = renewing.pki.client()
    name = 'intentproof_tls_handshake_failures_total{transport="http"}'
    before = renewing.metric(name, client)
    renewing.send("http")
    line = renewing.running.until("tls_handshake_failed")
    assert line["reason"] == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    until(lambda: renewing.metric(name, client) > before)


def test_an_exporter_that_trusts_another_ca_delivers_nothing(one_way: Secure, sdk: Any) -> None:
    """A client that does not trust the certificate gives up by itself, and soon."""
    sdk(trustme.CA())
    assert not sdk_delivers("grpc", one_way)
    assert not sdk_delivers("http", one_way)


@pytest.mark.parametrize("port", PORTS)
def test_a_client_in_clear_on_a_tls_port(one_way: Secure, port: str) -> None:
    """Whoever speaks in clear to TLS is cut off at once, and others are served."""
    host, number = one_way.address(port).split(":")
    with socket.create_connection((host, int(number)), timeout=20) as plain:
        plain.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert b"200" not in received(plain)
    assert one_way.send(port, key=one_way.key) == "OK"


@pytest.mark.parametrize("port", PORTS)
def test_a_tls_client_on_a_port_in_clear(tmp_path: Path, port: str) -> None:
    """Whoever speaks TLS to a port in clear is cut off at once, and others are served."""
    pki = Pki(tmp_path)
    key = create_key(tmp_path / "home", tenant="acme")[1]
    with process(tmp_path) as running:
        host, number = (running.grpc if port == "grpc" else running.http).split(":")
        with (
            socket.create_connection((host, int(number)), timeout=20) as plain,
            pytest.raises(ssl.SSLError),
        ):
            pki.trusting().wrap_socket(plain, server_hostname=host)
        assert pki.send(port, f"{host}:{number}", key=key) == "no connection"
        assert running.post(b"", key) == 200


def received(plain: socket.socket) -> bytes:
    """All bytes until the other side ends."""
    found = b""
    try:
        while more := plain.recv(1000):
            found += more
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("port", PORTS)
def test_a_client_that_says_nothing_stops_nobody(one_way: Secure, port: str) -> None:
    """While a connection waits with its handshake, others are served."""
    host, number = one_way.address(port).split(":")
    with socket.create_connection((host, int(number)), timeout=20):
        assert one_way.send(port, key=one_way.key) == "OK"


@pytest.mark.parametrize("port", PORTS)
def test_old_versions_are_refused(one_way: Secure, port: str) -> None:
    """TLS 1.2 is the least that both ports speak."""
    host, number = one_way.address(port).split(":")
    context = one_way.pki.trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL itself would not offer what is old
    for version, name in (("TLSv1_2", "TLSv1.2"), ("TLSv1_1", None)):
        with warnings.catch_warnings(), socket.create_connection((host, int(number))) as plain:
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion[version]
            plain.settimeout(20)
            if name is None:
                with pytest.raises((ssl.SSLError, ConnectionResetError)):
                    context.wrap_socket(plain, server_hostname=host)
                continue
            with context.wrap_socket(plain, server_hostname=host) as tls:
                assert tls.version() == name
                assert "GCM" in str(tls.cipher()) or "CHACHA" in str(tls.cipher())


@pytest.mark.parametrize("client_ca", ["root", "intermediate"])
def test_an_intermediate_ca_will_do(tmp_path: Path, client_ca: str) -> None:
    """The CA of clients may be an intermediate one, and a client may send a chain to a root."""
    pki = Pki(tmp_path)
    between = pki.client_ca.create_child_ca()
    trusted = between if client_ca == "intermediate" else pki.client_ca
    put(pki.authorities, trusted.cert_pem.bytes())
    key = create_key(tmp_path / "home", tenant="acme")[1]
    with process(tmp_path, *pki.flags(mutual=True)) as running:
        client = pki.client(ca=between)
        assert pki.send("grpc", running.grpc, client=client, key=key) == "OK"
        assert pki.send("http", running.http, client=client, key=key) == "OK"


def test_renewal(renewing: Secure) -> None:
    """New connections get a renewed certificate within seconds, and open ones go on."""
    pki, client = renewing.pki, renewing.pki.client()
    connection = HTTPSConnection(renewing.running.http, context=pki.trusting(client), timeout=20)
    with pki.channel(renewing.running.grpc, client) as channel:
        assert post(connection, key=renewing.key) == "OK"
        assert call(channel, key=renewing.key) == "OK"
        before = connection.sock
        pki.renew()
        renewed = ssl.PEM_cert_to_DER_cert(pki.certificate.read_text())
        for port in PORTS:
            until(lambda port: renewing.served(port, client) == renewed, port)
        assert post(connection, key=renewing.key) == "OK"
        assert connection.sock is before
        assert call(channel, key=renewing.key) == "OK"
    connection.close()
    assert renewing.metric('intentproof_tls_renewals_total{result="taken"}', client) == 1


def test_a_certificate_without_its_key_changes_nothing(renewing: Secure) -> None:
    """Until certificate and key fit, the old ones serve; it is logged and counted once."""
    pki, client = renewing.pki, renewing.pki.client()
    old = {port: renewing.served(port, client) for port in PORTS}
    made = pki.issue()
    put(pki.certificate, chain(made))
    refused = 'intentproof_tls_renewals_total{result="refused"}'
    until(lambda: renewing.metric(refused, client) == 1)
    assert "does not belong" in renewing.running.until("tls_not_renewed")["reason"]
    put(pki.key, b"-----BEGIN PRIV")
    until(lambda: renewing.metric(refused, client) == 2)
    assert {port: renewing.served(port, client) for port in PORTS} == old
    put(pki.key, made.private_key_pem.bytes())
    new = ssl.PEM_cert_to_DER_cert(pki.certificate.read_text())
    for port in PORTS:
        until(lambda port: renewing.served(port, client) == new, port)
        assert renewing.send(port, key=renewing.key, client=client) == "OK"
    assert renewing.metric(refused, client) == 2


def test_a_ca_that_is_taken_away_is_trusted_no_more(renewing: Secure) -> None:
    """New connections need a certificate of the new CA, sessions of old ones notwithstanding."""
    pki, old = renewing.pki, renewing.pki.client()
    sessions = [session(renewing, old, version) for version in ("TLSv1_2", "TLSv1_3")]
    assert [resumed(renewing, *one) for one in sessions] == [True, True]
    other = trustme.CA()
    new = pki.client(ca=other)
    put(pki.authorities, other.cert_pem.bytes())
    for port in PORTS:
        until(lambda port: renewing.send(port, key=renewing.key, client=new) == "OK", port)
        assert renewing.send(port, key=renewing.key, client=old) == "no connection"
    for context, known in sessions:
        assert resumed(renewing, context, known) is None


def session(secure: Secure, client: trustme.LeafCert, version: str) -> Any:
    """A client's context, and the session of a connection that was answered."""
    context = secure.pki.trusting(client)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    host, number = secure.running.http.split(":")
    with (
        socket.create_connection((host, int(number)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        tls.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in tls.recv(1000)
        return context, tls.session


def resumed(secure: Secure, context: ssl.SSLContext, known: ssl.SSLSession) -> bool | None:
    """Whether a connection that brings a session resumes it; None if it gets no answer."""
    host, number = secure.running.http.split(":")
    with socket.create_connection((host, int(number)), timeout=20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host, session=known) as tls:
                tls.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
                return tls.session_reused if tls.recv(1000) else None
        except (ssl.SSLError, ConnectionError):
            return None


@pytest.mark.parametrize("flag", ["--grpc", "--http"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_beyond_loopback_tls_is_needed(tmp_path: Path, flag: str, address: str) -> None:
    """An address that others may reach is blocked with 8, named, and the remedy is told."""
    done = finished(tmp_path, flag, address)
    assert done.returncode == 8
    (line,) = done.stderr.splitlines()
    assert f"{flag} {address}" in line
    assert "tls_certificate" in line
    assert "--insecure" in line
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "more",
    [
        ("--grpc", "localhost:0", "--http", "localhost:0"),
        ("--grpc", "[::1]:0", "--http", "[::1]:0"),
        ("--grpc", "127.5.0.1:0"),
        ("--grpc", "0.0.0.0:0", "--http", "0.0.0.0:0", "--insecure"),
        ("--grpc", "[::]:0", "--http", "[::]:0", "tls"),
    ],
    ids=["localhost", "IPv6", "127.0.0.0/8", "insecure", "TLS"],
)
def test_what_may_listen(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Loopback needs no TLS, and beyond it TLS or `--insecure` will do."""
    given = [*more[:-1], *Pki(tmp_path).flags()] if more[-1] == "tls" else list(more)
    with process(tmp_path, *given) as running:
        assert running.stop() == 0


def test_insecure_in_the_environment(tmp_path: Path) -> None:
    """INTENTPROOF_INSECURE is true or false, and nothing else."""
    wide = ("--grpc", "0.0.0.0:0")
    assert finished(tmp_path, *wide, environ={"INTENTPROOF_INSECURE": "false"}).returncode == 8
    done = finished(tmp_path, *wide, environ={"INTENTPROOF_INSECURE": "1"})
    assert done.returncode == 6
    assert "INTENTPROOF_INSECURE: must be true or false" in done.stderr


def test_files_that_cannot_be_used_at_the_start(tmp_path: Path) -> None:
    """At the start there is nothing to fall back on: exit 6 with the file's name."""
    pki = Pki(tmp_path)
    pki.key.unlink()
    done = finished(tmp_path, *pki.flags())
    assert done.returncode == 6
    assert str(pki.key) in done.stderr.splitlines()[-1]
    assert not (tmp_path / "store").exists()
