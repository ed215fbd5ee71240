"""Look-ups of host names: one that hangs holds up nothing else."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from api.outbound import resolution
from api.outbound.resolution import HostLookups
from tests.support.names import SILENT_DOMAIN, StandInNames


@pytest.fixture
def slow_names() -> Iterator[StandInNames]:
    """Names that hang."""
    with StandInNames() as names:
        yield names


async def hang(lookups: HostLookups, names: StandInNames, *hosts: str) -> list[asyncio.Task[object]]:
    """Look these up; returns when each hangs."""
    asked = len(names.asked)
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(lookups.resolve(host)) for host in hosts]
    await asyncio.to_thread(names.wait_for, asked + len(hosts))
    return tasks


async def expect_failures(tasks: list[asyncio.Task[object]]) -> None:
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, OSError) for outcome in outcomes)


async def test_each_address_of_a_host_is_found_once() -> None:
    addresses = await HostLookups().resolve("localhost")

    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert len(addresses) == len(set(addresses)) > 0


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example"])
async def test_a_host_without_an_address_is_an_error(host: str) -> None:
    with pytest.raises(resolution.UNRESOLVED):
        await HostLookups().resolve(host)


async def test_names_that_hang_take_no_default_thread_of_the_loop(
    slow_names: StandInNames,
) -> None:
    lookups = HostLookups()
    hanging = await hang(lookups, slow_names, *(f"a{count}.{SILENT_DOMAIN}" for count in range(32)))

    # So look up asyncio's Redis connections their host, and tickets are sent.
    assert await asyncio.get_running_loop().getaddrinfo("localhost", 6379)
    assert await asyncio.to_thread(str, 1) == "1"
    assert await lookups.resolve("localhost")

    slow_names.release()
    await expect_failures(hanging)


async def test_concurrent_calls_for_one_name_share_a_look_up(slow_names: StandInNames) -> None:
    lookups = HostLookups()
    [first] = await hang(lookups, slow_names, SILENT_DOMAIN)
    others: list[asyncio.Task[object]] = [
        asyncio.create_task(lookups.resolve(SILENT_DOMAIN)) for _ in range(40)
    ]
    first.cancel()
    await asyncio.sleep(0)

    slow_names.release()
    await expect_failures(others)
    assert slow_names.asked == [SILENT_DOMAIN]


async def test_a_name_is_looked_up_anew_after_the_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{len(asked)}", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    lookups = HostLookups()

    assert [await lookups.resolve("a.example") for _ in range(2)] == [("192.0.2.1",), ("192.0.2.2",)]


async def test_a_name_waits_for_a_place_while_the_maximum_hangs(
    slow_names: StandInNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "MAX_LOOKUPS", 2)
    lookups = HostLookups()
    hanging = await hang(lookups, slow_names, f"a.{SILENT_DOMAIN}", f"b.{SILENT_DOMAIN}")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lookups.resolve(f"c.{SILENT_DOMAIN}")
    waiting = asyncio.create_task(lookups.resolve("localhost"))

    slow_names.release()
    await expect_failures(hanging)
    assert await waiting
    assert slow_names.asked == [f"a.{SILENT_DOMAIN}", f"b.{SILENT_DOMAIN}"]


async def test_a_look_up_without_a_thread_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    lookups = HostLookups()
    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", refuse)
        with pytest.raises(OSError, match="thread"):
            await lookups.resolve("localhost")

    assert await lookups.resolve("localhost")


def test_a_loop_ends_while_a_look_up_hangs(slow_names: StandInNames) -> None:
    async def give_up() -> None:
        async with asyncio.timeout(0.05):
            await HostLookups().resolve(SILENT_DOMAIN)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert slow_names.asked == [SILENT_DOMAIN]
