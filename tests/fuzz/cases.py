"""The inputs of a run: each depends only on the seed and its number, and can be made again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from tests.fuzz.more_clips import make_more_clips
from tests.fuzz.mutators import MUTATORS, splice
from tests.fuzz.ogg_pages import repair_checksums

CLIPS = Path(__file__).parents[2] / "tests" / "audio"
_NO_CLIPS = frozenset({".py", ".tsv"})
_SPOKEN = "speech.wav"
_SPLICED = 0.15
_UNDAMAGED = 0.02
_REPAIRED = 0.5
# Mostly little damage: heavy damage is often rejected by the first look at a file.
_MUTATIONS = (1, 1, 1, 1, 2, 2, 3, 5)


class Endpoint(StrEnum):
    """The endpoint that an input is sent to."""

    JOBS = "jobs"  # submitted, polled, deleted
    SYNC = "sync"  # waited for
    STREAM = "stream"  # followed to the end of the stream


_ENDPOINTS = (Endpoint.JOBS, Endpoint.JOBS, Endpoint.SYNC, Endpoint.STREAM)


@dataclass(frozen=True)
class Case:
    """One input; `recipe` lists its clips and mutations."""

    number: int
    endpoint: Endpoint
    clip: str
    recipe: str
    content: bytes


def read_clips() -> dict[str, bytes]:
    """Return real audio in every container, by name."""
    paths = [path for path in sorted(CLIPS.iterdir()) if path.is_file() and path.suffix not in _NO_CLIPS]
    return {path.name: path.read_bytes() for path in paths} | make_more_clips((CLIPS / _SPOKEN).read_bytes())


def make_case(clips: Mapping[str, bytes], *, seed: int, number: int) -> Case:
    """Return the input `number` of the run with `seed`."""
    random = Random(f"{seed}:{number}")  # noqa: S311 - it must be the same again, not unforeseeable
    names = sorted(clips)
    clip = random.choice(names)
    endpoint = random.choice(_ENDPOINTS)
    content, steps = clips[clip], [clip]
    if random.random() < _SPLICED:
        tail = random.choice(names)
        content = splice(random, content, clips[tail])
        steps.append(f"splice {tail}")
    if random.random() >= _UNDAMAGED:
        content = _damage(random, content, steps)
    if content.startswith(b"OggS") and random.random() < _REPAIRED:
        content = repair_checksums(content)
        steps.append("repair_checksums")
    return Case(number, endpoint, clip, " + ".join(steps), content)


def _damage(random: Random, content: bytes, steps: list[str]) -> bytes:
    for name in _pick_mutators(random):
        content = MUTATORS[name](random, content)
        steps.append(name)
    return content


def _pick_mutators(random: Random) -> Sequence[str]:
    return random.choices(sorted(MUTATORS), k=random.choice(_MUTATIONS))
