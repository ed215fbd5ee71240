"""The composition root of the api: `create_app` creates and connects its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api.access.api_keys import ApiKeys, read_api_keys
from api.access.authorization import Authorization
from api.access.record_reader import RecordReader
from api.access.stream_slots import StreamSlots
from api.access.stream_tokens import StreamTokens
from api.errors.handlers import CatchAll, install_error_handlers
from api.formats.rendering_threads import RenderingThreads
from api.intake.audio_fetch import AudioFetcher
from api.intake.submission import Submission
from api.intake.uploads import UploadIntake
from api.middleware.cors import CrossOrigin
from api.middleware.head_requests import HeadRequests
from api.middleware.request_context import RequestContext
from api.middleware.unread_bodies import UnreadBodies
from api.openapi.docs_page import STATIC_URL, add_docs_page
from api.openapi.document import TAGS, correct_openapi
from api.routes import health, job_events, job_list, jobs, models, transcriptions
from api.routes.dependencies import Services
from api.settings import ApiSettings
from api.streams.event_hub import EventHub
from api.streams.following import JobFollower
from api.streams.listener_leases import ListenerLeases
from api.streams.waiting import JobWaiting
from api.webhooks.deliverer import open_deliverer
from shared.broker import TicketSender, create_celery
from shared.media.client import create_media_service
from shared.record.backlog import keep_shares
from shared.record.connection import connect, open_async_connection
from shared.record.scripts import AsyncScriptRunner
from shared.record.sweeper import Sweeper
from shared.upload_store import UploadStore

DELIVERY_GRACE_S = 1.0
"""Seconds that webhook attempts get to end at the stop, after DRAIN_S; others are made again later."""

_logger = structlog.get_logger(__name__)


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the application. It starts without Redis too. `app.state.hub.close()` ends streams and waits."""
    keys = _read_keys(settings)
    parts = _Parts(settings, keys)
    app = FastAPIOffline(
        docs_url=None,  # `add_docs_page` adds it
        redoc_url=None,
        static_url=STATIC_URL,
        redirect_slashes=False,  # an unknown path gets a 404 in the shape of all errors
        title="Qwen3-ASR server",
        description="Speech to text: synchronously, as a job, or as a stream.",
        version=_read_version(),
        openapi_tags=TAGS,
        lifespan=parts.live,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.hub = parts.hub
    services = app.state.services = parts.create_services(keys=len(keys))
    install_error_handlers(app)
    _surround(app, services, keys)
    for routes in (transcriptions, models, jobs, job_list, job_events, health):
        app.include_router(routes.router)
    add_docs_page(app)
    correct_openapi(app, asks_for_keys=len(keys) > 0)
    return app


def _surround(app: FastAPI, services: Services, keys: ApiKeys) -> None:
    """Add the middleware from the inside outwards, so that errors get all headers too."""
    app.add_middleware(HeadRequests)
    if keys:
        app.add_middleware(Authorization, keys=keys, tokens=services.tokens)
    app.add_middleware(CatchAll)
    if origins := services.settings.cors_origins:
        app.add_middleware(CrossOrigin, origins=origins)
    app.add_middleware(UnreadBodies)
    app.add_middleware(RequestContext, slots=services.slots)


def _read_keys(settings: ApiSettings) -> ApiKeys:
    keys = read_api_keys(settings.api_keys.get_secret_value())
    if not keys:
        _logger.warning(
            "no_api_keys", consequence="every client that reaches this server can use it", host=settings.host
        )
    if keys.exposed_file:
        _logger.warning("api_keys_exposed", file=str(keys.exposed_file), remedy="chmod 600")
    return keys


class _Parts:
    """The long-lived parts of one process. They start and connect in `live`, not before."""

    def __init__(self, settings: ApiSettings, keys: ApiKeys) -> None:
        self._settings = settings
        self._connection = open_async_connection(settings.redis_url)
        self._runner = AsyncScriptRunner(self._connection)
        self._celery = create_celery(settings.redis_url)
        self._uploads = UploadStore(settings.uploads_dir)
        self._media = create_media_service(settings)
        self._sweeper = Sweeper(connect(settings.redis_url), self._celery, settings)
        self._fetcher = AudioFetcher(settings) if settings.url_input else None
        self.hub = EventHub(settings.redis_url)
        self._leases = ListenerLeases(self.hub, self._runner, job_ttl_s=settings.job_ttl_s)
        self._deliverer = open_deliverer(settings, keys, self._runner, wake_up=self.hub.deliveries_due)

    def create_services(self, *, keys: int) -> Services:
        """Return the services of the routes, on a server with this number of API keys."""
        settings, runner = self._settings, self._runner
        slots = StreamSlots(max_streams=settings.max_streams, max_per_key=settings.max_streams_per_key)
        submission = Submission(
            settings=settings,
            limits=keep_shares(settings.queue_limits, keys=keys),
            runner=runner,
            uploads=UploadIntake(
                self._uploads, self._media, self._fetcher, stored_s=settings.interactive_max_audio_s
            ),
            slots=slots,
            tickets=TicketSender(self._celery),
        )
        reader = RecordReader(runner, is_stopping=lambda: self.hub.is_closed)
        follower = JobFollower(self.hub, reader)
        return Services(
            settings=settings,
            runner=runner,
            reader=reader,
            submission=submission,
            follower=follower,
            waiting=JobWaiting(follower, reader, self._leases, sync_wait_s=settings.sync_wait_s),
            leases=self._leases,
            sweeper=self._sweeper,
            slots=slots,
            tokens=StreamTokens(reader, runner, ttl_s=settings.stream_token_ttl_s),
            rendering=RenderingThreads(),
        )

    @asynccontextmanager
    async def live(self, _app: FastAPI) -> AsyncIterator[None]:
        """Start the parts, and stop them at the end of the process."""
        self._uploads.prepare()
        await asyncio.to_thread(self._media.start)
        self._sweeper.start()
        lasting = (self.hub, self._leases, self._deliverer)
        tasks = [asyncio.create_task(part.run()) for part in lasting]
        try:
            yield
        finally:
            self.hub.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._deliverer.finish(grace_s=min(DELIVERY_GRACE_S, self._settings.drain_s))
            await asyncio.to_thread(self._sweeper.stop)
            await asyncio.to_thread(self._media.stop)
            await self._connection.aclose()
            if self._fetcher:
                await self._fetcher.close()


def _read_version() -> str:
    try:
        return version("qwen3-asr-server")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
