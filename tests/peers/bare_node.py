"""A data node of 2018: serves a made-up archive over Part 1 of the protocol."""

import json
import math

from bare import Peer, parser, run, say, unix_time, uri
from twisted.internet.task import react

START = 1_500_000_000.0

TIMELINES = {
    "archive": {"interval": 1.0, "samples": 1000},
    "slow": {"interval": 10.0, "samples": 100},
}

FIELDS = {
    name: {"description": description, "timeline": timeline, "type": kind, "units": units}
    for name, description, timeline, kind, units in [
        ("ramp", "half the seconds", "archive", "number", "V"),
        ("word", "three colours", "archive", "string", None),
        ("flag", None, "archive", "bool", None),
        ("holes", "each fifth is missing", "archive", "number", "K"),
        ("wave", "a sine", "slow", "number", "m"),
    ]
}

# The value of each field's sample number i.
FORMULAS = {
    "ramp": lambda i: 0.5 * i,
    "word": lambda i: ("red", "green", "blue")[i % 3],
    "flag": lambda i: i % 2 == 0,
    "holes": lambda i: None if i % 5 == 3 else 2.0 * i,
    "wave": lambda i: math.sin(i / 10),
}


class Node(Peer):
    """Serves TIMELINES and FIELDS."""

    async def work(self):
        """Register the two procedures, then add the node to the hub."""
        say(f"session {self.session_id}")
        name = self.config.extra.name
        await self.register(self.get_fields, uri(f"consumer.{name}.get_fields"))
        await self.register(self.get_data, uri(f"consumer.{name}.get_data"))
        added = await self.call(uri("data_node.add"), name, "bare peer", self.session_id)
        say(f"added {added}")

    def get_fields(self, start, end):
        """All fields, with or without samples in the interval."""
        timelines = {
            timeline: {
                "interval": TIMELINES[timeline]["interval"],
                "field": [name for name in FIELDS if FIELDS[name]["timeline"] == timeline],
            }
            for timeline in TIMELINES
        }
        return [FIELDS, timelines]

    def get_data(self, field, start, end, min_stride=None):
        """The samples in [start, end), at least `min_stride` seconds apart."""
        start, end = unix_time(start), unix_time(end)
        reply = {"data": {name: [] for name in field}, "timeline": {}}
        for name in [name for name in field if name in FIELDS]:
            timeline = FIELDS[name]["timeline"]
            interval = TIMELINES[timeline]["interval"]
            times = [START + interval * i for i in range(TIMELINES[timeline]["samples"])]
            inside = [i for i, t in enumerate(times) if start <= t < end]
            if any(FORMULAS[name](i) is not None for i in inside):
                kept = inside[:: max(1, math.ceil((min_stride or 0) / interval))]
                reply["data"][name] = [FORMULAS[name](i) for i in kept]
                t = [times[i] for i in kept]
                reply["timeline"][timeline] = {"t": t, "finalized_until": None}
        return reply if len(json.dumps(reply)) <= self.config.extra.allowance else False


if __name__ == "__main__":
    arguments = parser(__doc__, "server")
    arguments.add_argument("--name", default="bare", help="default: %(default)s")
    arguments.add_argument("--allowance", type=int, default=1_000_000, help="bytes of one reply")
    react(run, [Node, arguments.parse_args()])
