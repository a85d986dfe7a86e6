"""Write answers as JSON for Grafana: series, tables, rows, notices and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sisock.bridge.metrics import Overloaded
from sisock.bridge.tiles import Samples, View, join
from sisock.connection.runtime import make_logger
from sisock.errors import HubMissing, InvalidArgument, RouterUnreachable, SisockError
from sisock.wire import json_rows
from sisock.wire.arrays import merge_timeline, to_list
from sisock.wire.fields import Field
from sisock.wire.json_rows import ROWS, dumps, milliseconds, truth_as_numbers

NONE: Mapping[str, str] = {}
NOTICE = "X-Sisock-Notice"
_MAX_NOTICE = 1000

RETRY_AFTER = "5"
"""Seconds after which a client that found no room may try again."""

PART_BYTES = 1 << 18
"""Bytes of each part of an answer, at least."""

SERIES_END = b"]}"

log = make_logger()


@dataclass(frozen=True)
class Answer:
    """An answer of JSON in parts; an iterator of these takes so long that it needs a thread.

    `on_end` is called when the client has taken all, or has left; `share` counts the memory of the
    answer as long as there is the answer.
    """

    parts: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    on_end: Callable[[], Any] = lambda: None
    share: Any = None

    @property
    def body(self) -> bytes | None:
        """All of the answer, if it is there already."""
        return b"".join(self.parts) if isinstance(self.parts, list) else None


def failure(status: int, message: str, kind: str, headers: Mapping[str, str] = NONE) -> Answer:
    """Return an error as Grafana shows it: the text of ``message``."""
    return Answer([dumps({"message": message, "error": kind})], status, headers)


def failure_of(error: Exception, path: str) -> Answer:
    """Return the answer to a request that failed; an unforeseen error goes to the log."""
    kind = type(error).__name__
    if not isinstance(error, SisockError):
        log.error("{path} failed: {kind}: {why}", path=path, kind=kind, why=error)
        return failure(500, "the bridge failed: its log has the details", kind)
    if isinstance(error, Overloaded):
        return failure(503, str(error), kind, {"Retry-After": RETRY_AFTER})
    is_everybodys = isinstance(error, RouterUnreachable | HubMissing)
    status = 400 if isinstance(error, InvalidArgument) else 503 if is_everybodys else 502
    return failure(status, str(error), kind)


def notice_headers(notices: Iterable[str]) -> dict[str, str]:
    """Return notices as a header, each once."""
    # A header holds no control characters, and no others than ASCII for sure.
    text = "; ".join(dict.fromkeys(notices))[:_MAX_NOTICE]
    return {NOTICE: re.sub(r"[^\x20-\x7e]+", " ", text)} if text else {}


def body_of(answers: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Write a list of answers, each of which comes as parts of JSON, in larger parts."""
    few, size = [b"["], 0
    for number, answer in enumerate(answers):
        if number:
            few.append(b",")
        for part in answer:
            few.append(part)
            size += len(part)
            # Each part that is sent wakes the reactor.
            if size >= PART_BYTES:
                yield b"".join(few)
                few, size = [], 0
    yield b"".join([*few, b"]"])


def series_start(target: str, about: Field | None, ref_id: str | None) -> bytes:
    """Write a series up to its first pair; `about` is None for a target that is not there."""
    title = None if about is None else about.description or about.name
    unit = None if about is None else grafana_unit(about.units)
    return _opened("datapoints", target=target, title=title, unit=unit, refId=ref_id)


def _opened(last: str, **more: Any) -> bytes:
    """Write an object up to the first entry of its last list; what is None is left out."""
    answer = {name: each for name, each in more.items() if each is not None}
    return dumps(answer)[:-1] + b',"%s":[' % last.encode()


def series_answer(target: str, view: View | None, ref_id: str | None) -> Iterator[bytes]:
    """Write one series as every plugin draws it."""
    yield series_start(target, None if view is None else view.field, ref_id)
    if view is not None:
        yield from view.rows()
    yield SERIES_END


def table_answer(found: Sequence[tuple[str, View]], ref_id: str | None) -> Iterator[bytes]:
    """Write one table: for each timeline its times and its fields, side by side."""
    lines: dict[tuple[str, str], list[View]] = {}
    for node, view in found:
        lines.setdefault((node, view.field.timeline), []).append(view)
    columns: list[dict[str, str]] = []
    cells: list[np.ndarray] = []
    for (node, timeline), members in lines.items():
        series = {str(i): view.samples for i, view in enumerate(members)}
        t, aligned = merge_timeline({key: (each.t, each.values) for key, each in series.items()})
        name = "Time" if len(lines) == 1 else f"Time ({timeline})"
        columns.append({"text": name, "type": "time"})
        cells.append(milliseconds(t))
        columns += [_column(node, view.field) for view in members]
        cells += aligned.values()
    yield _opened("rows", type="table", columns=columns, refId=ref_id)
    yield from json_rows.rows(_rows(cells))
    yield SERIES_END


def _column(node: str, about: Field) -> dict[str, str]:
    kind = {"number": "number", "bool": "boolean"}.get(about.type, "string")
    unit = grafana_unit(about.units)
    column = {"text": f"{node}::{about.name}", "type": kind}
    return column if unit is None else {**column, "unit": unit}


