"""Memory that the bridge's answers share, and who is sent away."""

import gc

import pytest

from sisock.bridge.answer_memory import AnswerMemory, Overloaded, size_of


def test_answers_together_have_no_more_than_the_limit():
    memory = AnswerMemory(100)
    shares = [memory.share() for _ in range(4)]
    for share in shares:
        share.add(25)
    with pytest.raises(Overloaded):
        shares[0].add(1)
    # The one that was sent away has dropped what it had.
    memory.share().add(25)


def test_one_answer_alone_may_be_larger_and_leaves_room_for_small_ones():
    memory = AnswerMemory(100)
    large, small, second = memory.share(), memory.share(), memory.share()
    large.add(1000)
    small.add(40)
    with pytest.raises(Overloaded):
        second.add(51)


def test_what_is_not_there_any_more_takes_nothing():
    memory = AnswerMemory(100)
    memory.share().add(100)
    memory.share().add(100)
    cycle = [memory.share()]
    cycle[0].add(100)
    cycle.append(cycle)
    del cycle
    gc.disable()
    try:
        memory.share().add(100)
    finally:
        gc.enable()


def test_a_piece_is_as_large_as_its_arrays():
    piece = {
        "data": {"a": {"dtype": "<f8", "values": b"x" * 80}, "b": [None] * 10},
        "timeline": {"t": {"t": {"dtype": "<f8", "values": b"x" * 80}}},
    }
    assert size_of(piece) >= 80 + 10 * 8 + 80
    assert [size_of(odd) for odd in (None, False, {}, {"data": 1}, {"data": {"a": 1}})] == [0] * 5
