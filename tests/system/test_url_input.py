"""Audio by URL with whole processes: a transcript comes of it, and logs say of the URL only its host."""

from collections.abc import Callable

from tests.support.endpoints import read_success
from tests.support.hostile_source import HostileSource
from tests.support.server import RealServer

SECRET = "0123456789abcdef"  # noqa: S105 - as in a URL that is signed


def test_a_signed_url_becomes_a_transcript_and_its_signature_is_nowhere(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(URL_INPUT="true", ALLOW_PRIVATE_ADDRESSES="true", LOG_LEVEL="DEBUG").start()
    with HostileSource() as source:
        url = f"{source.url}/sound.wav?X-Signature={SECRET}"
        answer = server.client.post("/v1/jobs", data={"url": url})
        assert answer.status_code == 202, answer.text
        failed = server.client.post("/v1/jobs", data={"url": url.replace("sound", "missing")})
        assert failed.status_code == 400

        job = read_success(server, answer.headers["location"])

    assert source.targets()[0].endswith(SECRET)
    assert SECRET not in f"{job}{failed.text}{server.log_text()}"
    assert "event=audio_fetch_ended" in server.log_text()
