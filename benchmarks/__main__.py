"""Runs the benchmarks: ``python -m benchmarks [--peers] [LETTER …]``.

Without letters all are run, and the table goes into docs/performance.md; with letters only those
are run, and the table is printed alone.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterable

from benchmarks import bulk, deep, live, panels, weather
from benchmarks.report import HEADER, Figure, publish, table

Measure = Callable[[], Iterable[Figure]]

ALONE: dict[str, Measure] = {
    "a": bulk.figures,
    "b": panels.beside_orjson,
    "d": deep.beside_itself,
    "f": weather.figures,
    "g": live.figures,
}
PEERS: dict[str, Measure] = {"bce": panels.beside_victoria, "d": deep.beside_victoria}


def main() -> None:
    """Measure, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("letters", nargs="*", help="which; all if none is given")
    parser.add_argument("--peers", action="store_true", help="those against VictoriaMetrics")
    given = parser.parse_args()
    chosen = PEERS if given.peers else ALONE
    rows = []
    for letters, measure in chosen.items():
        if not given.letters or set(given.letters) & set(letters):
            rows += [figure.cells() for figure in measure()]
            print(f"{table(HEADER, rows)}\n", flush=True)
    if not given.letters:
        publish("peers" if given.peers else "bench", table(HEADER, rows))


if __name__ == "__main__":
    # A shell that starts this in the background has SIGINT ignored, and the router would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
