"""What is pushed to a live node is served as a plain list would hold it."""

import enum
import json
import math
import threading
import time
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sisock
from sisock.errors import NodeContractError, SettingsError
from sisock.history.columns import encode
from sisock.history.memory import MAX_MEMORY, Memory
from sisock.node.intake import MAX_FIELDS, MAX_HELD
from sisock.testing import wait_until
from sisock.wire.protocol import NEVER_FINAL
from tests import grid_oracle as oracle

NOW, UNIT = 1_700_000_000.0, 1000.0
"""Times are so far apart that none is let go because it was held for so long."""

KINDS = {"x": "number", "on": "bool", "word": "string", "y": "number"}
LINES = {"x": "pushed", "on": "pushed", "word": "other", "y": "other"}
VALUES = {
    "number": st.one_of(st.none(), st.integers(-3, 3), st.floats(width=32)),
    "bool": st.one_of(st.none(), st.booleans()),
    "string": st.sampled_from([None, "", "a", "b", "ü"]),
}
EARLIEST, LATEST = 1.0, 1e12


class Pushed(sisock.LiveNode):
    """Has two timelines; two of its four fields are declared."""

    name = "made"
    interval = None
    history = 1e10
    fields = {
        "x": {"units": "K", "timeline": "pushed"},
        "word": {"type": "string", "timeline": "other"},
    }


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_DATA", str(tmp_path / "data"))


def made(**attributes):
    node = type("Made", (Pushed,), attributes)()
    node.prepare()
    node.generation = node.open()
    return node


times = st.one_of(
    st.integers(-20, 20), st.floats(-20, 20, allow_subnormal=False), st.sampled_from([1e6, -1e6])
).map(lambda t: NOW + t * UNIT)


@st.composite
def pushes(draw):
    """A sample or arrays of some fields of a timeline: (t, field to value, timeline)."""
    line = draw(st.sampled_from(["pushed", "other"]))
    names = [name for name in KINDS if LINES[name] == line]
    fields = draw(st.sets(st.sampled_from(names), min_size=1))
    if draw(st.booleans()):
        t = draw(times)
        return t, {name: draw(VALUES[KINDS[name]]) for name in fields}, line
    count = draw(st.integers(0, 6))
    t = draw(st.lists(times, min_size=count, max_size=count))
    lists = {n: st.lists(VALUES[KINDS[n]], min_size=count, max_size=count) for n in fields}
    return t, {name: draw(each) for name, each in lists.items()}, line


class Model:
    """The samples of a timeline, in a plain list; what is held is not in it yet."""

    def __init__(self, is_holding=False):
        self.is_holding = is_holding
        self.held, self.rows = [], {}

    def take(self, t, values):
        self.held.append((t, values))

    def flush(self, is_last=False):
        if is_last or not self.is_holding:
            newest = max(self.rows, default=-math.inf)
            for t, values in self.held:
                if t > newest:
                    self.rows.setdefault(t, values)
            self.held = []

    def served(self, field):
        return [(t, row.get(field)) for t, row in sorted(self.rows.items())]


def rows_of(push):
    t, values, _ = push
    if not isinstance(t, list):
        return [(t, values)]
    return [(each, {name: own[i] for name, own in values.items()}) for i, each in enumerate(t)]


def plain(value):
    """A value as it is compared: one that is missing as None, a number as a float."""
    if value is None or oracle.is_missing(value):
        return None
    return value if isinstance(value, str | bool) else float(value)


def series(reply, field):
    if field not in reply.follows:
        return []
    t = reply.timelines[reply.follows[field]].t.tolist()
    values = reply.data[field]
    values = values if isinstance(values, list) else values.tolist()
    assert len(t) == len(values)
    return [(at, plain(value)) for at, value in zip(t, values, strict=True)]


def same(found, rows):
    """Whether what is served is what the list has; a field without any value may be unknown."""
    wanted = [(t, plain(value)) for t, value in rows]
    return found == wanted or (not found and all(value is None for _, value in wanted))


ASK, RESTART = "ask", "restart"


