"""A client that makes small calls while others fetch much: ``python -m benchmarks.small_calls``.

Prints the seconds of each as one line of JSON.
"""

from __future__ import annotations

import json
import time

import sisock
from benchmarks.stack import seconds_of

CALLS = 600
PAUSE = 0.01

if __name__ == "__main__":
    with sisock.Client() as client:
        seconds = []
        for _ in range(CALLS):
            seconds.append(seconds_of(client.nodes))
            time.sleep(PAUSE)
    print(json.dumps(seconds))
