"""`grpc.health.v1` on the port of OTLP/gRPC, for load balancers and Kubernetes.

The messages and Watch are those of grpcio-health-checking: it is what every client was tested with.
Like `/ready`, and like probes, it needs no key.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

LOOK_EVERY_S = 1.0
LAST_WORD_S = 0.2  # for who watches to be sent NOT_SERVING


class _Servicer(aio.HealthServicer):
    """The library's, but who watches is let go when we drain: a stop would wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._drained = asyncio.Event()

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802 - gRPC's name
        """Send the status whenever it changes, until the client goes or we drain."""
        watching = asyncio.create_task(super().Watch(request, context))
        draining = asyncio.create_task(self._drained.wait())
        try:
            await asyncio.wait((watching, draining), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((watching,), timeout=LAST_WORD_S)
        finally:
            watching.cancel()
            draining.cancel()

    async def enter_graceful_shutdown(self) -> None:
        """NOT_SERVING for good; who watches is told, then let go."""
        await super().enter_graceful_shutdown()
        self._drained.set()


class GrpcHealth:
    """Says SERVING while spans are taken, of the whole server ("") and of `service`."""

    def __init__(self, server: Any, service: str) -> None:
        self._services = ("", service)
        self._servicer = _Servicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def follow(self, is_ready: Callable[[], bool]) -> None:
        """Ask `is_ready` every LOOK_EVERY_S, until cancelled; whoever watches is told of changes.

        `is_ready` must not block.
        """
        while True:
            status = HealthCheckResponse.SERVING if is_ready() else HealthCheckResponse.NOT_SERVING
            for service in self._services:
                await self._servicer.set(service, status)
            await asyncio.sleep(LOOK_EVERY_S)

    async def drain(self) -> None:
        """NOT_SERVING from now on, whatever follows."""
        await self._servicer.enter_graceful_shutdown()
