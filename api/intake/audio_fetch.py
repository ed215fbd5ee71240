"""Fetching audio from a URL into the upload store, within the limits that hold for files."""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator
from http import HTTPStatus

import httpx
import structlog

from api.errors import UrlFailed, UrlRefused, UrlUnreachable
from api.intake.incoming_file import IncomingFile, write_pieces
from api.outbound.clients import open_guarded_async_client
from api.outbound.urls import parse_url
from api.settings import ApiSettings
from shared.errors import ServerError, UploadTooLarge

PARAM = "url"

IDLE_S = 30.0
"""How long the server of a URL may send nothing, or take to be connected to."""

FETCHES_AT_ONCE = 16
"""How many URLs one api process fetches at once; others wait."""

_logger = structlog.get_logger(__name__)


class AudioFetcher:
    """Fetches audio with a client that goes to permitted addresses alone."""

    def __init__(self, client: httpx.AsyncClient, *, allow_private: bool, timeout_s: float) -> None:
        self._client = client
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._fetching = asyncio.Semaphore(FETCHES_AT_ONCE)

    def parse_url(self, text: str) -> httpx.URL:
        """The URL that a client sent.

        Raises:
            UrlRefused: it is none that is asked.
        """
        return parse_url(text, allow_private=self._allow_private, param=PARAM)

    async def close(self) -> None:
        """Let go of all connections; nothing is fetched afterwards."""
        await self._client.aclose()

    async def fetch(self, url: httpx.URL, file: IncomingFile, *, max_bytes: int) -> None:
        """Write what is at `url` to `file`.

        Raises:
            UrlRefused: its address is not public.
            UrlUnreachable, UrlFailed: it cannot be had.
            UploadTooLarge: it has more than `max_bytes`.
            StorageFull: there is no room for it.
        """
        began_s = time.monotonic()
        outcome = "cancelled"
        try:
            async with self._fetching:
                await self._fetch_in_time(url, file, max_bytes)
            outcome = "fetched"
        except ServerError as error:
            outcome = error.reason.value if isinstance(error, UrlRefused) else type(error).__name__
            raise
        finally:
            # Of the URL only the host: the rest of it may be a secret.
            took_ms = round((time.monotonic() - began_s) * 1000, 1)
            _logger.info("audio_fetch_ended", host=url.host, outcome=outcome, took_ms=took_ms)

    async def _fetch_in_time(self, url: httpx.URL, file: IncomingFile, max_bytes: int) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._fetch(url, file, max_bytes)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UrlUnreachable from error
        except TimeoutError as error:
            raise UrlFailed(
                f"it did not come within {self._timeout_s:g} s, the limit set by URL_FETCH_TIMEOUT_S"
            ) from error
        except httpx.TimeoutException as error:
            raise UrlFailed(f"nothing more of it came for {IDLE_S:g} s") from error
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise UrlFailed("the connection was cut, or the answer is not HTTP") from error

    async def _fetch(self, url: httpx.URL, file: IncomingFile, max_bytes: int) -> None:
        async with self._client.stream("GET", url, timeout=IDLE_S) as response:
            _check_head(response, max_bytes)
            await write_pieces(_read_body(response, max_bytes), file)


def open_audio_fetcher(settings: ApiSettings) -> AudioFetcher | None:
    """What fetches audio under these settings; None where URL_INPUT is off."""
    if not settings.url_input:
        return None
    allow_private = settings.allow_private_addresses
    client = open_guarded_async_client(allow_private=allow_private, timeout_s=IDLE_S, param=PARAM)
    return AudioFetcher(client, allow_private=allow_private, timeout_s=settings.url_fetch_timeout_s)


def _check_head(response: httpx.Response, max_bytes: int) -> None:
    if response.is_redirect:
        raise UrlFailed(
            f"its server answered {response.status_code}, and redirects are not followed; send the address "
            "where the audio is"
        )
    if response.status_code != HTTPStatus.OK:
        raise UrlFailed(f"its server answered {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        raise UrlFailed("its server sends it compressed (Content-Encoding), without having been asked to")
    if int(response.headers.get("content-length", 0)) > max_bytes:
        raise UploadTooLarge(max_bytes)


async def _read_body(response: httpx.Response, max_bytes: int) -> AsyncGenerator[bytes, None]:
    size_bytes = 0
    async for piece in response.aiter_raw():
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise UploadTooLarge(max_bytes)
        yield piece
    if not size_bytes:
        raise UrlFailed("its server sends 0 bytes")
