"""The pytest plugin: a fixture with a real router, for the tests of node authors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sisock.testing import RouterProcess


@pytest.fixture(scope="session")
def sisock_router() -> Iterator[RouterProcess]:
    """A real router with its hub, which all tests share; see `sisock.testing.RouterProcess`.

    Needs the extra ``router``. Tests should leave no node behind: use `sisock.testing.serve_node`.
    """
    # Imported here, as pytest loads this file in every project.
    from sisock.testing import RouterProcess

    with RouterProcess() as router:
        yield router
