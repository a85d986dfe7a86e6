"""Live messages become the same samples however they are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisock.client.watch import LiveSample, live_samples
from sisock.errors import NodeContractError
from sisock.wire.arrays import as_text

ONE = st.one_of(st.floats(), st.integers(-(2**62), 2**62), st.booleans(), st.text(), st.none())


@given(st.dictionaries(st.text(), ONE), st.floats(0, 1e11))
def test_one_sample_is_what_the_same_is_among_others(values, t):
    """A second timeline has the message taken apart in the general way."""
    data = {name: [value] for name, value in values.items()}
    alone = live_samples({"data": data, "timeline": {"a": {"t": [t]}}}, "n")
    both = live_samples({"data": data, "timeline": {"a": {"t": [t]}, "b": {"t": []}}}, "n")
    assert alone == both
    assert alone[0].t == t
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        assert alone[0].values[name] == (as_text(value) if isinstance(value, str) else value)


def test_several_samples_come_in_the_order_of_time():
    message = {"data": {"x": [1.5, None]}, "timeline": {"a": {"t": [1.0, 2.0]}}}
    expected = [LiveSample(1.0, "a", {"x": 1.5}), LiveSample(2.0, "a", {"x": None})]
    assert live_samples(message, "n") == expected


@pytest.mark.parametrize(
    "message",
    [
        {"data": {"x": {"a": 1}}, "timeline": {"a": {"t": [1.0]}}},
        {"data": {"x": "a"}, "timeline": {"a": {"t": [1.0]}}},
        {"data": {"x": [1.0]}, "timeline": {"a": {"t": "1"}}},
        {"data": {"x": [1.0]}, "timeline": {"a": {"t": [math.inf]}}},
        {"data": {"x": [1.0]}, "timeline": {"a": {"t": [True]}}},
        {"data": {"x": [[1.0]]}, "timeline": {"a": {"t": [1.0]}}},
        {"timeline": {"a": {"t": [1.0]}}},
        [],
        None,
    ],
)
def test_what_is_no_message_is_refused(message):
    with pytest.raises(NodeContractError):
        live_samples(message, "n")