@given(
    st.lists(st.one_of(pushes(), st.sampled_from([ASK, RESTART])), max_size=12),
    st.sampled_from([0.0, 1.5 * UNIT, 30 * UNIT]),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pushes_are_served_as_a_plain_list_has_them(steps, lateness, is_kept):
    about = {"lateness": lateness, "name": f"node_{uuid.uuid4().hex}"}
    about |= {"keep": {"bytes": "1GB"}} if is_kept else {}
    node = made(**about)
    models = {line: Model(lateness > 0) for line in set(LINES.values())}
    for step in steps:
        if step == ASK:
            check(node, models)
        elif step == RESTART:
            node.end()
            node = made(**about)
            for name, model in models.items():
                model.flush(is_last=True)
                models[name] = model if is_kept else Model(lateness > 0)
        else:
            node.push(step[1], step[0], step[2])
            for row in rows_of(step):
                models[step[2]].take(*row)
            models[step[2]].flush()
    check(node, models)
    node.end()
    node = made(**about)
    for model in models.values():
        model.flush(is_last=True)
    if is_kept:
        check(node, models)
    node.end()


def check(node, models):
    for model in models.values():
        model.flush()
    reply = node.get_data(list(KINDS), EARLIEST, LATEST)
    few = node.get_decimated(list(KINDS), EARLIEST, LATEST, bucket=1024.0)
    for field, line in LINES.items():
        rows = models[line].served(field)
        assert same(series(reply, field), rows)
        kept = oracle.decimate([t for t, _ in rows], [plain(value) for _, value in rows], 1024.0)
        assert same(series(few, field), [rows[i] for i in kept])


@given(
    st.lists(pushes(), max_size=12),
    st.sampled_from([0.125, 128.0, 8192.0, 2.0**30]),
    st.integers(8, 20),
    times,
    st.floats(0, 30 * UNIT),
)
def test_any_pushes_are_decimated_as_the_grid_says(steps, w, max_points, start, span):
    node = made()
    models = {line: Model() for line in set(LINES.values())}
    for step in steps:
        node.push(step[1], step[0], step[2])
        for row in rows_of(step):
            models[step[2]].take(*row)
        models[step[2]].flush()
    few = node.get_decimated(list(KINDS), start, start + span, max_points=max_points)
    cut = node.get_decimated(list(KINDS), start, start + span, bucket=w)
    for field, line in LINES.items():
        rows = models[line].served(field)
        newest = rows[-1][0] if rows else NEVER_FINAL
        inside = [(t, v) for t, v in rows if start <= t < start + span]
        t, values = [t for t, _ in inside], [plain(v) for _, v in inside]
        assert same(series(cut, field), [inside[i] for i in oracle.decimate(t, values, w)])
        kept, _ = oracle.decimate_to(t, values, max_points)
        assert same(series(few, field), [inside[i] for i in kept])
        for reply in (cut, few):
            assert reply.final_to[field] <= math.nextafter(newest, math.inf)
            if series(reply, field):
                assert reply.final_to[field] > newest
    node.end()


MAX_PUSH = 30


@given(st.integers(1, 20), st.lists(st.integers(1, MAX_PUSH), max_size=12), st.booleans())
def test_the_newest_samples_are_kept_and_few_others(depth, sizes, by_time):
    node = made(history_samples=depth) if not by_time else made(history=depth - 0.5)
    count = 0
    for size in sizes:
        t = NOW + np.arange(count, count + size)
        node.push({"x": t - NOW, "y": t - NOW if count % 2 else np.full(size, np.nan)}, t, "pushed")
        before = node.get_data(["x"], EARLIEST, LATEST)
        frozen = series(before, "x")
        count += size
        node.push({"x": count}, NOW + count)
        count += 1
        found = series(node.get_data(["x"], EARLIEST, LATEST), "x")
        assert min(count, depth) <= len(found) <= depth + depth / 8 + MAX_PUSH
        assert found == [(NOW + i, float(i)) for i in range(count - len(found), count)]
        assert series(before, "x") == frozen
    node.end()


@pytest.mark.parametrize(
    ("values", "t", "timeline", "error"),
    [
        ([1], None, None, "must be a dict"),
        ({"x": 1}, math.nan, None, "must be finite"),
        ({"x": [1, 2]}, [NOW, math.inf], None, "must be finite"),
        ({"x": [1, 2]}, ["a", "b"], None, "finite UNIX seconds"),
        ({"x": [1, 2]}, [NOW], None, "2 values for 1 time"),
        ({"word": "a"}, None, "pushed", "'word' belongs to timeline 'other'"),
        ({5: 1}, None, None, "5 cannot be the name of a field"),
        ({"": 1}, None, None, "'' cannot be the name of a field: it must be a string that is not"),
        ({"new": 1}, None, "\ud800", "cannot be the name of a timeline"),
        ({"new": 1, "x": 1}, None, "other", "'x' belongs to timeline 'pushed'"),
        ({"new": 1, 5: 1}, None, None, "5 cannot be the name of a field"),
        pytest.param({"x": 1}, 10**400, None, "finite UNIX seconds", id="huge"),
        ({"x": 1}, 1000 * NOW, None, "milliseconds are not"),
        ({"x": 1}, "now", None, "the times of samples must be .* not str"),
        (
            {"x": [1]},
            np.array([5], "<M8[s]"),
            None,
            "the times of samples must be .* not datetime64",
        ),
        ({"x": [1, 2]}, [NOW, 1000 * NOW], None, "milliseconds are not.* not 1700000000000.0"),
        ({"x": 1}, -5, None, "from 1970 .* not -5"),
        ({"x": 1}, datetime.now(UTC), None, "must be .* UNIX seconds.* not datetime"),
        ({"x": [1, 2]}, [NOW, None], None, "not nan"),
        ({"x": [1]}, ["noon"], None, "not str"),
    ],
)
def test_a_push_that_makes_no_sense_is_refused_as_a_whole(values, t, timeline, error):
    node = made()
    with pytest.raises((TypeError, ValueError), match=error):
        node.push(values, t, timeline)
    assert node.status() == {"samples": 0, "last": None, "error": None}
    assert set(fields_of(node)[0]) == {"x", "word"}
    node.end()


def test_a_push_before_the_node_runs_says_where_to_begin():
    with pytest.raises(RuntimeError, match="start its callers in begin, not in __init__"):
        Pushed().push({"x": 1})


@pytest.mark.parametrize(
    ("values", "t", "fault"),
    [
        ({"x": "4", "on": True}, NOW, "a string for 'x', which is a number"),
        ({"x": ["4"], "on": [True]}, [NOW], "a string for 'x', which is a number"),
        ({"x": [object()], "on": [True]}, [NOW], "wrong values for 'x': values of type object"),
        ({"x": [4, 5], "on": True}, NOW, "wrong values for 'x': values of type list cannot"),
        ({"x": [4, 5], "on": True}, NOW, "; an array needs an array of times"),
        ({"x": np.ones(2), "on": True}, NOW, "; an array needs an array of times"),
        ({"word": 4, "on": True}, NOW, "a number for 'word', which is a string"),
    ],
)
def test_a_value_of_a_wrong_type_is_lost_and_the_others_are_not(values, t, fault):
    node = made()
    node.push(values, t)
    assert series(node.get_data(["on"], EARLIEST, LATEST), "on") == [(NOW, True)]
    assert fault in node.status()["error"]
    node.end()


def test_arrays_that_were_pushed_belong_to_their_owner_again():
    node = made()
    t, x, word = NOW + np.arange(3), np.arange(3.0), ["a", "b", "c"]
    node.push({"x": x}, t)
    node.push({"word": word}, t)
    t += 5
    x[:], word[:] = -1, ["z"] * 3
    reply = node.get_data(["x", "word"], EARLIEST, LATEST)
    assert series(reply, "x") == [(NOW, 0.0), (NOW + 1, 1.0), (NOW + 2, 2.0)]
    assert [value for _, value in series(reply, "word")] == ["a", "b", "c"]
    node.end()


def test_what_comes_too_late_is_dropped_and_said():
    node = made()
    node.push({"x": 1}, NOW)
    node.get_data(["x"], EARLIEST, LATEST)
    node.push({"x": 2}, NOW)
    node.push({"x": [3, 4]}, [NOW - 1, NOW])
    assert series(node.get_data(["x"], EARLIEST, LATEST), "x") == [(NOW, 1.0)]
    told = "too late for timeline 'pushed' are dropped (3 samples dropped since the start)"
    assert told in node.status()["error"]
    node.end()


def test_a_clock_that_was_set_back_is_said_loudly():
    node = made()
    ahead = 4_000_000_000.0
    node.push({"x": 1}, ahead)
    node.get_data(["x"], EARLIEST, LATEST)
    node.push({"x": 2})
    assert series(node.get_data(["x"], EARLIEST, LATEST), "x") == [(ahead, 1.0)]
    assert "2096-10-02T07:06:40Z, which is in the future" in node.status()["error"]
    assert node.status()["last"] == ahead
    node.push({"x": 3}, ahead + 1)
    assert len(series(node.get_data(["x"], EARLIEST, LATEST), "x")) == 2
    node.end()


class State(enum.StrEnum):
    """A text of another class."""

    OK = "ok"


class Count(int):
    """A number of another class."""


@pytest.mark.parametrize("large", [10**400, Count(10**400)], ids=["int", "own"])
def test_integers_beyond_all_floats_and_odd_texts_are_kept(large):
    node = made()
    node.push({"x": large, "on": np.bool_(True)}, NOW, "pushed")
    assert f"values of type {type(large).__name__} cannot be served" in node.status()["error"]
    node.push({"x": np.float32(0.5), "on": None}, NOW + 1, "pushed")
    node.push({"word": "\ud800"}, NOW)
    node.push({"word": State.OK}, NOW + 1)
    reply = node.get_data(["x", "on", "word"], EARLIEST, LATEST)
    assert series(reply, "x") == [(NOW, None), (NOW + 1, 0.5)]
    assert series(reply, "on") == [(NOW, True), (NOW + 1, None)]
    assert series(reply, "word") == [(NOW, "?"), (NOW + 1, "ok")]
    node.end()


async def described(node):
    return await node.get_fields(1, 0)


def fields_of(node):
    """What a coroutine that waits for nothing returns."""
    with pytest.raises(StopIteration) as done:
        described(node).send(None)
    return done.value.value


def test_fields_and_timelines_are_discovered_and_described():
    node = made(stale_after=7, fields={"x": {"units": "K", "limits": {"alarm": [None, 5]}}})
    node.push({"x": 1, "on": False}, NOW)
    node.push({"a": "text", "b": 2.5}, NOW + 1, "events")
    node.get_data(["x"], 1, 0)
    field, line = fields_of(node)
    assert {name: (about["type"], about["timeline"]) for name, about in field.items()} == {
        "x": ("number", "made"),
        "on": ("bool", "made"),
        "a": ("string", "events"),
        "b": ("number", "events"),
    }
    assert (field["x"]["units"], field["x"]["limits"]) == ("K", {"alarm": [None, 5]})
    assert line["made"]["field"] == ["x", "on"] and line["events"]["field"] == ["a", "b"]
    assert {line[name]["stale_after"] for name in line} == {7}
    assert (line["events"]["first"], line["made"]["last"]) == (NOW + 1, NOW)


def test_a_field_described_later_is_listed_once_its_timeline_is_known():
    node = made(fields={})
    node.fields = {"a": {"units": "K"}, "b": {"timeline": "events"}}
    assert {name: about["timeline"] for name, about in fields_of(node)[0].items()} == {
        "b": "events"
    }
    node.push({"a": "text"}, NOW, "events")
    about = fields_of(node)[0]["a"]
    assert (about["timeline"], about["type"], about["units"]) == ("events", "string", "K")


def test_a_field_found_later_is_missing_before():
    node = made()
    node.push({"x": 1}, NOW)
    node.push({"x": 2, "on": True}, NOW + 1, "pushed")
    reply = node.get_decimated(["on"], EARLIEST, LATEST, bucket=1.0)
    assert series(reply, "on") == [(NOW, None), (NOW + 1, True)]
    unknown = node.get_decimated(["later"], EARLIEST, LATEST, bucket=1.0)
    assert unknown.final_to["later"] < 0
    node.end()


def test_a_restart_keeps_generation_fields_and_samples():
    node = made(keep="30d")
    generation = node.generation
    node.push({"x": 1, "on": True}, NOW, "pushed")
    node.end()
    node = made(keep="30d")
    assert node.generation == generation
    node.push({"x": 2}, NOW)
    node.push({"x": 3}, NOW + 1)
    reply = node.get_data(["x", "on"], EARLIEST, LATEST)
    assert series(reply, "x") == [(NOW, 1.0), (NOW + 1, 3.0)]
    assert series(reply, "on") == [(NOW, True), (NOW + 1, None)]
    node.end()


@pytest.mark.parametrize(
    ("entry", "stored_as"),
    [({"type": "string"}, "a number of timeline 'made'"), ({"timeline": "t"}, "timeline 'made'")],
)
def test_a_field_that_is_stored_as_another_one_is_an_error(entry, stored_as):
    made(keep="30d", fields={"x": {}}).end()
    node = made(keep="30d", fields={"x": {}})
    node.push({"x": 1})
    node.end()
    node = type("Other", (Pushed,), {"keep": "30d", "fields": {"x": entry}})()
    node.prepare()
    with pytest.raises(NodeContractError, match=f"field 'x': it is stored as .*{stored_as}"):
        node.open()
    node.end()


def test_two_processes_do_not_share_one_history():
    node = made(keep="30d")
    with pytest.raises(SettingsError, match="in use by another process"):
        made(keep="30d")
    node.end()


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ("soon", "'soon' is not a duration"),
        ({"bytes": "20 apples"}, "'20 apples' is not a number of bytes"),
        ({"bytes": "GB"}, "'GB' is not a number of bytes"),
        ({"days": 3}, 'must have "time" or "bytes" or both'),
        (-1, "has -1, which is not a limit"),
    ],
)
def test_a_bound_that_is_none_is_an_error(keep, sentence):
    node = type("Wrong", (Pushed,), {"keep": keep})()
    with pytest.raises(NodeContractError, match=sentence):
        node.prepare()


