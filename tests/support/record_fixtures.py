"""The job record on two servers, a fake and a real one, for tests of what must be true on both."""

from collections.abc import Iterator

import fakeredis
import pytest
import redis

from shared.record.scripts import ScriptRunner


@pytest.fixture(params=["fake", "real"])
def record_connection(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A connection to an empty server."""
    if request.param == "fake":
        yield fakeredis.FakeRedis()
        return
    with redis.Redis.from_url(request.getfixturevalue("redis_url")) as connection:
        yield connection


@pytest.fixture
def runner(record_connection: redis.Redis) -> ScriptRunner:
    """Runs script calls on that server."""
    return ScriptRunner(record_connection, "test:")
