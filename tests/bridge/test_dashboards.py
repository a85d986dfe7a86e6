"""The provisioned dashboards: what their plugins send for each panel, and what they get."""

import datetime
import fnmatch
import itertools
import json
import time
import urllib.parse

import pytest

from sisock.testing import wait_until
from tests.bridge.conftest import iso_range
from tests.conftest import TOP, wait_for_absence, wait_for_nodes

DASHBOARDS = {
    f"{path.parent.name}/{path.stem}": json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((TOP / "grafana/dashboards").glob("*/*.json"))
}
PANELS = {
    f"{name} {panel['title']}": (name, panel)
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
}
POINTS = 1008
"""Of a panel's width; with two weeks, one in 20 minutes."""

MINUTES_15 = 900


def range_of(dashboard):
    """UNIX seconds of a dashboard's time range."""
    given = dashboard["time"]
    if given == {"from": "now-15m", "to": "now"}:
        return time.time() - MINUTES_15, time.time()
    return tuple(datetime.datetime.fromisoformat(given[k]).timestamp() for k in ("from", "to"))


def request_of(dashboard, times):
    """What all plugins' requests to ``/query`` have in common."""
    interval = max(1, round((times[1] - times[0]) / POINTS))
    return {
        "app": "dashboard",
        "requestId": "SQR100",
        "timezone": dashboard["timezone"],
        "range": {**iso_range(*times), "raw": dashboard["time"]},
        "interval": f"{interval}s",
        "intervalMs": interval * 1000,
        "maxDataPoints": POINTS,
        "scopedVars": {
            "__interval": {"text": f"{interval}s", "value": f"{interval}s"},
            "__interval_ms": {"text": f"{interval * 1000}", "value": interval * 1000},
        },
        "startTime": round(time.time() * 1000),
    }


def ask_simplejson(bridge, dashboard, panel, times):
    """It sends of each target these four keys, of which ``hide`` is not there."""
    kept = ("target", "refId", "hide", "type")
    return ask_query(bridge, dashboard, panel, times, kept)


def ask_simpod(bridge, dashboard, panel, times):
    """It sends all that the dashboard has of a target."""
    return ask_query(bridge, dashboard, panel, times)


def ask_query(bridge, dashboard, panel, times, kept=None):
    """Series of each letter, with their name and datapoints."""
    targets = [
        {k: v for k, v in target.items() if kept is None or k in kept}
        for target in panel["targets"]
    ]
    about = {
        "panelId": panel["id"],
        "panelPluginId": panel["type"],
        "dashboardUID": dashboard["uid"],
        "dashboardTitle": dashboard["title"],
        "rangeRaw": dashboard["time"],
        "targets": targets,
        "adhocFilters": [],
        "filters": [],
    }
    answer = bridge.ask("/query", {**request_of(dashboard, times), **about})
    assert answer.status == 200, answer.body
    assert isinstance(answer.json, list)
    found = {target["refId"]: {} for target in targets}
    for series in answer.json:
        found[series["refId"]][series["target"]] = series["datapoints"]
    return found


def ask_infinity(bridge, dashboard, panel, times):
    """Each target is a request, whose query has its keys sorted and is encoded anew."""
    found = {}
    for target in panel["targets"]:
        assert target["url_options"]["method"] == "GET"
        url = target["url"]
        interval = request_of(dashboard, times)["intervalMs"]
        macros = {"from": round(times[0] * 1000), "to": round(times[1] * 1000)}
        for name, value in {**macros, "interval_ms": interval}.items():
            url = url.replace("${__" + name + "}", str(value))
        path, _, query = url.partition("?")
        pairs = sorted(urllib.parse.parse_qsl(query, strict_parsing=True), key=lambda p: p[0])
        headers = {"Accept": "application/json;q=0.9,text/plain"}
        answer = bridge.ask(f"{path}?{urllib.parse.urlencode(pairs)}", headers=headers)
        assert answer.status == 200, answer.body
        found[target["refId"]] = series_of_rows(answer.json, target["columns"])
    return found


def series_of_rows(rows, columns):
    """Long rows made series, as Infinity does if the times ascend and all columns are there."""
    selectors = {column["type"]: column["selector"] for column in columns}
    keys = [selectors[kind] for kind in ("timestamp_epoch", "string", "number")]
    assert all(set(row) == set(keys) for row in rows)
    times = [row[keys[0]] for row in rows]
    assert times == sorted(times)
    found = {}
    for row in rows:
        ms, name, value = (row[key] for key in keys)
        assert isinstance(name, str)
        found.setdefault(name, []).append([value, ms])
    return found


ASK = {"simplejson": ask_simplejson, "simpod": ask_simpod, "infinity": ask_infinity}


def wildcard_or_name(target):
    """The text of a target of any of the plugins."""
    if "url" in target:
        return dict(urllib.parse.parse_qsl(target["url"].partition("?")[2]))["target"]
    return target["target"]


def check_datapoints(datapoints, times):
    """Values or nulls, with ascending milliseconds within the range."""
    assert all(value is None or type(value) in (int, float) for value, _ in datapoints)
    ms = [t for _, t in datapoints]
    assert all(type(t) in (int, float) for t in ms)
    assert all(one < other for one, other in itertools.pairwise(ms))
    assert all(times[0] - 0.001 <= t / 1000 <= times[1] + 0.001 for t in ms)


