"""Many nodes or watchers in one process, each on a connection of its own.

``python -m tests.faults.crowd_members nodes FIRST COUNT`` and ``… watchers COUNT NAME``: watchers
print how many of them have heard of the node NAME.
"""

import sys

from twisted.internet import defer, reactor

from sisock.connection.reconnect import RouterConnection
from sisock.connection.settings import load_settings
from sisock.node.service import NodeService
from sisock.wire.protocol import USER_CONSUMER, USER_SERVER, uri
from tests.faults.machine_nodes import Archive


def start_nodes(first, count):
    """Start nodes named by their numbers."""
    settings = load_settings(USER_SERVER)
    for number in range(int(first), int(first) + int(count)):
        service = NodeService(Archive(f"node{number}"))
        connection = RouterConnection(settings, service.joined, service.left)
        defer.ensureDeferred(connection.run()).addErrback(lambda failure: print(failure.value))


def start_watchers(count, name):
    """Start watchers: they subscribe, and leave the list alone, as one process reads for many."""
    watching, heard = set(), set()
    settings = load_settings(USER_CONSUMER)

    def start_watcher(number):
        def hear(entry):
            if entry["name"] == name and number not in heard:
                heard.add(number)
                print(f"heard {len(heard)}", flush=True)

        async def joined(session):
            await session.subscribe(hear, uri("consumer.data_node_added"))
            watching.add(number)
            if len(watching) == int(count):
                print("all watch", flush=True)

        connection = RouterConnection(settings, joined)
        defer.ensureDeferred(connection.run()).addErrback(lambda failure: print(failure.value))

    for number in range(int(count)):
        # Apart, as watchers are: a thousand handshakes at once would be a test of TLS alone.
        reactor.callLater(number / 25, start_watcher, number)


KINDS = {"nodes": start_nodes, "watchers": start_watchers}


def begin():
    """Start what the command line says; a failure ends the process."""
    started = defer.maybeDeferred(KINDS[sys.argv[1]], *sys.argv[2:])
    started.addErrback(lambda failure: (failure.printTraceback(sys.stderr), reactor.stop()))


if __name__ == "__main__":
    reactor.callWhenRunning(begin)
    reactor.run()
