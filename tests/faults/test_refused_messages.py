"""Messages that would end the session of whoever receives them end at the router."""

from decimal import Decimal

import msgpack
import pytest

from sisock.client.client import Client
from sisock.wire.protocol import USER_SERVER, uri
from tests.conftest import wait_for_nodes
from tests.faults.doors import CODECS, Peer, frame
from tests.faults.helpers import SENSORS, answers

INVALID = "org.simonsobservatory.error.invalid_argument"
CALL, ERROR, PUBLISH, PUBLISHED, SUBSCRIBE, EVENT = 48, 8, 16, 17, 32, 36
HELLO, RESULT = 1, 50
HUB, NODE = "consumer.get_data_node", "consumer.sensors.get_data"


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture
def node(router, start, client):
    program = start(router, *SENSORS)
    wait_for_nodes(client, "sensors")
    yield program


def error_of(peer, procedure, *args, **kwargs):
    request = peer.call(procedure, *args, **kwargs)
    answer = peer.receive()
    assert answer[:3] == [ERROR, CALL, request], answer
    return answer[4]


@pytest.mark.parametrize("serializer", CODECS)
def test_a_harmful_call_is_an_error_for_its_caller_alone(router, node, client, serializer):
    harmful = [
        ((), {"fun": 1}),
        ((), {"self": 1}),
        ((), {"f": 1}),
        ((nested(300),), {}),
        ((), {"field": nested(300)}),
    ]
    if serializer != "cbor":
        harmful.append(((nested(450),), {}))
    with Peer(router, serializer) as peer:
        for procedure in (HUB, NODE):
            for args, kwargs in harmful:
                request = peer.call(procedure)
                peer.receive()
                # By hand, as `self` would be the method's own argument.
                peer.send([CALL, request + 1, {}, uri(procedure), list(args), kwargs])
                answer = peer.receive()
                assert answer[:3] == [ERROR, CALL, request + 1], answer
                assert answer[4] == INVALID
                peer.call(HUB)
                assert peer.receive()[0] == 50
    assert answers(client, "sensors", "cpu_percent")
    assert "was lost" not in node.output


@pytest.mark.parametrize("procedure", [HUB, NODE])
@pytest.mark.parametrize("text", ["\ud800", {"\udfff": 1}, {"a": ["b", "c\ud800"]}])
def test_half_a_surrogate_is_an_error_for_its_caller(router, node, procedure, text):
    with Peer(router, "json") as peer:
        assert error_of(peer, procedure, text) == INVALID
        assert error_of(peer, procedure, x=text) == INVALID


OTHERS = [{"session": 1, "authid": "server", "authrole": "server"}]
LONG = 2 << 20
ENDING = {
    "a second HELLO": [HELLO, "sisock", {"roles": {"caller": {}}}],
    "another's name": [CALL, 1, {"forward_for": OTHERS}, uri(HUB)],
    "an encrypted payload": [CALL, 1, {"enc_algo": "x", "enc_serializer": "cbor"}, uri(HUB), b"x"],
    "a long message": [CALL, 1, {}, uri(HUB), ["x" * LONG]],
    "a long topic": [SUBSCRIBE, 1, {}, uri("consumer." + "x" * 2000)],
    "equal hashes": [CALL, 1, {}, uri(HUB), [{n * (2**61 - 1): n for n in range(10)}]],
    "a long decimal": [CALL, 1, {}, uri(HUB), [Decimal("1" * 1000)]],
}


@pytest.mark.parametrize("sent", ENDING.values(), ids=ENDING)
def test_a_message_that_no_program_sends_ends_its_connection(router, sent):
    with Peer(router, "cbor") as peer:
        peer.send(sent)
        with pytest.raises((AssertionError, OSError)):
            peer.receive()
    with Client(router.settings()) as client:
        client.nodes()


def test_arguments_that_cannot_be_sent_to_a_node_are_an_error(router, node):
    before = len(router.log)
    with Peer(router, "msgpack") as peer:
        assert error_of(peer, NODE, msgpack.Timestamp(0, 1)) == INVALID
        peer.call(HUB)
        assert peer.receive()[0] == RESULT
    assert "Traceback" not in router.log[before:]


def test_errors_of_callers_do_not_fill_the_routers_log(router):
    before = len(router.log)
    with Peer(router, "cbor") as peer:
        for _ in range(10):
            assert error_of(peer, HUB, "too many arguments") == INVALID
    assert "too many" not in router.log[before:]


def test_a_node_may_send_long_messages(router):
    with Peer(router, "cbor", USER_SERVER) as peer:
        peer.call(HUB, "x" * LONG)
        assert peer.receive()[:2] == [ERROR, CALL]


def test_a_number_of_a_running_call_is_not_used_again(router, node):
    before = len(router.log)
    with Peer(router, "cbor") as peer:
        peer.send(*[[CALL, 7, {}, uri(NODE), [["cpu_percent"], -3600, 0]]] * 3)
        with pytest.raises(AssertionError, match="the call 7 is still running"):
            while peer.receive()[0] == RESULT:
                pass
    # Crossbar would keep the session for ever.
    with Client(router.settings()) as client:
        assert answers(client, "sensors", "cpu_percent")
    log = router.log[before:]
    assert "Failed to detach" not in log and "INTERNAL ERROR" not in log


@pytest.mark.parametrize("serializer", CODECS)
def test_a_harmful_event_is_not_passed_on(router, serializer):
    topic = uri("consumer.nobody.data")
    with Peer(router, "cbor") as reader, Peer(router, serializer, USER_SERVER) as writer:
        assert reader.request(SUBSCRIBE, topic)[0] == 33
        for number, kwargs in enumerate([{"fun": 1}, {"self": 1}, {"f": 1}, {"x": nested(300)}]):
            writer.send([PUBLISH, 100 + number, {}, topic, [], kwargs])
        writer.send([PUBLISH, 200, {"acknowledge": True}, topic, [], {"fun": 1}])
        assert writer.receive()[:5] == [ERROR, PUBLISH, 200, {}, INVALID]
        writer.send([PUBLISH, 201, {"acknowledge": True}, topic, ["good"], {}])
        assert writer.receive()[0] == PUBLISHED
        assert reader.receive()[4] == ["good"]


def test_the_hub_answers_after_a_caller_ended_its_own_session(router):
    with Peer(router, "json") as peer:
        peer.socket.sendall(frame(b"[" * 100_000))
        with pytest.raises((AssertionError, OSError)):
            while True:
                assert peer.receive()
    with Client(router.settings()) as client:
        client.nodes()
