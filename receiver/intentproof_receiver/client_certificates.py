"""Client certificates: the names in one, and the tenant and roles that a name is mapped to.

`client-certificates.json` in --home holds the mappings. A certificate is believed because the TLS
handshake checked it against tls_client_ca; here it is only read.
"""

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from intentproof_schemas import TENANT

from .errors import MappingsUnavailable
from .homefile import Watched

FILE_NAME = "client-certificates.json"
IDENTITY = re.compile(r"(?:URI|DNS|CN):[\x21-\x7e](?:[\x20-\x7e]{0,2046}[\x21-\x7e])?")
_BEGIN = b"-----BEGIN"


@dataclass(frozen=True)
class Mapping:
    """What a certificate's name stands for. Times are RFC 3339, "" where there is none."""

    identity: str
    tenant: str
    roles: tuple[str, ...]
    created: str
    expires: str = ""

    def has_expired(self, now: float) -> bool:
        """Whether its time has passed; `now` is in Unix seconds."""
        return bool(self.expires) and datetime.fromisoformat(self.expires).timestamp() <= now


@lru_cache(maxsize=1024)
def identities_of(certificate: bytes) -> tuple[str, ...]:
    """The names of a certificate in DER or PEM: those that may be mapped, the first one first.

    1. URIs of the subject alternative name, such as a SPIFFE id: `URI:spiffe://shop/collector`.
    2. Its DNS names, in lower case: `DNS:collector.shop.example`.
    3. The subject's common name, `CN:collector`, only where there is neither (RFC 6125 §6.4.4).

    Nothing where there is no such name, or the certificate cannot be read.
    """
    try:
        read = x509.load_pem_x509_certificate
        if not certificate.startswith(_BEGIN):
            read = x509.load_der_x509_certificate
        found = read(certificate)
        names = _alternative_names(found)
        if not names:
            common = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            names = [f"CN:{one.value!s}" for one in common]
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    return tuple(name for name in names if IDENTITY.fullmatch(name))


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = names.get_values_for_type(x509.DNSName)
    return [f"URI:{uri}" for uri in uris] + [f"DNS:{host.lower()}" for host in hosts]


def read_mappings(path: Path) -> dict[str, Mapping]:
    """The mappings in the file, by identity. Raises MappingsUnavailable if missing or damaged."""
    try:
        entries = json.loads(path.read_bytes())["certificates"]
        mappings = [_read_mapping(entry) for entry in entries]
    except FileNotFoundError as error:
        raise MappingsUnavailable(
            "there is no file of client certificates: make one with `certificates map`"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise MappingsUnavailable(
            f"the file of client certificates cannot be read: {why}"
        ) from error
    return {mapping.identity: mapping for mapping in mappings}


def mappings_text(mappings: dict[str, Mapping]) -> bytes:
    """The file's bytes."""
    entries = [asdict(mapping) for mapping in mappings.values()]
    return json.dumps({"version": 1, "certificates": entries}, indent=1).encode() + b"\n"


def _read_mapping(entry: Any) -> Mapping:
    mapping = Mapping(**{**entry, "roles": tuple(entry["roles"])})
    if not TENANT.fullmatch(mapping.tenant) or not IDENTITY.fullmatch(mapping.identity):
        raise ValueError("a damaged entry")
    for moment in (mapping.created, mapping.expires):
        if moment:
            datetime.fromisoformat(moment)
    return mapping


class MappingStore:
    """The mappings of a running receiver. Thread-safe; a change of the file counts in a second."""

    def __init__(self, home: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = home / FILE_NAME
        self._file = Watched(self._path, read_mappings)
        self._clock = clock

    def find(self, identities: Iterable[str], *, must_exist: bool) -> Mapping | None:
        """The mapping of the first name that has one; an expired one is as if it were not there.

        Raises MappingsUnavailable where that cannot be known; a missing file is no mapping, unless
        it `must_exist`.
        """
        if not must_exist and not self._path.exists():
            return None
        mappings = self._file.content()
        for identity in identities:
            mapping = mappings.get(identity)
            if mapping is not None and not mapping.has_expired(self._clock()):
                return mapping
        return None
