"""Clips sent to the Qwen engine at once, beside batches of Qwen's package and its single calls."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.bench.clip_calls import Clip, ClipCalls, encode_clip
from tests.bench.figures import Comparison, Figure, Goal, Growth, Shares
from tests.bench.interleaving import interleave
from tests.bench.qwen_process import MAX_WINDOWS, QwenCall, QwenProcess, Side
from tests.bench.settings import Scale
from tests.bench.worker_log import Batch, WorkerLog
from tests.support.tiny_qwen3 import read_file

NAMES = ("en_digits3", "zh_tea", "en_hello", "de_umlaut", "en_repeat", "zh_digits4")
"""Samples that are shorter than a window. A worker counts longer ones as two rows when it claims them."""

GOAL = Goal(1.25, Comparison.RATIO)
MAX_CAPACITY_CLIPS = 64
CLIPS_OF_ALL_ROUNDS = 64
SERVER, BATCHES, SINGLE = "this server", f"qwen_asr in batches of {MAX_WINDOWS}", "qwen_asr one by one"
ENGINE = "one batch of the engine"


@dataclass(frozen=True)
class Sides:
    """The server and the process beside it."""

    calls: ClipCalls
    log: WorkerLog
    process: QwenProcess
    clips: Mapping[str, Clip]

    def choose_clips(self, count: int) -> Sequence[Clip]:
        """Return `count` clips, the samples in turn."""
        return [self.clips[name] for name in repeat_names(count)]

    def decode(self, side: Side, count: int, *, rows: int) -> Callable[[], Awaitable[float]]:
        """Return a run that returns the seconds of one side for `count` clips, `rows` of them in a call."""
        names = repeat_names(count)

        async def run() -> float:
            parts = [names[start : start + rows] for start in range(0, count, rows)]
            return sum([(await self.process.transcribe(QwenCall(side, part))).took_s for part in parts])

        return run


@dataclass
class ClipsAtOnce:
    """The values of one number of clips, one per round; all in seconds."""

    count: int
    taken: Mapping[str, Sequence[float]] = field(default_factory=dict)
    batches: list[Sequence[Batch]] = field(default_factory=list)

    @property
    def here_s(self) -> Sequence[float]:
        """The time from the first byte to the last transcript."""
        return self.taken[SERVER]

    @property
    def batches_s(self) -> Sequence[float]:
        """The time of all batches, by the log of the worker."""
        return [sum(batch.took_s for batch in batches) for batches in self.batches]

    @property
    def around_s(self) -> Sequence[float]:
        """The time outside batches."""
        return [here - inside for here, inside in zip(self.here_s, self.batches_s, strict=True)]

    @property
    def batch_counts(self) -> Sequence[int]:
        """The number of batches."""
        return [len(batches) for batches in self.batches]


async def read_clips(process: QwenProcess) -> Mapping[str, Clip]:
    """Return the clips with the texts that the package recognizes one by one."""
    return {
        name: encode_clip(
            read_file(name), (await process.transcribe(QwenCall(Side.PACKAGE, (name,)))).texts[0]
        )
        for name in NAMES
    }


async def measure_at_once(sides: Sides, scale: Scale) -> Sequence[ClipsAtOnce]:
    """Measure each number of clips; more clips get fewer rounds."""
    warm_up = min(scale.rows_at_once)
    await sides.calls.send_at_once(sides.choose_clips(warm_up))
    await sides.log.read_batches(rows=warm_up)
    await sides.decode(Side.ENGINE, warm_up, rows=MAX_WINDOWS)()
    return [
        await _measure_count(sides, count, rounds=max(1, min(scale.rounds, CLIPS_OF_ALL_ROUNDS // count)))
        for count in scale.rows_at_once
    ]


def find_capacity(measured: Sequence[ClipsAtOnce]) -> float:
    """Return the clips per second of 64 clips sent at once, or of the most in a small run."""
    most = max((one for one in measured if one.count <= MAX_CAPACITY_CLIPS), key=lambda one: one.count)
    return most.count / median(most.here_s)


def describe_at_once(measured: Sequence[ClipsAtOnce]) -> tuple[list[Figure], list[Growth], list[Shares]]:
    """Return the figures of each number of clips, their growth, and the parts of one batch's time."""
    figures = [figure for one in measured for figure in _describe_count(one)]
    lines = {
        side: {float(one.count): one.taken[side] for one in measured} for side in (SERVER, BATCHES, SINGLE)
    }
    around = {SERVER: {float(one.count): one.around_s for one in measured}}
    growths = [
        Growth("Clips at once", "clip", "s", lines),
        Growth("Clips at once: time outside batches", "clip", "s", around),
    ]
    return figures, growths, [_share_out(one) for one in measured if one.count == MAX_WINDOWS]


async def _measure_count(sides: Sides, count: int, *, rounds: int) -> ClipsAtOnce:
    found = ClipsAtOnce(count)
    clips = sides.choose_clips(count)

    async def serve() -> float:
        sides.log.skip()
        took_s = await sides.calls.send_at_once(clips)
        found.batches.append(await sides.log.read_batches(rows=count))
        return took_s

    runs = {
        SERVER: serve,
        BATCHES: sides.decode(Side.PACKAGE, count, rows=MAX_WINDOWS),
        SINGLE: sides.decode(Side.PACKAGE, count, rows=1),
    }
    if count == MAX_WINDOWS:
        runs[ENGINE] = sides.decode(Side.ENGINE, count, rows=MAX_WINDOWS)
    found.taken = await interleave(rounds, runs)
    return found


def _describe_count(one: ClipsAtOnce) -> list[Figure]:
    name = f"{one.count} clips at once"
    beside = [side for side in (SINGLE, ENGINE) if side in one.taken]
    return [
        Figure(name, "s", one.here_s, one.taken[BATCHES], BATCHES, GOAL),
        *(Figure(f"{name}: beside {side}", "s", one.here_s, one.taken[side], side) for side in beside),
        Figure(f"{name}: outside batches", "s", one.around_s),
        Figure(f"{name}: batches", "", one.batch_counts),
    ]


def _share_out(one: ClipsAtOnce) -> Shares:
    engine_s, batches_s = median(one.taken[ENGINE]), median(one.batches_s)
    parts = {
        ENGINE: engine_s,
        "more in the batches of the model process": batches_s - engine_s,
        "outside batches": median(one.around_s),
    }
    return Shares(f"The time of {one.count} clips at once", "s", parts)


def repeat_names(count: int) -> tuple[str, ...]:
    """Return `count` names of samples, in turn."""
    return (NAMES * count)[:count]
