"""Hosts and certificates as the installations of 2018 and 2019 have them."""

import shutil
import subprocess
import sys

import pytest

from sisock.router.credentials import make_certificates
from sisock.testing import RouterProcess
from tests.conftest import TOP

NAMES = """
import socket

original = socket.getaddrinfo


def getaddrinfo(host, *rest, **options):
    known = host in ("sisock_crossbar", "other_name")
    return original("127.0.0.1" if known else host, *rest, **options)


socket.getaddrinfo = getaddrinfo
"""
"""In place of docker's name service, which knows containers by such names."""


@pytest.fixture
def sisock(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NAMES)

    def run(router, *words, **variables):
        environ = {**router.environ(), "PYTHONPATH": str(tmp_path), **variables}
        return subprocess.run(
            [sys.executable, "-m", "sisock.cli", *words],
            cwd=TOP,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_a_host_name_may_have_underscores_and_is_checked(sisock):
    router = RouterProcess()
    make_certificates(router.home, ["sisock_crossbar"])
    with router:
        done = sisock(router, "nodes", CROSSBAR_HOST="sisock_crossbar")
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("no data node is available"), "and no traceback"
        done = sisock(router, "doctor", CROSSBAR_HOST="sisock_crossbar")
        assert "BAD" not in done.stdout
        assert "not checked" not in done.stdout
        done = sisock(router, "nodes", CROSSBAR_HOST="other_name")
        assert "certificate is not for other_name" in done.stderr
        assert "BAD  TLS" in sisock(router, "doctor", CROSSBAR_HOST="other_name").stdout
        done = sisock(router, "nodes", CROSSBAR_HOST="no name")
        assert "CROSSBAR_HOST" in done.stderr


def test_a_certificate_without_names_works_and_doctor_says_so(sisock):
    router = RouterProcess()
    home = router.home
    # As the README of 2018 says.
    request = home.path / "request.pem"
    for command in (
        f"genrsa -out {home.server_key} 2048",
        f"req -new -key {home.server_key} -subj /CN=x -out {request}",
        f"x509 -req -days 365 -in {request} -signkey {home.server_key}"
        f" -out {home.server_certificate}",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    shutil.copy(home.server_certificate, home.ca_certificate)
    with router:
        done = sisock(router, "nodes")
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("no data node is available"), "and no traceback"
        done = sisock(router, "doctor")
        assert "BAD" not in done.stdout
        assert "the host is not checked" in done.stdout
        home.ca_certificate.unlink()
        assert "certificate" in sisock(router, "nodes").stderr, "it is of nobody's CA then"
