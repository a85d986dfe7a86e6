"""Long intervals of an archive, whose samples the node never has in memory all at once."""

import numpy as np
import pytest

import sisock
from sisock.testing import Part1Consumer, serve_node

START, SECONDS = 1_500_000_000.0, 12_000_000
GAP = 3_000_000, 10_000_000


class Long(sisock.ArchiveNode):
    """A sample a second for 139 days, but for a gap of 81; `longest` is the largest reading."""

    name, pyramid, longest = "long", False, 0

    def list_fields(self, start, end):
        span = {"first": START, "last": START + SECONDS - 1, "interval": 1.0}
        return {name: {"timeline": "second", **span} for name in "ab"}

    def read(self, field, start, end):
        low, high = np.clip(np.ceil(np.array([start, end]) - START), 0, SECONDS)
        t = np.arange(low, high)
        t = t[(t < GAP[0]) | (t >= GAP[1])]
        self.longest = max(self.longest, int(high - low))
        return START + t, t.astype("<i4") if field == "a" else -t


@pytest.fixture
def long(router):
    node = Long()
    with serve_node(router, node) as client:
        yield node, client


def test_all_samples_arrive_though_few_are_read_at_once(long):
    node, client = long
    found = client.get("long", ["a", "b"], START, START + SECONDS)
    for name, sign in (("a", 1), ("b", -1)):
        assert len(found[name].t) == SECONDS - GAP[1] + GAP[0]
        np.testing.assert_array_equal(found[name].t - START, sign * found[name].values)
        assert (np.diff(found[name].t) > 0).all()
    assert node.longest <= 4_000_000


def test_who_wants_one_message_hears_that_it_would_be_too_large(long, router):
    with Part1Consumer(router) as consumer:
        assert consumer.get_data("long", ["a"], START, START + SECONDS) is False
        few = consumer.get_data("long", ["a"], START, START + SECONDS, 1e6)
    assert few["data"]["a"] == [0, 1_000_000, 2_000_000, 10_000_000, 11_000_000]
