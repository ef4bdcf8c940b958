"""The webhook: where calls are sent, and one request to it.

The receiver may be anybody's and do anything: nothing of its answer is believed but the
status, no redirect is followed, and no more is read than somebody asked for.
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
from livekit_exporter.sidecar.webhook.retry import Answer, Patience, retry_after
from livekit_exporter.sidecar.webhook.signature import headers

_ERROR_CHARACTERS: Final = 200
_SHOWN_BYTES: Final = 1000
_READING_SECONDS: Final = 1.0
_SECONDS_AN_HOUR: Final = 3600.0
_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": f"livekit-exporter/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where calls are sent, and how.

    Args:
        url: Where.
        keys: Secrets that messages are signed with, each with every one.
        timeout_seconds: Time for one request, from its name look-up to the answer's headers.
        patience: How long a delivery is tried.
        redaction: What becomes of names of people.
    """

    url: str
    keys: Sequence[bytes]
    timeout_seconds: float
    patience: Patience
    redaction: Redaction

    @property
    def origin(self) -> str:
        """What messages call it: a token may stand in the rest of the URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def configured(config: Config) -> Webhook | None:
    """The webhook of a configuration, if there is one.

    Raises:
        ConfigError: The file with the secret cannot be read, or it is no secret.
    """
    settings = config.webhook
    if settings.url is None:
        return None
    return Webhook(
        url=settings.url,
        keys=settings.keys(),
        timeout_seconds=settings.timeout_seconds,
        patience=Patience(settings.retry_seconds, settings.give_up_after_hours * _SECONDS_AN_HOUR),
        redaction=settings.redaction or config.export.redaction,
    )


def session(connections: int = 1) -> aiohttp.ClientSession:
    """What requests are made with; to be closed.

    Args:
        connections: Requests at a time.
    """
    return aiohttp.ClientSession(
        # A connection kept open for the next call is a connection that broke meanwhile.
        connector=aiohttp.TCPConnector(limit=connections, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=_HEADERS,
    )


async def post(
    http: aiohttp.ClientSession, webhook: Webhook, message: str, body: bytes, *, read: int = 0
) -> Answer:
    """Send a message once.

    Args:
        http: What with.
        webhook: Where to.
        message: Its id.
        body: Its body.
        read: How many bytes of the answer are wanted; the rest stays unread.
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
            said = await _beginning(response, read)
            response.close()
            answer = Answer(
                response.status,
                _wrong(response),
                retry_after(response.headers.get("retry-after"), now),
                said,
            )
    except TimeoutError:
        answer = Answer(None, f"no answer within {webhook.timeout_seconds:g} s")
    except aiohttp.ClientResponseError as error:
        # Its own text repeats the URL.
        answer = Answer(None, _printable(f"no HTTP answer: {error.message}"))
    except aiohttp.InvalidURL:
        answer = Answer(None, "webhook.url is no URL that can be used")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        answer = Answer(None, _printable(str(error) or type(error).__name__))
    return Answer(
        answer.status, answer.error, answer.retry_after, answer.said, time.monotonic() - begun
    )


async def post_once(webhook: Webhook, message: str, body: bytes) -> Answer:
    """Send a message once, with nothing before and after, and keep what the receiver says."""
    async with session() as http:
        return await post(http, webhook, message, body, read=_SHOWN_BYTES)


async def _beginning(response: aiohttp.ClientResponse, size: int) -> str:
    """The first bytes of an answer, as far as they come before it ends or breaks off."""
    taken = b""
    with suppress(aiohttp.ClientError, OSError):  # a time-out is an OSError, too
        async with asyncio.timeout(_READING_SECONDS):
            while len(taken) < size and (more := await response.content.read(size - len(taken))):
                taken += more
    return _printable(taken.decode(errors="replace"), size)


def _wrong(response: aiohttp.ClientResponse) -> str:
    """What is wrong with a status, in our own words: the receiver's may be anything."""
    status = response.status
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
