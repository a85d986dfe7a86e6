"""The JavaScript modules, by node's own test runner, against the real router."""

import os
import subprocess

import pytest

from sisock import Client
from sisock.testing import RouterProcess
from tests.conftest import TOP, wait_for_nodes


def run_node(*files, **variables):
    path = f"{os.environ['PATH']}:{TOP / '.venv/bin'}"
    return subprocess.run(
        ["node", "--test", *files],
        cwd=TOP / "js",
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_the_pure_modules():
    done = run_node(*sorted(str(path) for path in (TOP / "js/test").glob("*.test.js")))
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout


def test_the_page_is_small():
    sizes = {name: (TOP / "js/dist" / name).stat().st_size for name in ("page.js", "page.css")}
    assert sum(sizes.values()) < 200_000, sizes


@pytest.fixture
def lonely_router():
    with RouterProcess() as router:
        yield router


def test_the_client_module_against_a_router(lonely_router, start):
    names = ["js_big", "js_odd", "js_ticker"]
    for name in names:
        start(lonely_router, "tests/nodes.py", name.removeprefix("js_"), "--name", name)
    with Client(lonely_router.settings()) as client:
        wait_for_nodes(client, *names)
    done = run_node(
        "test/router/sisock.test.js",
        SISOCK_URL=f"wss://localhost:{lonely_router.port}/ws",
        SISOCK_SECRET=lonely_router.home.secret_file("simonsobs").read_text().strip(),
        NODE_EXTRA_CA_CERTS=str(lonely_router.home.ca_certificate),
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 12" in done.stdout
