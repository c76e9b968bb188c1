"""The files of TLS: what is refused, when they are read again, and what the doctor finds."""

import os
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from intentproof_receiver.certificate_commands import map_certificate
from intentproof_receiver.config import Config, load
from intentproof_receiver.errors import ConfigInvalid, TlsInvalid, Unsafe, Unusable
from intentproof_receiver.exposure import check_exposure, is_loopback
from intentproof_receiver.tls import Certificates, TlsFiles, read_material, tls_files
from intentproof_receiver.tls_findings import transport_security

from tests.receiver.tls_support import PORTS, SPIFFE, Pki, chain, put

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def files_of(pki: Pki) -> TlsFiles:
    return TlsFiles(pki.certificate, pki.key, pki.authorities)


def with_password(pki: Pki) -> bytes:
    key = load_pem_private_key(pki.key.read_bytes(), password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


def of_another_kind(pki: Pki) -> bytes:
    made = Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("certificate", None, "tls_certificate .*tls.crt: cannot be read: No such file"),
        ("certificate", lambda pki: b"", "tls_certificate .*: no certificate in PEM form"),
        ("certificate", lambda pki: chain(pki.issue()), "tls_key .*: does not belong to"),
        ("key", None, "tls_key .*tls.key: cannot be read: No such file"),
        ("key", lambda pki: b"-----BEGIN", "tls_key .*: no private key in PEM form"),
        ("key", with_password, "tls_key .*: is encrypted; keep it without a password"),
        ("key", of_another_kind, "tls_key .*: must be an RSA or ECDSA key"),
        ("authorities", None, "tls_client_ca .*clients.pem: cannot be read: No such file"),
        ("authorities", lambda pki: b"x", "tls_client_ca .*: no certificate in PEM form"),
    ],
)
def test_files_that_cannot_be_used(pki: Pki, name: str, content: Any, told: str) -> None:
    """What is missing, damaged or does not fit is named with its setting and what is wrong."""
    path = getattr(pki, name)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content(pki))
    with pytest.raises(TlsInvalid, match=told):
        read_material(files_of(pki))


