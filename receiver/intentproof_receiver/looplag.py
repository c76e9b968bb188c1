"""How late the event loop is: whatever holds it up holds up every request."""

import asyncio
from collections.abc import Callable

EVERY_S = 0.25


async def measure_loop(lagged: Callable[[float], None]) -> None:
    """Tell `lagged` every EVERY_S by how many seconds it came too late; until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        lagged(max(0.0, loop.time() - due))
