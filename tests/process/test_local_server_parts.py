"""One supervised process, and the keeper that ends it when nobody else can."""

import asyncio
import os
import signal
import subprocess
import sys

import psutil

from cli.up.descendants import is_alive
from cli.up.keeper import PROGRAM, Keeper
from cli.up.output import MAX_LINE_BYTES
from cli.up.parts import Part, PartPlan, tell_exit
from tests.process.local_server_driver import PATIENCE_S, wait_for

SLEEP = ["/bin/sh", "-c", "exec sleep 600"]
IGNORES_SIGTERM_WITH_A_CHILD = "trap '' TERM; sleep 600 & echo $! $$; wait"


async def run_part(script: str, *, stop_within_s: float = 60, stop: bool = False) -> tuple[str, list[str]]:
    """Run a shell script as a part, or only until its first line; returns why it ended and its lines."""
    lines: list[str] = []
    has_spoken = asyncio.Event()

    def on_line(line: str) -> None:
        lines.append(line)
        has_spoken.set()

    plan = PartPlan("part", ("/bin/sh", "-c", script), os.environ, stop_within_s, on_line=on_line)
    lock = os.open("/dev/null", os.O_RDONLY)
    keeper = await Keeper.start(kill_order=["part"], lock=lock)
    part = Part(plan, keeper)
    await part.start()
    if stop:
        await has_spoken.wait()
        await part.stop()
    reason = await part.wait()
    await keeper.dismiss()
    os.close(lock)
    return reason, lines


def test_a_part_that_does_not_stop_in_time_is_killed_with_its_whole_group() -> None:
    reason, lines = asyncio.run(run_part(IGNORES_SIGTERM_WITH_A_CHILD, stop_within_s=0.1, stop=True))

    assert reason == tell_exit(-signal.SIGKILL)
    wait_for(lambda: not any(is_running(int(pid)) for pid in lines[0].split()))


def test_what_a_part_leaves_in_its_group_is_ended_with_it() -> None:
    reason, lines = asyncio.run(run_part("sleep 600 & echo $!; exit 7"))

    assert reason == "exit code 7"
    wait_for(lambda: not is_running(int(lines[0])))


def test_every_line_of_a_part_is_read_whole_whatever_its_length_and_bytes() -> None:
    short, long = "printf 'caf\\303\\251 \\377\\r\\n'", f"head -c {MAX_LINE_BYTES} /dev/zero | tr '\\0' x"

    _, lines = asyncio.run(run_part(f"{short}; {long}; printf '\\nend'"))

    assert lines == ["café \N{REPLACEMENT CHARACTER}", "x" * MAX_LINE_BYTES, "end"]


def test_the_keeper_ignores_signals_and_ends_groups_when_its_pipe_closes() -> None:
    sleeper = subprocess.Popen(SLEEP, start_new_session=True)
    with subprocess.Popen([sys.executable, "-I", "-S", PROGRAM, "part"], stdin=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        keeper.stdin.write(b"part 0\n" * 20_000)  # more than a pipe holds: once written, it is being read
        keeper.stdin.flush()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            keeper.send_signal(number)

        keeper.stdin.write(f"part {sleeper.pid}\n".encode())
        keeper.stdin.close()

        assert keeper.wait(PATIENCE_S) == 0
        assert sleeper.wait(PATIENCE_S) == -signal.SIGKILL


def test_the_keeper_leaves_alone_what_it_was_told_to_forget() -> None:
    sleepers = [subprocess.Popen(SLEEP, start_new_session=True) for _ in range(2)]
    told = f"ended {sleepers[0].pid}\nended 0\nother {sleepers[1].pid}\nbye\n"

    subprocess.run([sys.executable, "-I", "-S", PROGRAM, "ended", "other"], input=told.encode(), check=True)

    for sleeper in sleepers:
        assert sleeper.poll() is None
        sleeper.kill()
        sleeper.wait()


def is_running(pid: int) -> bool:
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
