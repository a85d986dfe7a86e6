"""What the router's process leaves out of Crossbar."""

import subprocess
import sys

LEFT_OUT = """
import sys
from sisock.router import process

assert not {"aiohttp", "pydantic", "web3.main"} & set(sys.modules)
assert sys.getrecursionlimit() == 1000
"""


def test_what_crossbar_imports_in_vain_is_left_out():
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OUT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
