"""A supervised process: its output, its end, and the end of its group."""

import asyncio
import os
import signal

import psutil

from cli.up.descendants import is_alive
from cli.up.output import MAX_LINE_BYTES
from cli.up.parts import Part, PartPlan, describe_exit
from tests.process.local_server_driver import wait_for

IGNORES_SIGTERM_WITH_A_CHILD = "trap '' TERM; sleep 600 & echo $! $$; wait"


async def run_part(script: str, *, stop_within_s: float = 60, stop: bool = False) -> tuple[str, list[str]]:
    """Run a shell script as a part, or only until its first line; return why it ended, and its lines."""
    lines: list[str] = []
    has_written = asyncio.Event()

    def on_line(line: str) -> None:
        lines.append(line)
        has_written.set()

    plan = PartPlan("part", ("/bin/sh", "-c", script), os.environ, stop_within_s, on_line=on_line)
    part = Part(plan)
    await part.start()
    if stop:
        await has_written.wait()
        await part.stop()
    reason = await part.wait()
    return reason, lines


def test_a_part_that_does_not_stop_in_time_is_killed_with_its_whole_group() -> None:
    reason, lines = asyncio.run(run_part(IGNORES_SIGTERM_WITH_A_CHILD, stop_within_s=0.1, stop=True))

    assert reason == describe_exit(-signal.SIGKILL)
    wait_for(lambda: not any(is_running(int(pid)) for pid in lines[0].split()))


def test_the_rest_of_its_group_ends_with_a_part() -> None:
    reason, lines = asyncio.run(run_part("sleep 600 & echo $!; exit 7"))

    assert reason == "exit code 7"
    wait_for(lambda: not is_running(int(lines[0])))


def test_lines_of_any_length_and_bytes_are_read_whole() -> None:
    short, long = "printf 'caf\\303\\251 \\377\\r\\n'", f"head -c {MAX_LINE_BYTES} /dev/zero | tr '\\0' x"

    _, lines = asyncio.run(run_part(f"{short}; {long}; printf '\\nend'"))

    assert lines == ["café \N{REPLACEMENT CHARACTER}", "x" * MAX_LINE_BYTES, "end"]


def is_running(pid: int) -> bool:
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
