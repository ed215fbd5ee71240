"""Whatever breaks a rule is counted, shown and kept; what is in order is only counted."""

import json
from pathlib import Path

import pytest

from tests.fuzz.cases import Case, Endpoint
from tests.fuzz.outcomes import Answer, Outcome, find_broken_rule
from tests.fuzz.report import Report

CASE = Case(5, Endpoint.JOBS, "speech.wav", "speech.wav + flip_bits", b"damaged")

IN_ORDER = [
    Answer(200, "succeeded"),
    Answer(202, "succeeded"),
    Answer(202, "failed", "audio_undecodable", "The decoder gave up"),
    Answer(202, "failed", "audio_too_long", "too long"),
    Answer(400, code="audio_undecodable", message="no sound"),
    Answer(400, message="The file is empty"),
]
BROKEN = {
    "5xx": [Answer(500, message="oops"), Answer(503, code="no_worker", message="no worker")],
    "no answer": [Answer(None, message="ConnectionResetError()")],
    "stuck": [Answer(None, "stuck"), Answer(202, "stuck")],
    "failed with another code": [Answer(202, "failed", code) for code in ("engine_crash", "timeout", None)],
    "refused without a reason": [Answer(400)],
    "neither refused nor ended": [Answer(200), Answer(202, "cancelled"), Answer(302)],
}


@pytest.mark.parametrize("answer", IN_ORDER, ids=str)
def test_what_is_in_order_breaks_no_rule(answer: Answer) -> None:
    assert find_broken_rule(answer) is None


@pytest.mark.parametrize(
    ("rule", "answer"), [(rule, one) for rule in BROKEN for one in BROKEN[rule]], ids=str
)
def test_what_is_not_in_order_breaks_its_rule(rule: str, answer: Answer) -> None:
    assert find_broken_rule(answer) == rule


def test_an_input_that_breaks_a_rule_is_kept_with_its_story(tmp_path: Path) -> None:
    report = Report(1, tmp_path / "kept")
    report.record(Outcome(CASE, Answer(500, message="oops"), 0.1))
    assert not report.is_good
    assert "| 5xx | 1 | 0 |" in report.render()
    assert (tmp_path / "kept" / "1-5-speech.wav").read_bytes() == b"damaged"
    story = json.loads((tmp_path / "kept" / "1-5-speech.wav.json").read_text())
    assert story["recipe"] == CASE.recipe
    assert story["why"].startswith("5xx")


def test_a_clean_run_keeps_nothing_and_counts_crashed_decoders(tmp_path: Path) -> None:
    report = Report(1, tmp_path / "kept")
    for answer in IN_ORDER:
        report.record(Outcome(CASE, answer, 0.1))
    assert report.is_good
    assert "| sandboxed decoders that crashed or exceeded a limit | 1 |" in report.render()
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("wrong", [{"lost": ["worker"]}, {"at_the_end": ["1 decoders did not end."]}])
def test_a_lost_process_or_a_server_left_in_disorder_is_no_good_run(
    tmp_path: Path, wrong: dict[str, list[str]]
) -> None:
    report = Report(1, tmp_path)
    for name, found in wrong.items():
        setattr(report, name, found)
    assert not report.is_good
    assert next(iter(wrong.values()))[0] in report.render()
