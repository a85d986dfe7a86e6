"""The benchmarks fit the library as it is."""

import subprocess
import sys
from pathlib import Path


def test_the_benchmarks_can_be_started():
    root = Path(__file__).parents[2]
    started = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=root, capture_output=True, text=True
    )
    assert started.returncode == 0, started.stderr
    assert "--peers" in started.stdout
