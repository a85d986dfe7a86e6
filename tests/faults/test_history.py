"""A node that is killed while it writes its history loses nothing that it had taken."""

import json
import os
import subprocess
import sys

KILLS = int(os.environ.get("SISOCK_TEST_KILLS", "15"))
SEED = os.environ.get("SISOCK_TEST_SEED", "1")


def test_kills_in_the_middle_of_writing_lose_no_sample(tmp_path):
    program = [sys.executable, "-m", "tests.faults.history_writer", tmp_path, str(KILLS), SEED]
    done = subprocess.run(program, capture_output=True, text=True, timeout=100 + 3 * KILLS)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == []
    assert found["samples"] > 1000 * KILLS
    assert found["files"]
    print(f"{KILLS} kills while {found['samples']} samples were written: none lost")
