"""The schema of the job record against what a whole server writes to Redis."""

import json
import signal
from collections.abc import Callable, Iterator

import httpx
import msgspec
import pytest

from shared.capabilities import ModelState, WorkerPresence
from shared.jobs import Claim, Directive, Endpoint, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.claims import NO_ROOM, BatchRoom, Claimant, claim_jobs
from shared.record.connection import connect
from shared.record.scripts import ScriptRunner
from shared.record.workers import announce_worker
from shared.transcripts import FinishedWindow, TokenCounts, TranscriptWarning, WarningCode
from tests.support.audio import make_tones, write_wav
from tests.support.receiver import SECRET, Receiver, Reply
from tests.support.record_trace import RecordTrace, Schema, Traced
from tests.support.redis_fixture import RedisServer
from tests.support.scripted_worker import CAPABILITIES
from tests.support.server import RealServer, wait_for
from tests.support.single_claims import claim_job

KEY = "lab-key-0123456789"
FILE = write_wav(make_tones(2))
LONG_FILE = write_wav(make_tones(30))
SLOWLY = json.dumps({"speed": 2})

Traces = list[dict[str, Traced]]


@pytest.fixture(scope="module")
def traces(make_lasting_server: Callable[..., RealServer], session_redis: RedisServer) -> Traces:
    """All that was written by a server in use, and by calls for what the scripted engine never does."""
    server = make_lasting_server(
        API_KEYS=f"lab={KEY}",
        LEASE_S="2",
        WINDOW_S="1",
        WEBHOOK_SECRET=SECRET,
        WEBHOOK_RETRIES_S="0.1,0.1",
        ALLOW_PRIVATE_ADDRESSES="true",
    )
    server.client.headers["Authorization"] = f"Bearer {KEY}"
    server.redis.start()
    with RecordTrace(server.redis.url) as served:
        server.worker = server.start_worker()
        server.api = server.start_api()
        server.wait_until_ready()
        use_server(server)
    session_redis.flush()
    with RecordTrace(session_redis.url) as called:
        use_rarely(connect(session_redis.url))
    return [served.read_keys(), called.read_keys()]


def use_server(server: RealServer) -> None:
    """Use every endpoint that writes to the record, lose a worker, crash a model process, and disconnect."""
    client = server.client
    for data in ({}, {"stream": "true"}):
        answer = client.post("/v1/audio/transcriptions", files={"file": FILE}, data=data)
        assert answer.status_code == httpx.codes.OK, answer.text
    assert client.post("/v1/audio/transcriptions/stream", files={"file": FILE}).status_code == httpx.codes.OK
    with Receiver(Reply(503), Reply()) as receiver:
        for _ in range(2):
            notified = submit(client, {"webhook_url": receiver.url}, {"Idempotency-Key": "k"})
        wait_for(lambda: len(receiver.received) == 2, what="the second attempt of the webhook")
    token = client.post(f"{notified}/stream-token").json()["token"]
    assert httpx.get(f"{server.base_url}{notified}/events", params={"token": token}).is_success
    wait_for_end(client, submit(client, {"prompt": json.dumps({"misbehaviour": "raise"})}))
    crashing = json.dumps({"misbehaviour": "die_in_decode", "marker": str(server.folder / "died")})
    wait_for_end(client, submit(client, {"prompt": crashing}))
    disconnect(client)
    cancelled, running = (submit(client, {"prompt": SLOWLY}, file=LONG_FILE) for _ in range(2))
    queued = submit(client, {})
    wait_for_window(client, cancelled)
    client.delete(cancelled)
    wait_for_window(client, running)
    server.end(server.worker, signal.SIGKILL)
    wait_for(lambda: client.get(running).json()["attempt"] == 2, what="the end of the lease")
    for location in (queued, running):
        client.delete(location)
        wait_for_end(client, location)
    assert client.delete(running).is_success
    assert client.get("/v1/jobs").is_success


def submit(
    client: httpx.Client, data: dict[str, str], headers: dict[str, str] | None = None, *, file: bytes = FILE
) -> str:
    answer = client.post("/v1/jobs", files={"file": file}, data=data, headers=headers)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.headers["location"])


def wait_for_end(client: httpx.Client, location: str) -> None:
    def is_over() -> bool:
        return client.get(location).json().get("state") in {"succeeded", "failed", "cancelled"}

    wait_for(is_over, what="the end of the job")


def wait_for_window(client: httpx.Client, location: str) -> None:
    wait_for(lambda: client.get(location).json()["progress"]["processed_s"], what="the first window")


def disconnect(client: httpx.Client) -> None:
    """Leave a stream in the middle."""
    url, form = "/v1/audio/transcriptions/stream", {"prompt": SLOWLY}
    with client.stream("POST", url, files={"file": LONG_FILE}, data=form) as answer:
        next(line for line in answer.iter_lines() if line.startswith("data: "))


