import math
import threading

import numpy as np
import pytest

from sisock import ArchiveNode
from sisock.archive import overview as archive_pyramid
from sisock.errors import NodeContractError
from sisock.testing import wait_until


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Files(ArchiveNode):
    name = "files"

    def __init__(self, **times):
        self.times = times

    def list_fields(self, start, end):
        return {name: {"timeline": "line"} for name in self.times}

    def read(self, field, start, end):
        t = self.times[field]
        return t, [x * 2.0 for x in t]


def until(**times):
    reply = Files(**times).get_data(list(times), 1, 100)
    return reply["timeline"]["line"]["finalized_until"]


def test_all_is_final_where_the_fields_of_a_timeline_end_together():
    assert until(a=[1, 2, 3], b=[1, 3]) is None
    assert until(a=[], b=[]) is None


def test_a_missing_sample_is_not_final_while_its_file_may_still_grow():
    assert until(a=[1, 2, 3], b=[1, 2]) == math.nextafter(2, 3)
    assert until(a=[1, 2, 3], b=[]) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "the pair"),
        (([1, 2], [1]), "2 times, but 1 values"),
        (([2, 1], [1, 2]), "goes back"),
        (([1], ["a", 1]), "values"),
    ],
)
def test_a_wrong_answer_of_read_names_the_field(answer, message):
    node = Files(a=[1])
    node.read = lambda field, start, end: answer
    with pytest.raises(NodeContractError, match=message):
        node.get_data(["a"], 1, 100)


def test_unknown_fields_are_left_out():
    reply = Files(a=np.array([1.0])).get_data(["a", "b"], 1, 100)
    assert set(reply["data"]) == {"a"}


T = np.arange(1000.0, 200_000.0)


class Growing(ArchiveNode):
    """Holds what a test puts into it, and notes what is read."""

    name = "growing"

    def __init__(self, t, values, interval=None):
        self.t, self.stored, self.windows = np.asarray(t), values, []
        self.interval = interval

    def list_fields(self, start, end):
        return {"a": {"timeline": "line", "interval": self.interval}}

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        self.windows.append((start, end, high - low))
        return self.t[low:high], self.stored[low:high]

    def overview(self, start=1, end=1e9, max_points=100):
        return self.get_overview(["a", "unknown"], start, end, max_points)

    def wait_for_overview(self, **arguments):
        return wait_until(lambda: self.overview(**arguments), 20, "the pyramid")


def begun(*arguments, **keywords):
    node = Growing(*arguments, **keywords)
    node.begin(None)
    return node


def test_an_overview_is_answered_from_what_was_prepared():
    node = begun(T, np.sin(T / 99) + (T == 54321) * 7)
    reply = node.wait_for_overview()
    node.windows.clear()
    assert node.overview()["data"]["a"].tolist() == reply["data"]["a"].tolist()
    # Only samples later than the last one that was stored are read again.
    assert [count for *_, count in node.windows] == [1]
    assert reply["follows"] == {"a": "line/a"}
    t = reply["timeline"]["line/a"]["t"]
    assert {T[0], 54321.0, T[-1]} <= set(t.tolist())
    assert len(t) == len(reply["data"]["a"]) <= 100
    assert reply["timeline"]["line/a"]["finalized_until"] is None


def test_samples_of_before_1970_and_of_later_than_now_are_in_the_overview():
    node = begun([-5e8, -1.0, 0.0, 5.0, 4e9], [1.0, 2.0, 3.0, 4.0, 5.0])
    node.wait_for_overview()
    reply = node._overview("a", archive_pyramid.Interval(-1e9, 5e9), 100)
    assert reply[1].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_samples_that_were_added_are_in_the_next_overview(monkeypatch):
    monkeypatch.setattr(archive_pyramid, "EXTEND_EVERY", 0)
    node = begun(T, T * 2)
    node.wait_for_overview()
    more = np.arange(T[-1], T[-1] + 20_000)  # the first of them at the time of the last one
    node.t, node.stored = np.append(T, more), np.append(T * 2, more * 0 - 9)
    reply = node.overview()
    assert reply["data"]["a"].min() == -9
    assert reply["data"]["a"].max() == T[-1] * 2
    assert len(reply["data"]["a"]) <= 100

    def reads_little():
        node.windows.clear()
        node.overview()
        return [count for *_, count in node.windows] == [1]

    wait_until(reads_little, 20, "the extension of the pyramid")
    assert node.overview()["data"]["a"].min() == -9


def test_after_samples_changed_nothing_old_is_answered():
    node = begun(T, T * 0)
    node.wait_for_overview()
    node.stored = T * 0 + 5
    node.samples_changed()
    assert set(node.wait_for_overview()["data"]["a"].tolist()) == {5.0}


