"""Client certificates and tenants: names, mappings, and what a key beside them means."""

import json
import logging
from datetime import UTC, datetime
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from intentproof_receiver.certificate_commands import map_certificate
from intentproof_receiver.cli import main
from intentproof_receiver.client_certificates import FILE_NAME, MappingStore, identities_of
from intentproof_receiver.credentials import Credentials, authenticate
from intentproof_receiver.errors import (
    Forbidden,
    MappingsUnavailable,
    Unauthenticated,
)
from intentproof_receiver.key_commands import create_key
from intentproof_receiver.keys import KeyStore, Principal

from tests.receiver.test_serve import process
from tests.receiver.tls_support import PORTS, SPIFFE, Pki, call, post, put, until


def certificate(*names: x509.GeneralName, common: tuple[str, ...] = ()) -> bytes:
    """A certificate in DER with these names; nobody checks who signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


URI = x509.UniformResourceIdentifier("spiffe://shop/collector")
DNS = x509.DNSName("Collector.Shop.example")
SHOP = certificate(URI, DNS, common=("collector",))


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (SHOP, (SPIFFE, "DNS:collector.shop.example")),
        (certificate(DNS, URI), (SPIFFE, "DNS:collector.shop.example")),
        (certificate(DNS, common=("collector",)), ("DNS:collector.shop.example",)),
        (certificate(common=("collector",)), ("CN:collector",)),
        (certificate(common=("a\n", "b")), ("CN:b",)),
        (certificate(), ()),
        (b"", ()),
        (b"-----BEGIN CERTIFICATE-----", ()),
        (SHOP[:99], ()),
    ],
    ids=["all", "order", "DNS", "CN", "control", "none", "nothing", "PEM", "cut"],
)
def test_names(shown: bytes, names: tuple[str, ...]) -> None:
    """URIs come before DNS names, and the common name counts only where there are neither."""
    assert identities_of(shown) == names


def test_pem_is_read_as_der() -> None:
    """GRPC shows a certificate in PEM, HTTP in DER: the names are the same."""
    pem = x509.load_der_x509_certificate(SHOP).public_bytes(Encoding.PEM)
    assert identities_of(pem) == identities_of(SHOP)


class Gate:
    """Keys and mappings in one --home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def key(self, tenant: str = "acme", **more: list[str]) -> str:
        return create_key(self.home, tenant=tenant, roles=more.get("roles", ()))[1]

    def authenticate(
        self, key: str | None = None, shown: bytes = SHOP, *, now: float = 0.0
    ) -> Principal:
        return authenticate(
            Credentials(key, shown),
            keys=KeyStore(self.home),
            mappings=MappingStore(self.home, clock=lambda: now),
        )


@pytest.fixture
def gate(home: Path) -> Gate:
    return Gate(home)


@pytest.mark.parametrize("identity", [SPIFFE, "DNS:collector.shop.example"])
def test_a_mapped_certificate_is_enough(gate: Gate, identity: str) -> None:
    """Without a key, tenant and roles are those of the mapping."""
    map_certificate(gate.home, identity=identity, tenant="acme", roles=["ingest"])
    principal = gate.authenticate()
    assert principal == Principal("acme", ("ingest",), identity=identity)
    with pytest.raises(Forbidden, match="this client certificate does not have the role read"):
        principal.require("read")


def test_the_first_name_that_is_mapped_wins(gate: Gate) -> None:
    """Of two mapped names the URI decides, and after its expiry the next one."""
    map_certificate(gate.home, identity="DNS:Collector.shop.example", tenant="second")
    map_certificate(gate.home, identity=SPIFFE, tenant="first", expires="1d")
    assert gate.authenticate().tenant == "first"
    assert gate.authenticate(now=4e9).tenant == "second"


@pytest.mark.parametrize(
    "identity", ["URI:spiffe://shop/collector/x", "URI:spiffe://shop", "CN:collector", "DNS:shop"]
)
def test_only_exact_names_count(
    gate: Gate, identity: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate that is not mapped sends nothing, and its names stand in the log alone."""
    map_certificate(gate.home, identity=identity, tenant="acme")
    with pytest.raises(Unauthenticated, match=r"not mapped to a tenant$") as caught:
        gate.authenticate()
    assert "spiffe" not in str(caught.value)
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert SPIFFE in vars(record)["fields"]["identities"]


def test_an_expired_mapping_is_none(gate: Gate) -> None:
    """After its time a mapping lets nobody in, and contradicts no key."""
    map_certificate(gate.home, identity=SPIFFE, tenant="acme", expires="1d")
    with pytest.raises(Unauthenticated):
        gate.authenticate(now=4e9)
    assert gate.authenticate(gate.key("other"), now=4e9).tenant == "other"


def test_key_and_certificate_of_one_tenant(gate: Gate) -> None:
    """With both, the roles are those that both have."""
    map_certificate(gate.home, identity=SPIFFE, tenant="acme", roles=["read", "admin"])
    principal = gate.authenticate(gate.key(roles=["ingest", "read"]))
    assert (principal.tenant, principal.roles) == ("acme", ("read",))
    with pytest.raises(Forbidden, match="API key with this client certificate"):
        principal.require("ingest")


def test_key_and_certificate_of_two_tenants(gate: Gate) -> None:
    """A key of another tenant than the certificate's is refused, and neither is named."""
    map_certificate(gate.home, identity=SPIFFE, tenant="acme")
    with pytest.raises(Forbidden, match=r"are of different tenants$"):
        gate.authenticate(gate.key("other"))


def test_a_key_decides_where_the_certificate_is_not_mapped(gate: Gate) -> None:
    """Mutual TLS alone asks for no mapping, nor for a file of them."""
    assert gate.authenticate(gate.key("other")).tenant == "other"
    map_certificate(gate.home, identity="CN:x", tenant="acme")
    assert gate.authenticate(gate.key("other")).tenant == "other"


def test_a_wrong_key_is_not_mended_by_a_certificate(gate: Gate) -> None:
    """A key that is shown must be valid, whatever else is shown."""
    gate.key()
    map_certificate(gate.home, identity=SPIFFE, tenant="acme")
    with pytest.raises(Unauthenticated, match="unknown API key"):
        gate.authenticate("wrong")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"certificates": [{}]}',
        b'{"certificates": [{"identity":"x","tenant":"a","roles":[],"created":""}]}',
        b'{"certificates": [{"identity":"CN:x","tenant":"A","roles":[],"created":""}]}',
        b'{"certificates": [{"identity":"CN:x","tenant":"a","roles":[],"created":"soon"}]}',
    ],
)
def test_damage_is_our_fault(gate: Gate, content: bytes) -> None:
    """Where the mappings cannot be read nobody is refused for good, with or without a key."""
    key = gate.key()
    (gate.home / FILE_NAME).write_bytes(content)
    for shown in (None, key):
        with pytest.raises(MappingsUnavailable, match="cannot be read"):
            gate.authenticate(shown)
    assert gate.authenticate(key, b"").tenant == "acme"


