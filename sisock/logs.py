"""The log: txaio's for Twisted, and warnings that are kept from filling it."""

from __future__ import annotations

import time
from typing import Any

from txaio import tx, use_twisted

use_twisted()
make_logger = tx.make_logger

REPEAT_AFTER = 60.0
"""Seconds after which the same warning is logged again."""


class RepeatedWarning:
    """Logs a warning when it is new, and again once a minute with how often it came."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._text: str | None = None
        self._logged_at = 0.0
        self._count = 0

    def __call__(self, text: str) -> None:
        """Log the warning, or count it."""
        self._count += 1
        if text == self._text and time.monotonic() - self._logged_at < REPEAT_AFTER:
            return
        times = f" ({self._count} times)" if text == self._text and self._count > 1 else ""
        self._log.warn("{text}{times}", text=text, times=times)
        self._text, self._logged_at, self._count = text, time.monotonic(), 0

    def reset(self) -> None:
        """Forget: the trouble is over, and the next warning is a new one."""
        self._text = None
