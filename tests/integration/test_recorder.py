"""What other nodes measure is recorded, each sample once, whatever of them or of it ends."""

import time
from itertools import pairwise

import pytest

from sisock.errors import SisockError
from sisock.testing import wait_until
from sisock.wire.protocol import node_uri
from tests.conftest import wait_for_nodes
from tests.integration.peers import Member

RECORDER = "data_nodes/recorder.py"


@pytest.fixture
def record(router, client, start, tmp_path):
    """Start a recorder, always on the same disk."""

    def begin(name, *flags, command=(RECORDER,)):
        data = {"SISOCK_DATA": str(tmp_path / "data")}
        program = start(router, *command, *flags, "--name", name, **data)
        wait_for_nodes(client, name)
        return program

    return begin


def recorded(client, name, field):
    """All recorded samples of a field; none as long as it is unknown."""
    try:
        return client.get(name, field, 1, time.time() + 60)[field]
    except SisockError:
        return ()


def wait_for_samples(client, name, field, condition, what):
    def look():
        series = recorded(client, name, field)
        return series if len(series) and condition(series) else None

    return wait_until(look, 40, what)


def test_a_live_node_is_recorded_without_gaps_through_kills(client, router, start, record):
    first = record("rec_live", "rec_numbered", "--keep", "1d")
    start(router, "tests/nodes.py", "numbered", "--name", "rec_numbered")
    field = "rec_numbered.n"
    for count in (50, 200):
        series = wait_for_samples(
            client, "rec_live", field, lambda s, n=count: s.values[-1] > n, f"{count} samples"
        )
        first.end()
        first = record("rec_live", "rec_numbered", "--keep", "1d")
    seen = series.values[-1]
    series = wait_for_samples(
        client, "rec_live", field, lambda s: s.values[-1] > seen + 50, "later samples"
    )
    numbers = series.values.tolist()
    assert numbers[0] < 50
    assert all(after == before + 1 for before, after in pairwise(numbers))
    about = client.fields("rec_live")[field]
    assert (about.timeline, about.interval) == ("rec_numbered.rec_numbered", 0.02)
    original = client.get("rec_numbered", "n", series.t[0], series.t[-1])["n"]
    assert original.t.tolist() == series.t[:-1].tolist()


def test_a_recorder_killed_before_the_first_sample_misses_none(client, router, start, record):
    for _ in range(2):
        program = record("rec_early", "rec_late")
        program.wait_for("node rec_late is not available yet")
        program.end()
    start(router, "tests/nodes.py", "numbered", "--name", "rec_late")
    wait_for_nodes(client, "rec_late")
    wait_until(lambda: client.latest("rec_late", "n")["n"].values[-1] > 50, 40, "samples")
    record("rec_early", "rec_late")
    series = wait_for_samples(
        client, "rec_early", "rec_late.n", lambda s: s.values[-1] > 100, "samples"
    )
    assert series.values.tolist() == list(range(1, int(series.values[-1]) + 1))


class Archive:
    """A node of Part 1 that has more and more samples, of which the last may still change."""

    def __init__(self, member, name, field="x", features=()):
        self.field = field
        self.first = float(int(time.time()) - 1000)
        self.units = "V"
        self.count = 5
        self.asked = 0
        member.do("register", self.get_fields, node_uri(name, "get_fields"))
        member.do("register", self.get_data, node_uri(name, "get_data"))
        assert member.add(name, features=list(features))

    def get_fields(self, start, end):
        field = {"description": "a ramp", "timeline": "s", "type": "number", "units": self.units}
        return [{self.field: field}, {"s": {"interval": None, "field": [self.field]}}]

    def get_data(self, field, start, end, min_stride=None):
        self.asked += 1
        numbers = [n for n in range(self.count) if start <= self.first + n < end]
        line = {
            "t": [self.first + n for n in numbers],
            "finalized_until": self.first + self.count - 1,
        }
        return {"data": {self.field: numbers}, "timeline": {"s": line} if numbers else {}}


def test_a_polling_recorder_killed_early_misses_none(client, router, record):
    with Member(router) as member:
        node = Archive(member, "rec_slow")
        program = record("rec_soon", "rec_slow")
        wait_until(lambda: node.asked, 40, "the first question")
        program.end()
        node.first = time.time()
        node.count = 5
        record("rec_soon", "rec_slow")
        last = "rec_soon", "rec_slow.x", lambda s: s.values[-1] == 3
        assert wait_for_samples(client, *last, "sample 3").values.tolist() == [0, 1, 2, 3]


