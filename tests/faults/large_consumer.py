"""A consumer of everything that the node `mapped` has; can stop in the middle of it.

With the word ``stop`` it stops as by SIGSTOP, at once when some has come.
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
    data = client.get("mapped", "x", start=1, end=1_500_064_001, on_progress=tell)
    print("received", len(data["x"]), flush=True)