def test_no_file_is_our_fault_too(gate: Gate) -> None:
    """Who shows a certificate alone may know of a mapping that we have lost."""
    with pytest.raises(MappingsUnavailable, match="certificates map"):
        gate.authenticate()


def test_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`certificates map` keeps a name, `list` shows it, and `unmap` ends it."""
    place = ["--home", str(home)]
    assert main(["certificates", "list", *place]) == 0
    more = ["--tenant", "acme", "--role", "ingest", "--expires", "2w"]
    assert main(["certificates", "map", SPIFFE, *more, *place]) == 0
    assert main(["certificates", "map", "DNS:A.example", "--tenant", "acme", *place]) == 0
    capsys.readouterr()
    assert main(["certificates", "list", *place]) == 0
    assert SPIFFE in capsys.readouterr().out
    assert main([*place, "certificates", "unmap", SPIFFE]) == 0
    assert main(["certificates", "list", "--json", *place]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["certificates"]
    assert (shown["identity"], shown["roles"]) == ("DNS:a.example", ["ingest", "read"])
    assert shown["expires"] is None
    assert main(["certificates", "unmap", "DNS:A.EXAMPLE", *place]) == 0
    assert main(["certificates", "unmap", SPIFFE, *place]) == 6
    assert "not mapped" in capsys.readouterr().err
    assert (home / FILE_NAME).stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("identity", ["spiffe://shop", "IP:10.0.0.1", "CN:", "CN: a", "CN:a\n"])
def test_names_that_cannot_be_mapped(
    home: Path, identity: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name needs its kind, so that no common name passes for a SPIFFE id."""
    assert main(["certificates", "map", identity, "--tenant", "a", "--home", str(home)]) == 6
    assert "URI:spiffe://" in capsys.readouterr().err
    assert not home.exists()


def test_over_both_ports(tmp_path: Path) -> None:
    """On both ports the certificate decides in the real service, request by request."""
    pki, home = Pki(tmp_path), tmp_path / "home"
    other = create_key(home, tenant="other")[1]
    mine = create_key(home, tenant="acme")[1]
    client = pki.workload("spiffe://shop/collector")
    map_certificate(home, identity=SPIFFE, tenant="acme")
    with process(tmp_path, *pki.flags(mutual=True)) as running:
        connection = HTTPSConnection(running.http, context=pki.trusting(client), timeout=20)
        with pki.channel(running.grpc, client) as channel:

            def send(port: str, key: str | None = None) -> str:
                if port == "grpc":
                    return call(channel, key=key)
                return post(connection, key=key)

            for port in PORTS:
                assert send(port) == "OK"
                assert send(port, mine) == "OK"
                refused = send(port, other)
                assert refused.startswith(("403 ", "PERMISSION_DENIED "))
                assert "different tenants" in refused
            content = (home / FILE_NAME).read_bytes()
            put(home / FILE_NAME, b"{")
            for port in PORTS:
                until(lambda port: send(port).startswith(("503 ", "UNAVAILABLE ")), port)
            put(home / FILE_NAME, content)
            for port in PORTS:
                until(lambda port: send(port) == "OK", port)
            expired = content.replace(b'"expires": ""', b'"expires": "2026-01-01T00:00:00Z"')
            put(home / FILE_NAME, expired)
            for port in PORTS:
                until(lambda port: send(port).startswith(("401 ", "UNAUTHENTICATED ")), port)
            put(home / FILE_NAME, content)
            for port in PORTS:
                until(lambda port: send(port) == "OK", port)
            assert main(["certificates", "unmap", SPIFFE, "--home", str(home)]) == 0
            for port in PORTS:
                refused = until(lambda port: send(port).removeprefix("OK"), port)
                assert refused.startswith(("401 ", "UNAUTHENTICATED "))
                assert "spiffe" not in refused
                assert send(port, other) == "OK"
        connection.close()
        assert running.until("certificate_not_mapped")["identities"] == [SPIFFE]
        assert running.stop() == 0
