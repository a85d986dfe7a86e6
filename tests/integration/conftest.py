"""What several of these tests need."""

import uuid

import pytest

from tests.integration.peers import start_bare


@pytest.fixture
def bare(router, start):
    """A node of the protocol's first part, known to our hub, of a name that no other test has."""
    name = f"bare_{uuid.uuid4().hex}"
    start_bare(start, router, "bare_node", f"--name={name}").wait_for("added True")
    return name
