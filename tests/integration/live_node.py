"""A live node of the tests' own process: they say when it takes samples, and answers."""

import math
import time
import uuid

from twisted.internet import defer

from sisock.connection.runtime import reactor_thread
from sisock.wire.protocol import node_uri

FIELDS = {"even": "fast", "text": "fast", "slow": "slow"}
T0 = math.floor(time.time()) + 1e6  # its clock may be ahead of ours


class Node:
    """A live node of the test's own: sample n of a timeline has the time T0 + n."""

    def __init__(self, member, features=("live", "binary")):
        self.name = f"told_{uuid.uuid4().hex}"
        self.member = member
        self.features = list(features)
        self.taken = {"fast": [], "slow": []}
        self.asked = []
        self.fields = FIELDS
        self.answers = self.describes = None
        member.do("register", self.get_fields, node_uri(self.name, "get_fields"))
        member.do("register", self.get_data, node_uri(self.name, "get_data"))
        self.add()

    def hold(self, reply):
        self.held.append((defer.Deferred(), reply))
        return self.held[-1][0]

    def hold_answers(self):
        """Answer no question for samples until `give_answers`."""
        self.held, self.answers = [], self.hold

    def hold_fields(self):
        """Answer no question for fields until `give_answers`."""
        self.held, self.describes = [], self.hold

    def give_answers(self):
        self.answers = self.describes = None
        for answer, reply in self.held:
            reactor_thread().callFromThread(answer.callback, reply)

    def add(self):
        assert self.member.add(self.name, features=self.features)

    def come_back(self):
        """Be heard of again, as after a lost connection."""
        self.member.subtract(self.name)
        self.add()

    def get_fields(self, start, end):
        field = {
            name: {
                "description": None,
                "timeline": line,
                "type": "string" if name == "text" else "number",
                "units": None,
            }
            for name, line in self.fields.items()
        }
        lines = {
            line: {"interval": None, "field": [name for name in field if FIELDS[name] == line]}
            for line in self.fields.values()
        }
        reply = [field, lines]
        return reply if self.describes is None else self.describes(reply)

    def get_data(self, field, start, end, **how):
        self.asked.append((field, start))
        reply = self.reply(field, start, end)
        return reply if self.answers is None else self.answers(reply)

    def reply(self, names, start, end):
        reply = {"data": {}, "timeline": {}}
        for name in names:
            t = [t for t in self.taken[FIELDS[name]] if start <= t < end]
            values = [value(name, each) for each in t]
            has_any = any(each is not None for each in values)
            reply["data"][name] = values if has_any else []
            if has_any:
                reply["timeline"][FIELDS[name]] = {"t": t, "finalized_until": None}
        return reply

    def take(self, *times, line="fast", is_published=True):
        """Take samples, and publish them or have them get lost on the way."""
        times = [T0 + float(t) for t in times]
        self.taken[line] += times
        if is_published:
            names = [name for name in FIELDS if FIELDS[name] == line]
            data = {name: [value(name, t) for t in times] for name in names}
            self.publish({"data": data, "timeline": {line: {"t": times}}})

    def publish(self, event):
        self.member.do("publish", node_uri(self.name, "data"), event)


def value(name, t):
    t -= T0
    if name == "even":
        return t if t % 2 == 0 else None
    return f"at {t:g}" if name == "text" else t
