"""What the three plugins send, in the order in which a dashboard does, and what they get."""

import time

import pytest

from sisock import Client
from sisock.testing import wait_until
from tests.bridge.conftest import DAY, JULY_15, iso_range

MINUTE_GONE = 1500398580
HOURLY_BUT_HUMIDITY = ["apex_pressure", "apex_temperature"]


@pytest.fixture(scope="module")
def temperature(router):
    with Client(router.settings()) as client:
        yield client.get("apex_archive", "apex_temperature", JULY_15, JULY_15 + 86400)[
            "apex_temperature"
        ]


GRAFANA_7 = {
    "app": "dashboard",
    "requestId": "Q129",
    "timezone": "browser",
    "panelId": 4,
    "dashboardId": 3,
    "range": DAY,
    "timeInfo": "",
    "interval": "20s",
    "intervalMs": 20000,
    "targets": [{"target": "apex_archive::apex_temperature", "refId": "A", "type": "timeserie"}],
    "maxDataPoints": 1212,
    "scopedVars": {"__interval": {"text": "20s", "value": "20s"}},
    "startTime": 1613125706681,
    "rangeRaw": {"from": "now-6h", "to": "now"},
    "adhocFilters": [],
}


def test_a_dashboard_of_simplejson_from_save_and_test_to_its_panels(bridge, temperature):
    assert bridge.ask("/").status == 200
    everything = bridge.ask("/search", {"target": ""}).json
    assert "apex_archive::apex_temperature" in everything
    assert "sensors::cpu_percent" in everything
    assert bridge.ask("/search", {"target": "apex_temp"}).json == ["apex_archive::apex_temperature"]
    (series,) = bridge.ask("/query", GRAFANA_7).json
    assert series["target"] == "apex_archive::apex_temperature"
    assert series["refId"] == "A"
    assert series["unit"] == "celsius"
    assert series["title"] == "Air temperature at the APEX site"
    expected = [[v, t * 1000] for v, t in zip(temperature.values, temperature.t, strict=True)]
    assert series["datapoints"] == expected
    assert len(expected) == 24


def test_no_search_is_needed_before_a_query(start_bridge, bridge):
    fresh = start_bridge()
    assert len(fresh.query("apex_archive::apex_temperature")[0]["datapoints"]) == 24


@pytest.mark.parametrize("body", [b"", b"{}", b'{"target": null}', b'{"target": ""}'])
def test_search_with_nothing_lists_everything(bridge, body):
    assert len(bridge.ask("/search", body).json) >= 15


