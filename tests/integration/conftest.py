"""What several of these tests need."""

import uuid

import pytest

from tests.conftest import wait_for_nodes
from tests.integration.peers import start_bare


@pytest.fixture
def bare(router, start):
    """A node of the protocol's first part, known to our hub, of a name that no other test has."""
    name = f"bare_{uuid.uuid4().hex}"
    start_bare(start, router, "bare_node", f"--name={name}").wait_for("added True")
    return name


@pytest.fixture
def odd(router, client, start):
    """Start a node of tests/nodes.py, by default the one with every kind of trouble."""

    def serve(kind="odd", name=None):
        start(router, "tests/nodes.py", kind, "--name", name or kind)
        wait_for_nodes(client, name or kind)
        return name or kind

    return serve
