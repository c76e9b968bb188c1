"""A real time-stamping authority: certificates of its own, and `openssl ts -reply` behind it.

`Authority.answer` is what the authority says to one request; `listening` puts it behind HTTP, where
a test may have it refuse, stay silent or answer something else.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs openssl for a real TSA")
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_TST_INFO = "1.2.840.113549.1.9.16.1.4"  # RFC 3161 section 2.4.2: id-ct-TSTInfo
_GRANTED = bytes.fromhex("3003020100")  # PKIStatusInfo
_CONFIG = """
[tsa]
default_tsa = main
[main]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/embedded.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
clock_precision_digits = 3
tsa_name = yes
ess_cert_id_alg = sha256
"""


@dataclass(frozen=True)
class Authority:
    """A TSA in a folder: a root, an intermediate that signs it, and its own certificate."""

    folder: Path

    @property
    def roots(self) -> Path:
        return self.folder / "root.pem"

    def answer(self, query: bytes) -> bytes:
        """The authority's answer to a request (TimeStampReq, DER)."""
        (self.folder / "query.tsq").write_bytes(query)
        self.openssl("-reply", "-queryfile", "query.tsq", "-out", "answer.tsr", "-config", "t.cnf")
        return (self.folder / "answer.tsr").read_bytes()

    def signed_over(self, token: bytes) -> bytes:
        """What another authority's token says, signed with the certificate of this one.

        By `openssl cms`, which does not ask what a certificate may be used for, as `ts` does.
        """
        (self.folder / "of-other.tsr").write_bytes(token)
        self.openssl("-reply", "-in", "of-other.tsr", "-token_out", "-out", "of-other.der")
        verify = ("-verify", "-noverify", "-inform", "DER", "-in", "of-other.der")
        self.openssl(*verify, "-out", "info.der", tool="cms")
        sign = ("-sign", "-binary", "-nodetach", "-econtent_type", _TST_INFO, "-in", "info.der")
        own = ("-signer", "tsa.pem", "-inkey", "tsa.key", "-certfile", "embedded.pem")
        self.openssl(*sign, *own, "-outform", "DER", "-out", "signed.der", tool="cms")
        body = _GRANTED + (self.folder / "signed.der").read_bytes()
        return b"\x30\x82" + len(body).to_bytes(2, "big") + body  # TimeStampResp

    def openssl(self, *words: str, tool: str = "ts") -> str:
        assert OPENSSL is not None
        done = subprocess.run(
            [OPENSSL, tool, *words], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def authority(
    folder: Path,
    *,
    name: str = "Test TSA",
    kind: str = "ec",
    usage: bool = True,
    valid: tuple[datetime, datetime] | None = None,
) -> Authority:
    """A new authority; `usage` is whether its certificate may be used for time stamps."""
    folder.mkdir(parents=True)
    root_key, middle_key, own_key = _key("ec"), _key("ec"), _key(kind)
    root = _certificate(f"{name} Root", root_key, f"{name} Root", root_key)
    middle = _certificate(f"{name} Issuer", middle_key, f"{name} Root", root_key)
    own = _certificate(
        name, own_key, f"{name} Issuer", middle_key, stamps=True, usage=usage, valid=valid
    )
    pem = own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "tsa.key").write_bytes(pem)
    (folder / "tsa.pem").write_bytes(own.public_bytes(Encoding.PEM))
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    chain = [middle, root]  # as many authorities send it: not in the order that DER asks for
    (folder / "embedded.pem").write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in chain))
    (folder / "serial").write_text("01\n")
    (folder / "t.cnf").write_text(_CONFIG.format(folder=folder))
    return Authority(folder)


def _key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(
    name: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    stamps: bool = False,
    usage: bool = True,
    valid: tuple[datetime, datetime] | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    first, last = valid or (now - timedelta(days=400), now + timedelta(days=400))
    built = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=not stamps, path_length=None), critical=True)
    )
    if stamps:
        purpose = ExtendedKeyUsageOID.TIME_STAMPING if usage else ExtendedKeyUsageOID.CODE_SIGNING
        built = built.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    return built.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


Answer = Callable[[bytes], bytes]


@dataclass
class Listening:
    """An authority at a URL. `answer` may be put in its place; None refuses with 503."""

    url: str
    answer: Answer | None
    asked: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def listening(answer: Answer | None) -> Iterator[Listening]:
    """Serve answers at a free port of this machine until the block ends."""
    state = Listening("", answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.asked.append(query)
            body = b"" if state.answer is None else state.answer(query)
            self.send_response(503 if state.answer is None else 200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/tsa"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join(30)


def note_in(anchor: bytes) -> bytes:
    """The anchor within a file, as `sed '1,/^$/d'` takes it out."""
    return re.sub(rb"\A.*?\n\n", b"", anchor, count=1, flags=re.DOTALL)
