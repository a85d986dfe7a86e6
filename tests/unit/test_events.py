"""Live messages become the same samples however they are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sisock.client.merge import Last, LiveSample, read_events
from sisock.errors import NodeContractError
from sisock.wire.protocol import LATEST, as_text, is_text

ONE = st.one_of(st.floats(), st.integers(-(2**62), 2**62), st.booleans(), st.text(), st.none())

NOW = 1_700_000_000.0


def live_samples(message, node, **how):
    """Cut an event into samples."""
    batches = read_events([message], node, how.pop("timeline_of", {}), **how)
    return [sample for batch in batches for sample in batch.samples()]


@given(
    st.dictionaries(st.text(min_size=1).filter(is_text), ONE),
    st.floats(0, LATEST, exclude_max=True),
)
def test_one_sample_is_what_the_same_is_among_others(values, t):
    """A second timeline has the message taken apart in the general way."""
    data = {name: [value] for name, value in values.items()}
    alone = live_samples({"data": data, "timeline": {"a": {"t": [t]}}}, "n")
    both = live_samples({"data": data, "timeline": {"a": {"t": [t]}, "b": {"t": []}}}, "n")
    assert alone == both
    assert [sample.t for sample in alone] == [t] * any(map(is_value, values.values()))
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        value = as_text(value) if isinstance(value, str) else value
        assert not alone or alone[0].values[name] == value


def is_value(value):
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def test_several_samples_come_in_the_order_of_time():
    data = {"x": [1.5, None], "y": ["a", "b"]}
    expected = [
        LiveSample(1.0, "a", {"x": 1.5, "y": "a"}),
        LiveSample(2.0, "a", {"x": None, "y": "b"}),
    ]
    message = {"data": data, "timeline": {"a": {"t": [1.0, 2.0]}}}
    assert live_samples(message, "n") == expected
    assert live_samples(message, "n", wanted={"x"}) == [LiveSample(1.0, "a", {"x": 1.5})]


def test_fields_of_several_timelines_come_at_the_times_of_their_own():
    message = {"data": {"x": [1], "y": [2]}, "timeline": {"a": {"t": [1.0]}, "b": {"t": [2.0]}}}
    timeline_of = {"x": "a", "y": "b"}
    expected = [LiveSample(1.0, "a", {"x": 1}), LiveSample(2.0, "b", {"y": 2})]
    assert live_samples(message, "n", timeline_of=timeline_of) == expected
    with pytest.raises(NodeContractError):
        live_samples(message, "n")


def test_an_event_may_only_say_when_the_last_sample_was():
    assert list(read_events([{"timeline": {"a": {"last": 5.0}}}], "n", {})) == [Last("a", 5.0)]
    message = {"data": {"x": [1.5]}, "timeline": {"a": {"t": [1.0]}, "b": {"last": 7}}}
    last, batch = read_events([message], "n", {})
    assert last == Last("b", 7.0)
    assert batch.timeline == "a"


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
        {"timeline": {"a": {"last": "soon"}}},
        {"timeline": {"a": {"last": math.inf}}},
        {"timeline": {"a": {"last": 1000 * NOW}}},
        {"timeline": {"a": {}}},
        {"data": {"x": [1.0]}, "timeline": {"a": {"t": [1000 * NOW]}}},
        {"data": {"": [1.0]}, "timeline": {"a": {"t": [1.0]}}},
        {"data": {5: [1.0]}, "timeline": {"a": {"t": [1.0]}}},
        {"data": {"\ud800": [1.0]}, "timeline": {"a": {"t": [1.0]}}},
        {"data": {"x": [1.0]}, "timeline": {5: {"t": [1.0]}}},
        {"timeline": {"a": 1.0}},
        {"data": {"x": [1.0, 2.0]}, "timeline": {"a": {"t": [1.0]}}},
        [],
        None,
    ],
)
def test_what_is_no_message_is_refused(message):
    with pytest.raises(NodeContractError):
        live_samples(message, "n")
