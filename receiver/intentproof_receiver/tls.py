"""The certificate, key and client CAs of both ports, read again when their files change.

What cannot be used never replaces what is in force: a certificate that was renamed into place
before its key, or half a file, is told and counted, and the connections go on with the old ones.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .config import Config
from .errors import TlsInvalid
from .homefile import Stamp, stamp_of
from .logs import log

LOOK_EVERY_S = 1.0
# TLS 1.2 with forward secrecy and authenticated encryption only; TLS 1.3 has no other. gRPC's own
# list is the same in substance.
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: chain with the server's own certificate first, its key, CAs of clients."""

    certificate: Path
    key: Path
    client_ca: Path | None

    def paths(self) -> tuple[Path, ...]:
        """All that are given."""
        given = (self.certificate, self.key, self.client_ca)
        return tuple(path for path in given if path is not None)


@dataclass(frozen=True)
class TlsMaterial:
    """What the files held at one moment, checked to fit together; the key is a secret."""

    chain: bytes
    key: bytes
    client_ca: bytes | None
    not_before: float
    not_after: float
    context: ssl.SSLContext


def tls_files(config: Config) -> TlsFiles | None:
    """The files that the settings name, None where TLS is off."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return TlsFiles(config.tls_certificate, config.tls_key, config.tls_client_ca)


def read_material(files: TlsFiles) -> TlsMaterial:
    """Read and check the files. Raises TlsInvalid, which names the setting and the file."""
    before = _stamps(files)
    chain = _read("tls_certificate", files.certificate)
    key = _read("tls_key", files.key)
    own = read_certificates("tls_certificate", files.certificate, chain)[0]
    if _public_key(key, files.key) != _spki(own):
        raise TlsInvalid(
            f"tls_key {files.key}: does not belong to the first certificate of {files.certificate}"
        )
    client_ca = None if files.client_ca is None else _read("tls_client_ca", files.client_ca)
    context = _context(files, client_ca)
    if _stamps(files) != before:  # the context reads the files itself: it must be the same ones
        raise TlsInvalid(f"tls_certificate {files.certificate}: changed while it was being read")
    return TlsMaterial(
        chain=chain,
        key=key,
        client_ca=client_ca,
        not_before=own.not_valid_before_utc.timestamp(),
        not_after=own.not_valid_after_utc.timestamp(),
        context=context,
    )


def read_certificates(setting: str, path: Path, content: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one. Raises TlsInvalid."""
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise TlsInvalid(f"{setting} {path}: no certificate in PEM form") from error


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsInvalid(f"{setting} {path}: cannot be read: {error.strerror}") from error


def _public_key(content: bytes, path: Path) -> bytes:
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:
        raise TlsInvalid(f"tls_key {path}: is encrypted; keep it without a password") from error
    except ValueError as error:
        raise TlsInvalid(f"tls_key {path}: no private key in PEM form") from error
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):  # all that gRPC knows
        raise TlsInvalid(f"tls_key {path}: must be an RSA or ECDSA key")
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _context(files: TlsFiles, client_ca: bytes | None) -> ssl.SSLContext:
    """The context of the HTTP port. A new one each time: a session never outlives its CAs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_1_2)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise TlsInvalid(f"tls_certificate {files.certificate}: {_reason(error)}") from error
    if client_ca is not None and files.client_ca is not None:
        authorities = read_certificates("tls_client_ca", files.client_ca, client_ca)
        try:
            context.load_verify_locations(
                cadata=b"".join(one.public_bytes(Encoding.DER) for one in authorities)
            )
        except OSError as error:
            raise TlsInvalid(f"tls_client_ca {files.client_ca}: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as gRPC: an intermediate CA will do
    return context


def _no_password() -> str:
    """Asked only if the file changed under us: without this OpenSSL asks the terminal."""
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def _stamps(files: TlsFiles) -> tuple[Stamp | None, ...]:
    return tuple(stamp_of(path) for path in files.paths())


class Certificates(Collector):
    """The material in force. Thread-safe; looks at the files at most once a second.

    It looks when a connection comes in or metrics are asked for: nothing else needs to know.
    Raises TlsInvalid at construction only.
    """

    def __init__(self, files: TlsFiles, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = _stamps(files)
        self._current = read_material(files)
        self._refused: object = None
        self._looked = clock()
        self._taken_count = self._refused_count = self._failed_count = 0

    @property
    def mutual(self) -> bool:
        """Whether clients must show a certificate."""
        return self._files.client_ca is not None

    def current(self) -> TlsMaterial:
        """What a new connection is to use."""
        with self._lock:
            if self._clock() - self._looked >= LOOK_EVERY_S:
                self._look()
                self._looked = self._clock()
            return self._current

    def count_failed_handshake(self) -> None:
        """Count a client of the HTTP port that could not be talked to."""
        with self._lock:
            self._failed_count += 1

    def _look(self) -> None:
        stamps = _stamps(self._files)
        if stamps == self._seen:
            self._refused = None
            return
        # Tried again at each look: a file may be completed without a trace in its time or size.
        try:
            self._current = read_material(self._files)
        except TlsInvalid as error:
            if stamps != self._refused:
                self._refused = stamps
                self._refused_count += 1
                log(_log, logging.ERROR, "tls_not_renewed", reason=str(error))
            return
        self._seen, self._refused = stamps, None
        self._taken_count += 1
        log(_log, logging.INFO, "tls_renewed", until=int(self._current.not_after))

    def collect(self) -> Iterable[Metric]:
        """Time to expiry and renewals."""
        left = self.current().not_after - time.time()
        yield GaugeMetricFamily(
            "intentproof_tls_certificate_expires_in_seconds",
            "Until the server's certificate expires; negative once it has",
            value=left,
        )
        renewals = CounterMetricFamily(
            "intentproof_tls_renewals",
            "Changes of the TLS files: taken, or refused and the old ones kept",
            labels=("result",),
        )
        renewals.add_metric(("taken",), self._taken_count)
        renewals.add_metric(("refused",), self._refused_count)
        yield renewals
        failures = CounterMetricFamily(
            "intentproof_tls_handshake_failures",
            "Connections that ended in the handshake; gRPC does not tell of its own",
            labels=("transport",),
        )
        failures.add_metric(("http",), self._failed_count)
        yield failures