def use_rarely(scripts: ScriptRunner) -> None:
    """Make the calls that a server with the scripted engine seldom makes, or never."""
    presence = WorkerPresence("w", CAPABILITIES, ModelState.READY, "cpu")
    scripts.run(announce_worker(presence))
    lab, shop = (make_job(name, Priority.BATCH, name) for name in ("lab", "shop"))
    scripts.run(submit_job(lab))
    claim = take(scripts, model="first")
    scripts.run(submit_job(shop))
    window = FinishedWindow(
        window=0,
        resume_sample=160_000,
        segments=(),
        warnings=(TranscriptWarning(WarningCode.TRUNCATED, "Text may be missing.", 0.0, 1.0),),
        is_complete=False,
        token_counts=TokenCounts(*range(len(TokenCounts.__struct_fields__))),
    )
    scripts.run(transitions.finish_window(claim, window, inference_ms=9, cost_ms=9))
    claimant = Claimant("w", "e", "first", lease_s=30, batch_turn_s=5.0)
    assert scripts.run(claim_jobs(claimant, NO_ROOM, held=[claim])).directives == (Directive.YIELD,)
    scripts.run(transitions.yield_job(claim, reason="yielded"))
    other, again = take(scripts, model="second"), take(scripts, "v", model="second")
    scripts.run(transitions.finish_job(other, JobState.SUCCEEDED, ttl_s=60))
    scripts.run(submit_job(make_job("interactive", Priority.INTERACTIVE)))
    scripts.run(submit_job(make_job("waiting", Priority.BATCH)))
    interactive = take(scripts)
    scripts.run(transitions.finish_job(again, JobState.SUCCEEDED, ttl_s=60))
    for number in range(2):
        finished = FinishedWindow((), window=number, resume_sample=80_000 * (number + 1))
        scripts.run(transitions.finish_window(interactive, finished, inference_ms=9, cost_ms=9))
    scripts.run(transitions.finish_job(interactive, JobState.SUCCEEDED, ttl_s=60))
    crash_group(scripts, claimant)
    scripts.run(transitions.expire_queued(queue_ttl_s=-1, ttl_s=60))


def crash_group(scripts: ScriptRunner, claimant: Claimant) -> None:
    """Lose a group of jobs in each of the two ways: with its model process, and with its worker."""
    for number in range(4):
        scripts.run(submit_job(make_job(f"companion{number}", Priority.INTERACTIVE)))
    claimed = [
        scripts.run(claim_jobs(claimant, BatchRoom(interactive_rows=2, batch_rows=0), held=())).claims
        for claimant in (claimant, msgspec.structs.replace(claimant, worker_id="v", lease_s=-1.0))
    ]
    scripts.run(transitions.report_engine_crash([(claim, 9) for claim in claimed[0]], ttl_s=60))
    assert len(scripts.run(transitions.sweep_expired_leases(ttl_s=60))) == 2


def make_job(job_id: str, priority: Priority, key_name: str = "") -> NewJob:
    upload = Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=20.0)
    return NewJob(job_id, Endpoint.JOBS, priority, upload, TranscriptionRequest(), key_name)


def take(scripts: ScriptRunner, worker_id: str = "w", *, model: str = "m") -> Claim:
    claim = scripts.run(claim_job(worker_id, engine="e", model=model, lease_s=30))
    assert claim is not None
    return claim


def written(traces: Traces) -> Iterator[tuple[str, Traced]]:
    for trace in traces:
        yield from trace.items()


def test_all_that_a_server_writes_is_in_the_schema(traces: Traces) -> None:
    schema = Schema()
    strange = set()
    for name, traced in written(traces):
        if traced.types == {"channel"}:
            continue
        key = schema.find(schema.keys, name)
        if key is None or traced.types - {key.type} or not _are_named(traced.writers, key.writers):
            strange.add((name, *traced.types, *traced.writers))
            continue
        for field, writers in traced.fields.items():
            row = schema.find(schema.fields[key.name], field)
            if row is None or not _are_named(writers, row.writers):
                strange.add((name, field, *writers))
    assert not strange


def test_a_key_has_a_ttl_where_the_schema_has_one(traces: Traces) -> None:
    schema = Schema()
    found = {key.name: False for key in schema.keys}
    for name, traced in written(traces):
        if key := schema.find(schema.keys, name):
            found[key.name] |= traced.has_ttl
    assert found == {key.name: key.has_ttl for key in schema.keys}


def test_all_that_the_schema_lists_is_written(traces: Traces) -> None:
    schema = Schema()
    keys = {key.name for key in schema.keys}
    fields = {(key, row.name) for key, rows in schema.fields.items() for row in rows}
    for name, traced in written(traces):
        if key := schema.find(schema.keys, name):
            keys.discard(key.name)
            rows = [schema.find(schema.fields[key.name], field) for field in traced.fields]
            fields -= {(key.name, row.name) for row in rows if row}
    assert (keys, fields) == (set(), set())


def _are_named(writers: set[str], named: frozenset[str]) -> bool:
    """Return whether the schema names these writers; those of plain commands are not traced."""
    return writers - {""} <= named
