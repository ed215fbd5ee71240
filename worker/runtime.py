"""The composition root of the worker: the objects that live as long as its process."""

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Sequence

import structlog
from celery import Celery

from shared.capabilities import ModelState, WorkerPresence
from shared.engine_choice import choose_installed_engine
from shared.jobs import Claim
from shared.media.client import create_media_service
from shared.record.claims import Claimant
from shared.record.connection import connect
from shared.record.queue_listener import QueueListener
from shared.record.sweeper import Sweeper
from shared.upload_store import UploadStore
from worker.engines.catalog import describe_capabilities
from worker.jobs.claims import WorkerClaims
from worker.jobs.clocks import JobClocks
from worker.jobs.group import Group, GroupTools
from worker.jobs.heartbeat import Heartbeat
from worker.jobs.job_audio import AudioOpener
from worker.jobs.recorder import JobRecorder
from worker.jobs.runner import JobRunner
from worker.jobs.stop_rules import ClaimState, StopRules
from worker.jobs.transcription import JobTools, Transcription
from worker.model.host import ModelHost
from worker.model.model_check import ModelCheck
from worker.settings import WorkerSettings, warn_of_outdated_settings

_logger = structlog.get_logger(__name__)


class WorkerRuntime:
    """The parts of a worker process. Starts and stops them; the `runner` serves tickets."""

    def __init__(self, settings: WorkerSettings, celery: Celery) -> None:
        self._settings = settings
        self._worker_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        engine = settings.chosen_engine
        self._capabilities = describe_capabilities(
            engine,
            whisper_model=settings.whisper_model,
            model_id=settings.model_id,
            aligner_id=settings.aligner_id,
            max_context_bytes=settings.max_context_bytes,
        )
        self._scripts = connect(settings.redis_url)
        # -P keeps the working directory off the import path; it may contain another folder named `shared`.
        command = [sys.executable, "-P", "-m", "worker.model.process_start"]
        # The model process must load the engine that is published, even if `auto` would differ by then.
        self._host = ModelHost(command, environment={"ENGINE": engine})
        self._model_check = ModelCheck({"ENGINE": engine}, self._note_missing_model)
        self._is_stopping = threading.Event()
        self._is_group_woken = threading.Event()
        self._heartbeat = Heartbeat(self._scripts, self._describe_worker, lease_s=settings.lease_s)
        self._sweeper = Sweeper(self._scripts, celery, settings)
        self._media = create_media_service(settings)
        self._tools = JobTools(
            host=self._host,
            audio=AudioOpener(self._media, UploadStore(settings.uploads_dir)),
            cancel_grace_s=settings.cancel_grace_ms / 1000,
            stop_grace_s=settings.stop_grace_s,
        )
        claims = self._make_claims()
        self._group_tools = self._gather_group_tools(claims)
        self.runner = JobRunner(
            self._host,
            claims.claim_group,
            self._transcribe,
            idle_timeout_s=settings.idle_timeout,
            is_stopping=self._is_stopping,
        )
        self._listener = QueueListener(settings.redis_url, self._wake)

    def start(self) -> None:
        """Start to claim jobs, by wake-ups, tickets and polls."""
        warn_of_outdated_settings()
        if self._settings.engine == "auto":
            choice = choose_installed_engine()
            _logger.info("engine_chosen", engine=choice.engine, reason=choice.reason)
        if self._settings.hub_model:
            self._model_check.start()
        self._media.open()  # most workers get only short audio, which is decoded already
        self._heartbeat.start()
        self._sweeper.start()
        self.runner.start()
        self._listener.start()
        _logger.info("worker_started", worker_id=self._worker_id, engine=self._capabilities.engine)

    def stop(self) -> None:
        """End all parts; return when the model process is gone."""
        self.runner.begin_stop()
        self._listener.stop()
        self.runner.join(self._settings.stop_grace_s + 5)
        self._sweeper.stop()
        self._heartbeat.stop()
        self._media.stop()
        self._scripts.close()

    def _make_claims(self) -> WorkerClaims:
        settings = self._settings
        claimant = Claimant(
            self._worker_id,
            self._capabilities.engine,
            self._capabilities.model,
            lease_s=settings.lease_s,
            batch_turn_s=settings.batch_turn_s,
        )
        return WorkerClaims(
            self._scripts, claimant, self._host, window_s=settings.window_s, job_ttl_s=settings.job_ttl_s
        )

    def _gather_group_tools(self, claims: WorkerClaims) -> GroupTools:
        return GroupTools(
            host=self._host,
            open_job=self._open_job,
            close_job=self._close_job,
            claim_companions=claims.claim_companions,
            report_crash=claims.report_crash,
            announce_worker=self._heartbeat.announce,
            is_woken=self._is_group_woken,
            cancel_grace_s=self._settings.cancel_grace_ms / 1000,
            batch_wait_s=self._settings.batch_wait_ms / 1000,
            max_batch_s=self._settings.max_batch_s,
            window_s=self._settings.window_s,
        )

    def _note_missing_model(self, reason: str) -> None:
        if self._host.state is ModelState.ABSENT:  # otherwise its load reports more
            self._host.load_error, self._host.load_failed_s = reason, time.time()

    def _wake(self) -> None:
        self._is_group_woken.set()
        self.runner.wake()

    def _transcribe(self, claims: Sequence[Claim]) -> None:
        Group(self._group_tools).run(claims)

    def _open_job(self, claim: Claim) -> Transcription:
        state = ClaimState(claim)
        self._heartbeat.watch(state)
        recorder = JobRecorder(self._scripts, state, job_ttl_s=self._settings.job_ttl_s)
        rules = StopRules(state, JobClocks(claim, self._settings), is_stopping=self._is_stopping)
        return Transcription(claim, self._tools, recorder, rules)

    def _close_job(self, job: Transcription) -> None:
        self._heartbeat.forget(job.rules.state)

    def _describe_worker(self) -> WorkerPresence:
        return WorkerPresence(
            worker_id=self._worker_id,
            capabilities=self._capabilities,
            model_state=self._host.state,
            device=self._host.device,
            job_ids=self._heartbeat.job_ids,
            rows=self._host.rows if self._heartbeat.job_ids else 0,
            max_rows=self._host.max_rows,
            takes_jobs=self._host.may_start and not self._is_stopping.is_set(),
            load_error=self._host.load_error,
            load_failed_s=self._host.load_failed_s,
        )
