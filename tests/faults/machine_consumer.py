"""A consumer that prints what it hears of nodes, and vanishes in the middle of a reply if told to.

``vanish NODE`` on its standard input asks that node for all it has; with the first window the
process kills itself.
"""

import json
import os
import signal
import sys
import threading
import time

import sisock
from sisock.errors import SisockError


def until_it_works(what):
    """Try again while router or hub is away."""
    while True:
        try:
            return what()
        except SisockError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            time.sleep(0.2)


def die(progress):
    """End at once, as a computer does that loses its power."""
    os.kill(os.getpid(), signal.SIGKILL)


def tell(events):
    """Print each event."""
    for event in events:
        print(json.dumps({"name": event.node.name, "present": event.present}), flush=True)


def watch():
    """Begin to watch; the events say what has changed since this list."""
    while True:
        before = client.nodes()
        stream = client.watch_nodes()
        if client.nodes() == before:
            return stream, [node.name for node in before]
        stream.close()


client = until_it_works(lambda: sisock.Client(timeout=3))
stream, present = until_it_works(watch)
print(json.dumps({"list": present}), flush=True)
threading.Thread(target=tell, args=(stream,), daemon=True).start()
for line in sys.stdin:
    try:
        client.get(line.split()[1], "x", start=1, end=0, on_progress=die)
    except SisockError as error:
        print(json.dumps({"error": str(error)}), flush=True)
