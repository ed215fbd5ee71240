"""Reports of a model process, for its tests."""

import time
from collections.abc import Iterable

from shared.transcripts import FinishedWindow
from worker.model import messages
from worker.model.host import ModelHost

HEARD_WITHIN_S = 60.0


def receive_until(host: ModelHost, *kinds: type[messages.Report]) -> list[messages.Report]:
    """Return all reports up to the first of these kinds."""
    reports: list[messages.Report] = []
    deadline = time.monotonic() + HEARD_WITHIN_S
    while not reports or not isinstance(reports[-1], kinds):
        assert time.monotonic() < deadline
        report = host.receive(0.05)
        if report is not None:
            reports.append(report)
    return reports


def find_windows(reports: Iterable[messages.Report]) -> list[FinishedWindow]:
    """Return the finished windows, of which the last may come with the end of the job."""
    found = []
    for report in reports:
        match report:
            case (
                messages.WindowDecoded(finished=finished)
                | messages.JobDecoded(last=FinishedWindow() as finished)
            ):
                found.append(finished)
            case _:
                pass
    return found
