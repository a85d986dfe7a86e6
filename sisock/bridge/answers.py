"""Write answers: series, tables and rows as JSON for Grafana, tiles, notices and errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_accept_header, parse_etags

from sisock.bridge.metrics import Overloaded
from sisock.bridge.tiles import Samples, View, join
from sisock.connection.runtime import make_logger
from sisock.errors import (
    HubMissing,
    InvalidArgument,
    RouterUnreachable,
    SisockError,
    UnknownField,
    UnknownGeneration,
    UnknownNode,
)
from sisock.wire.arrays import merge_timeline, to_list
from sisock.wire.fields import Field
from sisock.wire.json_rows import ROWS, dumps, milliseconds, truth_as_numbers

NONE: Mapping[str, str] = {}
NOTICE = "X-Sisock-Notice"
_MAX_NOTICE = 1000

RETRY_AFTER = "5"  # seconds after which a client should retry when the bridge is overloaded
PART_BYTES = 1 << 18  # minimum bytes of each part of an answer

SERIES_END = b"]}"

JSON, BINARY = "application/json", "application/octet-stream"

FINAL = "public, max-age=31536000, immutable"
"""Cache-Control of an answer that will not change."""

OPEN = "public, max-age=1, stale-while-revalidate=1"
"""Cache-Control of other answers: while one request renews it, others get the old one for 1 s."""

log = make_logger()


@dataclass(frozen=True)
class Answer:
    """Hold an HTTP answer.

    `parts` is a list of bytes if the body is ready, an async generator if the reactor makes it, or
    a slow iterator, which runs in a thread. `share` counts the memory of the answer for as long as
    the answer exists.
    """

    parts: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    share: Any = None

    def private(self) -> Answer:
        """Return a copy of the answer that only the client's own cache may keep."""
        headers = dict(self.headers)
        if "Cache-Control" in headers:
            headers["Cache-Control"] = headers["Cache-Control"].replace("public", "private")
        return replace(self, headers=headers)

    @property
    def body(self) -> bytes | None:
        """The whole body if it is ready, otherwise None."""
        return b"".join(self.parts) if isinstance(self.parts, list) else None


def failure(status: int, message: str, kind: str, headers: Mapping[str, str] = NONE) -> Answer:
    """Return an error answer, which is never cached; Grafana shows ``message`` to the user."""
    body = dumps({"message": message, "error": kind})
    return Answer([body], status, {"Cache-Control": "no-store", **headers})


def failure_of(error: Exception, path: str) -> Answer:
    """Return the answer for an exception; unexpected ones are logged."""
    kind = type(error).__name__
    if isinstance(error, HTTPException):  # no such path, or not with this method
        allow = {name: value for name, value in error.get_headers() if name == "Allow"}
        text = f"{error.name}: {error.description}"
        return failure(error.code or 500, text, error.name, allow)
    if not isinstance(error, SisockError):
        log.error("{path} failed: {kind}: {why}", path=path, kind=kind, why=error)
        return failure(500, "the bridge failed: its log has the details", kind)
    if isinstance(error, Overloaded):
        return failure(503, str(error), kind, {"Retry-After": RETRY_AFTER})
    if isinstance(error, InvalidArgument):
        return failure(400, str(error), kind)
    if isinstance(error, UnknownNode | UnknownField | UnknownGeneration):
        return failure(404, str(error), kind)
    is_unavailable = isinstance(error, RouterUnreachable | HubMissing)
    return failure(503 if is_unavailable else 502, str(error), kind)


def tile_answer(view: View, is_final: bool, accept: str, known: str) -> Answer:
    """Return a tile as JSON or as bytes, or 304 if the client has it already.

    `accept` and `known` are the headers ``Accept`` and ``If-None-Match``.
    """
    samples = view.samples
    t, values = samples.t, samples.values
    forms = [JSON, BINARY] if view.field.type == "number" and values.dtype != object else [JSON]
    form = parse_accept_header(accept or "*/*", MIMEAccept).best_match(forms)
    if form is None:
        return failure(406, f"this tile is available as {' or '.join(forms)}", "not acceptable")
    if values.dtype.kind == "f" or form == BINARY:
        values = values.astype("<f8")
    if form == BINARY:
        body = t.tobytes() + np.where(np.isfinite(values), values, np.nan).tobytes()
    else:
        body = dumps({"t": t, "values": to_list(values) if values.dtype == object else values})
    lifetime = FINAL if is_final else OPEN
    content = f"{form} {lifetime} ".encode() + body
    tag = hashlib.blake2b(content, digest_size=12).hexdigest()
    headers = {"Content-Type": form, "Cache-Control": lifetime, "ETag": f'"{tag}"'}
    headers["Vary"] = "Accept, Origin"
    is_known = parse_etags(known).contains_weak(tag)
    return Answer([], 304, headers) if is_known else Answer([body], 200, headers)


def notice_headers(notices: Iterable[str]) -> dict[str, str]:
    """Return the header that shows notices, without duplicates; empty if there are none."""
    # Only printable ASCII is safe in a header.
    text = "; ".join(dict.fromkeys(notices))[:_MAX_NOTICE]
    return {NOTICE: re.sub(r"[^\x20-\x7e]+", " ", text)} if text else {}


