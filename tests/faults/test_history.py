"""A node that is killed while it writes its history loses nothing that it had taken."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from sisock.history.disk import History
from tests.unit.stores import EVER, keep, small_disk

KILLS = int(os.environ.get("SISOCK_TEST_KILLS", "15"))
TIMEOUT = 100 + 5 * KILLS
SEED = os.environ.get("SISOCK_TEST_SEED", "1")


@pytest.mark.timeout(TIMEOUT + 20)
def test_kills_in_the_middle_of_writing_lose_no_sample(tmp_path):
    program = [sys.executable, "-m", "tests.faults.history_writer", tmp_path, str(KILLS), SEED]
    done = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == []
    assert found["samples"] > 1000 * KILLS
    assert found["files"]
    written = f"{found['samples']} samples were written, and {found['cut']} records cut"
    print(f"{KILLS} kills while {written}: no sample lost that append had returned for")


def test_what_memory_gives_up_while_the_disk_is_full_comes_back(tmp_path):
    reported = []
    batch, batches = 525_000, 20
    history = History(tmp_path, None, None, reported.append)
    # Journals fit, files do not, and at last not all is in memory any more.
    with small_disk(9_500_000):
        for turn in range(batches):
            t = np.arange(float(batch)) + turn * batch
            keep(history, "line", t, {"n": t})
            if not turn:
                history.tidy()
    assert len(history.lines["line"].samples([], *EVER)[0]) < batch * batches
    assert any("memory is full" in text for text in reported)
    history.tidy()
    history.close()
    history = History(tmp_path, None, None, reported.append)
    t, values = history.lines["line"].samples(["n"], -math.inf, math.inf)
    assert np.array_equal(t, np.arange(float(batch * batches)))
    assert np.array_equal(t, values["n"])
    history.close()
