"""The two ports: free, our own receiver's, or somebody else's."""

import http.client
from collections.abc import Iterator

from ..config import Config
from ..errors import ReceiverError
from ..http_listener import bind
from .finding import Finding
from .running import Running, local_address

COLLECTOR_PORTS = ("4317", "4318")


def port_findings(config: Config, running: Running | None) -> Iterator[Finding]:
    """Whether the ports can be had. `running` is what answers at the HTTP port, if it is ours."""
    for name, address in (("grpc", config.grpc), ("http", config.http)):
        found = _port(name, address, running)
        if found.mend and config.tls_client_ca is not None:
            # Our own receiver would not answer either: it asks for a client certificate.
            found = found._replace(state="in use, and mutual TLS hides by whom", urgent=False)
        yield found


def _port(name: str, address: str, running: Running | None) -> Finding:
    subject = f"{name} {address}"
    try:
        bind(address).close()
    except (ReceiverError, OSError):
        if running is not None:
            return Finding(subject, "in use; our receiver runs")
        return Finding(subject, "in use", _mend(name, address))
    return Finding(subject, "free")


def _mend(name: str, address: str) -> str:
    mend = f"if that is not your own receiver, stop it, or choose: serve --{name} HOST:PORT"
    if _is_collector(address):
        return f"a Collector listens there; it takes 4317 and 4318 by default. {mend}"
    if address.rpartition(":")[2] in COLLECTOR_PORTS:
        return f"a Collector on this host takes 4317 and 4318 by default. {mend}"
    return mend


def _is_collector(address: str) -> bool:
    """Whether an OTLP receiver of a Collector answers: it refuses GET in words of its own."""
    host, port = local_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/v1/traces")
        answer = connection.getresponse()
        return answer.status == 405 and b"supported: [POST]" in answer.read(200)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