@pytest.mark.parametrize(
    "text", [r"apex\_temp", "(apex_temp|nothing)", "apex_temp", r"archive::apex\_t", "*_temp"]
)
def test_search_takes_what_variables_send(bridge, text):
    assert bridge.ask("/search", {"target": text}).json == ["apex_archive::apex_temperature"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_a_body_of_any_content_type_is_read(bridge, kind):
    answer = bridge.ask("/query", GRAFANA_7, headers={"Content-Type": kind})
    assert len(answer.json[0]["datapoints"]) == 24


@pytest.mark.parametrize(
    ("interval", "count"),
    [("20ms", 1440), ("1m", 1440), ("2m", 720), ("1h", 24), ("6h", 4), ("1d", 1), ("1y", 1)],
)
def test_interval_becomes_the_least_spacing_where_no_points_are_given(bridge, interval, count):
    # With maxDataPoints, as Grafana sends it, spikes between would be lost: see test_pictures.py.
    for given in ({"interval": interval, "intervalMs": None}, {"interval": interval}):
        body = {**GRAFANA_7, **given, "targets": [{"target": "apex_archive::apex_radiometer"}]}
        del body["maxDataPoints"]
        if "intervalMs" not in given:
            del body["intervalMs"]
        assert len(bridge.ask("/query", body).json[0]["datapoints"]) == count


def test_a_panel_is_thinned_by_its_points_and_a_table_by_its_interval(bridge):
    target = {"target": "apex_archive::apex_(radiometer|windspeed)", "refId": "A"}
    body = {**GRAFANA_7, "maxDataPoints": 100, "intervalMs": 7_200_000, "interval": "2h"}
    body["targets"] = [target, {**target, "type": "table", "refId": "B"}]
    *series, table = bridge.ask("/query", body).json
    whole = bridge.query(target)
    for picture, every in zip(series, whole, strict=True):
        assert 60 < len(picture["datapoints"]) <= 100
        shown, real = ({v for v, _ in s["datapoints"]} - {None} for s in (picture, every))
        assert (min(shown), max(shown)) == (min(real), max(real))
    assert len(table["rows"]) == 12
    assert all(len(row) == 3 and None not in row for row in table["rows"])


def test_interval_ms_is_preferred(bridge):
    body = {**GRAFANA_7, "interval": "1ms", "intervalMs": 7_200_000, "maxDataPoints": None}
    assert len(bridge.ask("/query", body).json[0]["datapoints"]) == 12


def test_a_request_of_targets_alone_means_the_last_hour(bridge):
    body = {"targets": [{"target": "sensors::cpu_percent"}]}
    wait_until(lambda: bridge.ask("/query", body).json[0]["datapoints"], 40, "the first sample")
    (series,) = bridge.ask("/query", body).json
    assert series["unit"] == "percent"
    assert "refId" not in series


def test_hidden_and_empty_targets_have_no_answer(bridge):
    hidden = {"target": "apex_archive::apex_temperature", "hide": True, "refId": "B"}
    targets = [*GRAFANA_7["targets"], hidden, {"refId": "C"}, {"target": ""}, {"target": None}]
    answer = bridge.ask("/query", {**GRAFANA_7, "targets": targets}).json
    assert [series["refId"] for series in answer] == ["A"]
    assert bridge.ask("/query", {"range": DAY}).json == []


@pytest.mark.parametrize(
    "target",
    [
        "apex_archive::nothing",
        "nowhere::apex_temperature",
        "select metric",
        "apex_archive::../apex_temperature",
        "::",
    ],
)
def test_what_does_not_exist_is_an_empty_series_beside_the_others(bridge, target):
    unknown, known = bridge.query(target, "apex_archive::apex_temperature")
    assert unknown == {"target": target, "datapoints": [], "refId": "A"}
    assert len(known["datapoints"]) == 24


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (r"apex\_archive::apex\_temperature", ["apex_temperature"]),
        ("apex_archive::(apex_humidity|apex_pressure)", ["apex_humidity", "apex_pressure"]),
        ("apex_archive::{apex_humidity,apex_pressure}", ["apex_humidity", "apex_pressure"]),
        (
            "(apex_archive::apex_humidity|apex_archive::apex_pressure)",
            ["apex_humidity", "apex_pressure"],
        ),
        ("apex_archive::apex_[hp]*", ["apex_humidity", "apex_pressure"]),
        ("*::apex_t*", ["apex_temperature"]),
        ("apex_archive::apex_?????????eed", []),
        ("apex_archive::apex_windspe?d", ["apex_windspeed"]),
    ],
)
def test_variables_and_globs_expand(bridge, target, names):
    answer = bridge.query(target)
    assert [series["target"] for series in answer] == [f"apex_archive::{n}" for n in names]
    assert all(series["refId"] == "A" and series["datapoints"] for series in answer)


