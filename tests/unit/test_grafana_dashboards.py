"""The committed dashboards and provisioning, against Grafana's own dashboard model."""

import copy
import enum
import json
import sys
import types
import typing
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from tests.conftest import TOP

sys.path.insert(0, str(TOP / "grafana"))
import make_dashboards

GRAFANA = TOP / "grafana"
PATHS = sorted(path.relative_to(GRAFANA) for path in GRAFANA.glob("dashboards/*/*"))
IDS = [str(path) for path in PATHS]
PROVISIONED = {"default": {"simplejson"}, "latest": {"infinity", "simpod"}}
"""Directories of dashboards that each of the two Grafanas shows."""

QUERY_KEYS = {
    "simplejson": {"datasource", "refId", "target", "type"},
    "simpod": {"datasource", "editorMode", "payload", "refId", "target"},
    "infinity": {
        *("columns", "datasource", "format", "parser", "refId", "root_selector", "source", "type"),
        *("url", "url_options"),
    },
}
ANNOTATIONS = {
    "simplejson": [{"query": "nodes"}],
    "simpod": [{"target": {"payload": {}, "refId": "Anno", "target": "nodes"}}],
    "infinity": [],
}
REDUCERS = {"lastNotNull", "mean", "median"}

plugins.register_default_plugins()


def read(path):
    return json.loads((GRAFANA / path).read_text(encoding="utf-8"))


@pytest.fixture(params=PATHS, ids=IDS)
def path(request):
    return request.param


@pytest.fixture
def dashboard(path):
    return read(path)


def faults(given):
    """What Grafana's model does not know of a dashboard, or knows to be something else."""
    given = copy.deepcopy(given)
    for annotation in given["annotations"]["list"]:
        # The model leaves a plugin's own query out.
        for key in ("query", "target"):
            annotation.pop(key, None)
    for panel in given["panels"]:
        # An override sets a property of the defaults, which the model knows.
        for override in panel["fieldConfig"]["overrides"]:
            for prop in override["properties"]:
                panel["fieldConfig"]["defaults"][prop["id"]] = prop["value"]
    parsed = models.Dashboard.from_json(given)
    again = json.loads(json.dumps(parsed, cls=JSONEncoder))
    return [*lost(given, again, "dashboard"), *mistyped(parsed, models.Dashboard, "dashboard")]


def lost(given, again, where):
    """What is not in the second JSON value as it is in the first."""
    if isinstance(given, dict) and isinstance(again, dict):
        for key, value in given.items():
            if key in again:
                yield from lost(value, again[key], f"{where}.{key}")
            else:
                yield f"{where}.{key} is lost"
    elif isinstance(given, list) and isinstance(again, list) and len(given) == len(again):
        for index, pair in enumerate(zip(given, again, strict=True)):
            yield from lost(*pair, f"{where}[{index}]")
    elif given != again:
        yield f"{where} is {again!r}, not {given!r}"


@cache
def hints_of(cls):
    return typing.get_type_hints(cls)


