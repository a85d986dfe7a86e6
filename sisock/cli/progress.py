"""The line on a terminal that says how far a long ``sisock get`` has come."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import TextIO

from sisock.client.progress import Progress

SHOWN_AFTER = 1.0
"""Seconds: what takes less needs no line."""

_LEAST_BETWEEN = 0.1
"""Seconds between two lines, at least: windows can arrive faster than anybody reads."""

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class ProgressLine:
    """One line that is written over in place, and only on a terminal; use it with ``with``.

    The line is removed at the end, and left standing when the user interrupts.

    Parameters
    ----------
    out : TextIO
        Where to write; nothing is if that is no terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_open = out.isatty()
        self._began = time.monotonic()
        self._written = 0.0
        self._width = 0
        self._lock = threading.Lock()

    def show(self, progress: Progress) -> None:
        """Write the line anew, if it is time to; may be called from any thread."""
        now = time.monotonic()
        with self._lock:
            is_due = now - self._began >= SHOWN_AFTER and now - self._written >= _LEAST_BETWEEN
            if not self._is_open or not is_due:
                return
            text = progress_text(progress, now - self._began)[: _columns(self._out) - 1]
            self._write(f"\r{text.ljust(self._width)}")
            self._width, self._written = len(text), now

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        with self._lock:
            # What still arrives comes in another thread, and is not shown any more.
            self._is_open = False
            if not self._width:
                return
            interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
            self._write("\n" if interrupted else f"\r{' ' * self._width}\r")


def progress_text(progress: Progress, seconds: float) -> str:
    """How far a reply has come that began `seconds` ago: part, samples, samples a second."""
    rate = progress.samples / seconds
    return f"{progress.fraction:4.0%}  {_short(progress.samples)} samples  {_short(rate)} samples/s"


def _short(count: float) -> str:
    for size, prefix in _PREFIXES:
        if count >= 0.9995 * size:  # rounded to three digits it is as much
            return f"{count / size:.3g}{prefix}"
    return f"{count:.0f}"


def _columns(out: TextIO) -> int:
    # A terminal may not know its width, and says 0.
    return os.get_terminal_size(out.fileno()).columns or 80