@pytest.mark.parametrize("key", ["adhocFilters", "filters"])
@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([("units", "=", "hPa")], ["apex_pressure"]),
        ([("units", "=~", "(hPa|C)")], ["apex_pressure", "apex_temperature"]),
        ([("timeline", "=", "hourly"), ("units", "!=", "%")], HOURLY_BUT_HUMIDITY),
        ([("timeline", "!~", "^hour.*$")], ["apex_radiometer", "apex_windspeed"]),
        ([("node", "=", "sensors")], []),
        ([("units", "=~", "hPa|C")], ["apex_pressure", "apex_temperature"]),
        ([("units", "=~", "^hPa$|^C$")], ["apex_pressure", "apex_temperature"]),
    ],
)
def test_filters_restrict_what_a_wildcard_yields(bridge, key, filters, names):
    given = [{"key": k, "operator": o, "value": v} for k, o, v in filters]
    answer = bridge.query("apex_archive::*", **{key: given})
    assert sorted(s["target"] for s in answer) == [f"apex_archive::{n}" for n in names]
    assert len(bridge.query("apex_archive::apex_temperature", **{key: given})) == 1


def test_tag_keys_and_values_take_old_and_new_bodies(bridge):
    for body in (b"", {"filters": [], "timeRange": {}}):
        keys = bridge.ask("/tag-keys", body).json
        assert [key["text"] for key in keys] == ["node", "timeline", "units"]
    values = bridge.ask("/tag-values", {"key": "timeline"}).json
    assert {"text": "hourly"} in values
    assert bridge.ask("/tag-values", {"key": "City"}).json == []


def test_a_missing_sample_is_null_and_never_a_nan_token(bridge):
    both = bridge.query(
        "apex_archive::apex_windspeed",
        "apex_archive::apex_radiometer",
        range=iso_range(MINUTE_GONE - 60, MINUTE_GONE + 120),
    )
    wind, water = (series["datapoints"] for series in both)
    assert [t for _, t in wind] == [(MINUTE_GONE + 60 * i) * 1000 for i in (-1, 0, 1)]
    assert [v is None for v, _ in wind] == [False, True, False]
    assert all(v is not None for v, _ in water)


def test_a_table_has_a_time_column_per_timeline(bridge):
    def table(target):
        return bridge.query({"target": target, "refId": "T", "type": "table"})[0]

    one = table("apex_archive::(apex_temperature|apex_humidity)")
    assert one["type"] == "table"
    assert one["refId"] == "T"
    assert one["columns"] == [
        {"text": "Time", "type": "time"},
        {"text": "apex_archive::apex_temperature", "type": "number", "unit": "celsius"},
        {"text": "apex_archive::apex_humidity", "type": "number", "unit": "percent"},
    ]
    assert len(one["rows"]) == 24
    assert one["rows"][0][0] == JULY_15 * 1000
    two = table("apex_archive::(apex_temperature|apex_radiometer)")
    assert [c["type"] for c in two["columns"]] == ["time", "number", "time", "number"]
    assert len(two["rows"]) == 1440
    assert two["rows"][30][:2] == [None, None]


def test_annotations_of_simplejson_show_gaps_and_nodes(bridge, start, router):
    about = {"name": "Gaps", "enable": True, "iconColor": "red", "datasource": "sisock"}
    body = {
        "range": iso_range(JULY_15, JULY_15 + 13 * 86400),
        "annotation": {**about, "query": "gaps apex_archive::apex_windspeed"},
        "rangeRaw": {"from": "now-6h", "to": "now"},
    }
    gaps = bridge.ask("/annotations", body).json
    assert [round((g["timeEnd"] - g["time"]) / 60e3) for g in gaps] == [41, 309, 8]
    assert all(g["annotation"] == {"name": "Gaps"} and g["title"] and g["tags"] for g in gaps)
    visitor = start(router, "tests/nodes.py", "odd", "--name", "annotated")
    visitor.wait_for("is in the hub's list")
    visitor.end()

    def nodes():
        now = {"range": None, "annotation": {**about, "query": "nodes"}}
        events = bridge.ask("/annotations", now).json
        return [e["title"] for e in events if "annotated" in e["tags"]]

    wait_until(lambda: nodes() == ["annotated appeared", "annotated vanished"], 40, "annotations")


