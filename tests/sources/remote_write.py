"""Write samples as a Prometheus does to another one: protocol buffers in Snappy's framing."""

import struct
import urllib.request

BLOCK = 60_000


def varint(number):
    """A number of protocol buffers."""
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def message(number, content):
    """A field that is a text or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def series(labels, samples):
    """A series with its samples, as milliseconds and values."""
    texts = ((name.encode(), labels[name].encode()) for name in sorted(labels))
    parts = [message(1, message(1, name) + message(2, value)) for name, value in texts]
    for t, value in samples:
        parts.append(message(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(t)))
    return message(1, b"".join(parts))


def framed(content):
    """Snappy's block format, in which nothing is compressed."""
    found = varint(len(content))
    for first in range(0, len(content), BLOCK):
        block = content[first : first + BLOCK]
        found += bytes([61 << 2]) + struct.pack("<H", len(block) - 1) + block
    return found


def write(url, *every):
    """Write series, pairs of labels and samples."""
    body = framed(b"".join(series(labels, samples) for labels, samples in every))
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{url}/api/v1/write", body, headers)
    urllib.request.urlopen(request, timeout=60).close()
