"""Chromium for the trial of delivery, and a router for another network."""

import pytest

from sisock.router.credentials import make_certificates
from tests.browser.conftest import browser as browser
from tests.faults.helpers import unstarted_router
from tests.faults.network import namespace


@pytest.fixture
def far():
    """A network of its own."""
    with namespace() as made:
        yield made


@pytest.fixture
def far_router(far):
    """A router that programs in the namespace can reach and believe."""
    with unstarted_router() as made:
        make_certificates(made.home, names=[far.near])
        yield made.start()
