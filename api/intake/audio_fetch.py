"""The fetcher of audio from URLs, within the same limits as for files."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx
import structlog

from api.errors.tree import UploadTooLarge
from api.errors.urls import TooManyFetches, UrlFailed, UrlRefused, UrlUnreachable
from api.outbound.clients import open_guarded_async_client
from api.outbound.urls import UrlRule
from api.settings import ApiSettings
from shared.errors import ServerError

PARAM = "url"

IDLE_S = 30.0
"""The longest silence of the host, and the longest time to connect to it."""

PATIENCE_S = 5.0
"""The longest wait for a slot before a fetch is refused; at most half of URL_FETCH_TIMEOUT_S."""

Sink = Callable[[AsyncGenerator[bytes]], Awaitable[None]]

_logger = structlog.get_logger(__name__)


class _FetchSlots:
    """The slots of simultaneous fetches, in all and for each API key, for one event loop."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._taken: Counter[str] = Counter()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, key_name: str) -> AsyncIterator[None]:
        """Hold a slot within the block, or raise TooManyFetches if none becomes free in time."""
        full = None
        try:
            async with asyncio.timeout(min(PATIENCE_S, self._settings.url_fetch_timeout_s / 2)):
                while (full := self._find_full(key_name)) is not None:
                    await self._freed.wait()
        except TimeoutError:
            raise full or TooManyFetches(self._settings.max_url_fetches, "MAX_URL_FETCHES") from None
        self._taken[key_name] += 1
        try:
            yield
        finally:
            self._taken[key_name] -= 1
            self._freed.set()
            self._freed = asyncio.Event()

    def _find_full(self, key_name: str) -> TooManyFetches | None:
        max_fetches, max_per_key = self._settings.max_url_fetches, self._settings.max_url_fetches_per_key
        if self._taken.total() >= max_fetches:
            return TooManyFetches(max_fetches, "MAX_URL_FETCHES")
        if key_name and self._taken[key_name] >= max_per_key:
            return TooManyFetches(max_per_key, "MAX_URL_FETCHES_PER_KEY")
        return None


class AudioFetcher:
    """Fetches audio with a client that connects to permitted addresses only."""

    def __init__(self, settings: ApiSettings) -> None:
        self.rule = UrlRule(settings.allow_private_addresses, PARAM)
        self._client = open_guarded_async_client(self.rule, timeout_s=IDLE_S)
        self._timeout_s = settings.url_fetch_timeout_s
        self._slots = _FetchSlots(settings)

    async def close(self) -> None:
        """Close all connections. Later fetches fail."""
        await self._client.aclose()

    async def fetch(self, url: httpx.URL, write: Sink, *, max_bytes: int, key_name: str) -> None:
        """Pass the audio at `url` to `write`. `key_name` is empty on a server without API keys.

        Raises:
            TooManyFetches: no slot became free within PATIENCE_S.
            UrlRefused: the host's address is not public.
            UrlUnreachable: no connection to the host could be made.
            UrlFailed: the host did not send the audio, or not in time.
            UploadTooLarge: the audio has more than `max_bytes`.
            StorageFull: `write` found no disk space.
        """
        clock = asyncio.get_running_loop().time
        began_s = clock()
        outcome = "cancelled"
        try:
            async with self._slots.hold(key_name):
                await self._fetch_in_time(url, write, max_bytes, began_s + self._timeout_s)
            outcome = "fetched"
        except ServerError as error:
            outcome = error.reason.value if isinstance(error, UrlRefused) else type(error).__name__
            raise
        finally:
            # Only the host of the URL is logged: the rest may be a secret.
            took_ms = round((clock() - began_s) * 1000, 1)
            _logger.info("audio_fetch_ended", host=url.host, outcome=outcome, took_ms=took_ms)

    async def _fetch_in_time(self, url: httpx.URL, write: Sink, max_bytes: int, ends_s: float) -> None:
        try:
            async with asyncio.timeout_at(ends_s):
                await self._fetch(url, write, max_bytes)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UrlUnreachable(url.scheme) from error
        except TimeoutError as error:
            raise UrlFailed(f"it took longer than {self._timeout_s:g} s (URL_FETCH_TIMEOUT_S)") from error
        except httpx.TimeoutException as error:
            raise UrlFailed(f"its host sent no data for {IDLE_S:g} s") from error
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise UrlFailed("the connection was cut, or the answer is not HTTP") from error

    async def _fetch(self, url: httpx.URL, write: Sink, max_bytes: int) -> None:
        async with self._client.stream("GET", url, timeout=IDLE_S) as response:
            _check_head(response, max_bytes)
            await write(_read_body(response, max_bytes))


def _check_head(response: httpx.Response, max_bytes: int) -> None:
    if response.is_redirect:
        raise UrlFailed(
            f"its host answered {response.status_code}, and redirects are not followed; send the final URL"
        )
    if response.status_code != HTTPStatus.OK:
        raise UrlFailed(f"its host answered {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
        raise UrlFailed("its host sent it compressed (Content-Encoding), which the request did not allow")
    if int(response.headers.get("content-length", 0)) > max_bytes:
        raise UploadTooLarge(max_bytes, param=PARAM)


async def _read_body(response: httpx.Response, max_bytes: int) -> AsyncGenerator[bytes]:
    size_bytes = 0
    async for piece in response.aiter_raw():
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise UploadTooLarge(max_bytes, param=PARAM)
        yield piece
    if not size_bytes:
        raise UrlFailed("its host sent 0 bytes")
