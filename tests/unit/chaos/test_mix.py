"""The jobs that must not succeed are drawn from the seed, and their requests lead to the ends drawn."""

import json
from collections import Counter

import pytest

from tests.chaos.clips import WINDOW_S, NoiseClips
from tests.chaos.mix import DOOMED, Ending, Endpoint, draw_doomed
from worker.engines.scripted.engine import Behaviour, Misbehaviour

MAX_SECONDS_PER_WORD = 1


def test_as_many_jobs_of_each_kind_are_drawn_as_were_asked_for() -> None:
    drawn = draw_doomed(7, 300, 3)
    assert Counter(drawn.values()) == dict.fromkeys(DOOMED, 3)
    assert all(1 <= number <= 300 for number in drawn)
    assert set(list(drawn.values())[:4]) == set(DOOMED)
    assert draw_doomed(7, 300, 3) == drawn != draw_doomed(8, 300, 3)
    assert not draw_doomed(7, 300, 0)


@pytest.mark.parametrize("ending", DOOMED)
def test_the_script_of_a_request_leads_to_its_end(ending: Ending) -> None:
    clips = NoiseClips(1, dict.fromkeys(range(1, 41), ending))
    made = [clips.make(number, Endpoint.JOBS) for number in range(1, 41)]
    assert {clip.ending for clip in made} == {ending}
    assert {clip.fields["priority"] for clip in made} == {"interactive", "batch"}
    for clip in made:
        script = {"speed": 40.0, "misbehaviour": "none"} | json.loads(clip.fields["prompt"])
        behaviour = Behaviour(**script)
        is_faulty = behaviour.misbehaviour in (Misbehaviour.DIE_IN_DECODE, Misbehaviour.RAISE)
        assert is_faulty == (ending in (Ending.CRASH, Ending.ERROR))
        words = len(clip.text.split())
        assert words > WINDOW_S * (behaviour.window or 0)
        assert is_faulty or behaviour.speed < MAX_SECONDS_PER_WORD


def test_other_jobs_have_no_script_but_that_of_slow_speech() -> None:
    clips = NoiseClips(1, {7: Ending.CRASH})
    assert all(not clips.make(number, Endpoint.JOBS).fields for number in range(1, 7))
    assert clips.make(7, Endpoint.JOBS).fields
