"""Nodes of the original system, of 2018 and 2019, each with its oddity.

Prints `asked <fields> <start> <end>` at each call of get_data.
"""

import json

from bare import Peer, parser, run, say, unix_time, uri
from twisted.internet.task import react

START = 1_500_000_000.0

MINUTES = range(60)
FILES = {"a": {20}, "b": {40}, "c": set()}
"""Field of the weather node to the minutes that its file lacks."""


def field(timeline):
    """A field's entry."""
    return {"description": None, "timeline": timeline, "type": "number", "units": None}


def value(name, minute):
    """The sample of a field at a minute."""
    return 1000.0 * "abc".index(name) + minute


class Weather:
    """2018: one file a field, and one of their times for all fields of a request."""

    def get_fields(self):
        """All of one timeline."""
        lines = {"minutely": {"interval": 60.0, "field": list(FILES)}}
        return {name: field("minutely") for name in FILES}, lines

    def get_data(self, names, start, end):
        """The times of the last field."""
        data, line = {}, {}
        for name in names:
            have = [m for m in MINUTES if m not in FILES[name]]
            have = [m for m in have if start <= START + 60 * m < end]
            data[name] = [value(name, m) for m in have]
            line = {"minutely": {"t": [START + 60 * m for m in have], "finalized_until": None}}
        return {"data": data, "timeline": line}


class G3Reader:
    """2019: the reply has timelines of its own, which list their fields."""

    lists = True

    def get_fields(self):
        """Timelines by group of channels."""
        lines = {"Ch 1-2": {"interval": 1.0, "field": ["a", "b"]}}
        lines["Ch 3"] = {"interval": 1.0, "field": ["c"]}
        return {name: field(line) for line in lines for name in lines[line]["field"]}, lines

    def get_data(self, names, start, end):
        """A group a kind of channel, numbered in each reply."""
        data, lines = {}, {}
        for group in (["a", "b"], ["c"]):
            own = [name for name in names if name in group]
            have = [m for m in MINUTES if start <= START + m + len(group) / 10 < end]
            if own:
                data |= {name: [value(name, m) for m in have] for name in own}
                t = [START + m + len(group) / 10 for m in have]
                about = {"t": t, "finalized_until": START + 60}
                lines[f"group{len(lines)}"] = {**about, **({"fields": own} if self.lists else {})}
        return {"data": data, "timeline": lines}


class Unmatched(G3Reader):
    """The same, but its timelines do not say whose they are."""

    lists = False


class ApexWeather:
    """2019: a timeline names its one field as a string."""

    def get_fields(self):
        """One field."""
        return {"pwv": field("pwv")}, {"pwv": {"interval": None, "field": "pwv"}}

    def get_data(self, names, start, end):
        """A sample a minute."""
        have = [m for m in MINUTES if start <= START + 60 * m < end]
        line = {"t": [START + 60 * m for m in have], "finalized_until": None}
        return {"data": {"pwv": [m / 10 for m in have]}, "timeline": {"pwv": line}}


class Radiometer(ApexWeather):
    """2019: returns all that it has, whatever is asked for."""

    def get_data(self, names, start, end):
        """Everything."""
        return super().get_data(names, 0, START + 1e9)


KINDS = {
    "weather": Weather,
    "g3_reader": G3Reader,
    "unmatched": Unmatched,
    "apex_weather": ApexWeather,
    "radiometer": Radiometer,
}


class Node(Peer):
    """Serves one of KINDS."""

    async def work(self):
        """Register the two procedures, then add the node to the hub."""
        name, kind = self.config.extra.name, KINDS[self.config.extra.kind]()

        def get_fields(start, end):
            return kind.get_fields()

        def get_data(names, start, end, min_stride=None):
            say(f"asked {json.dumps([names, start, end])}")
            return kind.get_data(names, unix_time(start), unix_time(end))

        await self.register(get_fields, uri(f"consumer.{name}.get_fields"))
        await self.register(get_data, uri(f"consumer.{name}.get_data"))
        added = await self.call(uri("data_node.add"), name, "original", self.session_id)
        say(f"added {added}")


if __name__ == "__main__":
    arguments = parser(__doc__, "server")
    arguments.add_argument("--name", required=True)
    arguments.add_argument("--kind", required=True, choices=sorted(KINDS))
    react(run, [Node, arguments.parse_args()])
