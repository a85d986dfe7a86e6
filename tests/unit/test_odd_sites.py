"""What a site says of its nodes is its own: no list of it can harm or imitate another site."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import task

from sisock.bridge.targets import Search, parse_target
from sisock.client.directory import MAX_NODES, Directory
from sisock.errors import HubMissing
from sisock.wire.protocol import node_uri
from tests.unit.test_directory import Hub, node, result

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = ("name", "description", "features", "generation", "replicas")
ENTRIES = st.one_of(ODD, st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, ODD)))


def joined(*entries):
    clock, told = task.Clock(), []
    directory = Directory(clock, 5, lambda each, here: told.append((each, here)), site="chile")
    hub = Hub(clock, *entries)
    result(directory.joined(hub))
    return directory, hub, told


def test_names_are_below_the_site_whatever_they_are():
    directory, hub, told = joined(node("weather"), node("local/weather"))
    found = result(directory.nodes())
    assert [each.name for each in found] == ["chile/local/weather", "chile/weather"]
    assert [each.own_name for each in found] == ["local/weather", "weather"]
    assert {each.site for each in found} == {"chile"}
    result(directory.fields(found[0]))
    assert hub.calls[-1] == node_uri("local/weather", "get_fields")
    assert directory.current("local/weather") is None
    hub.add(node("chile/x"))
    assert [(each.name, here) for each, here in told] == [("chile/chile/x", True)]
    hub.subtract(node("weather"))
    assert directory.current("chile/weather") is None


@given(st.lists(ENTRIES, max_size=4), ENTRIES)
def test_odd_entries_cost_only_themselves(entries, event):
    directory, hub, _ = joined(*entries, node("good", generation="g"))
    for topic in ("added", "subtracted"):
        hub.publish(topic, event)
    assert directory.current("chile/good").generation == "g"
    for each in result(directory.refresh()):
        assert each.name.startswith("chile/")
        assert isinstance(each.description, str)
        assert all(isinstance(feature, str) for feature in each.features)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a\x1b[2J", 5, None, ["a"], "get_data_node"])
def test_a_name_that_no_node_can_have_is_left_out(name):
    directory, _, _ = joined(node(name), node("good"))
    assert [each.name for each in result(directory.nodes())] == ["chile/good"]


def test_a_description_is_one_short_line():
    directory, _, _ = joined({"name": "a", "description": "x\n\x1b[2J" + "y" * 10_000})
    (found,) = result(directory.nodes())
    assert found.description.startswith("x  [2Jy")
    assert len(found.description) == 1000


def test_a_list_of_too_many_nodes_is_refused():
    directory, hub, _ = joined(node("good"))
    hub.nodes = [node(f"n{index}") for index in range(MAX_NODES + 1)]
    with pytest.raises(HubMissing, match=f"at most {MAX_NODES} data nodes"):
        result(directory.refresh())
    assert [each.name for each in result(directory.nodes())] == ["chile/good"]


@pytest.mark.parametrize(
    ("target", "matched"),
    [
        ("*/weather::x", {"chile", "local"}),
        ("chile/*::x", {"chile"}),
        ("c*/weather::x", {"chile"}),
        ("?ocal/weather::x", {"chile", "local"}),
        ("*::x", {"chile", "local"}),
        ("weather*::x", set()),
        ("chilean/*::x", set()),
    ],
)
def test_a_wildcard_concerns_only_the_sites_that_it_may_match(target, matched):
    search = Search({target: parse_target(target)})
    assert {site for site in ("chile", "local") if search.concerns_site(site)} == matched
