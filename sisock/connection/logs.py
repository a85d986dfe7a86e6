"""The log: txaio's for Twisted, and warnings that are kept from filling it."""

from __future__ import annotations

import math
import time
from typing import Any

from txaio import tx, use_twisted

use_twisted()
make_logger = tx.make_logger

REPEAT_AFTER = 60.0
"""Seconds after which the same warning is logged again."""

MAX_TEXTS = 100
"""Warnings that are remembered at once."""


class DemotedLogger:
    """Another library's log with some levels at debug: for what we log ourselves, once."""

    def __init__(self, *levels: str) -> None:
        self._levels = levels or ("info", "warn", "error")
        self._log = make_logger()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, "debug" if name in self._levels else name)


class RepeatedWarning:
    """Log a warning when it is new, and again once a minute with how often it came.

    `last` is the last one, or None.
    """

    def __init__(self, log: Any) -> None:
        self.last: str | None = None
        self._log = log
        self._logged: dict[str, tuple[float, int]] = {}

    def __call__(self, text: str) -> None:
        """Log the warning, or count it."""
        self.last = text
        logged_at, count = self._logged.get(text, (-math.inf, 0))
        if time.monotonic() - logged_at < REPEAT_AFTER:
            self._logged[text] = (logged_at, count + 1)
            return
        times = f" ({count + 1} times)" if count else ""
        self._log.warn("{text}{times}", text=text, times=times)
        if len(self._logged) >= MAX_TEXTS:
            self._logged.clear()
        self._logged[text] = (time.monotonic(), 0)

    def reset(self) -> None:
        """Forget: the trouble is over, and the next warning is a new one."""
        self._logged.clear()
        self.last = None
