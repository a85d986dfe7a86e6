"""Decode CBOR of others: harmless whatever it contains, and answer what cannot be decoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cbor2
from autobahn.wamp import message
from autobahn.wamp.exception import ProtocolError
from autobahn.wamp.serializer import CBORObjectSerializer, CBORSerializer, Serializer

from sisock.wire.protocol import ERROR_NODE_FAILED

MAX_INTEGER = 64
"""Maximum bytes of an integer: a decimal or fraction of 500 KB takes half a minute to decode."""

_POSITIVE, _NEGATIVE = 2, 3
_REFUSED = {29: "references", 35: "regular expressions", 36: "e-mails", 258: "sets"}
"""Tags of values that take much longer to decode, check or send than others, or unlimited time."""


def load_cbor(payload: bytes) -> Any:
    """Decode CBOR in a time proportional to its length; raises CBORDecodeError.

    Refuses long integers, values of unusual types, and keys that are not text or bytes, as those
    can be chosen so that all have the same hash.
    """
    return cbor2.loads(payload, **_OPTIONS)


def _read_integer(tag: int) -> Callable[[Any, bool], int]:
    def read(value: Any, _: bool) -> int:
        if not isinstance(value, bytes) or len(value) > MAX_INTEGER:
            raise ValueError(f"an integer has at most {MAX_INTEGER} bytes")
        return int.from_bytes(value) if tag == _POSITIVE else -1 - int.from_bytes(value)

    return read


def _refuse(what: str) -> Callable[[Any, bool], None]:
    def refuse(_: Any, __: bool) -> None:
        raise ValueError(f"{what} are not accepted")

    return refuse


_OPTIONS: dict[str, Any] = {
    "strict_hashable_types": True,
    "semantic_decoders": {
        **{tag: _read_integer(tag) for tag in (_POSITIVE, _NEGATIVE)},
        **{tag: _refuse(what) for tag, what in _REFUSED.items()},
    },
}


class UnreadableInvocation(message.Invocation):
    """An invocation whose arguments cannot be decoded."""


class _Decoder(CBORObjectSerializer):
    """CBOR objects, decoded with `load_cbor`."""

    def unserialize(self, payload: bytes) -> list[Any]:
        """Decode one object."""
        return [load_cbor(payload)]


class TolerantSerializer(CBORSerializer):
    """CBOR that answers undecodable (too deeply nested) payloads; autobahn would disconnect."""

    def __init__(self) -> None:
        Serializer.__init__(self, _Decoder())

    def unserialize(self, payload: bytes, isBinary: bool | None = None) -> list[Any]:
        """Decode one message."""
        with suppress(ProtocolError):
            return super().unserialize(payload, isBinary)
        # Skip the first byte, of the array: the message's type and ids follow.
        decoder = cbor2.CBORDecoder(io.BytesIO(payload[1:]), **_OPTIONS)
        try:
            kind, first, second = (decoder.decode() for _ in range(3))
        except cbor2.CBORDecodeError as error:
            raise ProtocolError(f"invalid serialization of WAMP message: {error}") from None
        if kind == message.Invocation.MESSAGE_TYPE:
            return [UnreadableInvocation(first, second)]
        if kind == message.Event.MESSAGE_TYPE:
            return []
        if kind == message.Result.MESSAGE_TYPE:
            kind, first, second = message.Error.MESSAGE_TYPE, message.Call.MESSAGE_TYPE, first
        if kind != message.Error.MESSAGE_TYPE:
            raise ProtocolError(f"a message of type {kind!r} cannot be decoded")
        return [message.Error(first, second, ERROR_NODE_FAILED, ["its answer cannot be decoded"])]
