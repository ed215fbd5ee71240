"""A request holds at most one stream slot, and gives it back."""

import pytest

from api.access.api_keys import ApiKey
from api.access.request_state import RequestState
from api.access.stream_slots import StreamSlots
from api.errors.tree import TooManyStreams

LAB, SHOP = ApiKey("lab", b"1"), ApiKey("shop", b"2")


def state_of(key: ApiKey) -> RequestState:
    return RequestState(api_key=key)


def test_a_request_that_takes_its_slot_twice_holds_one() -> None:
    slots = StreamSlots(max_streams=2, max_per_key=1)
    first, second = state_of(LAB), state_of(SHOP)
    for state in (first, first, second):
        slots.take(state)
    with pytest.raises(TooManyStreams):
        slots.take(state_of(SHOP))
    for state in (first, first, second):
        slots.free(state)
    slots.take(state_of(SHOP))


def test_a_refused_request_holds_no_slot() -> None:
    slots = StreamSlots(max_streams=2, max_per_key=1)
    first, refused = state_of(LAB), state_of(LAB)
    slots.take(first)
    with pytest.raises(TooManyStreams, match="MAX_STREAMS_PER_KEY"):
        slots.take(refused)
    slots.free(refused)
    slots.free(first)
    slots.take(refused)
