"""The time of clips through the server, beside direct calls of the same library."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.calls import SyncClient, encode_form
from tests.bench.direct_whisper import LANGUAGE, DirectWhisper, open_direct_whisper
from tests.bench.figures import Bound, Comparison, Figure, Findings, Goal, Growth
from tests.bench.interleaving import interleave
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.bench.speech import measure_s, read_speech
from tests.support.joined_speech import JoinedSpeech
from tests.word_errors import ErrorCount, add_counts, count_errors
from worker.engines.whisper.weights import find_weights

MODELS_FOLDER = "models"
CLIP_GOAL = Goal(1.03, Comparison.RATIO)
BATCH_GOAL = Goal(0.97, Comparison.RATIO, Bound.AT_LEAST)
ERROR_GOAL = Goal(0.3, Comparison.ADDED)
BATCH_CLIP_S = 11
MAIN_BATCH = 16
DIRECT = "faster-whisper"
NOTES = (
    "Whisper base on the CPU, int8, beam 5, with the language given. A clip has one recording or several, up "
    "to the end of a sentence. It goes to `POST /v1/audio/transcriptions`, with the model loaded. The "
    "counterpart is `WhisperModel.transcribe` of faster-whisper on the same file, with the same weights, "
    "beam and threads, in a process of its own. Clips sent at once are compared with direct calls in a loop."
)


@dataclass(frozen=True)
class _Sides:
    """A server with its model in memory, the library beside it, and the folder of the clips."""

    server: BenchServer
    direct: DirectWhisper
    folder: Path
    words: Mapping[str, list[ErrorCount]]

    def call_here(self, clip: JoinedSpeech) -> Callable[[], Awaitable[float]]:
        """Return a run that returns the seconds of a synchronous call."""

        async def run() -> float:
            return await asyncio.to_thread(self._transcribe, clip)

        return run

    def call_directly(self, clip: JoinedSpeech) -> Callable[[], Awaitable[float]]:
        """Return a run that returns the seconds of a direct call."""
        path = self.folder / f"{len(clip.file)}.wav"
        path.write_bytes(clip.file)

        async def run() -> float:
            answer = await self.direct.transcribe(path)
            self.words["direct"].append(count_errors(clip.text, answer.text, language=LANGUAGE))
            return answer.took_s

        return run

    def rate_here(self, clip: JoinedSpeech, count: int) -> Callable[[], Awaitable[float]]:
        """Return a run that sends `count` clips at once and returns the clips per second."""

        async def run() -> float:
            began = time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                calls = [asyncio.wrap_future(pool.submit(self._transcribe, clip)) for _ in range(count)]
                await asyncio.gather(*calls)
            return count / (time.perf_counter() - began)

        return run

    def rate_directly(self, clip: JoinedSpeech, count: int) -> Callable[[], Awaitable[float]]:
        """Return a run that calls the library `count` times and returns the clips per second."""
        call = self.call_directly(clip)

        async def run() -> float:
            began = time.perf_counter()
            for _ in range(count):
                await call()
            return count / (time.perf_counter() - began)

        return run

    def _transcribe(self, clip: JoinedSpeech) -> float:
        client = SyncClient(self.server.port)
        try:
            call = client.transcribe(encode_form(clip.file, {"language": LANGUAGE}))
        finally:
            client.close()
        text = json.loads(call.body)["text"]
        self.words["here"].append(count_errors(clip.text, text, language=LANGUAGE))
        return call.took_ms / 1000


async def measure_clips(settings: BenchSettings, folder: Path) -> Findings:
    """Time clips of each length, then clips that are sent at once."""
    speech = read_speech(settings.speech_dir)
    model = find_weights("", folder.parent / MODELS_FOLDER)
    async with (
        serve(folder, ENGINE="whisper", WHISPER_MODEL=str(model)) as server,
        open_direct_whisper(model) as direct,
    ):
        await server.start_worker()
        words: Mapping[str, list[ErrorCount]] = {"here": [], "direct": []}
        sides = _Sides(server, direct, folder, words)
        joined = map(speech.join_file, settings.scale.clips_s)
        clips = {round(measure_s(clip.file), 1): clip for clip in joined}
        for warm_up in (sides.call_here, sides.call_directly):
            await warm_up(clips[min(clips)])()
        times = {length_s: await _time_clip(sides, clip, settings) for length_s, clip in clips.items()}
        batch_clip = speech.join_file(BATCH_CLIP_S)
        rates = await _rate_batches(sides, batch_clip, settings)
    figures = [
        Figure(f"clip of {length_s:g} s", "s", taken["here"], taken["direct"], DIRECT, CLIP_GOAL)
        for length_s, taken in times.items()
    ]
    batch = MAIN_BATCH if MAIN_BATCH in rates else max(rates)
    name, taken = f"{batch} clips of {measure_s(batch_clip.file):.1f} s at once", rates[batch]
    wrong = {side: [100 * add_counts(counts).rate] for side, counts in words.items()}
    figures += [
        Figure(name, "clips/s", taken["here"], taken["direct"], DIRECT, BATCH_GOAL),
        Figure("words wrong in all calls", "%", wrong["here"], wrong["direct"], DIRECT, ERROR_GOAL),
    ]
    lengths = {
        side: {length_s: taken[key] for length_s, taken in times.items()}
        for side, key in (("this server", "here"), (DIRECT, "direct"))
    }
    counts = {"this server": {float(count): taken["here"] for count, taken in rates.items()}}
    growths = [
        Growth("Time of a clip", "second of audio", "s", lengths),
        Growth("Clips at once", "client", "clips/s", counts),
    ]
    return Findings(f"Clips on the CPU engine, {speech.source}", NOTES, figures, growths=growths)


async def _time_clip(sides: _Sides, clip: JoinedSpeech, settings: BenchSettings) -> dict[str, list[float]]:
    runs = {"here": sides.call_here(clip), "direct": sides.call_directly(clip)}
    return await interleave(settings.scale.rounds, runs)


async def _rate_batches(
    sides: _Sides, clip: JoinedSpeech, settings: BenchSettings
) -> dict[int, dict[str, list[float]]]:
    """Return the rates of each number of clips; larger numbers get fewer rounds, as they are many calls."""
    rates = {}
    for count in settings.scale.clips_at_once:
        runs = {"here": sides.rate_here(clip, count)}
        if count == MAIN_BATCH or MAIN_BATCH not in settings.scale.clips_at_once:
            runs["direct"] = sides.rate_directly(clip, count)
        rates[count] = await interleave(max(1, min(settings.scale.rounds, 48 // count)), runs)
    return rates
