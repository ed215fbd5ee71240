"""The log of the worker is read as batches and events."""

from tests.bench.worker_log import Batch, find_batches, parse_line

BEGIN = "timestamp=2026-01-15T09:30:00.000000Z level=info event="
BATCH = f"{BEGIN}batch_decoded rows=3/16 jobs=2 audio_s=7.25 took_s=0.412"


def test_batches_are_found_among_other_lines() -> None:
    lines = [f"{BEGIN}job_claimed attempt=1 jobs=2", BATCH, "a line of a library", f"{BATCH[:-5]}1.5"]

    assert find_batches(lines) == [Batch(3, 0.412), Batch(3, 1.5)]


def test_a_field_may_have_spaces_and_a_line_no_fields() -> None:
    assert parse_line(f'{BEGIN}job_requeued reason="worker is stopping"')["reason"] == "worker is stopping"
    assert parse_line("it's no field") == {}
