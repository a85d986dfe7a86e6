"""How long a server that is told to stop still answers."""

from twisted.internet import defer
from twisted.internet.task import Clock

from sisock.bridge.answers import Answer
from sisock.bridge.http import Request
from sisock.bridge.server import NOTICE_SECONDS, WATCHED_WITHIN, Access, Front

SECONDS = 60.0


class Server:
    """A server without connections, asked directly."""

    def __init__(self):
        async def handle(request):
            return Answer([b"{}"])

        self.clock = Clock()
        handlers = {("GET", path): handle for path in ("/healthz", "/readyz", "/series")}
        self._front = Front(None, handlers, lambda *_: None, Access(), self.clock, self.clock)

    def ask(self, path):
        request = Request("127.0.0.1", "GET", path.encode())
        answers = []
        defer.ensureDeferred(self._front.answer(request)).addCallback(answers.append)
        request.status = answers[0].status
        self._front.ended(request)
        return request.status

    def stop(self, seconds=SECONDS):
        """Tell it to stop; returns the list that its end is added to."""
        ended = []
        defer.ensureDeferred(self._front.drain(seconds)).addCallback(ended.append)
        return ended


def watched(server):
    for _ in range(3):
        server.clock.advance(WATCHED_WITHIN / 3)
        assert server.ask("/readyz") == 200
    return server


def test_a_watched_server_answers_until_its_balancer_could_notice():
    server = watched(Server())
    ended = server.stop()
    assert (server.ask("/readyz"), server.ask("/healthz"), server.ask("/series")) == (503, 200, 200)
    server.clock.advance(NOTICE_SECONDS - 0.1)
    assert server.ask("/series") == 200
    assert not ended
    server.clock.advance(0.2)
    assert (server.ask("/readyz"), server.ask("/healthz"), server.ask("/series")) == (503, 200, 503)
    assert ended


def test_the_notice_leaves_half_of_the_time_for_what_is_under_way():
    server = watched(Server())
    ended = server.stop(seconds=1)
    server.clock.advance(0.4)
    assert server.ask("/series") == 200
    server.clock.advance(0.2)
    assert ended


def test_a_server_that_nobody_watches_waits_for_nobody():
    server = Server()
    assert server.ask("/readyz") == 200
    assert server.stop()
    assert server.ask("/series") == 503
    server = watched(Server())
    server.clock.advance(WATCHED_WITHIN)
    assert server.stop()
