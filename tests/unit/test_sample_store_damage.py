import os
import random
import shutil

import numpy as np
import pytest

from tests.unit.stores import PATHS, assert_holds, fill, series


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def end_size(path):
    """Bytes at the end of a file that its checksum covers."""
    return min(path.stat().st_size, 65_536)


HARM = {
    "cut by one byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut in the middle": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "removed": lambda path: path.unlink(),
    "first byte": lambda path: flip(path, 0),
    "last byte": lambda path: flip(path, -1),
    "near the beginning": lambda path: flip(path, random.randrange(end_size(path))),
    "near the end": lambda path: flip(path, -random.randrange(1, end_size(path))),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", PATHS)
def test_a_damaged_store_is_emptied(sound, opened, tmp_path, name, harm):
    shutil.copytree(sound[0], tmp_path / "store")
    HARM[harm](tmp_path / "store" / name)
    store = opened()
    assert store.was_damaged
    assert (len(store), store.identity) == (0, {})
    assert sorted(os.listdir(tmp_path / "store")) == ["lock", "manifest.json"]
    t, values = series(5000, "<i4")
    fill(store, t, values)
    store.close()
    store = opened()
    assert not store.was_damaged
    assert_holds(store, t, values)


def test_no_flip_in_a_manifest_goes_unnoticed(sound, opened, tmp_path):
    manifest = (sound[0] / "manifest.json").read_bytes()
    for position in range(0, len(manifest), 7):
        shutil.copytree(sound[0], tmp_path / f"{position}")
        flip(tmp_path / f"{position}" / "manifest.json", position)
        assert opened(f"{position}").was_damaged
        shutil.rmtree(tmp_path / f"{position}")


def test_a_manifest_of_something_else_is_damage(opened, tmp_path):
    for number, text in enumerate(["[]", "{}", "1", "null", '{"manifest": 3}', "[" * 99_999]):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "manifest.json").write_text(text)
        assert opened(f"{number}").was_damaged


def test_what_was_written_but_not_committed_is_cut_off(sound, opened, tmp_path):
    folder, t, values = sound
    shutil.copytree(folder, tmp_path / "store")
    sizes = {name: (folder / name).stat().st_size for name in PATHS}
    for name in PATHS[1:]:
        with open(tmp_path / "store" / name, "ab") as file:
            file.write(b"x" * 1001)
    (tmp_path / "store" / "level_17.cache").write_bytes(b"y" * 500)
    (tmp_path / "store" / "manifest.json.new").write_bytes(b"{")
    store = opened()
    assert not store.was_damaged
    assert_holds(store, t, values)
    assert {name: (tmp_path / "store" / name).stat().st_size for name in PATHS} == sizes
    assert not (tmp_path / "store" / "level_17.cache").exists()
    later = t[-1] + t - t[0]
    fill(store, later, values)
    assert_holds(store, np.concatenate([t, later]), np.tile(values, 2))
