import pytest

from sisock.errors import InvalidArgument, InvalidNodeName
from sisock.router.registry import MAX_FEATURES, NodeRegistry


@pytest.fixture
def registry():
    events = []
    made = NodeRegistry(
        lambda node, _: events.append(("added", node["name"])),
        lambda node, _: events.append(("subtracted", node["name"])),
    )
    made.events = events
    return made


def test_a_node_belongs_to_the_session_that_added_it(registry):
    assert registry.add("a", "description", 1)
    assert not registry.add("a", "other", 2)
    registry.subtract("a", 2)
    assert registry.nodes() == [{"name": "a", "description": "description", "features": []}]
    registry.subtract("a", 1)
    assert registry.nodes() == []
    assert registry.events == [("added", "a"), ("subtracted", "a")]


def test_adding_again_by_the_same_session_is_true_and_silent(registry):
    assert registry.add("a", "", 1)
    assert registry.add("a", "", 1, ["live"])
    assert registry.events == [("added", "a")]
    # What it says of itself the last time is right.
    assert registry.nodes()[0]["features"] == ["live"]


def test_a_session_that_leaves_takes_its_nodes_along(registry):
    for name, session in (("a", 1), ("b", 1), ("c", 2)):
        registry.add(name, "", session)
    registry.session_left(1)
    assert [node["name"] for node in registry.nodes()] == ["c"]
    registry.session_left(7)


@pytest.mark.parametrize("name", ["", "a.b", None, ["a"]])
def test_bad_names_are_refused_and_change_nothing(registry, name):
    with pytest.raises(InvalidNodeName):
        registry.add(name, "", 1)
    registry.subtract(name, 1)
    assert registry.events == []


def test_a_node_has_few_and_short_features(registry):
    registry.add("a", "", 1, ["x" * 1000, *map(str, range(1000))])
    assert registry.nodes()[0]["features"] == [str(i) for i in range(MAX_FEATURES)]


@pytest.mark.parametrize("features", [None, "live", 5, [1, None], {}])
def test_features_that_are_none_are_an_empty_list(registry, features):
    registry.add("a", "", 1, features)
    assert registry.nodes()[0]["features"] == []


def test_features_are_handed_on_once_each_with_unknown_ones(registry):
    registry.add("a", None, 1, ["live", "later", "live"])
    assert registry.nodes() == [{"name": "a", "description": "", "features": ["live", "later"]}]


def test_a_new_generation_is_another_node_and_the_same_is_not(registry):
    assert registry.add("a", "", 1, generation="x")
    assert registry.add("a", "other", 1, generation="x")
    assert registry.events == [("added", "a")]
    assert registry.add("a", "", 1, generation="y")
    assert registry.events == [("added", "a"), ("subtracted", "a"), ("added", "a")]
    assert registry.nodes()[0]["generation"] == "y"


@pytest.mark.parametrize(
    ("description", "generation"), [("x" * 1001, None), ("", 7), ("", "x" * 201), ("", "\ud800")]
)
def test_what_is_too_long_or_no_string_is_refused_and_named(registry, description, generation):
    with pytest.raises(InvalidArgument, match="generation" if generation else "description"):
        registry.add("a", description, 1, generation=generation)
    assert registry.events == []


def test_replicas_of_a_generation_share_a_name(registry):
    for session in (1, 2, 3):
        assert registry.add("a", "", session, [], "g", replica=True)
    assert registry.nodes()[0]["replicas"] == 3
    assert not registry.add("a", "", 4, [], "other", replica=True)
    assert not registry.add("a", "", 4, [], "g")
    registry.session_left(1)
    registry.subtract("a", 2)
    assert registry.nodes()[0]["replicas"] == 1
    assert registry.events == [("added", "a")]
    registry.session_left(3)
    assert registry.events == [("added", "a"), ("subtracted", "a")]


def test_a_replica_of_another_generation_leaves_the_one_before(registry):
    for session in (1, 2):
        registry.add("a", "", session, [], "g", replica=True)
    assert not registry.add("a", "", 1, [], "h", replica=True)
    assert registry.nodes()[0]["replicas"] == 1
    assert registry.add("a", "", 2, [], "h", replica=True)
    assert registry.add("a", "", 1, [], "h", replica=True)
    assert (registry.nodes()[0]["replicas"], registry.nodes()[0]["generation"]) == (2, "h")
    assert registry.events == [("added", "a"), ("subtracted", "a"), ("added", "a")]


@pytest.mark.parametrize("replica, generation", [(1, "g"), ("yes", "g"), (None, "g"), (True, None)])
def test_a_replica_needs_a_generation_and_a_boolean(registry, replica, generation):
    with pytest.raises(InvalidArgument):
        registry.add("a", "", 1, [], generation, replica)
