"""The node of InfluxDB against a server of its own."""

import math
import re
import shlex
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

import sisock
from sisock.testing import free_port, wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.processes import Server, documented_flags, example, own_flags

sys.path.insert(0, str(TOP / "data_nodes"))
from influxdb import Influxdb

BEGAN = 1_700_000_000
FLAGS = ("measurement", "retention_policy", "user", "password_file", "ca_file", "config")


class Influx(Server):
    """An InfluxDB in a folder of its own."""

    def __init__(self, folder, is_guarded=False):
        self.port, other = free_port(), free_port()
        self.url, self.headers = f"http://127.0.0.1:{self.port}", {}
        configuration = folder / "influxdb.conf"
        configuration.write_text(
            f'reporting-enabled = false\nbind-address = "127.0.0.1:{other}"\n'
            f'[meta]\ndir = "{folder}/meta"\n'
            f'[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
            "[monitor]\nstore-enabled = false\n"
            f'[http]\nbind-address = "127.0.0.1:{self.port}"\nlog-enabled = false\n'
            f"auth-enabled = {str(is_guarded).lower()}\n"
        )
        command = ["influxd", "run", "-config", configuration]
        super().__init__(command, folder / "log", lambda: self.ask("/ping"))

    def ask(self, path, **values):
        method, query = "POST" if values else "GET", urllib.parse.urlencode(values)
        request = urllib.request.Request(f"{self.url}{path}?{query}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def query(self, text, **values):
        answer = self.ask("/query", q=text, **values)
        assert "error" not in answer, answer

    def write(self, database, *lines):
        body = "\n".join(lines).encode()
        urllib.request.urlopen(f"{self.url}/write?db={database}", body, 60).close()


@pytest.fixture(scope="session")
def influx(tmp_path_factory):
    server = Influx(tmp_path_factory.mktemp("influx"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(influx, request):
    """A function that writes lines to a database of the test, and its name."""
    database = re.sub(r"\W", "_", request.node.name)
    influx.query(f"DROP DATABASE {database}")
    influx.query(f"CREATE DATABASE {database}")
    store = lambda *lines: influx.write(database, *lines)  # noqa: E731
    store.database = database
    return store


def make(url, database, lateness=0.0, **flags):
    return Influxdb(url, database, lateness, **{**dict.fromkeys(FLAGS), **flags})


def nanoseconds(t):
    return round(t * 1e9)


def weather(count=400):
    """Lines of a measurement with fields of all types, each with some that are missing."""
    for i in range(count):
        t = BEGAN + i * 1.5 + (i % 7) / 8 + (i > 300) * 5000
        fields = [f"x={((i * 37) % 101) / 8 - 3}", f"n={(i * i) % 13}i"]
        fields += [f'word="w{i // 60}"'] if i % 90 != 5 else []
        fields += [f"on={str(i % 40 < 25).lower()}"] if not 100 < i < 120 else []
        yield f"weather,mast=north {','.join(fields[i % 60 == 3 :])} {nanoseconds(t)}"


def test_all_types_are_served_and_numbers_decimated_by_the_server(influx, store):
    store(*weather())
    check(lambda: make(influx.url, store.database), is_placed=True, examples=150)


def test_buckets_are_those_of_the_grid_to_the_nanosecond(influx, store, asked):
    # What is less than 120 ns before a bucket has, as a float, the time of its start.
    edges = [BEGAN + i * 8 for i in range(1, 40)]
    moments = [t * 10**9 + off for t in edges for off in (-130, -120, -119, -1, 0, 200)]
    store(*(f"w v={i} {n}" for i, n in enumerate(moments)))
    _, asking = asked(make(influx.url, store.database))
    samples = asking.samples(["w.v"], 1, 0)["w.v"]
    assert samples == [(n / 10**9, i) for i, n in enumerate(moments)]
    for w in (2.0**-9, 0.125, 8.0, 64.0):
        for i in range(BEGAN // 8 + 1, BEGAN // 8 + 12):
            start, end = i * 8.0, i * 8.0 + max(w, 8)
            inside = [pair for pair in samples if start <= pair[0] < end]
            assert asking.samples(["w.v"], start, end)["w.v"] == inside
            found = asking.samples(["w.v"], start, end, bucket=w)["w.v"]
            assert extremes(found, w) == extremes(inside, w)


def extremes(pairs, w):
    """Of each bucket the smallest and the largest value."""
    buckets = {}
    for t, value in pairs:
        buckets.setdefault(math.floor(t / w), []).append(value)
    return {i: (min(values), max(values)) for i, values in buckets.items()}


def test_names_and_tags_are_only_names_whatever_they_hold(influx, store, asked):
    odd = 'a"; DROP MEASUREMENT kept --'
    escaped = odd.replace(" ", "\\ ")
    store(
        "kept v=1 1700000000000000000",
        f"{escaped},k\\ \"\\,'y=v'a\\,l\\\\ue fi\\ \"e'ld=2,b=3 1700000000000000000",
        f"{escaped},k\\ \"\\,'y=v'a\\,l\\\\ue,other=x fi\\ \"e'ld=4 1700000001000000000",
    )
    _, asking = asked(make(influx.url, store.database))
    line = f"{odd},k \",'y=v'a,l\\\\ue"
    assert sorted(asking.fields()) == sorted(
        ["kept.v", f"{line}.b", f"{line}.fi \"e'ld", f"{line},other=x.fi \"e'ld"]
    )
    for name, value in ((f"{line}.fi \"e'ld", 2), (f"{line},other=x.fi \"e'ld", 4)):
        for how in ({}, {"bucket": 2.0**20}, {"max_points": 8}):
            assert [v for _, v in asking.samples([name], 1, 0, **how)[name]] == [value]
    assert asking.samples(["kept.v"], 1, 0)["kept.v"] == [(BEGAN, 1)]


def test_fields_know_their_first_and_last_and_what_the_file_says(influx, store, asked, tmp_path):
    store(
        "cpu,host=a,core=1 user=1,idle=2 1700000000500000000",
        "cpu,host=a,core=1 user=3 1700000009000000000",
        "disk free=5i 1700000004000000000",
    )
    config = tmp_path / "units.toml"
    config.write_text('[fields."cpu,*"]\nunits = "%"\n')
    node, asking = asked(make(influx.url, store.database, config=config))
    fields, lines = node.get_fields(1, 0)
    assert fields["cpu,core=1,host=a.user"]["units"] == "%"
    assert fields["disk.free"]["type"] == "number"
    line = lines["cpu,core=1,host=a"]
    assert (line["first"], line["last"]) == (BEGAN + 0.5, BEGAN + 9)
    assert sorted(line["field"]) == ["cpu,core=1,host=a.idle", "cpu,core=1,host=a.user"]
    both = asking.samples(line["field"], 1, 0)
    assert both["cpu,core=1,host=a.idle"] == [(BEGAN + 0.5, 2), (BEGAN + 9, None)]
    _, asking = asked(make(influx.url, store.database, measurement=["d*k"]))
    assert set(asking.fields()) == {"disk.free"}


def test_a_retention_policy_can_be_chosen(influx, store, asked):
    database = store.database
    influx.query(f"CREATE RETENTION POLICY long ON {database} DURATION INF REPLICATION 1")
    lines = b"w v=7 1700000000000000000"
    urllib.request.urlopen(f"{influx.url}/write?db={database}&rp=long", lines, 60).close()
    store("w v=1 1700000000000000000")
    _, asking = asked(make(influx.url, database, retention_policy="long"))
    assert asking.samples(["w.v"], 1, 0) == {"w.v": [(BEGAN, 7)]}


def test_what_may_still_be_late_is_not_final(influx, store):
    now = time.time()
    store(f"w v=1 {nanoseconds(now - 1000)}", f"w v=2 {nanoseconds(now - 10)}")
    node = make(influx.url, store.database, 60.0)
    decimated = node.get_decimated(["w.v"], now - 2000, now + 5, bucket=64.0)["w.v"]
    assert now <= decimated.final_to + 60 <= time.time()
    until = node.get_data(["w.v"], 1, 0).timelines["w"].finalized_until
    assert now <= until + 60 <= time.time()
    node = make(influx.url, store.database, 0.0)
    decimated = node.get_decimated(["w.v"], now - 2000, now + 5, bucket=64.0)["w.v"]
    assert -10 <= decimated.final_to - now <= -9
    assert node.get_data(["w.v"], 1, 0).timelines["w"].finalized_until is None


def test_the_example_serves_new_samples_at_once(influx, store, router, client, start):
    store(f"cpu,host=a usage_idle=1 {nanoseconds(time.time() - 5)}")
    words = shlex.split(example("influxdb").replace("http://influx:8086", influx.url))
    words[words.index("--database") + 1] = store.database
    start(router, *words[1:], "--name", "site")
    wait_for_nodes(client, "site")
    name = "cpu,host=a.usage_idle"
    assert client.get("site", name, -3600, 0)[name].values.tolist() == [1]
    began = time.time()
    store(*(f"cpu,host=a usage_idle={i} {nanoseconds(began - 4 + i / 100)}" for i in range(300)))
    assert len(client.get("site", name, -3600, 0)[name]) == 301
    few = client.get("site", name, -3600, 0, max_points=20)[name]
    assert len(few) <= 20 and few.is_placed and few.values.max() == 299
    assert client.latest("site", [name])[name].values.tolist() == [299]


def test_a_server_that_comes_late_and_is_restarted_is_found(asked, tmp_path):
    server = Influx(tmp_path)
    node, asking = asked(make(server.url, "site"))
    wait_until(lambda: "refused" in (node.trouble or ""), 60, "that it is said, though nobody asks")
    assert asking.fields() == {}
    server.start()
    wait_until(lambda: "database not found: site" in say(node, asking), 60, "that it is said")
    server.query("CREATE DATABASE site")
    server.write("site", *weather(50))
    wait_until(lambda: len(asking.fields()) == 4, 60, "the fields")
    assert node.trouble is None
    name = "weather,mast=north.n"
    assert len(asking.samples([name], 1, 0)[name]) == 50
    server.kill()
    with pytest.raises(ConnectionError, match="refused"):
        asking.samples([name], 1, 0)
    server.start()
    assert len(asking.samples([name], 1, 0)[name]) == 50
    server.stop()


def say(node, asking):
    asking.fields()
    return node.trouble or ""


def test_a_wrong_password_is_said_until_it_is_right(asked, tmp_path):
    server = Influx(tmp_path, is_guarded=True)
    server.start()
    server.query("CREATE USER boss WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
    login = {"u": "boss", "p": "secret"}
    server.query("CREATE DATABASE site", **login)
    password = tmp_path / "password"
    for given, trouble in ((None, "401"), ("wrong", "401"), ("secret", None)):
        password.write_text(given or "")
        user = {"user": "boss", "password_file": password} if given else {}
        node, asking = asked(make(server.url, "site", **user))
        said = say(node, asking)
        assert (trouble in said and "see --user" in said) if trouble else said == ""
        assert "wrong" not in said
    server.query("CREATE USER guest WITH PASSWORD 'guest'", **login)
    password.write_text("guest")
    node, asking = asked(make(server.url, "site", user="guest", password_file=password))
    assert "guest not authorized" in say(node, asking)
    server.stop()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"url": "influx:8086"}, "is not an address such as http://host:8086"),
        ({"url": "http://a:b"}, "'http://a:b' is not an address"),
        ({"url": "https://a", "ca_file": "/none"}, "the certificates in /none"),
    ],
)
def test_flags_that_cannot_be_are_an_error(flags, sentence):
    with pytest.raises(sisock.SisockError, match=sentence):
        make(**{"url": "http://a", "database": "site", **flags})


def test_all_flags_are_documented():
    assert documented_flags("influxdb") == own_flags(Influxdb)
