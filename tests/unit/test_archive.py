import math
import shutil
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from twisted.logger import Logger

from sisock import ArchiveNode
from sisock.archive.pyramids import MANY, decimate_windows
from sisock.errors import NodeContractError, NodeFailed
from sisock.store.background import WorkLog
from sisock.testing import wait_until
from sisock.wire import grid
from sisock.wire.grid import Wanted
from sisock.wire.protocol import NEVER_FINAL


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
    return reply.timelines["line"].finalized_until if reply.timelines else None


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
        (([1, 2], [1]), "1 value for 2 times"),
        (([2, 1], [1, 2]), "goes back"),
        (([1], ["a", 1]), "values"),
    ],
)
def test_a_wrong_answer_of_read_names_the_field(answer, message):
    node = Files(a=[1])
    node.read = lambda field, start, end: answer
    with pytest.raises(NodeContractError, match=message):
        node.get_data(["a"], 1, 100)


def test_unknown_fields_have_no_samples():
    reply = Files(a=np.array([1.0])).get_data(["a", "b"], 1, 100)
    assert {name: len(values) for name, values in reply.data.items()} == {"a": 1, "b": 0}


T = np.arange(1000.0, 200_000.0)


class Growing(ArchiveNode):
    """Holds what a test puts into it, and notes what is read."""

    name = "growing"

    def __init__(self, t, values, **entry):
        self.t, self.stored, self.windows = np.asarray(t), values, []
        self.entry, self.print = {"timeline": "line", **entry}, None

    def list_fields(self, start, end):
        return {"a": self.entry}

    def fingerprint(self, field):
        return self.print

    def read(self, field, start, end):
        low, high = np.searchsorted(self.t, [start, end])
        self.windows.append((start, end, high - low))
        return self.t[low:high], self.stored[low:high]

    def few(self, start=1, end=1e9, max_points=100):
        return self.get_decimated(["a", "unknown"], start, end, max_points=max_points)["a"]

    def reads(self, **arguments):
        """How many samples each window has that is read for an answer."""
        self.windows.clear()
        self.few(**arguments)
        return [count for *_, count in self.windows]

    def wait_until_built(self, **arguments):
        count = len(self.t[self.t == self.t[-1]])
        wait_until(lambda: self.reads(**arguments) == [count], 40, "the pyramid")
        return self


def begun(*arguments, **keywords):
    node = Growing(*arguments, **keywords)
    node.begin(None)
    return node


def check_few(node, start=1, end=1e9, max_points=100):
    found = node.few(start, end, max_points)
    inside = (node.t >= start) & (node.t < end)
    t, values = node.t[inside], np.asarray(node.stored)[inside]
    kept, w = grid.decimate_by(t, values, None, max_points)
    assert found.bucket == w
    np.testing.assert_array_equal(found.t, t[kept])
    np.testing.assert_array_equal(found.values, values[kept])


def test_few_points_are_answered_from_what_was_prepared():
    node = begun(T, np.sin(T / 99) + (T == 54321) * 7).wait_until_built()
    check_few(node)
    check_few(node, 5000, 123_456)
    found = node.few()
    assert {T[0], 54321.0, T[-1]} <= set(found.t.tolist())
    assert len(found.t) == len(found.values) <= 100
    # Only samples later than the last one that was stored are read again.
    assert node.reads() == [1]
    assert node.reads(end=150_000) == []


@pytest.mark.parametrize("is_begun", [False, True])
def test_buckets_are_those_of_all_samples(is_begun):
    node = Growing(T, np.sin(T / 99))
    if is_begun:
        node.begin(None)
        node.wait_until_built()
    for start, end, w in ((1, 1e9, 4096), (1024, 65_536, 1024), (3000.5, 3001.5, 2**-9)):
        inside = (start <= T) & (end > T)
        kept = grid.decimate(T[inside], node.stored[inside], w)
        found = node.get_decimated(["a"], start, end, bucket=w)["a"]
        np.testing.assert_array_equal(found.t, T[inside][kept])
        np.testing.assert_array_equal(found.values, node.stored[inside][kept])
        assert found.bucket == w


