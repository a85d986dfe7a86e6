"""The files of dist/, installed by pip into environments of their own."""

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import pytest

from sisock.testing import free_port, wait_until
from tests.conftest import TOP

INSTALLATION = 900
"""Seconds in which pip has installed crossbar: most of them it downloads."""


def built(pattern):
    (file,) = (TOP / "dist").glob(pattern)
    return file


class Environment:
    """A virtual environment, of which this is the interpreter."""

    def __init__(self, folder):
        venv.create(folder, symlinks=True)  # without pip, which is not ours
        self.bin = folder / "bin"
        (self.site,) = folder.glob("lib/python*/site-packages")

    def install(self, *words):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        command += ["--python", str(self.bin / "python"), "install", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLATION)
        assert done.returncode == 0, done.stdout + done.stderr


class Place:
    """An empty folder, also the home, in which commands of an environment are run."""

    def __init__(self, environment):
        # A Unix socket's path has to be short, so not in tmp_path.
        self.folder = Path(tempfile.mkdtemp(prefix="sisock-wheel-"))
        self.port, self.bridge_port = free_port(), free_port()
        self.environ = {
            "PATH": f"{environment.bin}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "CROSSBAR_TLS_PORT": str(self.port),
            "PORT": str(self.bridge_port),
            **{k: v for k, v in os.environ.items() if k.startswith("PIP_")},
        }
        self.log = self.folder / "log"
        self.processes = []

    def run(self, *words):
        return subprocess.run(
            words, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=120
        )

    def start(self, *words):
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self.environ, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def wait_for(self, text, process):
        def printed():
            assert process.poll() is None or text in self.log.read_text(), self.log.read_text()
            return text in self.log.read_text()

        wait_until(printed, 180, f"{text!r}")

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The wheel without any extra, and without pip."""
    environment = Environment(tmp_path_factory.mktemp("library") / "env")
    environment.install(built("*.whl"))
    return environment


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """The wheel with all that the demo needs."""
    environment = Environment(tmp_path_factory.mktemp("demo") / "env")
    environment.install(f"{built('*.whl')}[demo]")
    return environment


@pytest.fixture
def place():
    """Make an empty folder in which commands of an environment are run."""
    places = []

    def make(environment):
        places.append(Place(environment))
        return places[-1]

    yield make
    for each in places:
        each.end()