class Service:
    """What a node needs to publish: keeps what it is given."""

    def __init__(self):
        self.reactor = self
        self.events = []

    def callFromThread(self, function, *args):
        function(*args)

    def publish(self, event):
        self.events.append(event)


@pytest.fixture
def published():
    """Begin a node; returns it and its events."""
    nodes = []

    def begin(**attributes):
        node = made(**attributes)
        node.service = service = Service()
        node.begin(service)
        nodes.append(node)
        return node, service.events

    yield begin
    for node in nodes:
        node.end()


def test_samples_are_published_together_and_all_of_them(published):
    node, events = published()
    began = time.monotonic()
    for i in range(1000):
        node.push({"x": i, "on": None} if i % 2 else {"x": i, "on": True}, NOW + i, "pushed")
        node.get_data(["x"], NOW, NOW + 1) if i % 100 == 0 else None
    wait_until(lambda: events and events[-1]["data"]["x"][-1] == 999, 40, "the last event")
    assert len(events) <= (time.monotonic() - began) * 20 + 1
    assert [x for event in events for x in event["data"]["x"]] == list(range(1000))
    flags = [on for event in events for on in event["data"]["on"]]
    assert flags == [None if i % 2 else True for i in range(1000)]
    lines = [event["timeline"]["pushed"] for event in events]
    assert [t for line in lines for t in line["t"]] == [NOW + i for i in range(1000)]
    assert all(line["finalized_until"] == line["t"][-1] for line in lines)