def test_files_that_change_while_they_are_read(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ports get the same bytes, or none."""
    load_chain = ssl.SSLContext.load_cert_chain

    def slow(context: ssl.SSLContext, *args: Any, **options: Any) -> None:
        load_chain(context, *args, **options)
        pki.renew()

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", slow)
    with pytest.raises(TlsInvalid, match="changed while it was being read"):
        read_material(files_of(pki))


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_look_a_second(pki: Pki) -> None:
    """Files are looked at once a second at most."""
    clock = Seconds()
    certificates = Certificates(files_of(pki), clock=clock)
    first = certificates.current()
    pki.renew()
    clock.now = 0.9
    assert certificates.current() is first
    clock.now = 1.1
    assert certificates.current().chain == pki.certificate.read_bytes()


def test_a_folder_swapped_behind_links(pki: Pki) -> None:
    """A folder that is exchanged behind a link, as Kubernetes renews secrets, is seen."""
    folders = []
    for number in (1, 2):
        folder = pki.folder / str(number)
        folder.mkdir()
        folders.append(Pki(folder))
    link = pki.folder / "data"
    link.symlink_to("1")
    mounted = pki.folder / "mounted"
    mounted.mkdir()
    for name in ("tls.crt", "tls.key", "clients.pem"):
        (mounted / name).symlink_to(link / name)
    clock = Seconds()
    files = TlsFiles(mounted / "tls.crt", mounted / "tls.key", mounted / "clients.pem")
    certificates = Certificates(files, clock=clock)
    other = pki.folder / "other"
    other.symlink_to("2")
    other.replace(link)
    clock.now = 2.0
    assert certificates.current().chain == folders[1].certificate.read_bytes()


def test_a_file_completed_without_a_trace(pki: Pki) -> None:
    """What could not be used is tried again, though time and size are those of the failure."""
    clock = Seconds()
    certificates = Certificates(files_of(pki), clock=clock)
    first = certificates.current()
    made = pki.issue()
    put(pki.certificate, chain(made))
    good = made.private_key_pem.bytes()
    pki.key.write_bytes(b"x" * len(good))
    stat = pki.key.stat()
    clock.now = 2.0
    assert certificates.current() is first
    pki.key.write_bytes(good)
    os.utime(pki.key, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    clock.now = 4.0
    assert certificates.current().key == good


def samples(certificates: Certificates) -> Iterator[tuple[str, float]]:
    for metric in certificates.collect():
        for sample in metric.samples:
            yield f"{sample.name}{''.join(sample.labels.values())}", sample.value


def test_metrics(pki: Pki) -> None:
    """The time to expiry is told in seconds; a change that cannot be used counts once."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    made = pki.server_ca.issue_cert("localhost", not_after=ends)
    put(pki.key, made.private_key_pem.bytes())
    put(pki.certificate, chain(made))
    clock = Seconds()
    certificates = Certificates(files_of(pki), clock=clock)
    assert dict(samples(certificates))["intentproof_tls_certificate_expires_in_seconds"] > 3500
    pki.authorities.unlink()
    for clock.now in (2.0, 4.0, 6.0):
        found = dict(samples(certificates))
        assert found["intentproof_tls_renewals_totalrefused"] == 1
        assert found["intentproof_tls_certificate_expires_in_seconds"] <= 3600
    assert found["intentproof_tls_renewals_totaltaken"] == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tls_certificate: a", "tls_certificate in .*: needs tls_key beside it"),
        ("tls_key: a", "tls_key in .*: needs tls_certificate beside it"),
        ("tls_client_ca: a", "tls_client_ca in .*: needs tls_certificate and tls_key, too"),
        ("tls_key: 5", "tls_key in .*: must be a text"),
        ("insecure: 1", "insecure in .*: must be true or false"),
        ("insecure: 'true'", "insecure in .*: must be true or false"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, text: str, told: str) -> None:
    """A setting of TLS that lacks another one, or has a wrong type, is named."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=told):
        load(file=str(path), environ={}, flags={})


def test_settings_from_everywhere() -> None:
    """TLS is set as everything else, and a flag is named as it is written."""
    environ = {"INTENTPROOF_TLS_CERTIFICATE": "c", "INTENTPROOF_INSECURE": "TRUE"}
    config = load(environ=environ, flags={"tls_key": "k"})
    assert tls_files(config) == TlsFiles(Path("c"), Path("k"), None)
    assert config.insecure
    with pytest.raises(ConfigInvalid, match="from --tls-key: needs tls_certificate"):
        load(environ={}, flags={"tls_key": "k"})


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.255.0.9:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("[::ffff:10.0.0.1]:1", False),
        ("10.0.0.1:1", False),
        ("[fe80::1]:1", False),
    ],
)
def test_loopback(address: str, *, loopback: bool) -> None:
    """Loopback is what no network reaches; all addresses of the machine are not."""
    assert is_loopback(address) is loopback


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"])
def test_what_others_may_reach_needs_tls(port: str, address: str) -> None:
    """An address beyond loopback is refused without TLS, on either port, unless `insecure`."""
    given: dict[str, Any] = {port: address}
    exposed = replace(Config(), **given)
    with pytest.raises(Unsafe, match=f"--{port} .*tls_certificate.*--insecure"):
        check_exposure(exposed)
    check_exposure(replace(exposed, insecure=True))
    check_exposure(replace(exposed, tls_certificate=Path("c"), tls_key=Path("k")))
    check_exposure(Config())


def test_a_name_is_loopback_only_if_all_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name with one address that others may reach is not loopback."""
    found = [(0, 0, 0, "", ("127.0.0.1", 0)), (0, 0, 0, "", ("192.0.2.1", 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    assert not is_loopback("receiver.example:1")
    found.pop()
    assert is_loopback("receiver.example:1")


def test_a_name_that_nobody_knows() -> None:
    """A host name that does not resolve is named."""
    with pytest.raises(Unusable, match=r"nowhere\.invalid:1: the host name cannot be resolved"):
        is_loopback("nowhere.invalid:1")


def findings(pki: Pki, **more: Any) -> dict[str, tuple[str, str]]:
    config = Config(
        home=pki.folder / "home",
        tls_certificate=pki.certificate,
        tls_key=pki.key,
        tls_client_ca=pki.authorities,
    )
    told = transport_security(Config(**(vars(config) | more)), now=NOW.timestamp())
    return {subject.partition(" ")[0]: (state, mend) for subject, state, mend in told}


def test_the_doctor_likes_what_is_well(pki: Pki) -> None:
    """Files that fit, are valid for long and are not for all have nothing to mend."""
    map_certificate(pki.folder / "home", identity=SPIFFE, tenant="acme")
    found = findings(pki)
    assert set(found) == {"tls_certificate", "tls_key", "tls_client_ca", "client"}
    assert [mend for _, mend in found.values()] == [""] * 4
    assert findings(pki, tls_client_ca=None)["tls_client_ca"][1] == ""


@pytest.mark.parametrize(
    ("start", "end", "state", "mend"),
    [
        (timedelta(days=-9), timedelta(seconds=0), "expired on 2026-11-21", "renew it: clients"),
        (timedelta(days=-9), timedelta(days=13), "expires on 2026-12-04", "less than 14 days"),
        (timedelta(days=-9), timedelta(days=15), "valid until 2026-12-06", ""),
        (timedelta(seconds=1), timedelta(days=99), "not valid yet", "look at the clock"),
    ],
)
def test_the_doctor_knows_the_calendar(
    pki: Pki, start: timedelta, end: timedelta, state: str, mend: str
) -> None:
    """A certificate that is not valid, or not for long, is to be renewed."""
    made = pki.server_ca.issue_cert("localhost", not_before=NOW + start, not_after=NOW + end)
    put(pki.key, made.private_key_pem.bytes())
    put(pki.certificate, chain(made))
    found = findings(pki)["tls_certificate"]
    assert state in found[0]
    assert mend in found[1]
    assert bool(mend) == bool(found[1])


def test_the_doctor_finds_what_does_not_fit(pki: Pki) -> None:
    """Files that cannot be used are told, and that a running receiver keeps what it had."""
    put(pki.certificate, chain(pki.issue()))
    assert "does not belong" in findings(pki)["tls"][1]
    pki.renew()
    pki.authorities.unlink()
    assert "tls_client_ca" in findings(pki)["tls"][1]
    assert "keeps what it had" in findings(pki)["tls"][1]


def test_the_doctor_guards_the_key(pki: Pki) -> None:
    """A key that everybody may read is to be closed; a group, such as ssl-cert, is allowed."""
    pki.key.chmod(0o640)
    assert findings(pki)["tls_key"][1] == ""
    pki.key.chmod(0o644)
    assert findings(pki)["tls_key"][1] == f"chmod o= {pki.key}"


def test_the_doctor_and_mappings(pki: Pki) -> None:
    """Mappings that nobody can use or read are to be mended."""
    home = pki.folder / "home"
    map_certificate(home, identity=SPIFFE, tenant="acme")
    assert "set tls_client_ca" in findings(pki, tls_client_ca=None)["client"][1]
    (home / "client-certificates.json").write_bytes(b"{")
    assert "cannot be read" in findings(pki)["client"][1]


@pytest.mark.parametrize(
    ("address", "insecure", "state", "mend"),
    [
        ("127.0.0.1:0", False, "off, on loopback", ""),
        ("0.0.0.0:0", True, "keys cross in clear", ""),
        ("0.0.0.0:0", False, "`serve` refuses", "set tls_certificate"),
        ("nowhere.invalid:0", False, "unknown", "cannot be resolved"),
    ],
)
def test_the_doctor_without_tls(address: str, *, insecure: bool, state: str, mend: str) -> None:
    """Without TLS the doctor says of each address whether that is safe, and what to do."""
    config = Config(grpc=address, http="127.0.0.1:0", insecure=insecure)
    subject, found, remedy = next(iter(transport_security(config, now=NOW.timestamp())))
    assert subject == f"tls of grpc {address}"
    assert state in found
    assert mend in remedy
    assert bool(mend) == bool(remedy)
