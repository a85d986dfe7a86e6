"""Memory that the bridge's answers share, and who is sent away."""

import gc

import numpy as np
import pytest

from sisock.bridge.metrics import AnswerMemory, Overloaded
from sisock.wire.arrays import memory_size


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


def test_memory_is_that_of_the_arrays_and_of_their_objects():
    assert memory_size(np.zeros(10), np.zeros(10, "<i4")) == 120
    assert memory_size(np.array(["a", None], object)) >= 2 * 64
    assert memory_size() == 0
