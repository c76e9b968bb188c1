"""Who sends a request: what its headers and its connection show, and what that is worth.

The same on both transports.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from .client_certificates import MappingStore, identities_of
from .errors import Forbidden, Unauthenticated
from .keys import KeyStore, Principal
from .logs import log

_BEARER = "bearer "
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """An API key, and the client certificate (DER or PEM) that the TLS handshake has checked."""

    api_key: str | None = None
    certificate: bytes = b""


def api_key_of(headers: Mapping[str, str]) -> str | None:
    """The key in `x-api-key`, else in `authorization: Bearer …`. Names are lower case."""
    given = headers.get("x-api-key", "").strip()
    if given:
        return given
    authorization = headers.get("authorization", "").strip()
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return None


def authenticate(credentials: Credentials, *, keys: KeyStore, mappings: MappingStore) -> Principal:
    """The principal of a request. Tenant and roles come from a key or mapped certificate alone.

    1. A key must be valid, whatever else is shown.
    2. A certificate that is not mapped says nothing of a tenant: the key decides.
    3. With a key and a mapped certificate, both must name one tenant; the roles are what both have.

    Raises Unauthenticated or Forbidden where that is certain, KeysUnavailable or
    MappingsUnavailable where it cannot be known.
    """
    if credentials.api_key or not credentials.certificate:
        principal = keys.authenticate(credentials.api_key)  # (1)
        return _both(principal, credentials, mappings) if credentials.certificate else principal
    identities = identities_of(credentials.certificate)
    mapping = mappings.find(identities, must_exist=True)
    if mapping is None:
        # The names go to the log only: a client need not learn what is mapped.
        log(_log, logging.WARNING, "certificate_not_mapped", identities=list(identities))
        raise Unauthenticated("no API key, and this client certificate is not mapped to a tenant")
    return Principal(mapping.tenant, mapping.roles, identity=mapping.identity)


def _both(principal: Principal, credentials: Credentials, mappings: MappingStore) -> Principal:
    mapping = mappings.find(identities_of(credentials.certificate), must_exist=False)
    if mapping is None:
        return principal  # (2)
    if mapping.tenant != principal.tenant:  # (3)
        raise Forbidden("the API key and the client certificate are of different tenants")
    roles = tuple(role for role in principal.roles if role in mapping.roles)
    return Principal(principal.tenant, roles, principal.key_id, mapping.identity)