def test_a_node_of_part_1_is_asked_for_what_is_new_and_final(client, router, record):
    def wait_for_number(number):
        last = "rec_polling", "rec_archive.x", lambda s: s.values[-1] == number
        return wait_for_samples(client, *last, f"sample {number}")

    with Member(router) as member:
        node = Archive(member, "rec_archive")
        program = record("rec_polling", "rec_archive::*")
        wait_until(lambda: node.asked > 5, 40, "the question for the last sample, and the next one")
        node.count = 8
        wait_for_number(6)
        about = client.fields("rec_polling")["rec_archive.x"]
        assert (about.units, about.description) == ("V", "a ramp")
        program.end()
        node.count, node.units = 11, "mV"
        record("rec_polling", "rec_archive::*")
        assert wait_for_number(9).values.tolist() == [5, 6, 7, 8, 9]
        assert client.fields("rec_polling")["rec_archive.x"].units == "mV"


def test_the_log_lists_fields_before_samples_and_names_missing_ones(router, record):
    with Member(router) as member:
        Archive(member, "rec_quiet")
        program = record("rec_listing", "rec_quiet", "rec_quiet::y", "rec_qui*::z*")
        program.wait_for("recording of node rec_quiet: x")
        program.wait_for("node rec_quiet has no field 'y' yet")
        program.wait_for("node rec_quiet has no field 'z*' yet")


def test_comings_and_goings_are_recorded_and_kept(client, router, record):
    program = record("rec_presence", "rec_none::x*", command=["-m", "sisock.cli", "record"])
    field = "nodes.rec_visitor"
    with Member(router) as member:
        assert member.add("rec_visitor")
        wait_for_samples(client, "rec_presence", field, lambda s: s.values[-1], "its coming")
        program.end()
    assert "lost" not in program.output
    program = record("rec_presence", "rec_none")
    program.wait_for("node rec_none is not available yet")
    series = wait_for_samples(
        client, "rec_presence", field, lambda s: not s.values[-1], "its going"
    )
    assert series.values.tolist() == [True, False]


def test_wildcards_name_nodes_and_fields(client, router, start, record, tmp_path):
    # A description that was damaged costs only itself.
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rec_wild.fields.json").write_text("[1]")
    program = record("rec_wild", "rec_tick*::[ce]*", "nod?s")
    with Member(router) as member:
        assert member.add("nodes")
        program.wait_for("the node nodes cannot be recorded")
    start(router, "tests/nodes.py", "ticker", "--name", "rec_ticker")
    wait_for_samples(client, "rec_wild", "rec_ticker.count", lambda s: len(s) > 5, "samples")
    names = {name for name in client.fields("rec_wild") if not name.startswith("nodes.")}
    assert names == {"rec_ticker.count", "rec_ticker.even"}
    assert "recording of node rec_ticker: count, even" in program.output


def test_wildcards_leave_out_other_recorders_and_itself(client, router, start, record):
    record("rec_one", "rec_none")
    wait_until(lambda: "nodes.rec_one" in client.fields("rec_one"), 40, "its field")
    with Member(router) as member:
        # In trouble, so that its description is another one.
        busy = Archive(member, "rec_busy", field="nodes.rec_busy")
        usual = Archive(member, "rec_usual", field="nodes.rec_busy")
        record("rec_two", "rec_[botu]*")
        wait_until(lambda: usual.asked > 5, 40, "the question for samples")
        usual.count = 9
        wait_for_samples(
            client, "rec_two", "rec_usual.nodes.rec_busy", lambda s: len(s) > 1, "samples"
        )
        assert busy.asked == 0
        names = client.fields("rec_two").keys()
    assert {name.partition(".")[0] for name in names} == {"nodes", "rec_usual"}


def test_a_sample_of_the_far_future_is_not_recorded(client, router, record):
    with Member(router) as member:
        node = Archive(member, "rec_odd", features=["live"])
        program = record("rec_true", "rec_odd")
        now = time.time()

        def publish(t, value):
            event = {"data": {"x": [value]}, "timeline": {"s": {"t": [t]}}}
            member.do("publish", node_uri("rec_odd", "data"), event)

        def is_watched():
            publish(time.time(), 1)
            return recorded(client, "rec_true", "rec_odd.x")

        node.count = 0
        wait_until(is_watched, 40, "the first sample")
        publish(now + 2 * 86400, 2)
        program.wait_for("in the future")
        node.first, node.count = time.time(), 1
        publish(node.first, 3)
        wait_for_samples(client, "rec_true", "rec_odd.x", lambda s: 0 in s.values, "a sample")


@pytest.mark.parametrize("sources", [[], ["nodes"], ["recorder"], ["recorder::x"]])
def test_a_recorder_of_nothing_says_so(router, start, sources):
    program = start(router, RECORDER, *sources)
    assert program.wait() == 1
    assert "name the nodes to record" in program.output
