"""What Redis's MONITOR says is read as the stages of calls."""

import pytest

from tests.bench.calls import Call
from tests.bench.command_trace import STAGES, Command, parse_commands, share_out


def say(at_s: str, script: str, *args: str) -> bytes:
    """How MONITOR tells the call of a script."""
    words = " ".join(f'"{word}"' for word in ("EVALSHA", "0123456789" * 4, "1", "prefix:", script, *args))
    return f"+{at_s} [0 unix:/tmp/redis.sock] {words}\r\n".encode()


def test_the_scripts_of_a_call_are_told_from_all_that_redis_hears() -> None:
    output = b"".join(
        (
            b"+OK\r\n",
            say("100.000001", "check_admission", "{}"),
            b'+100.000002 [0 lua] "HGET" "queued_ms" "all"\r\n',
            b'+100.000003 [0 unix:/tmp/redis.sock] "PUBLISH" "ev" "EVALSHA"\r\n',
            say("100.25", "read_workers"),
            say("100.5", "submit", "a"),
        )
    )
    assert parse_commands(output) == [Command(100.000001, "check_admission"), Command(100.5, "submit")]


def commands(*called: tuple[float, str]) -> list[Command]:
    return [Command(at_s, script) for at_s, script in called]


CALL = Call(began_s=10.0, ended_s=20.0, took_ms=10_000, body=b"")
WHOLE = [
    (11, "check_admission"),
    (13, "submit"),
    (16, "claim"),
    (17, "emit"),
    (17.5, "finish_window"),
    (18, "finish"),
]


def test_each_stage_lasts_until_the_next_begins() -> None:
    stages = share_out([CALL], commands(*WHOLE))

    assert [stages[name] for name in STAGES] == [[1000], [2000], [3000], [1000], [1000], [2000]]


def test_commands_of_the_call_before_are_not_of_this_one() -> None:
    before = [(9, "submit"), (9.5, "claim"), (10.5, "claim"), (10.6, "finish")]

    assert share_out([CALL], commands(*before, *WHOLE)) == share_out([CALL], commands(*WHOLE))


@pytest.mark.parametrize("missing", ["check_admission", "submit", "claim", "finish"])
def test_a_call_that_lacks_a_command_is_left_out(missing: str) -> None:
    stages = share_out([CALL], commands(*(one for one in WHOLE if one[1] != missing)))

    assert all(stages[name] == [] for name in STAGES)