def test_what_a_recorder_knows_of_nodes_is_shown_by_every_plugin(bridge, start, router, tmp_path):
    flags = ["noted", "--name", "notary"]
    recorder = start(router, "data_nodes/recorder.py", *flags, SISOCK_DATA=str(tmp_path / "data"))
    recorder.wait_for("node noted is not available yet")
    visitor = start(router, "tests/nodes.py", "odd", "--name", "noted")
    visitor.wait_for("is in the hub's list")
    visitor.end()
    query = "nodes notary::nodes.noted"

    def simplejson():
        return bridge.ask("/annotations", {"annotation": {"name": "Nodes", "query": query}}).json

    def simpod():
        (table,) = bridge.query({"target": query, "refId": "Anno", "payload": {}}, range=None)
        names = [column["text"] for column in table["columns"]]
        return [dict(zip(names, row, strict=True)) for row in table["rows"]]

    def infinity():
        now = time.time() * 1000
        times = {"from": f"{now - 3_600_000:.0f}", "to": f"{now:.0f}"}
        return bridge.ask("/annotations", {"range": times, "annotation": {"query": query}}).json

    def titles(ask):
        return [event["title"] for event in ask()]

    both = ["noted appeared", "noted vanished"]
    for ask in (simplejson, simpod, infinity):
        wait_until(lambda ask=ask: titles(ask) == both, 40, f"annotations of {ask.__name__}")


def test_a_dashboard_of_simpod(bridge):
    assert bridge.ask("/").status == 200
    metrics = bridge.ask("/metrics", {"payload": {}}).json
    assert {"value": "sensors::cpu_percent", "label": "sensors::cpu_percent"} in metrics
    options = {"metric": "sensors::cpu_percent", "payload": {}, "name": "x"}
    assert bridge.ask("/metric-payload-options", options).json == []
    for payload in ({"target": "apex_temp"}, "apex_temp"):
        name = "apex_archive::apex_temperature"
        found = bridge.ask("/variable", {"payload": payload, "range": DAY}).json
        assert found == [{"__text": name, "__value": name}]
    target = {
        "datasource": {"type": "simpod-json-datasource", "uid": "abc"},
        "editorMode": "builder",
        "refId": "A",
        "target": r"apex_archive::apex\_temperature",
        "payload": {},
    }
    (series,) = bridge.query(target, dashboardUID="xyz", filters=[])
    assert len(series["datapoints"]) == 24
    (table,) = bridge.query({**target, "payload": {"type": "table"}})
    assert table["type"] == "table"
    annotation = {**target, "target": "gaps apex_archive::apex_windspeed", "refId": "Anno"}
    (events,) = bridge.query(annotation, range=iso_range(JULY_15, JULY_15 + 13 * 86400))
    assert [column["text"] for column in events["columns"]][:2] == ["time", "timeEnd"]
    assert len(events["rows"]) == 3
    assert events["refId"] == "Anno"


def test_infinity_gets_long_rows_in_time_order(bridge, temperature):
    rows = bridge.ask(
        f"/series?from={JULY_15 * 1000}&maxDataPoints=500&target=apex_archive%3A%3Aapex_temperature"
        f"&target=apex_archive::apex_humidity&to={(JULY_15 + 86400) * 1000}",
        headers={"Accept": "application/json;q=0.9,text/plain"},
    ).json
    assert len(rows) == 48
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    mine = [r["value"] for r in rows if r["series"] == "apex_archive::apex_temperature"]
    assert mine == temperature.values.tolist()
    assert bridge.ask("/series?target=nowhere::x").json == []
    assert bridge.ask("/series").json == []
    post = {"range": DAY, "targets": [{"target": "apex_archive::apex_temperature", "refId": "A"}]}
    assert len(bridge.ask("/query", post, headers={"Content-Type": "text/plain"}).json) == 1


def test_browsers_may_ask_from_another_origin(bridge):
    for path in ("/", "/query", "/search", "/annotations", "/series", "/anything"):
        answer = bridge.ask(path, method="OPTIONS", headers={"Origin": "http://grafana:3000"})
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "http://grafana:3000"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
