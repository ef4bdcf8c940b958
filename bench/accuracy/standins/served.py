"""Servers on loopback that stand in for vendors."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def served(routes: Iterable[web.RouteDef]) -> AsyncIterator[int]:
    """Serve these routes on a free port, and say which.

    A handler is cancelled when its client goes away: a vendor stops writing then.
    """
    app = web.Application()
    app.add_routes(list(routes))
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def hang_up(request: web.Request) -> None:
    """Close the connection in the middle of an answer."""
    if request.transport is not None:
        request.transport.abort()
