"""RFC 3161 time stamps: asking for one, and what an answer proves to one who trusts its authority.

An authority's certificate is judged at the time that the token tells, not today: it expires, what
it stamped stays. Nothing here asks a network; revocation is not looked at. Pure, thread-safe.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from math import ceil

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from .errors import AuthoritiesInvalid, StampInvalid, StampUntrusted

TOKEN_BYTES_MAX = 1 << 20
_SHA256 = "2.16.840.1.101.3.4.2.1"
_SEQUENCE, _CONTEXT_0, _LONG_FORM = 0x30, 0xA0, 0x80
_CHAIN_MAX = 10
_MESSAGE_MAX = 300


@dataclass(frozen=True)
class Authorities:
    """Whose time stamps a reader trusts: root certificates, and such as lead to them."""

    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True)
class TokenRequest:
    """A question to an authority (TimeStampReq, DER), and what its answer must have."""

    query: bytes
    nonce: int
    digest: bytes


def read_authorities(pem: bytes) -> Authorities:
    """The certificates of a PEM file: self-issued ones are roots, the others may lead to them.

    Raises AuthoritiesInvalid.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        roots = tuple(one for one in certificates if one.issuer == one.subject)
    except ValueError as error:
        raise AuthoritiesInvalid("no certificates in PEM form") from error
    if not roots:
        raise AuthoritiesInvalid("no root certificate, which is one that issued itself")
    return Authorities(roots, tuple(one for one in certificates if one not in roots))


def request_token(message: bytes) -> TokenRequest:
    """The question for a stamp over the SHA-256 of `message`, with a new nonce."""
    request = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256).build()
    if request.nonce is None:
        raise StampInvalid("the request has no nonce")
    return TokenRequest(request.as_bytes(), request.nonce, hashlib.sha256(message).digest())


def check_token(raw: bytes, *, digest: bytes, nonce: int | None = None) -> int:
    """The time that a token claims, in Unix seconds; its signature is not looked at.

    1. It is a granted answer.
    2. It is of this SHA-256, 32 bytes.
    3. Where a nonce is given, it answers the request that had it.

    The time is a bound: the stamp was made before it, its fraction and the authority's own accuracy
    counted in. Raises StampInvalid.
    """
    try:
        response = _decode(raw)
        if response.status != 0:  # (1)
            words = "; ".join(response.status_string)
            raise StampInvalid(f"the authority refused: status {response.status} {words}".strip())
        told = response.tst_info
        imprint = told.message_imprint
        if imprint.hash_algorithm.dotted_string != _SHA256 or imprint.message != digest:  # (2)
            raise StampInvalid("the token is a stamp of something else")
        if nonce is not None and told.nonce != nonce:  # (3)
            raise StampInvalid("the token answers another request")
        # The library drops what is below a second.
        return int(told.gen_time.replace(tzinfo=UTC).timestamp()) + 1 + _accuracy(response)
    except StampInvalid:
        raise
    except Exception as error:  # damaged bytes make the library raise anything
        raise StampInvalid(f"the token cannot be read: {_short(error)}") from error


def verify_token(
    raw: bytes, *, digest: bytes, authorities: Authorities, nonce: int | None = None
) -> int:
    """As `check_token`, and that a trusted authority signed it; the time before which it did.

    4. The certificate of who signed names issuers that lead to a trusted root.
    5. The signature holds, each certificate up to that root was valid at the time that the token
       tells, and the signer's may be used for time stamps.

    Raises StampUntrusted where (4) fails, because then nothing is known of it, and StampInvalid.
    """
    seconds = check_token(raw, digest=digest, nonce=nonce)
    try:
        response = _decode(raw)
        if not _leads_to_root(response, authorities):  # (4)
            raise StampUntrusted("the token is of an authority that you do not trust")
        verifier = VerifierBuilder(
            roots=list(authorities.roots), intermediates=list(authorities.intermediates)
        ).build()
        verifier.verify(response, digest)  # (5)
    except StampInvalid:
        raise
    except VerificationError as error:
        raise StampInvalid(f"the token does not hold: {_reason(error)}") from error
    except Exception as error:
        raise StampInvalid(f"the token cannot be read: {_short(error)}") from error
    return seconds