@pytest.mark.parametrize("values", [["x"] * 5, [1, None, 2, 3, 4], [True] * 5])
def test_what_is_not_numbers_has_no_pyramid(values, monkeypatch):
    monkeypatch.setattr(archive_pyramid, "EXTEND_EVERY", 0)
    node = begun(np.arange(5.0), values)
    pyramid = node._pyramid
    wait_until(lambda: pyramid._not_numbers and not pyramid._jobs._jobs, 20, "the build's end")
    node.windows.clear()
    assert node.overview() is None
    assert not pyramid._jobs._jobs
    assert node.windows == []


def test_integers_that_become_floats_are_built_as_floats():
    days = np.arange(5) * 1e8 + 1
    node = Growing(days, [1, 2, 3, 4.5, None])
    # A list of what there is in each window, of whichever type.
    node.stored = np.array(node.stored, dtype=object)
    node.begin(None)
    np.testing.assert_array_equal(
        node.wait_for_overview()["data"]["a"], [1.0, 2.0, 3.0, 4.5, math.nan]
    )


def test_windows_are_no_longer_than_the_samples_are_dense():
    t = 1e9 + np.arange(3_000_000) * 0.5
    node = begun(t, t * 0, interval=0.5)
    node.wait_for_overview(start=1e9, end=2e9)
    counts = [count for *_, count in node.windows]
    assert max(counts) <= archive_pyramid.MANY + 1
    assert len(counts) < 5000


def test_a_class_that_wants_no_pyramid_has_none():
    node = Growing(T, T)
    node.pyramid = False
    node.begin(None)
    assert node.overview() is None
    assert node.windows == []


def test_without_a_cache_there_is_a_warning_and_no_overview(cache, monkeypatch):
    texts = []
    cache.write_text("a file where the folder should be")
    monkeypatch.setattr(Growing.log, "warn", lambda _, text: texts.append(text), raising=False)
    node = begun(T, T)
    assert node.overview() is None
    (text,) = texts
    assert "the cache cannot be used" in text and "set SISOCK_CACHE" in text


def test_fields_of_one_timeline_are_final_together():
    class Two(Growing):
        def list_fields(self, start, end):
            return {"a": {"timeline": "line"}, "b": {"timeline": "line"}}

        def read(self, field, start, end):
            t = self.t[self.t < 100] if field == "b" else self.t
            t = t[(t >= start) & (t < end)]
            return t, t

    node = Two(np.arange(1.0, 200.0), None)
    node.begin(None)
    reply = wait_until(lambda: node.get_overview(["a", "b"], 1, 1e9, 50), 20, "the pyramids")
    assert set(reply["timeline"]) == {"line/a", "line/b"}
    until = node.get_data(["a", "b"], 1, 1e9)["timeline"]["line"]["finalized_until"]
    assert {line["finalized_until"] for line in reply["timeline"].values()} == {until}
    assert until == math.nextafter(99, 100)


def test_a_field_that_comes_later_is_built_when_it_is_asked_for():
    node = begun(T, T)
    node.wait_for_overview()
    node.list_fields = lambda start, end: {"b": {"timeline": "line"}}
    wait_until(lambda: node.get_overview(["b"], 1, 1e9, 100), 20, "the pyramid of the new field")


class Turning(Growing):
    """Its integers turn into floats while a panel is being answered, which waits for that."""

    def __init__(self):
        super().__init__(T, T.astype("<i8"))
        self.panel = threading.Thread(target=self.answer_panel)
        self.panel_reads, self.is_read_anew = threading.Event(), threading.Event()
        self.panel_goes_on, self.all_goes_on = threading.Event(), threading.Event()

    def answer_panel(self):
        self.reply = self.overview(end=1e9)

    def read(self, field, start, end):
        if threading.current_thread() is self.panel:
            self.panel_reads.set()
            self.panel_goes_on.wait(30)
        elif self.panel_reads.is_set():
            self.is_read_anew.set()
            self.all_goes_on.wait(30)
        return super().read(field, start, end)


@pytest.mark.xfail(strict=True, reason="the store is emptied under the overview that reads it")
def test_a_panel_loses_nothing_while_integers_turn_into_floats():
    node = Turning()
    node.begin(None)
    node.wait_for_overview()
    node.panel.start()
    assert node.panel_reads.wait(30) or not node.panel.is_alive()
    node.stored = T + 0.5
    node.samples_changed()
    node.is_read_anew.wait(10)
    node.panel_goes_on.set()
    node.panel.join(30)
    node.all_goes_on.set()
    # All of the old samples or of the new ones, or None: then they are read.
    if node.reply is not None:
        t = node.reply["timeline"]["line/a"]["t"]
        assert (t[0], t[-1]) == (T[0], T[-1])
