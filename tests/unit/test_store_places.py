"""Where a store is: in its folder, in a temporary one, in memory."""

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sisock.store.background import until_stored
from sisock.store.catalogue import Store
from sisock.store.files import CannotStore
from tests.unit.stores import EVER, fill, open_store, same, series

TOP = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture
def warnings():
    return []


def store_samples(store, t, values, field="a"):
    """Store samples wherever that is possible."""

    def steps():
        pyramid = store.open(field)
        fill(pyramid, t[len(pyramid.base) :], values[len(pyramid.base) :])
        yield

    for _ in until_stored(store, steps):
        pass
    assert same(store.open(field).view().samples(*EVER), (t, values))


@pytest.fixture
def small_disk():
    """Files of at most 100,000 bytes, as on a disk that is full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_on_a_full_disk_memory_serves(cache, warnings, small_disk):
    store = Store("store", warnings.append)
    t, values = series(60_000)
    store_samples(store, t[:5000], values[:5000])
    view = store.open("a").view()
    small_disk()
    store_samples(store, t, values)
    store_samples(store, t[:100], values[:100], "b")
    assert same(view.samples(*EVER), (t[:5000], values[:5000]))
    (warning,) = warnings
    assert "a temporary folder or memory replaces it" in warning and "set SISOCK_CACHE" in warning


def test_what_cannot_be_written_leaves_what_there_was(small_disk):
    store = open_store()
    t, values = series(20_000)
    pyramid = fill(store.open("a"), t[:5000], values[:5000])
    small_disk()
    with pytest.raises(CannotStore):
        pyramid.base.append(t[5000:], values[5000:])
    assert same(pyramid.view().samples(*EVER), (t[:5000], values[:5000]))


@pytest.mark.parametrize("path", ["/proc/nowhere", "/dev/null/x", "file"])
def test_where_there_can_be_no_folder_a_temporary_one_serves(tmp_path, monkeypatch, warnings, path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SISOCK_CACHE", str(tmp_path / path))
    store = Store("store", warnings.append)
    for field in "ab":
        store_samples(store, *series(20_000), field)
    assert len(warnings) == 1
    (folder,) = tmp_path.glob("sisock-cache-*")
    store.close()
    assert not folder.exists()


def test_without_a_temporary_folder_memory_serves(monkeypatch, warnings):
    monkeypatch.setenv("SISOCK_CACHE", "/proc/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    store = Store("store", warnings.append)
    store_samples(store, *series(50_000))
    assert len(warnings) == 1


def test_a_folder_is_for_one_process_at_a_time(warnings, cache):
    store = open_store()
    samples = series(100)
    fill(store.open("a"), *samples)
    script = "from tests.unit.stores import open_store\nprint(len(open_store().open('a').base))"
    command = [sys.executable, "-c", script]
    refused = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60)
    assert "is in use by another process" in refused.stderr
    other = Store("store", warnings.append)
    store_samples(other, *samples)
    assert "is in use by another process" in warnings[0]
    store.close()
    found = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60)
    assert found.stdout == "100\n"


def test_a_folder_that_is_removed_is_made_again(cache):
    store = open_store()
    t, values = series(30_000)
    view = fill(store.open("a"), t, values).view()
    arrays = view.samples(*EVER)
    shutil.rmtree(cache)
    store_samples(store, t, values, "b")
    assert same(arrays, (t, values))
    assert list(cache.glob("store/*.t"))


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_catalogue_that_is_none_is_made_anew(cache, content):
    (cache / "store").mkdir(parents=True)
    (cache / "store" / "catalogue.sqlite").write_bytes(content)
    store_samples(open_store(), *series(100))


def test_a_catalogue_whose_damage_is_not_text_is_made_anew(cache):
    store = open_store()
    store_samples(store, *series(100))
    store.close()
    path = cache / "store" / "catalogue.sqlite"
    path.write_bytes(path.read_bytes().replace(b"TABLE series", b"\x9a\xbaBLE series"))
    store_samples(open_store(), *series(100))


@pytest.mark.parametrize("position", [18, 47])  # that it is read-only; the version of its format
def test_a_catalogue_whose_header_is_damaged_is_made_anew(cache, position):
    store = open_store()
    store_samples(store, *series(100))
    store.close()
    path = cache / "store" / "catalogue.sqlite"
    content = bytearray(path.read_bytes())
    content[position] = 99
    path.write_bytes(content)
    store_samples(open_store(), *series(100))
