"""What a watch has missed is asked for in parts, of nodes of every kind."""

import time
from types import SimpleNamespace

import pytest
from twisted.internet import defer

from sisock.client.merge import Merger
from sisock.client.missed import MAX_VALUES, fetch_missed
from sisock.wire.fields import KnownNode
from tests.unit.test_fetch import Session, chunk, field, result

LIVE = KnownNode("n", features=frozenset({"live", "progressive"}))
PART_1 = KnownNode("n")


def site_of(session):
    async def joined():
        return session

    return SimpleNamespace(session=joined, timeout=30)


def catch_up(node, line, answer, interval=1.0):
    """Ask until nothing is missed; returns the times that were passed on, and the session."""
    session = Session(answer)
    site, passed = site_of(session), []
    while line.is_behind:
        part = fetch_missed(site, node, line, {"x": field(interval=interval)}, line.last)
        passed += result(defer.ensureDeferred(part))
    assert all(len(call.fields) == 1 for call in session.calls)
    return [t for each in passed for t in each.t.tolist()], session.calls


def begin(seconds):
    """A node that has a sample a second, and a timeline of which the last so many are missed."""
    now = float(int(time.time()))
    times = [now - seconds + i for i in range(seconds + 1)]
    return times, Merger("t", times[0], is_live=False)


def within(times, call):
    return [t for t in times if call.start <= t < call.end]


@pytest.mark.parametrize("interval", [1.0, None])
def test_a_long_break_is_asked_for_in_parts(interval):
    times, line = begin(250_000)
    got, calls = catch_up(LIVE, line, lambda call: chunk(within(times, call)), interval)
    assert got == times[1:]
    assert len(calls) < 20
    assert max(len(within(times, call)) for call in calls) <= 2 * MAX_VALUES


def test_a_gap_of_years_takes_few_questions():
    recent, _ = begin(5)
    times = [recent[0] - 3e8, *recent]
    line = Merger("t", times[0], is_live=False)
    got, calls = catch_up(LIVE, line, lambda call: chunk(within(times, call)))
    assert got == times[1:]
    assert len(calls) < 10


def test_a_node_that_says_it_is_too_much_is_asked_for_less():
    times, line = begin(5000)

    def answer(call):
        found = within(times, call)
        return chunk(found) if len(found) <= 300 else False

    got, _ = catch_up(PART_1, line, answer)
    assert got == times[1:]


def test_without_live_samples_only_final_ones_count():
    times, line = begin(10)
    got, _ = catch_up(PART_1, line, lambda call: chunk(within(times, call), until=times[6]))
    assert got == times[1:6]
