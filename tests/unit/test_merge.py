"""Whatever breaks when: each sample once and in order, and what is missing lies in a gap."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sisock.client.merge import MAX_WAITING, Batch, Gap, Merger

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("publish"), st.booleans()),
        st.tuples(st.just("say"), st.booleans()),
        st.tuples(st.just("break"), st.none()),
        st.tuples(st.just("ask"), st.none()),
        st.tuples(st.just("answer"), st.one_of(st.none(), st.integers(0, 5))),
        st.tuples(st.just("fail"), st.none()),
        st.tuples(st.just("hold"), st.none()),
        st.tuples(st.just("forget"), st.integers(0, 10)),
    ),
    max_size=60,
)


def batch(times):
    t = np.array(times, dtype=float)
    return Batch("line", t, {"x": 10 * t})


class Model:
    """A node whose sample number n has the time n, and what a consumer makes of all this."""

    def __init__(self):
        self.merger = Merger("line")
        self.count = 0
        self.published = 0
        self.kept_from = 1
        self.lost = set()
        self.is_cut_off = False
        self.asked = None
        self.passed = []

    def samples(self, start, end):
        first = max(start, self.kept_from)
        return batch(range(first, min(end, self.count + 1)))

    def take(self, n):
        self.count += n

    def publish(self, _):
        new = batch(range(self.published + 1, self.count + 1))
        self.published = self.count
        if len(new) and not self.is_cut_off:
            self.passed += self.merger.hear(new)

    def say(self, _):
        self.published = self.count
        if self.count and not self.is_cut_off:
            self.merger.hear_of(float(self.count))

    def forget(self, n):
        """The node forgets old samples; those that the consumer has not seen are lost to it."""
        self.kept_from = max(self.kept_from, self.count + 1 - n)

    def hold(self, _):
        self.merger.hold()

    def ask(self, _):
        if self.asked is None and self.merger.is_behind:
            start = self.merger.ask()
            self.asked = 1 if start is None else int(start)

    def answer(self, length):
        if self.asked is None:
            return
        start, self.asked = self.asked, None
        is_complete = length is None or start + length > self.count
        reply = self.samples(start, self.count + 1 if is_complete else start + length)
        self.passed += self.merger.answer(reply, is_complete)

    def fail(self, _):
        if self.asked is not None:
            self.asked = None
            self.merger.lose()

    def settle(self):
        """Do what a consumer does until all is well again."""
        self.fail(None)
        while not self.merger.is_live:
            if self.merger.is_behind:
                self.ask(None)
                self.answer(None)
            else:
                self.passed += self.merger.release()

    def times(self):
        return [t for each in self.passed if isinstance(each, Batch) for t in each.t.tolist()]

    def gaps(self):
        return [each for each in self.passed if isinstance(each, Gap)]


def play(model, steps):
    for step, argument in steps:
        if step == "break":
            # Events are missed until the consumer is there again, and knows that it was away.
            model.is_cut_off = True
            model.publish(None)
            model.is_cut_off = False
            model.merger.lose()
        else:
            getattr(model, step)(argument)
    model.settle()
    # A gap is told of with the sample that ends it.
    model.take(1)
    model.publish(None)
    model.settle()


@given(STEPS)
def test_each_sample_comes_once_and_in_order(steps):
    model = Model()
    play(model, [each for each in steps if each[0] != "forget"])
    assert model.times() == list(range(1, model.count + 1))
    assert model.gaps() == []


@given(STEPS)
# The sample that waits is followed by one that was missed, and that the node has forgotten.
@example(
    [("break", None), ("take", 1), ("publish", None), ("take", 1), ("break", None), ("forget", 0)]
)
def test_what_a_node_forgot_lies_in_a_gap(steps):
    model = Model()
    play(model, steps)
    times = model.times()
    assert times == sorted(set(times))
    inside = {n for gap in model.gaps() for n in range(int(gap.start) + 1, int(gap.end))}
    # What was before the first sample that came is nobody's business.
    first = int(times[0]) if times else model.count + 1
    missing = set(range(first, model.count + 1)) - set(times)
    assert missing <= inside
    assert not inside & set(times)
    for gap in model.gaps():
        assert {gap.start, gap.end} <= set(times)
    values = [v for each in model.passed if isinstance(each, Batch) for v in each.values["x"]]
    assert values == [10 * t for t in times]


def test_a_break_in_which_nothing_was_missed_is_no_gap():
    merger = Merger("line", last=3.0)
    merger.lose()
    assert merger.ask() == 3.0
    assert merger.answer(batch([3.0])) == []
    assert not merger.is_behind
    assert merger.release() == []
    (passed,) = merger.hear(batch([4.0]))
    assert passed.t.tolist() == [4.0]


def test_a_node_without_its_past_is_a_gap_up_to_its_next_sample():
    merger = Merger("line", last=3.0)
    merger.lose()
    merger.ask()
    assert merger.answer(batch([])) == []
    assert merger.release() == []
    gap, passed = merger.hear(batch([7.0, 8.0]))
    assert gap == Gap("line", 3.0, 7.0)
    assert passed.t.tolist() == [7.0, 8.0]
    assert [len(merger.hear(batch([t]))) for t in (8.0, 9.0)] == [0, 1]


def test_what_nobody_answers_is_a_gap():
    merger = Merger("line", last=3.0)
    merger.lose()
    merger.hear(batch([5.0]))
    merger.ask()
    merger.lose()
    merger.give_up()
    gap, passed = merger.release()
    assert gap == Gap("line", 3.0, 5.0)
    assert passed.t.tolist() == [5.0]


def test_an_answer_after_all_makes_a_gap_undone():
    merger = Merger("line", last=3.0)
    merger.lose()
    merger.ask()
    merger.lose()
    merger.give_up()
    assert merger.release() == []
    merger.lose()
    merger.ask()
    (passed,) = merger.answer(batch([3.0, 4.0]))
    assert passed.t.tolist() == [4.0]


def test_more_than_can_wait_is_asked_for_again():
    merger = Merger("line", last=0.0)
    merger.lose()
    merger.ask()
    merger.hear(batch(np.arange(1, MAX_WAITING + 2)))
    (passed,) = merger.answer(batch([0.0, 1.0]))
    assert merger.is_behind
    assert merger.ask() == 1.0
    (passed,) = merger.answer(batch(np.arange(1, MAX_WAITING + 2)))
    assert len(passed) == MAX_WAITING
    assert not merger.is_behind


def test_each_part_of_a_long_reply_shows_whether_something_is_lost():
    merger = Merger("line", last=1.0)
    merger.lose()
    merger.ask()
    (passed,) = merger.answer(batch([1.0, 2.0]), is_complete=False)
    assert merger.is_behind
    assert merger.ask() == 2.0
    gap, passed = merger.answer(batch([7.0]))
    assert gap == Gap("line", 2.0, 7.0)
    assert passed.t.tolist() == [7.0]
    assert not merger.is_behind


def passed_by(merger, *events):
    """Times that are passed on of events, each asked for again if it goes back."""
    passed = []
    for event in events:
        try:
            passed += merger.hear(event)
        except ValueError as error:
            assert "'line' go back" in str(error)
    return [t for each in passed for t in each.t.tolist()]


@pytest.mark.parametrize("lie", [[90_000.0], [4.0, 90_000.0]])
def test_after_a_wrong_time_nothing_is_missed_or_doubled(lie):
    merger = Merger("line", last=3.0)
    assert passed_by(merger, batch(lie), batch([5.0])) == lie
    assert merger.is_behind
    assert merger.ask() == ([3.0, *lie])[-2]
    (passed,) = merger.answer(batch([merger.last, 5.0, 6.0]))
    assert passed.t.tolist() == [5.0, 6.0]
    assert merger.release() == []
    assert passed_by(merger, batch([6.0]), batch([7.0])) == [7.0]


def test_a_wrong_time_that_still_waits_is_never_passed_on():
    merger = Merger("line", last=3.0)
    merger.lose()
    assert passed_by(merger, batch([90_000.0]), batch([5.0])) == []
    assert merger.ask() == 3.0
    (passed,) = merger.answer(batch([3.0, 4.0, 5.0]))
    assert passed.t.tolist() == [4.0, 5.0]
    assert merger.release() == []


def test_after_many_wrong_times_there_is_a_gap():
    merger = Merger("line", last=3.0)
    passed_by(merger, batch([90_000.0]), batch([90_001.0]), batch([5.0]))
    merger.ask()
    gap, passed = merger.answer(batch([5.0]))
    assert (gap.end, passed.t.tolist()) == (5.0, [5.0])


def test_a_wrong_time_that_was_only_told_costs_nothing():
    merger = Merger("line", last=3.0)
    merger.hear_of(90_000.0)
    merger.ask()
    merger.answer(batch([3.0, 4.0]))
    merger.release()
    with pytest.raises(ValueError, match="go back"):
        merger.hear_of(5.0)
    assert merger.ask() == 4.0


def test_a_sample_that_is_published_twice_is_no_wrong_time():
    merger = Merger("line", last=3.0)
    assert passed_by(merger, batch([4.0]), batch([4.0]), batch([4.0, 5.0])) == [4.0, 5.0]
    merger.hear_of(5.0)
    assert merger.is_live


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"x": np.array([1.0, np.nan, np.inf])}, [0.0]),
        ({"x": np.array([None, "a", None], dtype=object)}, [1.0]),
        ({"x": np.array([np.nan] * 3), "y": np.array([True, False, True])}, [0.0, 1.0, 2.0]),
        ({}, []),
    ],
)
def test_samples_without_any_value_are_dropped(values, kept):
    assert Batch("line", np.arange(3.0), values).present().t.tolist() == kept
