"""Read lines from an instrument, and parse the values in lines or payloads of messages."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from sisock.errors import SisockError
from sisock.wire.times import counted

ENDS = {"lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}
MAX_LINE = 4096
MAX_PAYLOAD = 1_000_000

_FIELD = re.compile(r"\s*([^\[\]]*?)\s*(?:\[\s*(.*?)\s*\])?\s*")
_END = re.compile(rb"[\r\n]+")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*[^\d\s.]*\s*")
_BOOLS = {"1": True, "on": True, "true": True, "0": False, "off": False, "false": False}
_SCPI_INVALID = 9.9e37
"""SCPI writes infinities as ±9.9E37, and NaN as 9.91E37."""


def open_port(port: str, **how: Any) -> Any:
    """Open a port of pyserial; raises SisockError if nothing listens at a TCP port."""
    import serial  # type: ignore[import-untyped]

    try:
        return serial.serial_for_url(port, **how)
    except serial.SerialException as error:
        if isinstance(error.__context__, ConnectionRefusedError):
            where = port.partition("://")[2]
            advice = "is the instrument on, and is the port right?"
            raise SisockError(f"nothing listens at {where}: {advice}") from None
        raise


class Lines(Iterator[str]):
    """Iterate over the lines from a port until `is_over()`; CR or LF ends a line.

    `port` is a port of pyserial with a short timeout; raises TimeoutError without a line for
    `limit` seconds. A line that may have begun before the port was opened is left out. `end` is
    sent after each command.
    """

    def __init__(
        self, port: Any, limit: float, is_over: Callable[[], bool], end: bytes = b"\n"
    ) -> None:
        self._port, self._limit, self._is_over, self._end = port, limit, is_over, end
        self._buffer = b""
        self._is_cut: bool | None = None  # unknown before the first bytes

    def __next__(self) -> str:
        end = time.monotonic() + self._limit
        while not self._is_over():
            if match := _END.search(self._buffer):
                line, self._buffer = self._buffer[: match.start()], self._buffer[match.end() :]
                was_cut, self._is_cut = self._is_cut, False
                if line.strip() and not was_cut:
                    return line.decode("utf-8", "replace").strip()
                continue
            if len(self._buffer) > MAX_LINE:
                raise ValueError(f"{MAX_LINE} bytes without the end of a line: see --baud")
            if time.monotonic() > end:
                raise TimeoutError(f"no line within {self._limit:g} s")
            read = self._port.read(self._port.in_waiting or 1)
            if self._is_cut is None:
                self._is_cut = bool(read)  # bytes without silence before are the middle of a line
            self._buffer += read
        raise StopIteration

    def ask(self, command: str) -> str:
        """Discard what was received before, send a command, and return the answer."""
        self._port.reset_input_buffer()
        self._buffer, self._is_cut = b"", False
        self._port.write(command.encode() + self._end)
        try:
            answer = next(self, "")
            return next(self, "") if answer == command else answer  # the instrument echoes
        except TimeoutError:
            raise TimeoutError(f"no answer to {command!r} within {self._limit:g} s") from None


class LineParser:
    """Split a line into the texts of its fields; `units` has the units by field.

    Either `fields` names the values of a line in order, like ``"temp [K], -, heater"``, where ``-``
    is left out; or the fields are the named groups of the regular expression `pattern`.
    """

    def __init__(self, fields: str, separator: str, pattern: str | None) -> None:
        self._separator = re.compile(separator)
        self._pattern = None if pattern is None else re.compile(pattern)
        if self._pattern is not None:
            self._names = list(self._pattern.groupindex)
            self.units = dict.fromkeys(self._names)
        else:
            found = [_FIELD.fullmatch(part) for part in fields.split(",")]
            if not all(found):
                raise ValueError(f"{fields!r} is not a list such as 'temp [K], heater [%]'")
            pairs = [match.groups() for match in found if match]
            self._names = [name for name, _ in pairs]
            self.units = {name: units for name, units in pairs if name != "-"}
        if not self.units or "" in self.units:
            raise ValueError("each field needs a name")

    def split(self, line: str) -> dict[str, str]:
        """Return the text of each field; raises ValueError for a wrong number of values."""
        if self._pattern is not None:
            match = self._pattern.search(line)
            return {} if match is None else {n: t for n, t in match.groupdict().items() if t}
        texts = self._separator.split(line.strip())
        if len(texts) != len(self._names):
            raise ValueError(f"it has {counted(len(texts), 'value')} instead of {len(self._names)}")
        return {name: text for name, text in zip(self._names, texts, strict=True) if name != "-"}


def read_value(text: str, kind: str, is_scpi: bool = False) -> Any:
    """Parse a text as a value of a type; raises ValueError if it is invalid.

    Units may follow a number.
    """
    if kind == "string":
        return text
    if kind == "bool":
        if text.lower() not in _BOOLS:
            raise ValueError("a value is neither on nor off")
        return _BOOLS[text.lower()]
    match = _NUMBER.fullmatch(text)
    try:
        number = float(match[1] if match else text)
    except ValueError:
        raise ValueError("a value is not a number") from None
    return math.nan if is_scpi and abs(number) >= _SCPI_INVALID else number


def make_parsers(
    commands: list[str], fields: list[str], separator: str, pattern: str | None
) -> list[LineParser]:
    """Return a parser for the answer to each command, or for all lines."""
    count = max(1, len(commands))
    if len(fields) != (0 if pattern else count):
        advice = "with --fields (once for each --command), or with one --pattern"
        raise SisockError(f"name the values of a line {advice}")
    try:
        return [LineParser(text, separator, None) for text in fields] or [
            LineParser("", separator, pattern)
        ] * count
    except (re.error, ValueError) as error:
        raise SisockError(f"--fields, --separator or --pattern: {error}") from None


def read_payload(name: str, payload: bytes) -> dict[str, Any]:
    """Return the values in a payload; the key ``a`` of a JSON object is named ``name.a``.

    Raises ValueError or RecursionError for an invalid payload.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"it has more than {MAX_PAYLOAD} bytes")
    value: Any = payload.decode()
    with suppress(json.JSONDecodeError):
        value = json.loads(value)
    return dict(flatten(name, value))


def flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and values of nested dicts and lists."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(f"{name}.{key}", inner)
    else:
        yield name, value


def convert(value: Any, kind: str | None) -> Any:
    """Convert a value to the declared type of its field, if any; return None if it is invalid."""
    if value is None:
        return None
    if kind == "string":
        return str(value)
    if kind == "number":
        return float(value) if isinstance(value, int | float) else None
    return value if kind is None or isinstance(value, bool) else None
