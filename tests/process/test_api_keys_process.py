"""Keys through a whole server of real processes: what is said at the start, and what no log ever holds."""

import hashlib
import signal
from collections.abc import Callable

from tests.support.server import RealServer

KEY = "lab-key-0123456789"
WRONG = "wrong-key-0123456789"


def test_an_open_server_says_so_at_its_start(make_server: Callable[..., RealServer]) -> None:
    server = make_server(API_KEYS="").start()
    assert "event=no_api_keys" in server.log_text()
    assert "every client that reaches this server can use it" in server.log_text()


def test_logs_name_keys_and_never_show_them(make_server: Callable[..., RealServer]) -> None:
    server = make_server(API_KEYS=f"lab={KEY}", LOG_LEVEL="DEBUG").start()
    for key, status in ((KEY, 404), (WRONG, 401)):
        answer = server.client.get("/v1/jobs/1", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status
    server.end(server.api, signal.SIGTERM)
    log = server.log_text()
    assert "no_api_keys" not in log
    assert "key_name=lab" in next(line for line in log.splitlines() if "status=404" in line)
    assert "key_name" not in next(line for line in log.splitlines() if "status=401" in line)
    for secret in (KEY, WRONG, hashlib.sha256(KEY.encode()).hexdigest()):
        assert secret not in log


def test_a_wrong_setting_ends_the_api_and_its_last_words_show_no_key(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(API_KEYS=f"lab={KEY} max_audio_s=0")
    api = server.start_api()
    assert api.wait(60) != 0
    assert "max_audio_s must be a number above 0" in server.log_text()
    assert KEY not in server.log_text()
