import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sisock.node.ring_buffer import RingBuffer


@given(st.integers(1, 20), st.integers(0, 100), st.floats(0, 110), st.floats(0, 110))
def test_it_keeps_the_newest_samples_in_order(depth, count, start, end):
    ring = RingBuffer(depth, {"x": True, "s": False})
    for i in range(count):
        ring.append(float(i), {"x": i * 2, **({"s": str(i)} if i % 3 else {})})
    kept = [i for i in range(max(0, count - depth), count) if start <= i < end]
    t, values, _ = ring.snapshot(start, end, ["x", "s", "unknown"])
    assert len(ring) == min(count, depth)
    assert t.tolist() == kept
    assert values["x"].tolist() == [i * 2.0 for i in kept]
    assert values["s"].tolist() == [str(i) if i % 3 else None for i in kept]
    assert set(values) == {"x", "s"}


def test_a_missing_number_is_nan():
    ring = RingBuffer(3, {"x": True})
    ring.append(1.0, {})
    assert np.isnan(ring.snapshot(0, 9, ["x"])[1]["x"]).all()


def test_samples_of_a_later_time_are_dropped_when_the_clock_goes_back():
    ring = RingBuffer(4, {"x": True})
    for i in range(6):
        ring.append(float(i), {"x": i})
    assert ring.drop_after(3.0) == 2
    assert ring.newest == 3.0
    ring.append(3.5, {"x": 9})
    assert ring.snapshot(0, 99, ["x"])[0].tolist() == [1.0, 2.0, 3.0, 3.5]


def test_what_is_handed_out_does_not_change_later():
    ring = RingBuffer(2, {"x": True})
    ring.append(1.0, {"x": 1})
    t, values, _ = ring.snapshot(0, 9, ["x"])
    for i in range(10):
        ring.append(2.0 + i, {"x": 5})
    assert (t.tolist(), values["x"].tolist()) == ([1.0], [1.0])
