"""Values that cost a decoder more than their length are not decoded."""

import struct
from decimal import Decimal

import cbor2
import pytest

from sisock.connection.cbor import load_cbor

LENGTH = 100_000
DIGITS = b"\xc2\x5a" + struct.pack("!I", LENGTH) + b"\xff" * LENGTH
TEXT = b"\x7a" + struct.pack("!I", LENGTH)

HARMFUL = {
    "long integer": DIGITS,
    "long negative integer": b"\xc3" + DIGITS[1:],
    "long decimal": b"\xc4\x82\x01" + DIGITS,
    "long float": b"\xc5\x82\x01" + DIGITS,
    "long fraction": b"\xd8\x1e\x82" + DIGITS + DIGITS,
    "regular expression": b"\xd8\x23" + TEXT + b"[a-c]" * (LENGTH // 5),
    "e-mail": b"\xd8\x24" + TEXT + b"a: b\n" * (LENGTH // 5),
    "keys of equal hashes": cbor2.dumps({n * (2**61 - 1): n for n in range(1000)}),
    "keys that are lists": cbor2.dumps({(n, n): n for n in range(1000)}),
    "set": cbor2.dumps(set(range(1000))),
    "no bytes for an integer": b"\xc2\x61a",
    "the same list again and again": cbor2.dumps([[[1]] * 2] * 2, value_sharing=True),
}


@pytest.mark.parametrize("payload", HARMFUL.values(), ids=HARMFUL)
def test_what_takes_long_to_decode_is_refused(payload):
    with pytest.raises(cbor2.CBORDecodeError):
        load_cbor(payload)


@pytest.mark.parametrize(
    "value", [2**100, -(2**100), Decimal("1.5"), {"a": {"b": b"c"}}, cbor2.CBORTag(86, b"1" * 8)]
)
def test_everything_else_is_decoded(value):
    assert load_cbor(cbor2.dumps(value)) == value
