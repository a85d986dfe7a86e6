"""The node of Prometheus's HTTP API against Prometheus and VictoriaMetrics."""

import contextlib
import http.server
import math
import shlex
import sys
import threading
import time
import urllib.request

import pytest

import sisock
from sisock.testing import free_port, wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.sources.conftest import check
from tests.sources.processes import Server, documented_flags, example, own_flags
from tests.sources.remote_write import write

sys.path.insert(0, str(TOP / "data_nodes"))
from prometheus import Prometheus

BEGAN = 1_700_000_000_000
FLAGS = ("user", "password_file", "ca_file", "config")


class Metrics(Server):
    """A server with that API, in a folder of its own."""

    def __init__(self, folder, command):
        self.port = free_port()
        self.url, self.is_victoria = f"http://127.0.0.1:{self.port}", "victoria" in command[0]
        super().__init__(
            [word.format(folder=folder, port=self.port) for word in command],
            folder / "log",
            lambda: self.ask("/health" if self.is_victoria else "/-/ready"),
        )

    def ask(self, path):
        urllib.request.urlopen(self.url + path, timeout=60).close()

    def write(self, *every):
        write(self.url, *every)
        if self.is_victoria:
            self.ask("/internal/force_flush")


def prometheus(folder, targets=""):
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: site, static_configs: [{{targets: [{targets}]}}]}}]\n"
    )
    flags = ["--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=100y"]
    flags += ["--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
    return Metrics(folder, ["prometheus", f"--config.file={configuration}", *flags])


def victoria(folder, *more):
    flags = ["-storageDataPath={folder}/data", "-retentionPeriod=100y", "-loggerLevel=ERROR"]
    flags += ["-httpListenAddr=127.0.0.1:{port}", *more]
    return Metrics(folder, ["victoria-metrics", *flags])


@pytest.fixture(params=[prometheus, victoria], ids=["prometheus", "victoria"])
def server(request, tmp_path):
    server = request.param(tmp_path)
    server.start()
    yield server
    server.stop()


def make(url, *selectors, lateness=0.0, **flags):
    return Prometheus(url, list(selectors), lateness, **{**dict.fromkeys(FLAGS), **flags})


def samples(count=400):
    """Milliseconds and values, some of which are missing."""
    for i in range(count):
        t = BEGAN + i * 1500 + (i % 7) * 125 + (i > 300) * 5_000_000
        odd = {3: math.nan, 21: math.inf, 40: -math.inf}.get(i % 60, math.nan)
        yield t, odd if i % 60 in (3, 21, 40) or 100 < i < 120 else ((i * 37) % 101) / 8 - 3


def test_series_are_served_and_decimated_by_the_server(server):
    server.write(
        ({"__name__": "wind", "mast": "north"}, list(samples())),
        ({"__name__": "wind", "mast": "south"}, [(t + 7, v + 1) for t, v in samples(300)]),
        ({"__name__": "zero"}, [(BEGAN + i * 10, 0.0) for i in range(500)]),
    )
    check(lambda: make(server.url, "wind", "zero"), is_placed=True, examples=100)


def test_durations_are_not_rounded_down_by_the_server(server, asked):
    # VictoriaMetrics takes 8126ms for 8125 ms.
    times = [BEGAN, BEGAN + 8125]
    server.write(({"__name__": "wind"}, [(t, 1.0) for t in times]))
    _, asking = asked(make(server.url, "wind"))
    found = asking.samples(["wind"], BEGAN / 1000, BEGAN / 1000 + 8.126, max_points=8)["wind"]
    assert [round(t * 1000) for t, _ in found] == times


def test_buckets_are_those_of_the_grid_to_the_millisecond(server, asked):
    moments = [BEGAN + i * 1000 + off for i in range(600) for off in (-1, 0, 1)]
    server.write(({"__name__": "w"}, [(t, float(i)) for i, t in enumerate(moments)]))
    _, asking = asked(make(server.url, "w"))
    found = asking.samples(["w"], 1, 0)["w"]
    assert found == [(t / 1000, i) for i, t in enumerate(moments)]
    for w in (0.0625, 0.125, 1.0, 8.0):
        for start in (BEGAN / 1000 + 96, BEGAN / 1000 + 100.999, BEGAN / 1000 + 7.0625):
            end = start + 64 * max(w, 2)
            inside = [pair for pair in found if start <= pair[0] < end]
            assert asking.samples(["w"], start, end)["w"] == inside
            buckets = asking.samples(["w"], start, end, bucket=w)["w"]
            assert extremes(buckets, w) == extremes(inside, w)


def extremes(pairs, w):
    """Of each bucket the smallest and the largest value."""
    buckets = {}
    for t, value in pairs:
        buckets.setdefault(math.floor(t / w), []).append(value)
    return {i: (min(values), max(values)) for i, values in buckets.items()}


def test_more_buckets_than_the_server_gives_at_once(server, asked):
    every = [(BEGAN + i * 500, float(i * 7919 % 1000)) for i in range(33_000)]
    server.write(({"__name__": "w"}, every))
    _, asking = asked(make(server.url, "w"))
    pairs = [(t / 1000, value) for t, value in every if t < BEGAN + 16_000_000]
    found = asking.samples(["w"], BEGAN / 1000, BEGAN / 1000 + 16_000, bucket=1.0)["w"]
    assert extremes(found, 1.0) == extremes(pairs, 1.0)
    few = asking.samples(["w"], 1, 0, max_points=1000)["w"]
    assert (few[0], few[-1]) == tuple((t / 1000, value) for t, value in (every[0], every[-1]))
    assert len(asking.samples(["w"], 1, 0)["w"]) == len(every)


def test_labels_are_only_labels_whatever_they_hold(server, asked):
    odd = 'a"} or {__name__=~".+\\'
    server.write(
        ({"__name__": "w", "place": odd}, [(BEGAN, 1.0)]),
        ({"__name__": "w", "place": odd, "more": "x\ny"}, [(BEGAN, 2.0)]),
        ({"__name__": "w"}, [(BEGAN, 3.0)]),
        ({"__name__": "other"}, [(BEGAN, 4.0)]),
    )
    _, asking = asked(make(server.url, "w"))
    written = 'place="a\\"} or {__name__=~\\".+\\\\"'
    names = {f"w{{{written}}}": 1, f'w{{more="x\\ny",{written}}}': 2, "w": 3}
    assert set(asking.fields()) == set(names)
    for how in ({}, {"bucket": 2.0**20}, {"max_points": 8}):
        found = asking.samples(list(names), 1, 0, **how)
        assert {name: [v for _, v in pairs] for name, pairs in found.items()} == {
            name: [value] for name, value in names.items()
        }


def test_what_may_still_be_late_is_not_final(server):
    now = round(time.time() * 1000)
    server.write(({"__name__": "w"}, [(now - 1_000_000, 1.0), (now - 5000, 2.0)]))
    start, began = now / 1000 - 2000, time.time()
    node = make(server.url, "w", lateness=60.0)
    decimated = node.get_decimated(["w"], start, start + 2005, bucket=64.0)["w"]
    assert began <= decimated.final_to + 60 <= time.time()
    until = node.get_data(["w"], 1, 0).timelines["w"].finalized_until
    assert began <= until + 60 <= time.time()
    node = make(server.url, "w")
    decimated = node.get_decimated(["w"], start, start + 2005, bucket=64.0)["w"]
    assert -5.1 <= decimated.final_to - now / 1000 <= -4
    assert node.get_data(["w"], 1, 0).timelines["w"].finalized_until is None


def test_the_newest_samples_are_not_older_ones_repeated(server, asked):
    now = round(time.time() * 1000)
    every = [(now - 200_000 + i * 250, float(i)) for i in range(800)]
    server.write(({"__name__": "w"}, every))
    _, asking = asked(make(server.url, "w"))
    pairs = [(t / 1000, value) for t, value in every]
    for w in (1.0, 8.0, 256.0):
        found = asking.samples(["w"], pairs[0][0], now / 1000 + 5, bucket=w)["w"]
        assert extremes(found, w) == extremes(pairs, w)


class Target(http.server.BaseHTTPRequestHandler):
    """What Prometheus scrapes."""

    def do_GET(self):
        text = (
            "# HELP tank_level_meters Water in the tank.\n# TYPE tank_level_meters gauge\n"
            f"tank_level_meters {time.time() % 10}\n"
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def scraped():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target) as target:
        threading.Thread(target=target.serve_forever).start()
        yield f"'127.0.0.1:{target.server_port}'"
        target.shutdown()


def test_the_example_serves_what_is_scraped_and_invents_nothing(router, client, start, tmp_path):
    with scraped() as address:
        server = prometheus(tmp_path, address)
        server.start()
        words = shlex.split(example("prometheus").replace("http://prometheus:9090", server.url))
        start(router, *words[1:], "--name", "site", "--selector", "tank_level_meters")
        wait_for_nodes(client, "site")
        name = f'tank_level_meters{{instance={address},job="site"}}'.replace("'", '"')
        wait_until(lambda: name in client.fields("site"), 60, "the field")
        about = lambda: client.fields("site")[name].description  # noqa: E731
        wait_until(lambda: about() == "Water in the tank.", 60, "its description")
        field = client.fields("site")[name]
        assert field.units == "m"
        known = len(client.get("site", name, 1, 0)[name])
        wait_until(lambda: len(client.get("site", name, 1, 0)[name]) > known + 1, 60, "samples")
    other = name.replace("tank_level_meters", "up")
    start(router, "data_nodes/prometheus.py", "--url", server.url, "--selector", "up")
    wait_for_nodes(client, "prometheus")
    up = lambda: client.latest("prometheus", [other])[other].values[-1] == 0  # noqa: E731
    wait_until(up, 60, "that the target is seen to be down")
    ended = client.get("prometheus", other, 1, 0)[other]
    last = client.get("site", name, 1, 0)[name]
    assert last.t[-1] < ended.t[-1]
    assert client.get("site", name, 1, 0, max_points=10_000)[name].t.tolist() == last.t.tolist()
    assert len(client.get("site", name, ended.t[-1], 0)[name]) == 0
    assert field.first == client.get("site", name, 1, 0)[name].t[0]
    server.stop()


def test_a_server_that_comes_late_and_is_restarted_is_found(asked, tmp_path):
    server = prometheus(tmp_path)
    node, asking = asked(make(server.url, "wind"))
    wait_until(lambda: "refused" in (node.trouble or ""), 60, "that it is said, though nobody asks")
    assert asking.fields() == {}
    server.start()
    server.write(({"__name__": "wind"}, list(samples(50))))
    wait_until(lambda: "wind" in asking.fields(), 60, "the field")
    assert node.trouble is None
    assert len(asking.samples(["wind"], 1, 0)["wind"]) == 50
    server.kill()
    with pytest.raises(ConnectionError, match="refused"):
        asking.samples(["wind"], 1, 0)
    server.start()
    assert len(asking.samples(["wind"], 1, 0)["wind"]) == 50
    server.stop()


def test_a_wrong_password_is_said_until_it_is_right(asked, tmp_path):
    server = victoria(tmp_path, "-httpAuth.username=reader", "-httpAuth.password=secret")
    server.start()
    password = tmp_path / "password"
    for given, trouble in ((None, "see --user"), ("wrong", "see --user"), ("secret", "")):
        password.write_text(given or "")
        user = {"user": "reader", "password_file": password} if given else {}
        node, asking = asked(make(server.url, "up", **user))
        assert asking.fields() == {}
        assert trouble in (node.trouble or "") and "wrong" not in (node.trouble or "")
        assert bool(trouble) == bool(node.trouble)
    server.stop()


@pytest.mark.parametrize(
    ("selector", "path", "sentence"), [("w[", "", "parse error"), ("w", "/no", "404")]
)
def test_a_selector_or_address_that_cannot_be_is_said(selector, path, sentence, asked, tmp_path):
    server = prometheus(tmp_path)
    server.start()
    node, asking = asked(make(server.url + path, selector))
    assert asking.fields() == {}
    assert sentence in node.trouble
    server.stop()


def test_flags_that_cannot_be_are_an_error():
    with pytest.raises(sisock.SisockError, match="is not an address such as http://host"):
        make("prometheus:9090", "up")


def test_all_flags_are_documented():
    assert documented_flags("prometheus") == own_flags(Prometheus)
