"""Sends one request to the webhook.

The receiver is not trusted: only the status of its answer counts, no redirect is followed,
and no more of the body is read than the caller asked for.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from livekit_exporter import __version__
from livekit_exporter.export.document import Redaction
from livekit_exporter.sidecar.config.settings import Config
from livekit_exporter.sidecar.webhook.retry import DeliveryAttempt, RetryPolicy, retry_after
from livekit_exporter.sidecar.webhook.signature import headers

_ERROR_CHARACTERS: Final = 200
_SHOWN_BYTES: Final = 1000
_READING_SECONDS: Final = 1.0
_HOUR_SECONDS: Final = 3600.0
_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": f"livekit-exporter/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """The configured receiver.

    Args:
        url: Its address.
        keys: Secrets; every message is signed with each of them.
        timeout_seconds: Time for one request, from its name look-up to the answer's headers.
        retry: Limits of the attempts to deliver a call.
        redaction: Treatment of names of people.
    """

    url: str
    keys: Sequence[bytes]
    timeout_seconds: float
    retry: RetryPolicy
    redaction: Redaction

    @property
    def origin(self) -> str:
        """Scheme and host, for messages: a token may stand in the rest of the URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def configured(config: Config) -> Webhook | None:
    """Read the webhook from the settings; `None` when they have no URL.

    Raises:
        ConfigError: The file with the secret cannot be read, or the secret is too short.
    """
    settings = config.webhook
    if settings.url is None:
        return None
    return Webhook(
        url=settings.url,
        keys=settings.keys(),
        timeout_seconds=settings.timeout_seconds,
        retry=RetryPolicy(settings.retry_seconds, settings.give_up_after_hours * _HOUR_SECONDS),
        redaction=settings.redaction or config.export.redaction,
    )


def session(connections: int = 1) -> aiohttp.ClientSession:
    """Make the HTTP client, for at most so many requests at a time; the caller closes it."""
    return aiohttp.ClientSession(
        # Calls end minutes apart: a connection kept open would have broken meanwhile.
        connector=aiohttp.TCPConnector(limit=connections, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=_HEADERS,
    )


async def post(
    http: aiohttp.ClientSession, webhook: Webhook, message: str, body: bytes, *, read: int = 0
) -> DeliveryAttempt:
    """Send a message once.

    Args:
        http: The HTTP client.
        webhook: The receiver.
        message: Id of the message.
        body: Its body.
        read: Bytes of the answer's body to read; the rest stays unread.
    """
    begun = time.monotonic()
    now = time.time()
    try:
        async with (
            asyncio.timeout(webhook.timeout_seconds),
            http.post(
                webhook.url,
                data=body,
                headers=headers(message, int(now), body, webhook.keys),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response,
        ):
            beginning = await _beginning(response, read)
            response.close()
            return DeliveryAttempt(
                response.status,
                _failure(response.status),
                retry_after(response.headers.get("retry-after"), now),
                beginning,
                time.monotonic() - begun,
            )
    except TimeoutError:
        reason = f"no answer within {webhook.timeout_seconds:g} s"
    except aiohttp.ClientResponseError as error:
        # The text of the error itself repeats the URL, which may hold a token.
        reason = _printable(f"no HTTP answer: {error.message}")
    except aiohttp.InvalidURL:
        reason = "webhook.url is no URL that can be used"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = _printable(str(error) or type(error).__name__)
    return DeliveryAttempt(None, reason, seconds=time.monotonic() - begun)


async def post_once(webhook: Webhook, message: str, body: bytes) -> DeliveryAttempt:
    """Send a message once, with a client of its own, and keep the beginning of the answer."""
    async with session() as http:
        return await post(http, webhook, message, body, read=_SHOWN_BYTES)


async def _beginning(response: aiohttp.ClientResponse, size: int) -> str:
    """Read the first bytes of an answer, as far as they come before it ends or breaks off."""
    taken = b""
    with suppress(aiohttp.ClientError, OSError):  # a time-out is an OSError, too
        async with asyncio.timeout(_READING_SECONDS):
            while len(taken) < size and (more := await response.content.read(size - len(taken))):
                taken += more
    return _printable(taken.decode(errors="replace"), size)


def _failure(status: int) -> str:
    """Describe a status that is no success in our own words; the receiver's are not trusted."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    try:
        phrase = f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = f"HTTP {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{phrase}; redirects are not followed, configure the address it leads to"
    return phrase


def _printable(text: str, characters: int = _ERROR_CHARACTERS) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * characters])
    return " ".join(shown.split())[:characters]