def body_of(answers: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Yield a JSON list of answers, whose small parts are joined into larger ones."""
    pending, size = [b"["], 0
    for number, answer in enumerate(answers):
        if number:
            pending.append(b",")
        for part in answer:
            pending.append(part)
            size += len(part)
            # Larger parts wake the reactor less often.
            if size >= PART_BYTES:
                yield b"".join(pending)
                pending, size = [], 0
    yield b"".join([*pending, b"]"])


def series_start(target: str, field: Field | None, ref_id: str | None) -> bytes:
    """Return a series' JSON up to its first pair; `field` is None if it does not exist."""
    title = None if field is None else field.description or field.name
    unit = None if field is None else grafana_unit(field.units)
    return _open_list("datapoints", target=target, title=title, unit=unit, refId=ref_id)


def _open_list(name: str, **members: Any) -> bytes:
    """Return an object's JSON up to the list `name`, its last member; leave None out."""
    written = {key: value for key, value in members.items() if value is not None}
    return dumps(written)[:-1] + b',"%s":[' % name.encode()


def series_answer(target: str, view: View | None, ref_id: str | None) -> Iterator[bytes]:
    """Yield one series in the format of all JSON plugins."""
    yield series_start(target, None if view is None else view.field, ref_id)
    if view is not None:
        yield from view.rows()
    yield SERIES_END


def table_answer(found: Sequence[tuple[str, View]], ref_id: str | None) -> Iterator[bytes]:
    """Yield one table, with a column of times and the fields of each timeline side by side."""
    timelines: dict[tuple[str, str], list[View]] = {}
    for node, view in found:
        timelines.setdefault((node, view.field.timeline), []).append(view)
    columns: list[dict[str, str]] = []
    cells: list[np.ndarray] = []
    for (node, timeline), members in timelines.items():
        series = {str(i): view.samples for i, view in enumerate(members)}
        t, aligned = merge_timeline({key: (s.t, s.values) for key, s in series.items()})
        name = "Time" if len(timelines) == 1 else f"Time ({timeline})"
        columns.append({"text": name, "type": "time"})
        cells.append(milliseconds(t))
        columns += [_column(node, view.field) for view in members]
        cells += aligned.values()
    yield _open_list("rows", type="table", columns=columns, refId=ref_id)
    yield from _rows(cells)
    yield SERIES_END


def _column(node: str, field: Field) -> dict[str, str]:
    """Return the header of a table's column."""
    kind = {"number": "number", "bool": "boolean"}.get(field.type, "string")
    unit = grafana_unit(field.units)
    column = {"text": f"{node}::{field.name}", "type": kind}
    return column if unit is None else {**column, "unit": unit}


def _rows(columns: list[np.ndarray]) -> Iterator[bytes]:
    """Yield columns of different lengths as parts of rows; what a column lacks is null."""
    for first in range(0, max(map(len, columns), default=0), ROWS):
        if first:
            yield b","
        cells = [to_list(column[first : first + ROWS]) for column in columns]
        yield dumps(list(zip_longest(*cells)))[1:-1]


def long_rows(found: Iterable[tuple[str, View]]) -> Iterator[bytes]:
    """Yield rows ``{"time": ms, "series": "node::field", "value": x}`` in time order."""
    names, parts = [], []
    for node, view in found:
        names.append(f"{node}::{view.field.name}")
        parts.append(view.samples)
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    joined = join(Samples(part.t, truth_as_numbers(part.values)) for part in parts)
    t, values = milliseconds(joined.t), joined.values
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


def annotation_table(events: Sequence[Mapping[str, Any]], ref_id: str | None) -> bytes:
    """Return annotations as a table, the form that simPod's plugin expects from ``/query``."""
    names = ("time", "timeEnd", "title", "text", "tags")
    kinds = ["time" if name.startswith("time") else "string" for name in names]
    columns = [{"text": n, "type": kind} for n, kind in zip(names, kinds, strict=True)]
    rows = [{**event, "tags": ",".join(event["tags"])} for event in events]
    cells = [[row.get(name) for name in names] for row in rows]
    return _open_list("rows", type="table", columns=columns, refId=ref_id) + dumps(cells)[1:] + b"}"


# Symbols are case sensitive: S is siemens and s a second, mW and MW differ by a factor of 1e9.
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

# Words are not case sensitive.
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


def _parse_units(text: str, separator: str | None) -> dict[str, str]:
    """Return Grafana's ids, before each colon, by the spellings after it."""
    entries = [line.partition(":") for line in text.strip().replace("\n", "|").split("|")]
    return {
        word.strip(): unit.strip() for unit, _, words in entries for word in words.split(separator)
    }


_BY_SYMBOL = _parse_units(_SYMBOLS, None)
_BY_WORD = _parse_units(_WORDS, ",")


def grafana_unit(units: str | None) -> str | None:
    """Return Grafana's id for a unit, or a suffix with the unit if Grafana has no id for it."""
    if units is None:
        return None
    bare = units.strip()
    return _BY_SYMBOL.get(bare) or _BY_WORD.get(bare.lower()) or f"suffix: {bare}"
