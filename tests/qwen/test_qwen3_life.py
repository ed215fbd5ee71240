"""Qwen3-ASR is loaded by the first job and leaves with its memory when idle; the worker never has torch."""

import itertools
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.support.endpoints import URL, read_success, submit, transcribe
from tests.support.server import RealServer, wait_for
from tests.support.tiny_qwen3 import SAMPLES, read_file

MAX_RSS_AT_REST_BYTES = 90e6
MAX_ROUNDS = 30  # of jobs, by which some have met a model that was gone
MIN_MODEL_RSS_BYTES = 200e6  # torch alone needs more
MakeServer = Callable[..., RealServer]


def check_at_rest(server: RealServer) -> None:
    """See that the worker is small, and knows nothing of torch."""
    worker = psutil.Process(server.worker.pid)
    assert worker.memory_info().rss <= MAX_RSS_AT_REST_BYTES
    mapped = {region.path for region in worker.memory_maps()}
    assert not [path for path in mapped if "torch" in path or "numpy" in path or "onnxruntime" in path]


def rss_bytes(server: RealServer) -> int:
    """The memory of the worker and all its children."""
    worker = psutil.Process(server.worker.pid)
    return sum(process.memory_info().rss for process in [worker, *worker.children(recursive=True)])


def test_the_worker_is_small_before_the_model_comes_and_after_it_has_gone(
    make_qwen_server: MakeServer,
) -> None:
    server = make_qwen_server(IDLE_TIMEOUT="2").start()
    check_at_rest(server)
    at_rest_bytes = rss_bytes(server)

    assert transcribe(server, read_file("en_hello"))["text"] == SAMPLES["en_hello"].text
    model = server.model_process()
    assert model is not None
    assert model.memory_info().rss > MIN_MODEL_RSS_BYTES

    def is_gone() -> bool:
        server.client.get("/health")  # must not keep it
        return not psutil.pid_exists(model.pid)

    wait_for(is_gone, within_s=20, what="the end of the idle model process")
    wait_for(lambda: server.client.get("/health").json()["workers"] == ["idle"], what="the news of it")
    assert server.client.get("/health").json()["model_loaded"] is False
    check_at_rest(server)
    assert rss_bytes(server) < at_rest_bytes + 20e6

    assert transcribe(server, read_file("zh_tea"))["text"] == SAMPLES["zh_tea"].text
    successor = server.model_process()
    assert successor is not None
    assert successor.pid != model.pid


def test_jobs_at_the_moment_of_the_unload_are_all_served(make_qwen_server: MakeServer) -> None:
    idle_s = 0.2
    server = make_qwen_server(IDLE_TIMEOUT=str(idle_s)).start()
    delays_s = random.Random(3)  # noqa: S311 - to be the same each time
    pids: set[int | None] = set()
    for name in itertools.islice(itertools.cycle(["en_hello", "de_umlaut", "zh_digits4"]), MAX_ROUNDS):
        with ThreadPoolExecutor() as clients:
            locations = list(clients.map(lambda file: submit(server, file), [read_file(name)] * 2))
        jobs = [read_success(server, location) for location in locations]
        assert [job["transcript"]["text"] for job in jobs] == [SAMPLES[name].text] * 2
        assert [job["attempt"] for job in jobs] == [1, 1]
        model = server.model_process()
        pids.add(model.pid if model else None)
        if len(pids) > 1:
            break
        time.sleep(delays_s.uniform(0.5, 1.5) * idle_s)
    assert len(pids) > 1


def test_a_model_that_is_not_there_is_an_error_that_names_the_remedy(make_qwen_server: MakeServer) -> None:
    server = make_qwen_server().start()
    server.end(server.worker)
    empty = server.folder / "empty"
    empty.mkdir()
    (empty / "config.json").touch()  # a folder without it would end the worker at its start
    server.worker = server.start_worker(MODEL_ID=str(empty))
    # The heartbeat of the ended worker still counts as ready, so the start is read from the log.
    wait_for(lambda: server.log_text().count("event=worker_started") == 2)
    (empty / "config.json").unlink()

    answer = server.client.post(URL, files={"file": read_file("en_hello")})

    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert error["code"] == "model_unavailable"
    assert "MODEL_ID" in error["message"]
    assert "no config.json" in error["message"]
    assert server.model_process() is None


def test_downloads_are_cached_in_the_folder_of_models(
    make_qwen_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    server = make_qwen_server(MODEL_ID="tests/Nothing-0.6B", HF_HUB_OFFLINE="1").start()

    answer = server.client.post(URL, files={"file": read_file("en_hello")})

    assert answer.status_code == 503, answer.text
    message = answer.json()["error"]["message"]
    assert "HF_HUB_OFFLINE is set" in message
    assert "The cache of the hub is hub." in message
    assert str(server.folder) not in message
    assert f"The cache of the hub is {server.folder / 'models' / 'hub'}." in server.log_text()
