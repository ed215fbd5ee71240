"""The thread that delivers outlives whatever goes wrong on it."""

import threading
from pathlib import Path

import pytest

from api.settings import ApiSettings
from api.webhooks import runtime as module
from api.webhooks.deliverer import Deliverer


def test_an_error_that_nobody_foresaw_does_not_end_all_deliveries(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path
) -> None:
    begun = threading.Semaphore(0)

    async def break_down(_deliverer: Deliverer, *, grace_s: float) -> None:
        begun.release()
        raise RuntimeError(grace_s)

    monkeypatch.setattr(Deliverer, "run", break_down)
    monkeypatch.setattr(module, "BEGIN_AGAIN_S", 0.01)
    runtime = module.WebhookRuntime(ApiSettings(redis_url=redis_url, data_dir=tmp_path))
    runtime.start()
    for _ in range(2):
        assert begun.acquire(timeout=30)
    runtime.stop()
