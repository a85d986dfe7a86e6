"""A node that is killed while it writes its history loses nothing that it had taken."""

import json
import os
import subprocess
import sys

import pytest

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
