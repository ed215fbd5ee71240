"""Each load of a model is reported with its own duration."""

from worker.engines.protocol import LOADED
from worker.model.messages import Loaded, LoadPhaseBegun, Report
from worker.model.process import LoadReporter


def test_each_load_is_timed_from_its_own_start_and_its_end_is_reported() -> None:
    now_s = 100.0
    sent: list[Report] = []
    report_phase = LoadReporter(sent.append, lambda: now_s)

    now_s = 101.0
    report_phase("loading weights")
    now_s = 103.5
    report_phase.end("cuda:0", rows=16)
    now_s = 3600.0
    report_phase("finding aligner")
    now_s = 3601.0
    report_phase("loading aligner")
    now_s = 3604.25
    report_phase(LOADED)

    assert sent == [
        LoadPhaseBegun("loading weights", 1.0),
        Loaded("cuda:0", 3.5, 16),
        LoadPhaseBegun("finding aligner", 0.0),
        LoadPhaseBegun("loading aligner", 1.0),
        Loaded("cuda:0", 4.25, 16),
    ]


def test_a_failed_load_does_not_count_in_the_next() -> None:
    now_s = 0.0
    sent: list[Report] = []
    report_phase = LoadReporter(sent.append, lambda: now_s)
    report_phase.end("cpu", rows=1)

    report_phase("loading aligner")
    report_phase.reset()
    now_s = 60.0
    report_phase("loading aligner")

    assert sent[1:] == [LoadPhaseBegun("loading aligner", 0.0)] * 2
