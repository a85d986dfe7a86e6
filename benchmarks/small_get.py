"""A client that gets a few samples twice, and prints what the second time takes, as JSON."""

from __future__ import annotations

import sisock
from benchmarks.nodes import START
from benchmarks.traced import Trace

if __name__ == "__main__":
    # Before the client's thread is started.
    trace = Trace()
    with sisock.Client() as client:
        client.get("days", "f0", START, START + 10)
        trace.clear()
        series = client.get("days", "f0", START + 10, START + 30)["f0"]
        assert len(series.t) == 20
        print(trace.as_json())
