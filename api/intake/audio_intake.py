"""How audio comes in: in the form of a request, or from a URL that the form names."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.access.authorization import find_api_key
from api.client_presence import run_while_client_stays
from api.errors.urls import UrlInputOff
from api.intake.audio_fetch import PARAM, AudioFetcher
from api.intake.form_fields import FieldReader
from api.intake.incoming_file import IncomingFile, make_displayable
from api.intake.multipart import FILE_FIELD, NO_FILE
from api.intake.upload_form import FormRule, ReceivedForm, receive_form
from shared.errors import InvalidRequest, ServerError
from shared.jobs import Upload
from shared.media.client import MediaService
from shared.upload_store import UploadStore

PROBES_AT_ONCE = 4
"""How many uploads are examined at once: each takes a process of up to DECODER_MEMORY_BYTES."""

_NEITHER = f"{NO_FILE[:-1]}, or its address in a field named `url`."


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a request brings: text fields, and a file that is written, or that is still at `url`."""

    request: Request
    fields: Mapping[str, Sequence[str]]
    file: IncomingFile
    filename: str
    url: httpx.URL | None
    max_bytes: int

    @property
    def sha256(self) -> str:
        """The digest of the file; empty where it is at a URL, which is among the fields."""
        return "" if self.url else self.file.sha256


class AudioIntake:
    """Takes audio in, and finds out how long it is. Without a `fetcher` no URL is taken."""

    def __init__(self, uploads: UploadStore, media: MediaService, fetcher: AudioFetcher | None) -> None:
        self._uploads = uploads
        self._media = media
        self._fetcher = fetcher
        self._probing = asyncio.Semaphore(PROBES_AT_ONCE)

    @asynccontextmanager
    async def receive(
        self, request: Request, *, name: str, max_bytes: int, may_be_url: bool
    ) -> AsyncIterator[Delivery]:
        """Receive the form of `request`, its file as the upload `name`; if the block fails none of it stays.

        Raises:
            InvalidRequest: the form cannot be served; UrlInputOff and UrlRefused for its URL.
            UploadTooLarge: the file has more than `max_bytes`.
            UploadStalled: nothing more of it came for long.
            StorageFull: there is no room for it.
            ClientDisconnect: the client left in the middle.
        """
        rule = FormRule(max_bytes, needs_file=not may_be_url)
        async with receive_form(request, self._uploads, name=name, rule=rule) as form:
            url = self._find_url(form) if may_be_url else None
            filename = form.filename if url is None else _name_file(url)
            try:
                yield Delivery(request, form.fields, form.file, filename or "", url, max_bytes)
            except ServerError as error:
                if url and error.param == FILE_FIELD:
                    error.param = PARAM
                raise

    async def store(self, delivery: Delivery) -> Upload:
        """Fetch the audio if need be, make it durable and examine it.

        Raises:
            UrlRefused, UrlUnreachable, UrlFailed, TooManyFetches: it cannot be fetched.
            UploadTooLarge, UnreadableAudio, AudioTooLong: it cannot be taken.
            StorageFull, MediaServiceDown: something is short here.
            ClientDisconnected: the client left while it was fetched.
        """
        if delivery.url and self._fetcher:
            key_name = find_api_key(delivery.request.scope).name
            fetch = self._fetcher.fetch(
                delivery.url, delivery.file, max_bytes=delivery.max_bytes, key_name=key_name
            )
            await run_while_client_stays(delivery.request, fetch)
        stored = await run_in_threadpool(delivery.file.commit)
        async with self._probing:
            duration_s = await run_in_threadpool(self._media.probe, stored.path)
        return Upload(
            name=stored.name,
            filename=delivery.filename,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            duration_s=duration_s,
        )

    def _find_url(self, form: ReceivedForm) -> httpx.URL | None:
        given = FieldReader(form.fields).read_text(PARAM)
        if not given:
            if form.filename is None:
                raise InvalidRequest(_NEITHER if self._fetcher else NO_FILE, param=FILE_FIELD)
            return None
        if self._fetcher is None:
            raise UrlInputOff
        if form.filename is not None:
            raise InvalidRequest("The form has a file and a url: send one of the two.", param=PARAM)
        return self._fetcher.parse_url(given)


def _name_file(url: httpx.URL) -> str:
    """What the last part of the path says; nothing of what stands behind it, which may be a secret."""
    return make_displayable(url.path.rpartition("/")[2])