@pytest.fixture(scope="module")
def full_bridge(bridge):
    """The bridge, when there is a second sample, which is the first with the load of the CPU."""

    def has_load():
        (series,) = bridge.ask("/query", {"targets": [{"target": "sensors::cpu_percent"}]}).json
        return any(value is not None for value, _ in series["datapoints"])

    wait_until(has_load, 30, "the load of the CPU")
    return bridge


@pytest.mark.parametrize(("name", "panel"), PANELS.values(), ids=PANELS)
def test_every_panel_has_samples(full_bridge, name, panel):
    dashboard, times = DASHBOARDS[name], range_of(DASHBOARDS[name])
    found = ASK[name.partition("/")[0]](full_bridge, dashboard, panel, times)
    assert set(found) == {target["refId"] for target in panel["targets"]}
    for target in panel["targets"]:
        series, text = found[target["refId"]], wildcard_or_name(target)
        assert all(fnmatch.fnmatchcase(each, text) for each in series)
        for datapoints in series.values():
            check_datapoints(datapoints, times)
        if "*" in text:
            assert "sensors::cpu_percent" not in series
        else:
            assert list(series) == [text]
            assert any(value is not None for value, _ in series[text])


@pytest.mark.parametrize("plugin", ASK)
def test_the_weathers_range_is_what_the_archive_covers(full_bridge, plugin):
    dashboard = DASHBOARDS[f"{plugin}/weather"]
    start, end = range_of(dashboard)
    drawn = set()
    for panel in dashboard["panels"]:
        found = ASK[plugin](full_bridge, dashboard, panel, (start, end))
        for name, datapoints in found["A"].items():
            drawn.add(name)
            # A bucket of two weeks, 4096 s, keeps its extremes, and not its first sample.
            assert start <= datapoints[0][1] / 1000 < start + 4096
            assert datapoints[-1][1] / 1000 >= end - 3600
            # Fourteen days by the hour, or one in 20 minutes; less what is missing on purpose.
            assert len(datapoints) > 300
    everything = full_bridge.ask("/search", {"target": "apex_archive::"}).json
    assert drawn == {name for name in everything if name.startswith("apex_archive::")}


def ask_annotations_simplejson(bridge, dashboard, times):
    """Events, each with milliseconds and a text."""
    (annotation,) = dashboard["annotations"]["list"]
    kept = ("name", "datasource", "enable", "iconColor", "query")
    body = {
        "range": {**iso_range(*times), "raw": dashboard["time"]},
        "rangeRaw": dashboard["time"],
        "annotation": {key: annotation[key] for key in kept},
    }
    answer = bridge.ask("/annotations", body)
    assert answer.status == 200, answer.body
    assert all(event["annotation"]["name"] == annotation["name"] for event in answer.json)
    assert all(isinstance(event["tags"], list) for event in answer.json)
    return answer.json


def ask_annotations_simpod(bridge, dashboard, times):
    """The same from a table's rows."""
    (annotation,) = dashboard["annotations"]["list"]
    target = {**annotation["target"], "refId": "Anno", "datasource": annotation["datasource"]}
    answer = bridge.ask("/query", {**request_of(dashboard, times), "targets": [target]})
    assert answer.status == 200, answer.body
    (table,) = answer.json
    assert (table["type"], table["refId"]) == ("table", "Anno")
    kinds = {column["text"]: column["type"] for column in table["columns"]}
    assert (kinds["time"], kinds["text"], kinds["tags"]) == ("time", "string", "string")
    return [dict(zip(kinds, row, strict=True)) for row in table["rows"]]


ASK_ANNOTATIONS = {"simplejson": ask_annotations_simplejson, "simpod": ask_annotations_simpod}


def check_events(events, times):
    for event in events:
        assert times[0] <= event["time"] / 1000 < times[1] + 0.001
        assert event["text"]
        assert event["tags"]


def test_annotations_show_a_node_that_came_and_went(full_bridge, router, client, start):
    visitor = start(router, "tests/nodes.py", "odd", "--name", "on_dashboards")
    wait_for_nodes(client, "on_dashboards")
    visitor.end()
    wait_for_absence(client, "on_dashboards")

    def seen(plugin):
        dashboard = DASHBOARDS[f"{plugin}/machine"]
        times = range_of(dashboard)
        events = ASK_ANNOTATIONS[plugin](full_bridge, dashboard, times)
        check_events(events, times)
        return [e["title"] for e in events if "on_dashboards" in e["tags"]]

    both = ["on_dashboards appeared", "on_dashboards vanished"]
    for plugin in ASK_ANNOTATIONS:
        wait_until(lambda plugin=plugin: seen(plugin) == both, 40, f"annotations of {plugin}")


@pytest.mark.parametrize("plugin", ASK_ANNOTATIONS)
def test_annotations_of_2017_are_none(full_bridge, plugin):
    dashboard = DASHBOARDS[f"{plugin}/weather"]
    assert ASK_ANNOTATIONS[plugin](full_bridge, dashboard, range_of(dashboard)) == []