def _rows(cells: list[np.ndarray]) -> np.ndarray | list[list[Any]]:
    length = max(map(len, cells), default=0)
    if all(column.dtype.kind in "fiu" for column in cells):
        rows = np.full((length, len(cells)), np.nan)
        for i, column in enumerate(cells):
            rows[: len(column), i] = column
        return rows
    padded = [to_list(column) + [None] * (length - len(column)) for column in cells]
    return list(map(list, zip(*padded, strict=True)))


def long_rows(found: Iterable[tuple[str, View]]) -> Iterator[bytes]:
    """Write rows ``{"time": ms, "series": "node::field", "value": x}`` of all, in time order."""
    names, parts = [], []
    for node, view in found:
        names.append(f"{node}::{view.field.name}")
        parts.append(view.samples)
    owner = np.repeat(np.arange(len(parts)), [len(each) for each in parts])
    every = join(Samples(each.t, truth_as_numbers(each.values)) for each in parts)
    t, values = milliseconds(every.t), every.values
    order = np.argsort(t, kind="stable")

    def rows() -> Iterator[bytes]:
        for first in range(0, len(order), ROWS):
            run = order[first : first + ROWS]
            cells = t[run].tolist(), owner[run].tolist(), to_list(values[run])
            yield dumps(
                [
                    {"time": ms, "series": names[index], "value": value}
                    for ms, index, value in zip(*cells, strict=True)
                ]
            )[1:-1]

    return body_of([part] for part in rows())


def annotation_table(events: Sequence[Mapping[str, Any]], ref_id: str | None = None) -> bytes:
    """Write annotations as a table, the form that simPod's plugin takes from ``/query``."""
    names = ("time", "timeEnd", "title", "text", "tags")
    kinds = ["time" if name.startswith("time") else "string" for name in names]
    columns = [{"text": n, "type": kind} for n, kind in zip(names, kinds, strict=True)]
    rows = [{**event, "tags": ",".join(event["tags"])} for event in events]
    cells = [[row.get(name) for name in names] for row in rows]
    return _opened("rows", type="table", columns=columns, refId=ref_id) + dumps(cells)[1:] + b"}"


# As they are written: S is siemens and s a second, mW and MW are a factor of 1e9 apart.
_SYMBOLS = """
celsius: C degC °C ℃ | fahrenheit: degF °F | kelvin: K | percent: % | humidity: %h %H %rh %RH
pressurehpa: hPa | pressurembar: mbar | pressurebar: bar | pressurepa: Pa | pressurekpa: kPa
pressurepsi: psi | pressurehg: inHg | velocityms: m/s ms-1 m*s-1 mps | velocitykmh: km/h kmh kph
velocitymph: mph | velocityknot: kn kt | lengthmm: mm | lengthm: m | lengthkm: km | degree: deg °
radian: rad | arcmin: arcmin | arcsec: arcsec | rotrpm: rpm RPM | volt: V | mvolt: mV | kvolt: kV
amp: A | mamp: mA | farad: F | henry: H | mhenry: mH | ohm: Ω Ω ohm | watt: W | mwatt: mW
kwatt: kW | megwatt: MW | Wm2: W/m2 W/m^2 W/m² | dB: dB | dBm: dBm | hertz: Hz | ns: ns
µs: us µs μs | ms: ms | s: s | m: min | h: h | d: d | bits: b | bytes: B | kbytes: KiB
deckbytes: kB | mbytes: MiB | decmbytes: MB | gbytes: GiB | decgbytes: GB | Bps: B/s Bps
bps: bps b/s bit/s | accMS2: m/s2 m/s^2 m/s² | ppm: ppm | litre: l L | flowlpm: l/min L/min lpm
none: 1
"""

# In any case, as nobody means two things by one of them.
_WORDS = """
celsius: celsius, deg c, degree celsius, degrees celsius
fahrenheit: fahrenheit, deg f, degree fahrenheit, degrees fahrenheit
kelvin: kelvin | percent: percent, pct | humidity: % rh | pressurehpa: hectopascal
pressurembar: millibar | pressurepa: pascal | velocityms: m s-1 | velocityknot: knot, knots
lengthmm: millimeter, millimetre, millimeters, millimetres
lengthm: meter, metre, meters, metres | degree: degree, degrees | radian: radian, radians
volt: volt, volts | amp: amp, ampere, amps, amperes | ohm: ohms | watt: watt, watts | Wm2: w m-2
hertz: hertz | ms: millisecond, milliseconds | s: sec, second, seconds | m: minute, minutes
h: hour, hours | d: day, days | bytes: byte, bytes | Bps: bytes/s
litre: litre, liter, litres, liters | none: , count, counts, dimensionless
"""


def _table(text: str, separator: str | None) -> dict[str, str]:
    """Return a dict of what is after each colon to what is before it."""
    entries = [line.partition(":") for line in text.strip().replace("\n", "|").split("|")]
    return {
        word.strip(): unit.strip() for unit, _, words in entries for word in words.split(separator)
    }


_BY_SYMBOL = _table(_SYMBOLS, None)
_BY_WORD = _table(_WORDS, ",")


def grafana_unit(units: str | None) -> str | None:
    """Return Grafana's id of a node's unit, or the unit as a suffix if it has none for it."""
    if units is None:
        return None
    bare = units.strip()
    return _BY_SYMBOL.get(bare) or _BY_WORD.get(bare.lower()) or f"suffix: {bare}"
