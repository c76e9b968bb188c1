"""What `doctor` finds about TLS and client certificates: what is looked at, its state, the remedy.

The remedy is "" where there is nothing to mend.
"""

import stat
import time
from collections.abc import Iterator

from .client_certificates import FILE_NAME, read_mappings
from .config import Config
from .errors import MappingsUnavailable, TlsInvalid, Unusable
from .exposure import is_loopback
from .tls import TlsFiles, read_certificates, read_material, tls_files

SOON_S = 14 * 86_400  # enough to renew in working hours
Told = tuple[str, str, str]


def transport_security(config: Config, *, now: float) -> Iterator[Told]:
    """Everything about TLS that files and settings show. `now` is in Unix seconds."""
    files = tls_files(config)
    if files is None:
        yield from _in_clear(config)
    else:
        yield from _files(files, now)
    yield from _mappings(config, now)


def certificates_may_send(config: Config, *, now: float) -> bool:
    """Whether a mapped client certificate may send, so that no key is needed."""
    path = config.home / FILE_NAME
    if config.tls_client_ca is None or not path.exists():
        return False
    try:
        mappings = read_mappings(path).values()
    except MappingsUnavailable:
        return False  # told by `transport_security`
    return any("ingest" in one.roles and not one.has_expired(now) for one in mappings)


def _in_clear(config: Config) -> Iterator[Told]:
    for name, address in (("grpc", config.grpc), ("http", config.http)):
        subject = f"tls of {name} {address}"
        try:
            loopback = is_loopback(address)
        except Unusable as error:
            yield subject, "unknown", str(error)
            continue
        if loopback:
            yield subject, "off, on loopback", ""
        elif config.insecure:
            yield subject, "off beyond loopback, as `insecure` allows: keys cross in clear", ""
        else:
            mend = "set tls_certificate and tls_key, or listen on 127.0.0.1, or say --insecure"
            yield subject, "off, and others can reach it: `serve` refuses", mend


def _files(files: TlsFiles, now: float) -> Iterator[Told]:
    subject = f"tls_certificate {files.certificate}"
    try:
        material = read_material(files)
    except TlsInvalid as error:
        mend = f"{error}; a receiver that runs keeps what it had"
        yield "tls", "the files cannot be used", mend
        return
    yield subject, *_validity(material.not_before, material.not_after, now)
    mode = stat.S_IMODE(files.key.stat().st_mode)
    others = bool(mode & stat.S_IRWXO)
    mend = f"chmod o= {files.key}" if others else ""
    yield f"tls_key {files.key}", "everybody may read it" if others else "fits, not for all", mend
    if files.client_ca is None or material.client_ca is None:
        yield "tls_client_ca", "not set: TLS without client certificates", ""
        return
    for one in read_certificates("tls_client_ca", files.client_ca, material.client_ca):
        state, mend = _validity(
            one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp(), now
        )
        yield f"tls_client_ca {one.subject.rfc4514_string()}", state, mend


def _validity(not_before: float, not_after: float, now: float) -> tuple[str, str]:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(not_after))
    if now < not_before:
        return "not valid yet", "look at the clock, or wait; clients refuse it until then"
    if now >= not_after:
        return f"expired on {until}", "renew it: clients refuse it"
    if now >= not_after - SOON_S:
        return f"expires on {until}", "renew it: less than 14 days are left"
    return f"valid until {until}", ""


def _mappings(config: Config, now: float) -> Iterator[Told]:
    path = config.home / FILE_NAME
    if not path.exists():
        return
    subject = f"client certificates {path}"
    try:
        mappings = read_mappings(path)
    except MappingsUnavailable as error:
        yield subject, "cannot be used", f"{error}; restore it, or map the certificates anew"
        return
    live = [one for one in mappings.values() if not one.has_expired(now)]
    state = f"{len(live)} of {len(mappings)} mappings in force"
    unused = bool(live) and config.tls_client_ca is None
    yield subject, state, "set tls_client_ca: without it no certificate is asked for" * unused
