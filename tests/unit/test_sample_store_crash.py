import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sisock.store.sample_store import SampleStore
from tests.unit.stores import assert_holds, fill, series

TOP = Path(__file__).parent.parent.parent


class PowerCut(BaseException):
    """Nothing of the process runs any more."""


class Disk:
    """Lets the disk fail at one of its operations, and knows what of a folder is durable by then.

    A file's bytes are durable after its fsync, its name after that of its folder.
    """

    def __init__(self, folder, fail_at, error):
        self.folder = folder
        self.operations = 0
        self.sizes = {path.stat().st_ino: path.stat().st_size for path in folder.iterdir()}
        self._fail_at = fail_at
        self._error = error
        self._remember_names()

    def patch(self, patches):
        self._pwrite, self._replace, self._unlink = os.pwrite, os.replace, os.unlink
        patches.setattr(os, "pwrite", self.pwrite)
        patches.setattr(os, "fsync", self.fsync)
        patches.setattr(os, "replace", self.replace)
        patches.setattr(os, "unlink", self.unlink)

    def pwrite(self, descriptor, data, offset):
        if self._fails():
            self._pwrite(descriptor, data[: len(data) // 2], offset)
            raise self._error
        # The system may write less than it is given.
        return self._pwrite(descriptor, data[:200_000], offset)

    def fsync(self, descriptor):
        if self._fails():
            raise self._error
        found = os.fstat(descriptor)
        self.sizes[found.st_ino] = found.st_size
        if found.st_ino == self.folder.stat().st_ino:
            self._remember_names()

    def replace(self, source, target):
        if self._fails():
            raise self._error
        self.sizes.pop(os.stat(target).st_ino, None)
        self._replace(source, target)

    def unlink(self, path):
        if self._fails():
            raise self._error
        # A file made afterwards may have the same name, and even the same number.
        self.sizes.pop(os.stat(path).st_ino, None)
        self._names.discard(path.name)
        self._unlink(path)

    def lose_what_is_not_durable(self):
        for path in [*self.folder.glob("*.cache"), self.folder / "manifest.json"]:
            if path.name in self._names:
                size = self.sizes.get(path.stat().st_ino, 0)
                os.truncate(path, min(size, path.stat().st_size))
            else:
                path.unlink()

    def lose_the_last_rename(self):
        (self.folder / "manifest.json").write_bytes(self._manifest)

    def _remember_names(self):
        self._names = set(os.listdir(self.folder))
        self._manifest = (self.folder / "manifest.json").read_bytes()

    def _fails(self):
        self.operations += 1
        return self.operations == self._fail_at


def run_on_failing_disk(monkeypatch, sound, folder, change, fail_at, error):
    """Change a copy of the sound store on a disk that fails; say what came of it."""
    shutil.copytree(sound[0], folder)
    store = SampleStore.open(folder)
    disk = Disk(folder, fail_at, error)
    with monkeypatch.context() as patches:
        disk.patch(patches)
        try:
            change(store)
            failed = False
        except (OSError, PowerCut):
            failed = True
    return store, disk, failed


def second_part(sound):
    """Samples that continue the sound store, enough for each of its files to grow."""
    _, t, values = sound
    more_t, more = series(50_000, seed=4)
    return np.concatenate([t, more_t + t[-1] - more_t[0]]), np.concatenate([values, more])


def test_a_failing_disk_leaves_what_was_committed_usable(sound, tmp_path, monkeypatch):
    t, values = second_part(sound)
    count = len(sound[1])

    def extend(store):
        for first in (count, count + 30_000):
            store.append(t[first : first + 30_000], values[first : first + 30_000])
        store.commit({"all": True})

    fail_at = 1
    while True:
        folder = tmp_path / f"{fail_at}"
        run = (monkeypatch, sound, folder, extend, fail_at, OSError(28, "no space"))
        store, _, failed = run_on_failing_disk(*run)
        if not failed:
            break
        is_new = store.identity == {"all": True}
        assert_holds(store, t[: None if is_new else count], values[: None if is_new else count])
        if not is_new:
            assert os.stat(folder / "times.cache").st_size == 8 * count
            fill(store, t[count:], values[count:])
        assert_holds(store, t, values)
        store.close()
        shutil.rmtree(folder)
        fail_at += 1
    assert_holds(store, t, values)
    store.close()
    assert fail_at > 20


@pytest.mark.parametrize("rename_lost", [False, True])
@pytest.mark.parametrize("is_cleared", [False, True])
def test_a_power_cut_leaves_the_old_or_the_new(
    sound, tmp_path, monkeypatch, is_cleared, rename_lost
):
    t, values = second_part(sound)
    count = len(sound[1])

    def change(store):
        if is_cleared:
            store.clear()
            store.append(t, values)
        else:
            store.append(t[count:], values[count:])
        store.commit({"all": True})

    fail_at, failed, seen = 0, True, set()
    while failed:
        fail_at += 1
        folder = tmp_path / f"{fail_at}"
        run = (monkeypatch, sound, folder, change, fail_at, PowerCut())
        store, disk, failed = run_on_failing_disk(*run)
        store.close()
        disk.lose_what_is_not_durable()
        if rename_lost:
            disk.lose_the_last_rename()
        store = SampleStore.open(folder)
        assert not store.was_damaged
        states = {"b": count, True: len(t), None: 0}
        of = store.identity.get("a", store.identity.get("all"))
        seen.add(of)
        if of is not None:
            assert_holds(store, t[: states[of]], values[: states[of]])
        assert len(store) == states[of]
        store.close()
        shutil.rmtree(folder)
    assert of is True
    assert seen == ({"b", None, True} if is_cleared else {"b", True})


def test_a_file_that_cannot_grow_is_an_error_of_the_system(opened, tmp_path):
    store = opened()
    t, values = series(20_000)
    fill(store, t[:5000], values[:5000])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError):
            store.append(t[5000:], values[5000:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_holds(store, t[:5000], values[:5000])
    assert (tmp_path / "store" / "times.cache").stat().st_size == 40_000
    fill(store, t[5000:], values[5000:])
    assert_holds(store, t, values)


ENDLESS = '''
import numpy as np

def samples(start, stop):
    """Samples by their indices, with gaps, some of them long."""
    i = np.arange(start, stop)
    values = (i * 2654435761 % 1000003).astype(float)
    values[(i % 37 == 0) | (i % 5000 > 4500)] = np.nan
    return i // 3 * 0.5, values
'''
WRITER = (
    ENDLESS
    + """
import pathlib, random, sys
from sisock.store.sample_store import SampleStore

store = SampleStore.open(pathlib.Path(sys.argv[1]))
assert not store.was_damaged
print("opened", flush=True)
while True:
    count = len(store)
    if count > 300_000:
        store.clear()
        count = 0
    for _ in range(random.randrange(1, 4)):
        stop = count + random.choice([1, 300, 3000, 40_000])
        store.append(*samples(count, stop))
        count = stop
    store.commit({"count": count})
    print("committed", flush=True)
"""
)


def test_a_process_killed_at_any_moment_leaves_what_it_committed(tmp_path):
    written = {}
    exec(ENDLESS, written)
    counts = set()
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    for _ in range(15):
        with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"opened\n"
            for _ in range(random.randrange(4)):
                assert process.stdout.readline() == b"committed\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        store = SampleStore.open(tmp_path)
        assert not store.was_damaged
        counts.add(len(store))
        assert store.identity.get("count", 0) == len(store)
        if len(store):
            assert_holds(store, *written["samples"](0, len(store)))
        store.close()
    assert len(counts) > 5
