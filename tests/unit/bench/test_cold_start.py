"""The phases of a cold start are read from the events of a job."""

import pytest

from shared.events import AnyEvent, Loading, Queued, Started
from tests.bench.cold_start import read_phases
from tests.bench.job_watch import Seen

EVENTS: list[tuple[AnyEvent, float]] = [
    (Queued(0), 100.0),
    (Started(1, "qwen3", "tiny"), 100.5),
    (Loading("importing libraries", 0.01), 100.8),
    (Loading("finding weights", 2.0), 102.8),
    (Loading("loading weights", 2.1), 102.9),
    (Loading("loaded", 3.0), 103.8),
]


def test_phases_follow_each_other_from_the_claim_to_the_first_text() -> None:
    cold = read_phases([Seen(event, at_s) for event, at_s in EVENTS], first_text_s=104.2)

    assert cold.process_s == pytest.approx(0.3)
    assert cold.imports_s == pytest.approx(2.0)
    assert cold.weights_s == pytest.approx(1.0)
    assert cold.first_text_s == pytest.approx(0.4)
    assert cold.loaded_s == pytest.approx(3.3)
