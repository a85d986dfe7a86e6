"""The node of `.g3` archives with much to serve, in a process of its own."""

import numpy as np
import pytest
import so3g
from spt3g import core

from sisock.errors import SisockError
from sisock.testing import wait_until
from sisock.wire import grid
from tests.sources.processes import peak

COUNT, FILES, ROWS = 10_000_000, 5, 20_000
BEGAN = 1_700_000_000
FIELDS = ("a", "b", "c", "d")
MAX_BYTES = 300_000_000


def write_archive(folder):
    """Write ten million samples of four fields, 400 MB; returns times and values."""
    ticks, random = (BEGAN * 10 + np.arange(COUNT)) * 10_000_000, np.random.default_rng(3)
    values = {name: random.normal(size=COUNT).cumsum() for name in FIELDS}
    helper = so3g.hk.HKSessionHelper(hkagg_version=2, start_time=BEGAN)
    number = helper.add_provider("observatory.fast.feeds.bolo")
    for begin in range(0, COUNT, COUNT // FILES):
        writer = core.G3Writer(str(folder / f"{BEGAN + begin}.g3"))
        for frame in (helper.session_frame(), helper.status_frame()):
            writer(frame)
        for row in range(begin, begin + COUNT // FILES, ROWS):
            frame, block = helper.data_frame(number), core.G3TimesampleMap()
            block.times = core.G3VectorTime(ticks[row : row + ROWS])
            for name in FIELDS:
                block[name] = core.G3VectorDouble(values[name][row : row + ROWS])
            frame["blocks"].append(block)
            frame["block_names"].append("block")
            writer(frame)
        del writer
    return ticks / 1e8, values


@pytest.mark.timeout(900)
def test_ten_million_samples_are_decimated_exactly_in_little_memory(serve, client, tmp_path):
    t, values = write_archive(tmp_path)
    process = serve("g3", "large_g3", "--path", tmp_path)
    names = [f"fast.bolo.{name}" for name in FIELDS]
    wait_until(lambda: set(names) <= set(client.fields("large_g3")), 300, "the fields", every=0.5)

    def seconds():
        times = process.cpu_times()
        return times.user + times.system

    def answer():
        began = seconds()
        try:
            found = client.get("large_g3", names, start=1, max_points=1000)
        except SisockError as error:
            assert "does not answer" in str(error) or "being prepared" in str(error)
            return None
        # Until all is prepared, an answer is made of all samples, and takes seconds.
        return found if seconds() - began < 0.5 else None

    found = wait_until(answer, 300, "an answer out of what is prepared", every=1.0)
    for name in FIELDS:
        which, _ = grid.decimate_by(t, values[name], None, 1000)
        assert found[f"fast.bolo.{name}"].t.tolist() == t[which].tolist()
        assert found[f"fast.bolo.{name}"].values.tolist() == values[name][which].tolist()
    whole = client.get("large_g3", names[0], start=BEGAN, end=BEGAN + 200_000)[names[0]]
    assert whole.values.tolist() == values["a"][:2_000_000].tolist()
    assert peak(process) < MAX_BYTES
