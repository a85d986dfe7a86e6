"""Data node of the live feeds of agents of OCS, the Observatory Control System."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.task import LoopingCall

import sisock
from sisock.sources.options import Described
from sisock.sources.wamp import Listener, parse_address

STATES = ["none", "starting", "running", "stopping", "succeeded", "failed", "expired", "degraded"]
LABELS = {str(code): state for code, state in enumerate(STATES, 1)}
"""Words for the states of operations in a heartbeat."""

SILENCE = 10.0
"""Seconds without a heartbeat after which an agent counts as gone; it sends one per second."""


class OcsFeeds(sisock.SubscriberNode):
    """Live feeds of OCS agents.

    Finds all agents by their feeds; none has to be named. The field F of the feed FEED of the
    agent AGENT is named AGENT.FEED.F, the state of its operation OP AGENT.heartbeat.OP. Example:

        sisock node ocs_feeds --url ws://ocs-host:8001/ws
    """

    name = "ocs_feeds"

    def __init__(
        self, url: str, realm: str, address_root: str, keep: str | None, config: Path | None
    ) -> None:
        self.url, self.realm, self.root, self.keep = url, realm, address_root, keep
        self.fields: dict[str, Any] = {}
        self._described = Described(config)
        self._warned = sisock.RepeatedWarning(self.log)
        parse_address(url)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the flags that name the OCS crossbar and what to keep."""
        add, url = parser.add_argument, "ws://localhost:8001/ws"
        add("--url", default=url, help="the OCS crossbar's address (default: %(default)s)")
        add("--realm", default="test_realm", help="its realm (default: %(default)s)")
        add("--address-root", default="observatory", help="of the agents (default: %(default)s)")
        add("--keep", metavar="TIME", help="how long to keep samples on disk, like 30d")
        add("--config", type=Path, metavar="FILE", help="TOML file of units and limits")

    async def subscribe(self) -> None:
        """Connect, and listen until the connection ends."""
        topic = f"{self.root}..feeds."  # of any agent, and any feed
        listener = Listener(self.realm, topic, self._hear, self._tell_of_subscription)
        self._agents: dict[str, float] = {}
        self._joined_at = time.monotonic()
        looking = LoopingCall(self._look_for_agents)
        looking.clock = self.service.reactor
        looking.start(1.0, now=False)
        try:
            await listener.listen(self.service.reactor, self.url)
        finally:
            looking.stop()

    def _tell_of_subscription(self) -> None:
        self.trouble, self._joined_at = None, time.monotonic()
        self.log.info("subscribed to {root} at {url}", root=self.root, url=self.url)

    def _look_for_agents(self) -> None:
        """Log which agents have stopped sending heartbeats; report if no agent sends any."""
        now = time.monotonic()
        for agent in [name for name, at in self._agents.items() if now - at > SILENCE]:
            del self._agents[agent]
            self.log.warn("the agent {agent} is gone", agent=agent)
        if not self._agents and not self.trouble and now - self._joined_at > SILENCE:
            self.trouble = f"no agent of {self.root!r} sends a heartbeat: see --address-root"
            self._warned(self.trouble)

    def _hear(self, *args: Any, **_: Any) -> None:
        """Take a feed's event: a message, and the description of the feed."""
        try:
            ((message, feed),) = args
            agent = feed["agent_address"].removeprefix(f"{self.root}.")
            if feed["feed_name"] == "heartbeat":
                self._take_heartbeat(agent, feed.get("agent_class"), message)
            elif feed["record"]:
                self._take_blocks(f"{agent}.{feed['feed_name']}", message)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._warned(f"a message of a feed is lost: {type(error).__name__}: {error}")

    def _take_heartbeat(self, agent: str, kind: Any, states: dict[str, int]) -> None:
        if agent not in self._agents:
            self.log.info("the agent {agent} ({kind}) is there", agent=agent, kind=kind)
        self._agents[agent] = time.monotonic()
        line = f"{agent}.heartbeat"
        values = {f"{line}.{name}": state for name, state in states.items()}
        self._describe(values, interval=1.0, stale_after=SILENCE, labels=LABELS)
        self.push(values, timeline=line)

    def _take_blocks(self, feed: str, blocks: dict[str, dict[str, Any]]) -> None:
        for name, block in blocks.items():
            values = {f"{feed}.{field}": column for field, column in block["data"].items()}
            self._describe(values)
            self.push(values, np.array(block["timestamps"], dtype="<f8"), f"{feed}.{name}")

    def _describe(self, values: dict[str, Any], **known: Any) -> None:
        """Add the descriptions of new fields."""
        for name in values:
            if name not in self.fields:
                self.fields[name] = known | self._described[name]


if __name__ == "__main__":
    sisock.run(OcsFeeds)
