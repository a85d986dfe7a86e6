"""``--check`` and `check_node` judge a node; an author's slip costs one sentence and status 1."""

import io
import math
import re
import socket
import threading
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

import sisock
from sisock.errors import NodeContractError
from sisock.testing import check_node, wait_until
from tests import forkserver


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))


class Live(sisock.LiveNode):
    name = "live"
    fields = {"x": {"units": "K"}, "state": {"type": "string"}}
    answer = {"x": 4, "state": "on"}

    def read(self):
        return self.answer


@pytest.fixture(scope="module", autouse=True)
def log():
    """Have the log begun: it begins with what other tests of this process have logged."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        sisock.run(Live(), ["--check"])


class Sent(sisock.SubscriberNode):
    name = "sent"
    channels = {"a": "x"}

    def subscribe(self):
        self.hear("a", 4)


class Archive(sisock.ArchiveNode):
    name = "archive"
    samples = [1e9, 1e9 + 60], [1.5, -2]
    entry = {"units": "m"}

    def list_fields(self, start, end):
        return {"a": self.entry}

    def read(self, field, start, end):
        return self.samples


def made(parent, **attributes):
    """An instance of a class that has one thing wrong."""
    return type("Wrong", (parent,), attributes)()


def raising(error):
    def read(self, *args):
        raise error

    return read


def ended(node, capsys, *flags):
    """What a program says as it ends with status 1."""
    with pytest.raises(SystemExit) as status:
        sisock.run(node, list(flags))
    assert status.value.code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("parent", "wrong", "meant"),
    [
        (Live, {"interva": 0.1}, "interval"),
        (Live, {"Stale_After": 5.0}, "stale_after"),
        (Sent, {"chanels": {}, "lateness": 1.0, "channels": {}}, None),
        (Sent, {"latenes": 1.0}, "lateness"),
        (Archive, {"piramid": False}, "pyramid"),
        (Archive, {"_pyramids_": False, "intervals": 1}, None),
    ],
)
def test_an_attribute_that_looks_misspelt_is_doubtful(parent, wrong, meant):
    doubts = [line for line in check_node(made(parent, **wrong)) if line.startswith("doubtful")]
    assert [f"did you mean {meant!r}?" in line for line in doubts] == [True] * (meant is not None)


class Raw(sisock.DataNodeServer):
    name = "raw"

    def get_fields(self, start, end):
        return {"x": {"timeline": "t", "Unit": "K", "mine": 1}}, {"t": {"field": ["x"]}}

    def get_data(self, field, start, end, min_stride=None):
        return {"data": {"x": [1]}, "timeline": {"t": {"t": [1e9]}}}


def test_a_key_that_looks_misspelt_is_a_warning():
    node = Raw()
    check_node(node)
    said = "the key 'Unit' of field 'x' has no effect (did you mean 'units'?)"
    assert node.service.status()["error"] == said


def test_an_error_about_what_is_missing_names_what_looks_misspelt(capsys):
    node = made(sisock.LiveNode, name="thermo", feilds={"x": {}}, read=lambda self: {"x": 1})
    said = ended(node, capsys)
    assert "names no field; Wrong.feilds is not" in said and "did you mean 'fields'?" in said
    assert "did you mean 'name'?" in ended(made(sisock.LiveNode, nmae="thermo"), capsys)


def test_a_good_node_is_described_with_its_times_and_extremes():
    (head, line) = check_node(Archive())
    assert head == "node archive: 1 field"
    assert line == (
        "a [m]: 2 samples on timeline a, 2001-09-09T01:46:40Z to 2001-09-09T01:47:40Z, -2.0 to 1.5"
    )
    (head, number, text) = check_node(Live())
    assert head == "node live: 2 fields"
    assert re.fullmatch(r"x \[K\]: 1 sample on timeline live, 20[^ ]+Z, 4", number)
    assert text.startswith("state: 1 sample on") and text.endswith("Z, on")


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (made(Live, answer=[4]), "it returned list, not a dict of field to value"),
        (made(Live, answer={"x": "4"}), "read returned a string for 'x', which is a number"),
        (made(Live, answer={"x": np.datetime64("2026")}), "'x': datetime64[Y] cannot be served"),
        (made(Live, answer={"z": 4}), "the field 'z', which is not in fields"),
        (made(Live, read=lambda: {}), "takes 0 positional arguments but 1 was given\n"),
        (made(Live, answer=None), "it returned NoneType, not a dict of field to value\n"),
        (made(Live, read=raising(OSError("no answer"))), "read raised OSError: no answer"),
        (
            made(Archive, read=raising(OSError("no file"))),
            "field 'a': read raised OSError: no file",
        ),
        (
            made(Sent, subscribe=raising(OSError("no server"))),
            "subscribe raised OSError: no server",
        ),
        (made(Archive, samples=[1, 2, 3]), "read must return the pair"),
        (made(Archive, samples=([1, 2], [1])), "1 value for 2 times"),
        (made(Archive, samples=([1e9], ["text"])), "'number', but its values are strings"),
        (made(Archive, samples=([1.5e12], [1])), "times lie in the year 49503: milliseconds?"),
        (made(Archive, samples=([1.5e18], [1])), ": nanoseconds?"),
        (
            made(Archive, samples=(np.array(["2026-01-01"], "datetime64[s]"), [1])),
            "must be UNIX seconds: datetime64[s] cannot be served",
        ),
        (made(Archive, samples=([np.datetime64("2026-01-01")], [1])), "must be UNIX seconds"),
        (made(Archive, samples=([1], [np.datetime64("2026-01-01")])), "datetime64[D] cannot"),
        (made(Archive, entry={"unit": "m"}), "'unit' is not one of the keys description, "),
        (made(Archive, list_fields=lambda *_: {"": {}}), "'' cannot be the name of a field"),
        (made(Archive, list_fields=lambda *_: ["a"]), "field name to a dict, not list"),
        (made(Archive, list_fields=lambda *_: {}, trouble="no server"), "'archive': no server"),
    ],
)
def test_a_broken_node_fails_with_one_clear_sentence(node, sentence, capsys):
    said = ended(node, capsys, "--check")
    assert sentence in said
    assert said.count("\n") == 1
    with pytest.raises(NodeContractError):
        check_node(node)


def test_a_failure_in_a_library_is_shown_where_the_node_calls_it(capsys):
    node = made(Live, read=lambda self: {"x": socket.create_connection(("", -1))})
    place = re.search(r"\(.*/test_check\.py, line \d+\)\n$", said := ended(node, capsys, "--check"))
    assert place, said


def test_a_check_of_a_subscriber_shows_what_came():
    (head, line) = check_node(Sent())
    assert (head, line.split(",")[0]) == ("node sent: 1 field", "x: 1 sample on timeline x")


def test_a_check_of_a_node_that_pushes_shows_what_it_pushed():
    def begin(self, service):
        sisock.LiveNode.begin(self, service)
        threading.Thread(target=self.push, args=({"x": 4.0},), daemon=True).start()

    (head, line) = check_node(made(Live, interval=None, fields={}, begin=begin))
    assert head == "node live: 1 field"
    assert line.startswith("x: 1 sample on timeline live, ")


PUSHING = """
import threading, time, sisock