def _decode(raw: bytes) -> TimeStampResponse:
    if len(raw) > TOKEN_BYTES_MAX:
        raise StampInvalid(f"{len(raw)} bytes, the limit is {TOKEN_BYTES_MAX}")
    return decode_timestamp_response(_in_der_order(raw))


def _accuracy(response: TimeStampResponse) -> int:
    accuracy = response.tst_info.accuracy
    if accuracy is None:
        return 0
    parts = (accuracy.seconds or 0, (accuracy.millis or 0) / 1e3, (accuracy.micros or 0) / 1e6)
    return ceil(sum(parts))


def _leads_to_root(response: TimeStampResponse, authorities: Authorities) -> bool:
    """Whether the signer claims to be of a trusted root, by the names in certificates alone."""
    embedded = [x509.load_der_x509_certificate(one) for one in response.signed_data.certificates]
    issuers = _by_subject((*authorities.intermediates, *embedded))
    roots = _by_subject(authorities.roots)
    names = [signer.issuer for signer in response.signed_data.signer_infos]
    for _ in range(_CHAIN_MAX):
        if any(name in roots for name in names):
            return True
        names = [issuers[name].issuer for name in names if name in issuers]
    return False


def _by_subject(certificates: Iterable[x509.Certificate]) -> dict[x509.Name, x509.Certificate]:
    return {one.subject: one for one in certificates}


def _in_der_order(raw: bytes) -> bytes:
    """The same answer with its certificates sorted, as DER wants a SET to be.

    OpenSSL's TSA and others write them as they come, and rfc3161-client refuses that. No signature
    covers their order (RFC 5652 section 5.4).
    """
    answer = _members(raw, 0, len(raw), _SEQUENCE)
    token = _members(raw, *answer[1][1:], _SEQUENCE) if len(answer) > 1 else []
    if len(token) < 2:
        return raw  # refused: there is no token
    content = _members(raw, *token[1][1:], _CONTEXT_0)
    for tag, start, end in _members(raw, *content[0][1:], _SEQUENCE) if content else []:
        if tag == _CONTEXT_0:
            found = _elements(raw, _body(raw, start, end), end)
            ordered = sorted(raw[first:last] for _, first, last in found)
            return raw[: _body(raw, start, end)] + b"".join(ordered) + raw[end:]
    return raw


def _members(raw: bytes, start: int, end: int, tag: int) -> list[tuple[int, int, int]]:
    """Tag, start and end of each element within the one that stands there. Raises StampInvalid."""
    outer = _elements(raw, start, end)
    if len(outer) != 1 or outer[0][0] != tag:
        raise StampInvalid("the token is not DER of a TimeStampResp")
    return _elements(raw, _body(raw, start, end), end)


def _elements(raw: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    found = []
    while start < end:
        body = _body(raw, start, end)
        length = raw[start + 1]
        if length >= _LONG_FORM:
            length = int.from_bytes(raw[start + 2 : body], "big")
        if body + length > end:
            raise StampInvalid("the token is cut off")
        found.append((raw[start], start, body + length))
        start = body + length
    return found


def _body(raw: bytes, start: int, end: int) -> int:
    """Where an element's content begins: after its tag and its definite length."""
    if end - start < 2:
        raise StampInvalid("the token is cut off")
    length = raw[start + 1]
    body = start + 2 + (length - _LONG_FORM if length >= _LONG_FORM else 0)
    if body > end:
        raise StampInvalid("the token is cut off")
    return body


def _reason(error: VerificationError) -> str:
    """What OpenSSL says of a chain or a signature, without where in its sources it says so."""
    text = str(error)
    said = re.findall(r'Verify error: ([^"]+)', text) or re.findall(r'reason: "([^"]+)"', text)
    return ", ".join(dict.fromkeys(said)) or _short(error)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_MAX]
