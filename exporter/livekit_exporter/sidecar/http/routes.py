"""Routes the sidecar's HTTP: metrics, health, readiness, landing page, calls, spend of today.

The routes know no ledger and no registry: they serve any `PageSource`.  GET and HEAD only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from aiohttp import hdrs, web

from livekit_exporter.export import html as page
from livekit_exporter.sidecar.http import call_page, landing
from livekit_exporter.sidecar.http.call_page import CallView
from livekit_exporter.sidecar.http.landing import Overview
from livekit_exporter.sidecar.http.spend_api import (
    SpendQuestion,
    SpendQuestionError,
    read_question,
)
from livekit_exporter.sidecar.registry import Exposition

_log = logging.getLogger("livekit_exporter")

_HEADERS: Final = {
    # Without versions, which would help those who look for servers with known faults.
    hdrs.SERVER: "livekit-exporter",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src '{page.STYLE_HASH}';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
}


class PageSource(Protocol):
    """The content of the pages."""

    def render(self, accept: str) -> Exposition:
        """Render the metrics in the format that an `Accept` header asks for; called in a thread."""
        ...

    def problem(self) -> str | None:
        """Say why the sidecar is not ready; called on the event loop, so it may not wait."""
        ...

    def overview(self) -> Overview:
        """Read the figures of the landing page; called in a thread."""
        ...

    def call(self, session: str) -> CallView | None:
        """Read one call, `None` when the ledger does not know it; called in a thread."""
        ...

    def spend(self, question: SpendQuestion) -> dict[str, object] | None:
        """Read the spend of today, `None` while the ledger cannot be read; called in a thread."""
        ...


_SOURCE: Final = web.AppKey("source", PageSource)


def application(source: PageSource) -> web.Application:
    """Build the application that serves these pages."""
    app = web.Application(middlewares=[_plain_failures])
    app[_SOURCE] = source
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/", _landing)
    app.router.add_get("/calls/{session}", _call)
    app.router.add_get("/api/v1/spend", _spend)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/-/healthy", _healthy)
    app.router.add_get("/-/ready", _ready)
    return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


@web.middleware
async def _plain_failures(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 500 in one line and log the reason: the next scrape may well succeed."""
    try:
        return await handler(request)
    except (web.HTTPException, asyncio.CancelledError):
        raise
    except Exception:  # noqa: BLE001 - the one place where a failed page is reported
        _log.exception("cannot answer path=%s", request.path)
        return web.Response(status=500, text="internal error, see the log\n")


def _accepts_gzip(header: str) -> bool:
    """Read from an `Accept-Encoding` header if gzip is allowed; `gzip;q=0` forbids it."""
    for part in header.split(","):
        coding, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if coding in {"gzip", "x-gzip"}:
            return not any(_is_zero_weight(parameter) for parameter in parameters)
    return False


def _is_zero_weight(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and not value.strip().strip("0.")


async def _metrics(request: web.Request) -> web.Response:
    source = request.app[_SOURCE]
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    rendered = await asyncio.to_thread(source.render, accept)
    headers = {
        hdrs.CONTENT_TYPE: rendered.content_type,
        hdrs.VARY: f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}",
    }
    if _accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, []))):
        return web.Response(
            body=rendered.gzipped, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"}
        )
    return web.Response(body=rendered.body, headers=headers)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="healthy\n")


async def _ready(request: web.Request) -> web.Response:
    problem = request.app[_SOURCE].problem()
    if problem is None:
        return web.Response(text="ready\n")
    return web.Response(status=503, text=f"not ready: {problem}\n")


async def _landing(request: web.Request) -> web.Response:
    source = request.app[_SOURCE]
    overview = await asyncio.to_thread(source.overview)
    return web.Response(text=landing.render(overview, source.problem()), content_type="text/html")


async def _call(request: web.Request) -> web.Response:
    session = request.match_info["session"]
    view = await asyncio.to_thread(request.app[_SOURCE].call, session)
    if view is None:
        return web.Response(status=404, text=call_page.missing(session), content_type="text/html")
    return web.Response(text=call_page.render(view), content_type="text/html")


async def _spend(request: web.Request) -> web.Response:
    try:
        question = read_question(list(request.query.items()))
    except SpendQuestionError as error:
        return web.json_response({"error": str(error)}, status=400)
    answer = await asyncio.to_thread(request.app[_SOURCE].spend, question)
    if answer is None:
        return web.json_response({"error": "the ledger cannot be read now"}, status=503)
    return web.json_response(answer)
