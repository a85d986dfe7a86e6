"""Requests that are answered in the reactor: short answers, long ones, and clients that leave."""

from twisted.internet import address, defer, error
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sisock.bridge.answers import Answer
from sisock.bridge.http import STALLED_AFTER
from sisock.bridge.server import Access, Front
from sisock.testing import Clock

PART = 1 << 20

REQUEST = b"POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


class AtOnce(Clock):
    """A reactor and a thread pool that do everything at once, and a clock."""

    def callInThreadWithCallback(self, on_result, function, *args):
        try:
            result = True, function(*args)
        except Exception:
            result = False, Failure()
        on_result(*result)


class Visit:
    """One connection to a server whose /query is answered by a handler."""

    def __init__(self, handler, *parts):
        self.clock = AtOnce()
        handlers, count = {("POST", "/query"): handler}, (lambda *_: None)
        site = Front(None, handlers, count, Access(), self.clock, self.clock)
        client = address.IPv4Address("TCP", "127.0.0.1", 1)
        self._channel = site.buildProtocol(client)
        self._transport = StringTransport(peerAddress=client)
        self._transport.abortConnection = self._abort
        self._transport.setTcpNoDelay = lambda is_on: None
        self._transport.doWrite = self._send
        self.sent = b""
        self.was_aborted = False
        self._channel.makeConnection(self._transport)
        for part in parts or [REQUEST]:
            self._channel.dataReceived(part)

    def _abort(self):
        self.was_aborted = True
        self.leave()

    def _send(self):
        self.sent = self.written

    def pause(self):
        """Be as if the client read no more."""
        self._transport.producer.pauseProducing()

    def resume(self):
        """Read on."""
        self._transport.producer.resumeProducing()

    def leave(self):
        """Close the connection."""
        self._channel.connectionLost(Failure(error.ConnectionDone()))

    @property
    def written(self):
        return self._transport.value()

    @property
    def is_closed(self):
        return self._transport.disconnecting

    @property
    def head(self):
        return self._transport.value().partition(b"\r\n\r\n")[0].lower().splitlines()

    @property
    def body(self):
        return self._transport.value().partition(b"\r\n\r\n")[2]


def answering(answer):
    async def handle(request):
        return answer

    return handle


def test_a_short_answer_says_how_long_it_is():
    visit = Visit(answering(Answer([b"[1,", b"2]"], 502, {"X-A": "b"})))
    assert visit.head[0] == b"http/1.1 502 bad gateway"
    assert {b"content-length: 5", b"content-type: application/json", b"x-a: b"} < set(visit.head)
    assert visit.body == b"[1,2]"


def test_a_short_answer_is_sent_before_the_reactor_does_anything_else():
    visit = Visit(answering(Answer([b"[]"])))
    assert visit.sent == visit.written != b""


def test_a_long_answer_goes_out_part_by_part():
    visit = Visit(answering(Answer(iter([b"[1,", b"2]"]))))
    assert b"transfer-encoding: chunked" in visit.head
    assert visit.body == b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"


class Slow:
    """A visit to a long answer, whose client takes nothing any more after some parts."""

    def __init__(self, taken=3):
        self.made, self.was_closed = [], False
        self._taken = taken
        begin = defer.Deferred()

        async def handle(request):
            await begin
            return Answer(self._parts())

        self.visit = Visit(handle)
        begin.callback(None)

    def _parts(self):
        try:
            for number in range(10):
                self.made.append(number)
                if number == self._taken:
                    self.visit.pause()
                yield b"x" * PART
        finally:
            self.was_closed = True


def test_no_more_parts_are_made_than_the_client_takes():
    slow = Slow()
    assert slow.made == [0, 1, 2, 3]
    slow.visit.resume()
    assert slow.made == list(range(10))
    assert slow.visit.body.count(b"x") == 10 * PART
    assert slow.visit.body.endswith(b"\r\n0\r\n\r\n")


def test_an_answer_has_ended_when_its_client_has_taken_it():
    slow = Slow(taken=9)
    assert not slow.visit.body.endswith(b"\r\n0\r\n\r\n")
    slow.visit.resume()
    assert slow.visit.body.endswith(b"\r\n0\r\n\r\n")


def test_who_leaves_while_he_takes_nothing_ends_it_quietly():
    slow = Slow()
    slow.visit.leave()
    assert slow.was_closed
    assert slow.made == [0, 1, 2, 3]
    assert not slow.visit.was_aborted


def test_who_takes_nothing_for_long_is_cut_off():
    slow = Slow()
    slow.visit.clock.advance(STALLED_AFTER - 1)
    slow.visit.resume()
    assert slow.made == list(range(10))
    assert not slow.visit.was_aborted
    slow = Slow()
    slow.visit.clock.advance(STALLED_AFTER + 1)
    assert slow.visit.was_aborted
    assert slow.was_closed


def test_who_leaves_ends_what_was_done_for_him():
    waiting = defer.Deferred()
    ended = []

    async def handle(request):
        try:
            await waiting
        except defer.CancelledError:
            ended.append(True)
            raise

    visit = Visit(handle)
    visit.leave()
    assert ended == [True]
    assert not visit.was_aborted


def test_no_more_parts_are_made_for_who_has_left():
    made = []

    def parts():
        for number in range(10):
            made.append(number)
            if number == 3:
                waiting.callback(None)
            yield b"x" * PART

    waiting = defer.Deferred()
    visits = []
    waiting.addCallback(lambda _: visits[0].leave())
    begin = defer.Deferred()

    async def handle(request):
        await begin
        return Answer(parts())

    visits.append(Visit(handle))
    begin.callback(None)
    assert made == [0, 1, 2, 3]


def test_a_part_that_fails_cuts_the_answer_off():
    def parts():
        yield b"[1,"
        raise MemoryError("too much")

    visit = Visit(answering(Answer(parts())))
    assert visit.was_aborted
    # Not the end of a chunked body.
    assert not visit.body.endswith(b"0\r\n\r\n")


def test_parts_that_come_one_after_the_other_end_as_they_end():
    async def parts(error=None):
        try:
            yield b"[1,"
            if error is not None:
                raise error
            yield b"2]"
        finally:
            ended.append(True)

    ended = []
    visit = Visit(answering(Answer(parts())))
    assert visit.body == b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    visit = Visit(answering(Answer(parts(OSError()))))
    assert visit.was_aborted
    assert not visit.body.endswith(b"0\r\n\r\n")
    assert ended == [True, True]
