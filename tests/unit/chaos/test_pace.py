"""Jobs and faults of a chaos run wait for each other, and neither waits for ever."""

import pytest

from tests.chaos.bookkeeping import Books, Submit
from tests.chaos.clients import MAX_UNFINISHED, Pace
from tests.chaos.mix import Endpoint


def accept(books: Books, number: int) -> None:
    """Job `number` is accepted, and final at once."""
    books.record_accepted(str(number), Submit(number, Endpoint.JOBS, str(number), ""))
    books.record_final({str(number)})


def submit_what_may_be(pace: Pace, submitted: int) -> int:
    while submitted < pace.jobs and pace.may_submit(submitted):
        submitted += 1
        accept(pace.books, submitted)
    return submitted


@pytest.mark.parametrize(("jobs", "faults"), [(60, 12), (300, 12), (12, 12), (10_000, 116)])
def test_all_jobs_are_submitted_and_each_fault_falls_into_its_share_of_them(jobs: int, faults: int) -> None:
    books = Books(jobs)
    pace = Pace(jobs, faults, books)
    submitted = 0
    for index in range(faults):
        submitted = submit_what_may_be(pace, submitted)
        assert pace.is_fault_due(index)
        assert submitted <= (index + 1) * jobs / faults
        books.faults_begun += 1
        submitted = submit_what_may_be(pace, submitted)
        books.faults_done += 1
    assert submit_what_may_be(pace, submitted) == jobs


def test_there_is_load_left_when_a_fault_is_due() -> None:
    pace = Pace(100, 10, Books(100))
    for number in range(2):
        accept(pace.books, number)
    assert pace.is_fault_due(0)
    assert pace.may_submit(7)
    assert not pace.may_submit(8)


def test_no_more_is_submitted_than_may_be_unfinished_and_twice_that_under_a_fault() -> None:
    pace = Pace(1_000, 1, Books(1_000))
    pace.books.unfinished = {str(number) for number in range(MAX_UNFINISHED - 1)}
    assert pace.may_submit(0)
    pace.books.waiting.add("key of a job that nobody knows yet")
    assert not pace.may_submit(0)
    pace.books.faults_begun = 1
    assert pace.may_submit(0)


def test_submits_that_were_given_up_do_not_keep_a_fault_from_coming() -> None:
    pace = Pace(10, 1, Books(10))
    pace.books.given_up = 2
    assert pace.is_fault_due(0)
