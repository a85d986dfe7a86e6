"""A hub of 2018: Part 1 of the protocol, with Part 1's signatures and nothing else."""

from bare import Peer, parser, run, say, uri
from twisted.internet.task import react


class Hub(Peer):
    """Knows which data nodes there are, and tells the consumers."""

    def __init__(self, config):
        super().__init__(config)
        self.nodes = {}
        self.sessions = {}

    async def work(self):
        """Register the procedures."""
        await self.subscribe(self.on_leave, "wamp.session.on_leave")
        await self.register(self.add, uri("data_node.add"))
        await self.register(self.subtract, uri("data_node.subtract"))
        await self.register(self.get_data_node, uri("consumer.get_data_node"))
        say("hub ready")

    def add(self, name, description, session_id):
        """Add a node; False if the name is taken."""
        if name in self.nodes:
            return False
        self.nodes[name] = {"name": name, "description": description}
        self.sessions[name] = session_id
        self.publish(uri("consumer.data_node_added"), self.nodes[name])
        return True

    def subtract(self, name, session_id):
        """Subtract a node, if this session added it."""
        if name in self.nodes and self.sessions[name] == session_id:
            del self.sessions[name]
            self.publish(uri("consumer.data_node_subtracted"), self.nodes.pop(name))

    def get_data_node(self):
        """All nodes."""
        return list(self.nodes.values())

    def on_leave(self, session_id):
        """Subtract the nodes of a session that is gone."""
        for name in [name for name, owner in self.sessions.items() if owner == session_id]:
            self.subtract(name, session_id)


if __name__ == "__main__":
    react(run, [Hub, parser(__doc__, "server").parse_args()])
