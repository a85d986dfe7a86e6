"""What the Grafana bridge answers to a panel, in the reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from sisock.bridge import answers as grafana_answers
from sisock.bridge import requests as grafana
from sisock.bridge.annotations import find_annotations, is_annotation_query
from sisock.bridge.bridge import Bridge
from sisock.bridge.find import Pair, find
from sisock.bridge.metrics import Metrics
from sisock.bridge.query import Samples
from sisock.bridge.recent import Found, RecentAnswers
from sisock.bridge.requests import Query, Target
from sisock.bridge.web_answer import Answer
from sisock.wire.fields import Field

_ROW_BYTES = 40
"""What a sample takes in a table, or among the rows of all series, besides its own bytes."""


class Panels:
    """Answers panels.

    Parameters
    ----------
    bridge : Bridge
        Asks the nodes.
    metrics : Metrics
        Counts.
    """

    def __init__(self, bridge: Bridge, metrics: Metrics) -> None:
        self._bridge = bridge
        self._metrics = metrics
        self._recent = RecentAnswers(bridge.cache.limit)

    async def query(self, body: bytes) -> Answer:
        """Answer with series, tables, and simPod's annotations.

        Raises
        ------
        SisockError
        """
        parsed = grafana.parse_body(body)
        if parsed.get("maxDataPoints") is None:
            # Who asks for all samples gets them as they are now.
            return (await self._query(parsed)).answer()
        question = self._bridge.node_list.version, grafana.key_of(parsed)
        return await self._recent.answer(question, lambda: self._query(parsed))

    async def _query(self, body: Mapping[str, Any]) -> Found:
        query = grafana.parse_query(body)
        data = [target for target in query.targets if not is_annotation_query(target.text)]
        pairs, found = await self._find(query, data)
        answers: list[Callable[[], Iterable[Mapping[str, Any]]]] = []
        notices = [notice for each in found.values() for notice in each.notices]
        may_change = any(each.may_change for each in found.values())
        count = 0
        for target in query.targets:
            if is_annotation_query(target.text):
                events, more = await find_annotations(self._bridge, target.text, query.interval)
                notices, may_change = notices + more, True
                table = grafana_answers.annotation_table(events, target.ref_id)
                answers.append(partial(iter, [table]))
            else:
                samples, mine = found[target.table], pairs[target.text]
                count += sum(len(series) for _, series in samples.pick(mine))
                if target.table:
                    samples.share.add(sum(len(s) for _, s in samples.pick(mine)) * _ROW_BYTES)
                answers.append(partial(_answers_of, target, mine, samples))

        def write() -> Iterator[bytes]:
            return grafana_answers.body_of(chain.from_iterable(each() for each in answers))

        return Found(write, count, tuple(dict.fromkeys(notices)), may_change)

    async def series(self, arguments: Mapping[str, Sequence[str]]) -> Answer:
        """Answer Infinity: long rows in time order.

        Raises
        ------
        SisockError
        """
        if not arguments.get("maxDataPoints"):
            return (await self._series(arguments)).answer()
        given = frozenset((name, tuple(values)) for name, values in arguments.items())
        question = self._bridge.node_list.version, given
        return await self._recent.answer(question, lambda: self._series(arguments))

    async def _series(self, arguments: Mapping[str, Sequence[str]]) -> Found:
        query = grafana.parse_arguments(arguments)
        pairs, every = await self._find(query, query.targets)
        chosen = dict.fromkeys(pair for each in pairs.values() for pair in each)
        found = every[False].pick(chosen)
        count, notices = sum(len(series) for _, series in found), tuple(every[False].notices)
        # All rows are sorted before the first is written.
        every[False].share.add(count * _ROW_BYTES)
        write = partial(_rows_of, every[False], list(chosen))
        return Found(write, count, notices, every[False].may_change)

    async def _find(
        self, query: Query, targets: list[Target]
    ) -> tuple[dict[str, list[Pair]], dict[bool, Samples]]:
        """Look up what the targets stand for, and ask for it; tables' samples are under True."""
        texts = {target.text: target.patterns for target in targets}

        def accepts(node: str, field: Field) -> bool:
            return all(each.accepts(node, field) for each in query.filters)

        pairs, notices = await find(self._bridge, texts, accepts)
        found: dict[bool, Samples] = {}
        for is_table in {target.table for target in targets} or {False}:
            mine = [target.text for target in targets if target.table == is_table]
            wanted = {pair for text in mine for pair in pairs[text]}
            # The fields of a picture have times of their own, which make no rows.
            points = None if is_table else query.max_points
            stride = query.min_stride if points is None else None
            each = await self._bridge.samples(wanted, query.interval, stride, points)
            # A target that is there twice is answered twice.
            each.check_size(sum(len(s) for text in mine for _, s in each.pick(pairs[text])))
            each.notices = [*dict.fromkeys([*notices, *each.notices])]
            self._metrics.found(each)
            found[is_table] = each
        return pairs, found


def _rows_of(samples: Samples, pairs: list[Pair]) -> Iterator[bytes]:
    yield from grafana_answers.long_rows(samples.pick(pairs))


def _answers_of(target: Target, pairs: list[Pair], found: Samples) -> Iterator[dict[str, Any]]:
    if target.table:
        yield grafana_answers.table_answer(found.pick(pairs), target.ref_id)
    elif not target.patterns:
        yield grafana_answers.empty_answer(target.text, target.ref_id)
    for node, name in () if target.table else pairs:
        if (node, name) in found.series:
            yield grafana_answers.series_answer(node, found.series[node, name], target.ref_id)
        else:
            yield grafana_answers.empty_answer(f"{node}::{name}", target.ref_id)
