"""A wheel, installed into an environment of its own, starts router and demo in an empty folder."""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import pytest

from sisock.testing import free_port, wait_until
from tests.conftest import TOP

IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", "build", "dist", "*.egg-info", "__pycache__", ".*_cache"
)
SCRIPT = "#!{python}\nfrom crossbar import run\nrun()\n"


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with the wheel, and what it depends on by reference."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(TOP, folder / "source", ignore=IGNORED)
    shutil.copytree(TOP / "js" / "dist", folder / "source" / "js" / "dist")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation",
        "--wheel-dir", folder, folder / "source")  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # Of a folder that is added like this no .pth is read: the repository itself stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    crossbar = python.with_name("crossbar")
    crossbar.write_text(SCRIPT.format(python=python))
    crossbar.chmod(0o755)
    return python


@pytest.fixture
def start_module(python):
    """Start a module with an empty folder as working directory and home."""
    # A Unix socket's path has to be short, so not in tmp_path.
    folder = Path(tempfile.mkdtemp(prefix="sisock-wheel-"))
    ports = {"CROSSBAR_TLS_PORT": str(free_port()), "PORT": str(free_port())}
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **ports}
    processes = []

    def start(*words):
        with open(folder / "log", "ab") as log:
            command = [str(python), "-m", *words]
            processes.append(
                subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
            )
        return processes[-1], folder / "log", ports

    yield start
    for process in processes:
        process.terminate()
        process.wait(20)
    shutil.rmtree(folder)


def page_of(port):
    command = ["curl", "--insecure", "--silent", f"https://127.0.0.1:{port}/"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout


def test_the_router_starts_and_serves_the_page(start_module):
    made, log, _ = start_module("sisock.cli", "certs")
    assert made.wait(30) == 0, log.read_text()
    router, log, ports = start_module("sisock.router")

    def serves():
        assert router.poll() is None, log.read_text()
        return "page.js" in page_of(ports["CROSSBAR_TLS_PORT"])

    wait_until(serves, 60, "the page")


def test_the_demo_becomes_ready(start_module):
    demo, log, _ = start_module("sisock.demo")

    def ready():
        assert demo.poll() is None, log.read_text()
        return "\nready: " in log.read_text()

    wait_until(ready, 60, "the line ready:")


def test_all_modules_come_from_the_wheel(python):
    script = (
        "import sisock, sisock_nodes, sisock_programs as p;"
        "print(sisock.__file__, sisock_nodes.__path__[0], p.__path__[0])"
    )
    done = subprocess.run([python, "-c", script], cwd="/", capture_output=True, text=True)
    assert all(word.startswith(str(python.parents[1])) for word in done.stdout.split()), done
    assert len(done.stdout.split()) == 3
