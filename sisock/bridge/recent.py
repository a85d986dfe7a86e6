"""Answers of the Grafana bridge that are given to all who ask the same at about the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from sisock.bridge.sample_cache import SampleCache
from sisock.bridge.single_flight import SingleFlight
from sisock.bridge.web_answer import Answer, notice_headers

MANY_SAMPLES = 50_000
"""An answer with more is written in a thread: fewer take less time than the network."""

FRESH_FOR = 1.0
"""Seconds for which an answer is given again: however many look at a dashboard, its nodes are asked
once a second."""

RECENT_BYTES = 16_000_000
"""Memory for such answers, at most."""


@dataclass(frozen=True)
class Found:
    """What was found for a request, of which an answer can be written more than once.

    Attributes
    ----------
    write : callable
        Gives the parts of the body.
    count : int
        Samples.
    notices : tuple of str
    may_change : bool
        A sample of it is not final.
    """

    write: Callable[[], Iterator[bytes]]
    count: int
    notices: tuple[str, ...]
    may_change: bool

    def answer(self) -> Answer:
        """Make the answer; one that is not long is written at once."""
        headers = notice_headers(self.notices)
        if self.count > MANY_SAMPLES:
            return Answer(self.write(), headers=headers, is_long=True)
        return Answer([b"".join(self.write())], headers=headers)


@dataclass(frozen=True)
class _Recent:
    """An answer, written, and until when it may be given again."""

    answer: Answer
    nbytes: int
    until: float


class RecentAnswers:
    """Asks once for all who ask the same at the same time, or, of final samples, within a second.

    Parameters
    ----------
    limit : int
        Bytes of memory that there are for samples.
    """

    def __init__(self, limit: int) -> None:
        self._flights = SingleFlight()
        self._recent = SampleCache(min(limit, RECENT_BYTES))

    async def answer(
        self, question: Hashable, ask: Callable[[], Coroutine[Any, Any, Found]]
    ) -> Answer:
        """Answer a question by what `ask` finds, or has found."""
        given = self._get(question)
        if given is not None:
            return given
        found = await self._flights.join(question, ask)
        # Another of those who waited may have written it.
        return self._get(question) or self._write(question, found)

    def _get(self, question: Hashable) -> Answer | None:
        recent = self._recent.get(question)
        return recent.answer if recent is not None and time.monotonic() < recent.until else None

    def _write(self, question: Hashable, found: Found) -> Answer:
        answer = found.answer()
        # What a notice tells of may be over at once.
        if answer.is_long or found.may_change or found.notices:
            return answer
        size = sum(map(len, answer.parts))
        self._recent.put(question, _Recent(answer, size, time.monotonic() + FRESH_FOR))
        return answer
