"""The demo as containers, built once and kept for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sisock.testing import free_port
from tests.compose.project import SERVICES, Outside, Project, copy_tree, docker

DECOY = "a-secret-beside-the-programs"
"""Lies about in the tree that the images are built from, as credentials of `make demo` might."""

DECOYS = (
    ".env.old",
    ".sisock/credentials/server",
    "sisock-home/tls/ca_key.pem",
    ".crossbar/key.priv",
    "data_nodes/password.txt",
    "sisock/.env",
    "js/.npmrc",
)
"""Where it lies: also in the folders of which the images get something."""

NAME = f"sisock-test-{os.getpid()}"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the repository, with decoys where secrets might lie about."""
    folder = tmp_path_factory.mktemp("tree")
    copy_tree(folder)
    for name in DECOYS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(DECOY)
    return folder


@pytest.fixture(scope="session")
def images(tree: Path) -> Iterator[str]:
    """The images, built from that tree; returns their tag."""
    project = Project(tree, NAME, NAME)
    project.compose("build", "sisock-crossbar", "sisock-http", "credentials", "sisock-balancer")
    yield NAME
    names = [f"sisock-{target}:{NAME}" for target in ("router", "bridge", "node", "balancer")]
    docker("rmi", "-f", *names, check=False)


@pytest.fixture(scope="session")
def gateway(images: str) -> str:
    """An address of this computer that containers of every network can reach."""
    script = (
        "import socket\n"
        "line = next(l.split() for l in open('/proc/net/route') if l.split()[1] == '00000000')\n"
        "print(socket.inet_ntoa(bytes.fromhex(line[2])[::-1]))"
    )
    return docker("run", "--rm", f"sisock-node:{images}", "python", "-c", script).strip()


@pytest.fixture(scope="session")
def project(
    tree: Path, images: str, gateway: str
) -> Iterator[Callable[..., tuple[Project, Outside]]]:
    """Make projects, each with ports of its own; all are removed in the end."""
    made: list[Project] = []

    def make(suffix: str, **variables: str) -> tuple[Project, Outside]:
        http = free_port()
        new = Project(
            tree,
            f"{NAME}-{suffix}",
            images,
            SISOCK_BIND=gateway,
            SISOCK_NAMES=f"{gateway} router.example.org",
            SISOCK_HTTP_PORT=str(http),
            SISOCK_BALANCER_PORT=str(free_port()),
            CROSSBAR_TLS_PORT=str(free_port()),
            GRAFANA_PORT=str(free_port()),
            GRAFANA_LATEST_PORT=str(free_port()),
            **variables,
        )
        made.append(new)
        return new, Outside(f"{gateway}:{http}")

    yield make
    for each in made:
        each.down()


@pytest.fixture(scope="session")
def demo(project: Callable[[str], tuple[Project, Outside]]) -> tuple[Project, Outside]:
    """The demo, up and healthy. Tests leave it so."""
    made, outside = project("demo")
    made.compose("up", "-d", *SERVICES)
    made.wait_until_healthy(*SERVICES)
    return made, outside