@pytest.mark.parametrize("keep", [None, "30d"])
def test_threads_that_push_at_once_lose_nothing(published, keep):
    node, events = published(keep=keep)

    def push(name):
        for i in range(100):
            node.push({name: i})
            if i % 10 == 0:
                node.get_data(["a"], 1, 0)

    threads = [threading.Thread(target=push, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reply = node.get_data(list("abcd"), 1, LATEST)
    for name in "abcd":
        present = [value for _, value in series(reply, name) if value is not None]
        assert present == list(range(100))
    t = reply.timelines["made"].t
    assert len(t) == 400 and (np.diff(t) > 0).all()
    wait_until(lambda: events[-1]["timeline"]["made"]["t"][-1] == t[-1], 40, "the last event")
    told = [at for event in events for at in event["timeline"]["made"]["t"]]
    assert told == t.tolist()


@pytest.mark.parametrize(
    ("field", "values"),
    [("x", np.arange(60_000.0)), ("word", ["a" * 1000] * 2000)],
    ids=["many", "long"],
)
def test_an_event_that_is_too_much_says_only_that_there_are_samples(published, field, values):
    node, events = published()
    line = LINES[field]
    node.push({field: values}, NOW + np.arange(len(values)), line)
    wait_until(lambda: events, 40, "the event")
    assert events == [{"timeline": {line: {"last": NOW + len(values) - 1}}}]
    node.push({field: values[-1]}, NOW + len(values), line)
    wait_until(lambda: len(events) == 2, 40, "the next event")
    assert events[1]["data"][field] == [values[-1]]


def test_an_event_of_very_many_fields_is_no_larger_than_allowed(published):
    node, events = published()
    node.push({f"f{i}": i for i in range(30_000)}, NOW)
    node.push({"f1": 1}, NOW + 1)
    wait_until(lambda: events and node.status()["last"] == NOW + 1, 40, "the event")
    wait_until(lambda: "1.0" in str(events[-1]) or "last" in str(events[-1]), 40, "the last event")
    assert max(len(json.dumps(event)) for event in events) <= node.allowance


def test_there_are_at_most_so_many_fields():
    node = made()
    node.push({f"f{i}": 1 for i in range(MAX_FIELDS - 2)}, NOW)
    assert node.status()["error"] is None
    node.push({"more": 1, "f1": 2}, NOW + 1)
    assert "'more', but there are" in node.status()["error"]
    assert series(node.get_data(["f1"], EARLIEST, LATEST), "f1")[-1] == (NOW + 1, 2.0)
    node.end()


def test_many_faults_of_one_push_are_few_warnings():
    node = made()
    node.push({f"f{i}": object() for i in range(1000)}, NOW)
    assert node.status()["error"] == "push was given 990 more: the value is lost"
    node.end()


@pytest.mark.parametrize("keep", [None, "30d"])
def test_what_is_pushed_before_there_is_a_router_is_kept(keep):
    node = made(keep=keep)
    for i in range(100):
        node.push({"x": i}, NOW + i)
    assert node.status() == {"samples": 100, "last": NOW + 99, "error": None}
    node.service = service = Service()
    node.begin(service)
    node.push({"x": 100}, NOW + 100)
    wait_until(lambda: service.events, 40, "the event")
    assert [event["data"]["x"] for event in service.events] == [[100]]
    node.end()


def test_what_is_pushed_after_the_end_is_lost():
    node = made()
    node.push({"x": 1}, NOW)
    node.end()
    node.push({"x": 2}, NOW + 1)
    assert node.status() == {"samples": 1, "last": NOW, "error": None}


def test_held_samples_are_let_go_when_they_have_waited(published):
    node, events = published(lateness=0.3)
    node.push({"x": 2}, NOW + 0.1)
    node.push({"x": 1}, NOW)
    wait_until(lambda: events, 40, "the event")
    assert events[0]["timeline"]["pushed"]["t"] == [NOW, NOW + 0.1]
    assert events[0]["data"]["x"] == [1, 2]


def test_few_samples_are_held_so_that_a_stored_day_fits_into_memory():
    node = made(lateness=60.0)
    count = MAX_HELD  # with its time, each sample is two values
    node.push({"x": np.arange(count)}, NOW + np.arange(count))
    samples = series(node.get_data(["x"], EARLIEST, LATEST), "x")
    assert samples == [(NOW + i, i) for i in range(count - MAX_HELD // 2)]
    node.end()


def test_the_last_values_are_found_on_disk_however_old():
    node = made(keep="30y")
    assert node.get_latest(["x", "on", "word"], LATEST).follows == {}
    node.push({"x": 1.5, "on": True}, NOW, "pushed")
    node.push({"x": math.nan, "on": False}, NOW + 1, "pushed")
    node.push({"word": "a"}, NOW)
    reply = node.get_latest(["x", "on", "word", "unknown"], LATEST)
    present = {name: [row for row in series(reply, name) if row[1] is not None] for name in KINDS}
    assert present == {
        "x": [(NOW, 1.5)],
        "on": [(NOW + 1, False)],
        "word": [(NOW, "a")],
        "y": [],
    }
    assert series(node.get_latest(["on"], NOW + 1), "on") == [(NOW, True)]
    node.end()


def test_a_timeline_takes_limited_memory():
    memory, text = Memory(math.inf, None), encode(["x" * 1_000_000])
    for t in range(200):
        memory.put("line", (np.array([float(t)]), {"x": text}))
    t, _ = memory.lines["line"].samples(["x"], 0, 1000)
    assert MAX_MEMORY <= len(t) * 1_000_100 < 1.1 * MAX_MEMORY and t[-1] == 199