def test_all_up_to_the_last_sample_is_final():
    node = Growing(T, T)
    assert node.few().final_to == math.nextafter(T[-1], math.inf)
    assert node.few(start=500, end=900).final_to == NEVER_FINAL
    node = begun(T, T).wait_until_built()
    assert node.few().final_to == math.nextafter(T[-1], math.inf)
    assert begun([], []).few().final_to == NEVER_FINAL


def test_samples_of_before_1970_and_of_the_future_are_prepared_too():
    node = begun([-5e8, -1.0, 0.0, 5.0, 4e9], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert node.few(end=5e9).values.tolist() == [4.0, 5.0]
    found = node.few(start=-(10**9) * 3.0, end=5e9)
    assert found.values.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_samples_that_were_added_are_in_the_next_answer():
    node = begun(T, T * 2).wait_until_built()
    more = np.arange(T[-1], T[-1] + 20_000)  # the first of them at the time of the last one
    node.t, node.stored = np.append(T, more), np.append(T * 2, more * 0 - 9)
    check_few(node)
    assert node.few().values.min() == -9


def test_after_samples_changed_nothing_old_is_answered():
    node = begun(T, T * 0).wait_until_built()
    node.stored = T * 0 + 5
    node.samples_changed()
    assert set(node.few().values.tolist()) == {5.0}
    node.wait_until_built()
    assert set(node.few().values.tolist()) == {5.0}


@pytest.mark.parametrize("values", [["x", "y", "x", "z", "x"], [1, None, 2, 3, 4]])
def test_strings_and_missing_integers_are_read_for_each_answer(values):
    node = begun(np.arange(5.0) + 1, values)
    assert list(node.few().values) == values
    wait_until(lambda: sum(node.reads()) == 5, 40, "an answer beside which nothing is read")


def test_booleans_are_prepared_too():
    node = begun(T, T % 1000 == 0, type="bool").wait_until_built()
    check_few(node, max_points=5000)


def test_many_strings_are_decimated_window_by_window():
    node = Growing(T, np.array(["on", "off", "off"])[(T // 5000 % 3).astype(int)], type="string")
    found = node.few(max_points=300)
    kept, w = grid.decimate_by(T, node.stored.astype(object), None, 300)
    assert (found.t.tolist(), found.bucket) == (T[kept].tolist(), w)
    assert found.values.tolist() == node.stored[kept].tolist()


def test_integers_that_become_floats_are_built_as_floats():
    days = np.arange(5) * 1e8 + 1
    node = Growing(days, [1, 2, 3, 4.5, None])
    # A list of what there is in each window, of whichever type.
    node.stored = np.array(node.stored, dtype=object)
    node.begin(None)
    wait_until(lambda: node.reads() == [1], 40, "the pyramid")
    np.testing.assert_array_equal(node.few().values, [1.0, 2.0, 3.0, 4.5, math.nan])


def test_the_first_and_the_last_time_are_told_once_all_has_been_read():
    node = begun(T, T).wait_until_built()
    (line,) = node.get_fields(1, 0)[1].values()
    assert (line["first"], line["last"]) == (T[0], T[-1])


def test_of_no_samples_neither_first_nor_last_are_told():
    node = begun(T[:0], T[:0])
    wait_until(lambda: node.reads() == [0], 40, "the pyramid")
    (line,) = node.get_fields(1, 0)[1].values()
    assert line.keys() == {"interval", "field"}


def test_windows_are_no_longer_than_the_samples_are_dense():
    t = 1e9 + np.arange(3_000_000) * 0.5
    node = begun(t, t * 0, interval=0.5)
    wait_until(lambda: node.reads(start=1e9, end=2e9) == [1], 30, "the pyramid")
    node = Growing(t, t * 0, interval=0.5)
    counts = node.reads(start=1e9, end=2e9)
    assert sum(counts) == len(t)
    assert max(counts) <= MANY + 1
    assert len(counts) < 5000


class Runs(ArchiveNode):
    """Has samples 1 ms apart in some runs of seconds, and counts the windows that are read."""

    name = "runs"

    def __init__(self, *runs, **entry):
        self.runs, self.entry, self.counts = runs, entry, []

    def list_fields(self, start, end):
        return {"a": self.entry}

    def read(self, field, start, end):
        parts = [
            np.arange(math.ceil(max(start, low) * 1000), math.ceil(min(end, high) * 1000)) / 1000
            for low, high in self.runs
            if low < end and start < high
        ]
        t = np.concatenate([*parts, np.empty(0)])
        self.counts.append(len(t))
        return t, t


@pytest.mark.parametrize("interval", [1e-3, None])
def test_no_window_behind_a_gap_has_more_than_a_few_million_samples(interval):
    first, day = 1_500_000_000, 86_400
    node = Runs((first, first + 60), (first + 30 * day, first + 30 * day + 9000), interval=interval)
    found = node.get_decimated(["a"], first, first + 30 * day + 9000, max_points=1000)["a"]
    assert (found.t[0], found.values[-1]) == (first, first + 30 * day + 8999.999)
    assert sum(node.counts) >= 9_060_000
    assert max(node.counts) <= 8 * MANY
    assert len(node.counts) < 2000


@pytest.mark.parametrize(("interval", "limit"), [(1e-3, 8 * MANY), (None, 20 * MANY)])
def test_samples_are_found_soon_if_nobody_says_where_they_begin(interval, limit):
    first = 1_700_000_000
    # Not at the same time of each day.
    runs = [(first + 90_000 * i, first + 90_000 * i + 1000) for i in range(10)]
    node = Runs(*runs, (runs[-1][1] + 5000, runs[-1][1] + 20_000), interval=interval)
    found = node.get_decimated(["a"], 1, runs[-1][1] + 20_000, max_points=1000)["a"]
    assert found.t[0] == first
    assert max(node.counts) <= limit
    assert len(node.counts) < 6000


def test_building_begins_where_the_samples_do():
    node = begun(1.5e9 + T, T, first=1.5e9 + T[0])
    wait_until(lambda: sum(count for *_, count in node.windows) >= len(T), 40, "all of it")
    assert node.windows[0][0] == 1.5e9 + T[0]


def test_before_all_is_prepared_little_memory_is_taken():
    count = 10_000_000

    class Large(ArchiveNode):
        name = "large"
        pyramid = False

        def list_fields(self, start, end):
            return {"a": {"interval": 1.0, "first": 0.0}}

        def read(self, field, start, end):
            t = np.arange(np.ceil(start), min(np.ceil(end), count))
            return t, t % 977

    node = Large()
    tracemalloc.start()
    try:
        found = node.get_decimated(["a"], 1, 1e9, max_points=1000)["a"]
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()
    assert (found.t[0], found.t[-1], found.bucket) == (1, count - 1, 32768)


@pytest.mark.parametrize(("bucket", "max_points"), [(4096.0, None), (None, 1000)])
def test_a_large_part_is_not_copied_to_decimate_it(bucket, max_points):
    t = np.arange(2e6)
    values = t % 977
    parts = [(t[:10], values[:10]), (t[10:], values[10:])]
    wanted = Wanted(0, 2e6, bucket, max_points)
    tracemalloc.start()
    try:
        found = decimate_windows(iter(parts), wanted, WorkLog(Logger(), "decimating"))
        assert tracemalloc.get_traced_memory()[1] < t.nbytes
    finally:
        tracemalloc.stop()
    which, w = grid.decimate_by(t, values, bucket, max_points)
    assert (found.bucket, found.t.tolist()) == (w, t[which].tolist())


class Crowded(Growing):
    """Notes how many read at once; the first one waits for a second."""

    pyramid = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.inside, self.most, self.second = [], 0, threading.Event()

    def read(self, field, start, end):
        self.inside.append(start)
        self.most = max(self.most, len(self.inside))
        if self.most > 1:
            self.second.set()
        self.second.wait(0.2 if not self.windows else 0)
        found = super().read(field, start, end)
        self.inside.pop()
        return found


def test_requests_read_in_turn_what_is_not_prepared():
    node = Crowded(T, T)
    node.begin(None)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: node.few(), range(3)))
    assert node.most == 1
    assert {len(each.t) for each in found} == {len(found[0].t)}


class Halting(Growing):
    """Stops to be prepared in the middle, until it may go on."""

    answer_within, pause = 0.0, 0.0

    def __init__(self, *arguments, **entry):
        super().__init__(*arguments, **entry)
        self.has_stopped, self.may_go_on = threading.Event(), threading.Event()

    def read(self, field, start, end):
        if "jobs" in threading.current_thread().name and start > self.t[len(self.t) // 2]:
            self.has_stopped.set()
            self.may_go_on.wait(60)
        self.may_go_on.wait(self.pause)
        return super().read(field, start, end)


def test_who_waited_long_is_told_to_ask_again():
    node = Halting(T, T, interval=1.0, first=T[0], last=T[-1])
    node.begin(None)
    assert node.has_stopped.wait(20)
    with pytest.raises(NodeFailed, match="'a' is still being prepared: ask again later"):
        node.few()
    node.may_go_on.set()
    node.answer_within = 20.0
    check_few(node.wait_until_built())


def test_who_would_wait_long_is_told_so_after_a_tenth_of_the_time():
    node = Halting(T, T, interval=1.0, first=T[0], last=T[-1])
    node.begin(None)
    assert node.has_stopped.wait(20)
    node.answer_within, node.pause = 1.0, 0.11
    node.windows.clear()
    with pytest.raises(NodeFailed, match="ask again later"):
        node.few()
    assert len(node.windows) == 1
    node.may_go_on.set()


@pytest.mark.parametrize(("then", "again"), [("x", []), ("y", [0]), (None, [0])])
def test_what_was_prepared_is_kept_while_the_fingerprint_is(cache, then, again):
    node = begun(T, T * 2)
    node.print = "x"
    node.wait_until_built()
    # The running node has its own folder, as a program that has ended would not.
    shutil.copytree(cache / "growing", cache / "next")
    more = np.append(T, T[-1] + 1)
    later = Growing(more, more * 2)
    later.name, later.print = "next", then
    later.begin(None)
    later.wait_until_built()
    check_few(later)


def test_a_class_that_wants_no_pyramid_has_none(cache):
    node = Growing(T, T)
    node.pyramid = False
    node.begin(None)
    check_few(node)
    assert not cache.exists()


def test_without_a_cache_folder_a_temporary_one_serves(cache):
    cache.write_text("a file where the folder should be")
    node = begun(T, T).wait_until_built()
    check_few(node)


def test_a_field_that_comes_later_is_built_when_it_is_asked_for():
    node = begun(T, T).wait_until_built()
    node.list_fields = lambda start, end: {"b": {"timeline": "line"}}

    def is_built():
        node.windows.clear()
        node.get_decimated(["b"], 1, 1e9, max_points=100)
        return [count for *_, count in node.windows] == [1]

    wait_until(is_built, 40, "the pyramid of the new field")


class Turning(Growing):
    """Its integers turn into floats while a panel is being answered, which waits for that."""

    def __init__(self):
        super().__init__(T, T.astype("<i8"))
        self.panel = threading.Thread(target=self.answer_panel)
        self.panel_reads, self.is_read_anew = threading.Event(), threading.Event()
        self.panel_goes_on, self.all_goes_on = threading.Event(), threading.Event()

    def answer_panel(self):
        self.found = self.few(end=1e9)

    def read(self, field, start, end):
        if threading.current_thread() is self.panel:
            self.panel_reads.set()
            self.panel_goes_on.wait(30)
        elif self.panel_reads.is_set():
            self.is_read_anew.set()
            self.all_goes_on.wait(30)
        return super().read(field, start, end)


def test_a_panel_loses_nothing_while_integers_turn_into_floats():
    node = Turning()
    node.begin(None)
    node.wait_until_built()
    node.panel.start()
    assert node.panel_reads.wait(30) or not node.panel.is_alive()
    node.stored = T + 0.5
    node.samples_changed()
    node.is_read_anew.wait(10)
    node.panel_goes_on.set()
    node.panel.join(30)
    node.all_goes_on.set()
    # All of the old samples or of the new ones.
    assert (node.found.t[0], node.found.t[-1]) == (T[0], T[-1])
