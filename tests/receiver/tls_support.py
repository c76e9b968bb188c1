"""Certificates made on the spot, and clients of both ports that use them."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.receiver.support import PROTOBUF, request_bytes, span_message

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SPIFFE = "URI:spiffe://shop/collector"
PORTS = ("grpc", "http")


def until(met: Callable[..., Any], *args: Any, seconds: float = 30.0) -> Any:
    """What `met` returns of `args` once that is true; a failure after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = met(*args)
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("never")


def put(path: Path, content: bytes) -> Path:
    """Content that stands under a name at once, as renewal tools do it."""
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(content)
    return unfinished.replace(path)


def chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(one.bytes() for one in certificate.cert_chain_pems)


@dataclass
class Pki:
    """A server's certificate, and the CAs of both sides, as files."""

    folder: Path
    server_ca: trustme.CA = field(default_factory=trustme.CA)
    client_ca: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.certificate = self.folder / "tls.crt"
        self.key = self.folder / "tls.key"
        self.authorities = self.folder / "clients.pem"
        self.renew()
        put(self.authorities, self.client_ca.cert_pem.bytes())

    def renew(self) -> None:
        """A new certificate of the same CA, in place of the old one."""
        made = self.issue()
        put(self.key, made.private_key_pem.bytes())
        put(self.certificate, chain(made))
        self.key.chmod(0o600)

    def issue(self) -> trustme.LeafCert:
        return self.server_ca.issue_cert("localhost", "127.0.0.1", "::1")

    def client(self, *names: str, ca: trustme.CA | None = None, **more: Any) -> trustme.LeafCert:
        """A client's certificate with DNS names."""
        return (ca or self.client_ca).issue_cert(*(names or ("collector.shop.example",)), **more)

    def workload(self, uri: str) -> trustme.LeafCert:
        """A client's certificate with a URI and no other name, as SPIFFE has them."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self.client_ca.cert_pem.bytes())
        signer: Any = load_pem_private_key(self.client_ca.private_key_pem.bytes(), password=None)
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
            )
            .sign(signer, hashes.SHA256())
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return trustme.LeafCert(secret, made.public_bytes(Encoding.PEM), [])

    def flags(self, *, mutual: bool = False) -> list[str]:
        """What `serve` is told."""
        found = ["--tls-certificate", str(self.certificate), "--tls-key", str(self.key)]
        return [*found, *(("--tls-client-ca", str(self.authorities)) if mutual else ())]

    def trusting(self, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """A client's context that trusts the server's CA."""
        context = ssl.create_default_context(cadata=self.server_ca.cert_pem.bytes().decode())
        if client is not None:
            client.configure_cert(context)
        return context

    def channel(self, address: str, client: trustme.LeafCert | None = None) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(
            self.server_ca.cert_pem.bytes(),
            None if client is None else client.private_key_pem.bytes(),
            None if client is None else chain(client),
        )
        return grpc.secure_channel(address, credentials)

    def send(
        self,
        port: str,
        address: str,
        *,
        client: trustme.LeafCert | None = None,
        key: str | None = None,
        number: int = 1,
    ) -> str:
        """One span over a new connection: `OK`, the gRPC code or HTTP status, or `no connection`.

        Behind a status comes what the receiver said.
        """
        body = request_bytes(span_message(number))
        if port == "http":
            connection = HTTPSConnection(address, context=self.trusting(client), timeout=20)
            try:
                return post(connection, body, key)
            finally:
                connection.close()
        with self.channel(address, client) as channel:
            return call(channel, body, key)


def post(connection: HTTPSConnection, body: bytes = b"", key: str | None = None) -> str:
    """One request over a connection that stays open."""
    headers = {"content-type": PROTOBUF} | ({"x-api-key": key} if key else {})
    try:
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException):
        return "no connection"
    return "OK" if answer.status == 200 else f"{answer.status} {content!r}"


def call(channel: grpc.Channel, body: bytes = b"", key: str | None = None) -> str:
    """One request over a channel that stays open."""
    export: Any = channel.unary_unary(EXPORT)
    try:
        export(body, metadata=(("x-api-key", key),) if key else (), timeout=20)
    except grpc.RpcError as error:
        told: Any = error
        if told.code() is grpc.StatusCode.UNAVAILABLE and "connect" in told.details():
            return "no connection"
        return f"{told.code().name} {told.details()}"
    return "OK"
