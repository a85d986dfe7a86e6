"""A consumer that counts the numbered samples of a node, and prints twice a second what it has.

``python -m tests.faults.delivery_consumer NODE [EVERY SECONDS]``: with the last two it pauses for
so long after so many samples.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import sisock
from tests.faults.tally import Tally

node, every, pause = sys.argv[1], *map(float, sys.argv[2:] or (1e18, 0))
tally = Tally()


def report() -> None:
    """Print a line of JSON."""
    while True:
        print(json.dumps(tally.lines), flush=True)
        time.sleep(0.5)


with sisock.Client() as client, client.watch(node) as stream:
    print("watching", flush=True)
    threading.Thread(target=report, daemon=True).start()
    for number, sample in enumerate(stream, 1):
        tally.take(sample)
        if number % every == 0:
            time.sleep(pause)
