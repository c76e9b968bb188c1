"""Which addresses may be served in clear: those that no network reaches."""

import ipaddress
import socket

from .config import Config
from .errors import Unsafe, Unusable


def check_exposure(config: Config) -> None:
    """Raises Unsafe if an address that others may reach would be served without TLS.

    `insecure` allows it. Host names are resolved, which may block; Unusable if that fails.
    """
    if config.tls_certificate or config.insecure:
        return
    for name, address in (("grpc", config.grpc), ("http", config.http)):
        if not is_loopback(address):
            raise Unsafe(
                f"--{name} {address}: reachable by others, and API keys and spans would cross the "
                "network in clear: set tls_certificate and tls_key, or listen on 127.0.0.1, or say "
                "--insecure"
            )


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is on loopback, whatever its host name resolves to. May block."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unusable(f"{address}: the host name cannot be resolved: {error.strerror}") from error
    return all(_is_loopback(str(one[4][0])) for one in found)


def names_loopback(host: str) -> bool:
    """Whether a client's host is loopback by its name or address alone: nothing is resolved."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
