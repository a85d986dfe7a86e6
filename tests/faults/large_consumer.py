"""A consumer of everything that the node `mapped` has; can stop in the middle of it.

The argument is how many samples that are, at 1 kHz. With the word ``stop`` before it, it stops as
by SIGSTOP, at once when some has come.
"""

import os
import signal
import sys

import sisock

said = []


def tell(progress):
    """Print a line once some of it has come, and stop."""
    if progress.fraction > 0.05 and not said:
        said.append(True)
        print("in the middle", flush=True)
        if "stop" in sys.argv:
            os.kill(os.getpid(), signal.SIGSTOP)


with sisock.Client() as client:
    end = 1_500_000_001 + int(sys.argv[-1]) // 1000
    data = client.get("mapped", "x", start=1, end=end, on_progress=tell)
    print("received", len(data["x"]), flush=True)