def mistyped(value, hint, where):
    """What is not of the type that the model names; it does not look itself."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        wrong = [list(mistyped(value, each, where)) for each in arguments]
        if all(wrong):
            yield from min(wrong, key=len)
    elif hasattr(value, "to_json"):
        if isinstance(hint, type) and not isinstance(value, hint):
            yield f"{where} is no {hint}"
        for name, each in hints_of(type(value)).items():
            yield from mistyped(getattr(value, name), each, f"{where}.{name}")
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from mistyped(item, arguments[0], f"{where}[{index}]")
    elif not is_of(value, hint):
        yield f"{where} is {value!r}, no {hint}"


def is_of(value, hint):
    """Whether a value without parts is of a type."""
    if hint in (typing.Any, object):
        return True
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    if hint in (int, float):
        return type(value) in (int, hint)
    return isinstance(value, typing.get_origin(hint) or hint)


def test_committed_files_are_the_generators(path):
    files = make_dashboards.make_files()
    assert {file.relative_to(GRAFANA) for file in files} == set(PATHS)
    assert (GRAFANA / path).read_text(encoding="utf-8") == files[GRAFANA / path]


def test_grafana_knows_every_key_and_value(dashboard):
    assert faults(dashboard) == []


def misspelt(key, instead):
    """Give a key of a dictionary another name."""

    def change(part):
        part[instead] = part.pop(key)

    return change


MISTAKES = {
    "dashboard": ((), misspelt("graphTooltip", "graphToolTip")),
    "crosshair": ((), {"graphTooltip": 7}),
    "time": (("time",), misspelt("to", "till")),
    "annotation": (("annotations", "list", 0), misspelt("iconColor", "colour")),
    "enable": (("annotations", "list", 0), {"enable": "yes"}),
    "panel": (("panels", 4), misspelt("gridPos", "gridpos")),
    "place": (("panels", 4, "gridPos"), misspelt("w", "width")),
    "source": (("panels", 4, "datasource"), misspelt("uid", "uuid")),
    "unit": (("panels", 4, "fieldConfig", "defaults"), misspelt("unit", "units")),
    "end of axis": (("panels", 4, "fieldConfig", "defaults"), {"min": "0"}),
    "colour": (("panels", 4, "fieldConfig", "defaults", "color"), {"mode": "palette"}),
    "curve": (
        ("panels", 4, "fieldConfig", "defaults", "custom"),
        misspelt("spanNulls", "spanNull"),
    ),
    "style": (("panels", 4, "fieldConfig", "defaults", "custom"), {"drawStyle": "curve"}),
    "override": (
        ("panels", 4, "fieldConfig", "overrides", 0, "properties", 0),
        {"id": "displayname"},
    ),
    "option": (("panels", 4, "options"), misspelt("legend", "legends")),
    "legend": (("panels", 4, "options", "legend"), misspelt("showLegend", "show")),
    "tooltip": (("panels", 4, "options", "tooltip"), {"mode": "all"}),
    "number": (("panels", 0, "options"), misspelt("reduceOptions", "reduce")),
    "calc": (("panels", 0, "options", "reduceOptions"), misspelt("calcs", "calc")),
    "colour of number": (("panels", 0, "options"), {"colorMode": "nothing"}),
}


@pytest.mark.parametrize(("place", "change"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(place, change):
    given = read(Path("dashboards/simplejson/machine.json"))
    part = given
    for step in place:
        part = part[step]
    part.update(change) if isinstance(change, dict) else change(part)
    assert faults(given)


def test_what_the_model_does_not_cover(path, dashboard):
    plugin = path.parent.name
    rest = [
        {k: a[k] for k in ("query", "target") if k in a} for a in dashboard["annotations"]["list"]
    ]
    assert rest == ANNOTATIONS[plugin]
    for panel in dashboard["panels"]:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)) > 0
        assert all(set(target) == QUERY_KEYS[plugin] for target in panel["targets"])
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["id"] == "byFrameRefID"
            assert override["matcher"]["options"] in letters
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit.startswith("suffix:") or unit in vars(units).values()
        calcs = panel["options"].get("reduceOptions", {"calcs": []})["calcs"]
        assert set(calcs) <= REDUCERS


def test_panels_have_a_place_and_an_id_of_their_own(dashboard):
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(p["x"] >= 0 and p["y"] >= 0 and p["x"] + p["w"] <= 24 for p in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_the_plugins_dashboards_differ_in_queries_and_sources_alone(path, dashboard):
    def look(given):
        panels = [{k: v for k, v in p.items() if k != "targets"} for p in given["panels"]]
        for panel in panels:
            panel.pop("datasource")
        return {**given, "panels": panels, "annotations": None, "uid": None}

    assert look(dashboard) == look(read(Path("dashboards/simplejson", path.name)))


def provisioning(grafana, kind):
    (file,) = (GRAFANA / "provisioning" / grafana / kind).iterdir()
    parsed = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert parsed.pop("apiVersion") == 1
    (entries,) = parsed.values()
    assert list(parsed) == [{"dashboards": "providers"}.get(kind, kind)]
    return entries


@pytest.mark.parametrize("grafana", PROVISIONED)
def test_every_source_is_provisioned(grafana):
    sources = {s["uid"]: s["type"] for s in provisioning(grafana, "datasources")}
    used, uids = set(), []
    for path in PATHS:
        if path.parent.name in PROVISIONED[grafana]:
            given = read(path)
            uids.append(given["uid"])
            used |= set(find_sources(given))
    assert used == set(sources.items())
    assert len(uids) == len(set(uids)) == 2 * len(PROVISIONED[grafana])


def find_sources(value):
    """Uid and type of every data source named in a JSON value."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return
    for key, part in value.items():
        if key == "datasource":
            yield part["uid"], part["type"]
        else:
            yield from find_sources(part)


@pytest.mark.parametrize("grafana", PROVISIONED)
def test_sources_are_the_bridge_by_grafanas_proxy(grafana):
    sources = provisioning(grafana, "datasources")
    names = [source["name"] for source in sources]
    assert len(names) == len(set(names))
    assert [source["uid"] for source in sources if source.get("isDefault")] == ["sisock"]
    for source in sources:
        assert source["url"] == "http://${SISOCK_BRIDGE}:5000"
        assert source["access"] == "proxy"
        assert source["editable"] is False
        hosts = source.get("jsonData", {}).get("allowedHosts")
        assert hosts == ([source["url"]] if "infinity" in source["type"] else None)


@pytest.mark.parametrize("grafana", PROVISIONED)
def test_providers_name_the_directories_of_dashboards(grafana):
    providers = provisioning(grafana, "dashboards")
    paths = {provider["options"]["path"] for provider in providers}
    assert paths == {f"/etc/grafana/dashboards/{name}" for name in PROVISIONED[grafana]}
    for provider in providers:
        assert provider["type"] == "file"
        assert provider["disableDeletion"] is True
        assert provider["allowUiUpdates"] is False
    assert len({provider["folder"] for provider in providers}) == len(providers)


def test_nothing_else_is_provisioned():
    folders = {p.relative_to(GRAFANA / "provisioning") for p in GRAFANA.glob("provisioning/*/*")}
    assert folders == {Path(g, k) for g in PROVISIONED for k in ("dashboards", "datasources")}
