"""The HTTP port: a socket that holds it, and uvicorn as `serve` runs it."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from .errors import Unusable
from .https import RenewedContext
from .tls import Certificates


class HttpServer(uvicorn.Server):
    """uvicorn, whose signals are ours, and which says when it listens."""

    def __init__(self, config: uvicorn.Config, certificates: Certificates | None = None) -> None:
        super().__init__(config)
        self._certificates = certificates
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        if self._certificates is not None:
            self.config.ssl = RenewedContext.of(self._certificates)
        await super().startup(sockets)
        self.listening.set()


def bind(address: str) -> socket.socket:
    """A socket that holds its port. Raises Unusable if that is in use."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen()
    except OSError as error:
        listener.close()
        raise Unusable(f"--http {address}: cannot listen there: {error.strerror}") from error
    return listener