class Pushing(sisock.LiveNode):
    name, interval, fields = "pushing", None, {"x": {}}

    def begin(self, service):
        super().begin(service)
        threading.Thread(target=self.push_on, daemon=True).start()

    def push_on(self):
        while True:
            self.push({"x": 1.0})

    def end(self):
        super().end()
        time.sleep(0.2)  # its thread pushes meanwhile, as a vendor's library would

sisock.run(Pushing, ["--check"])
"""


def test_what_is_pushed_after_a_check_is_no_warning(tmp_path):
    done = forkserver.run(["-c", PUSHING], {"SISOCK_CACHE": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reading_that_never_comes_back_is_a_fault():
    release = threading.Event()
    node = made(Live, read=lambda self: release.wait(120), read_timeout=0.5)
    try:
        with pytest.raises(NodeContractError, match=r"read has not returned for 0\.5 s"):
            check_node(node)
    finally:
        release.set()


@pytest.mark.parametrize(
    ("node", "doubt"),
    [
        (made(Archive, samples=([], [])), "it has no samples"),
        (made(Archive, samples=([100, 200], [1, 2])), "the year 1970: are they UNIX seconds?"),
        (made(Live, answer={"x": 1}), "Z, missing"),
        (made(Archive, samples=([1e9], [math.nan])), "Z, missing"),
        (made(Archive, samples=([1e9], [1]), trouble="a file is damaged"), "a file is damaged"),
    ],
)
def test_what_is_doubtful_is_said_but_is_no_fault(node, doubt):
    assert any(doubt in line for line in check_node(node))


def test_a_check_leaves_no_thread_that_reads():
    count = 0

    def read(self):
        nonlocal count
        count += 1
        return {"x": count}

    node = made(Live, read=read, interval=0.01, name="stopped")
    check_node(node)
    wait_until(
        lambda: not any("stopped" in thread.name for thread in threading.enumerate()),
        30,
        "the end of the node's threads",
    )
    assert count == 1


@pytest.mark.parametrize("flags", [[], ["--check"]], ids=["run", "check"])
@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"name": ""}, "Wrong has no name: set its attribute name, or use --name"),
        ({"fields": ["x"]}, "its fields must be a dict, field name to a dict, not list"),
        ({"fields": {"": {}}}, "field '': '' cannot be the name of a field"),
        ({"fields": {"x": "K"}}, "field 'x': it must be described by a dict, not str"),
        ({"fields": {"x": {"unit": "K"}}}, "field 'x': 'unit' is not one of the keys"),
        ({"fields": {"x": {"units": 5}}}, "field 'x': units must be a string or None"),
        ({"fields": {"x": {"type": "float"}}}, "field 'x': type must be one of"),
        ({"interval": "1"}, "the attribute interval must be a positive number of seconds"),
        ({"history": 0}, "the attribute history must be a positive number of seconds"),
        ({"__init__": lambda self, port: None}, "missing a required argument: 'port'"),
    ],
)
def test_a_slip_ends_the_program_with_one_sentence(attributes, sentence, flags, capsys):
    said = ended(type("Wrong", (Live,), attributes), capsys, *flags)
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("parent", "method"),
    [
        (sisock.LiveNode, "read"),
        (sisock.SubscriberNode, "subscribe"),
        (sisock.ArchiveNode, "list_fields"),
        (sisock.FileArchive, "describe_file"),
        (sisock.DataNodeServer, "get_data"),
    ],
)
def test_a_missing_method_ends_the_program_with_one_sentence(parent, method, capsys):
    said = ended(type("Lacking", (parent,), {"name": "lacking"}), capsys)
    assert f"node 'lacking': the class Lacking has no method {method}: see" in said
