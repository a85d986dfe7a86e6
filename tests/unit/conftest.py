import os

import pytest

from sisock.store.sample_store import SampleStore
from tests.unit.stores import PATHS, fill, series


@pytest.fixture(scope="module")
def fast_disk():
    """Without waiting for the disk: what is durable is tested with a `Disk` that knows."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def opened(tmp_path, fast_disk):
    """Open stores, by name of their folder, and close them at the end."""
    stores = []

    def open_store(name="store"):
        stores.append(SampleStore.open(tmp_path / name))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory, fast_disk):
    """A folder with every kind of file, committed in two steps, and the samples in it."""
    folder = tmp_path_factory.mktemp("sound")
    t, values = series(40_000)
    store = SampleStore.open(folder)
    fill(store, t[:17_000], values[:17_000])
    fill(store, t[17_000:], values[17_000:], {"a": "b"})
    store.close()
    assert {path.name for path in folder.iterdir()} == {"lock", *PATHS}
    return folder, t, values
