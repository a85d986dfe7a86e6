"""Node classes of 2018 and 2019 run with `sisock.run`, and every sample is right."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from twisted.internet import defer

from sisock.connection.reconnect import RouterConnection
from sisock.connection.runtime import reactor_thread
from sisock.testing import wait_until
from tests.conftest import TOP, in_reactor, wait_for_nodes
from tests.integration.peers import data, results
from tests.old_nodes import FEED, START


def old(start, router, kind):
    return start(router, "tests/old_nodes.py", kind, PYTHONPATH=str(TOP))


def publish(router, message):
    """Publish as an agent does; the session ends again."""
    published = defer.Deferred()
    reactor = reactor_thread()

    async def joined(session):
        session.publish(FEED, message)
        published.callback(None)

    connection = RouterConnection(router.settings("server"), joined, reactor=reactor)

    async def work():
        running = defer.ensureDeferred(connection.run())
        await published
        await connection.stop()
        await running

    in_reactor(work)


def test_fields_of_one_timeline_come_at_their_own_times(router, client, start):
    old(start, router, "weather")
    wait_for_nodes(client, "old_weather")
    got = client.get("old_weather", ["wind", "rain"], start=START, end=START + 240)
    for name, minutes in (("wind", [0, 1, 2]), ("rain", [0, 2, 3])):
        there = np.isfinite(got[name].values)
        assert got[name].t[there].tolist() == [START + 60 * m for m in minutes]
        assert got[name].values[there].tolist() == [100.0 + m for m in minutes]
    ((reply,)) = results(router, data("old_weather", ["wind", "rain"], START, START + 240))
    assert reply["data"]["rain"] == [100.0, None, 102.0, 103.0], "as a peer of that time has it"
    assert reply["timeline"]["minutes"]["t"] == [START + 60 * m for m in range(4)]


def test_a_node_that_reads_in_threads_and_ignores_times_is_clipped(router, client, start):
    old(start, router, "radiometer")
    wait_for_nodes(client, "old_radiometer")
    got = client.get("old_radiometer", "pwv", start=START + 60, end=START + 180)["pwv"]
    assert got.values.tolist() == [1.0, 2.0]
    assert got.units == "mm"


def test_a_node_that_subscribes_does_so_again_after_each_join(own_router, start):
    from sisock.client.client import Client

    node = old(start, own_router, "thermometry")
    node.wait_for("subscribed")
    with Client(own_router.settings()) as client:
        wait_for_nodes(client, "old_thermometry")
        publish(own_router, {"a": 1.5, "b": 2.5})
        wait_until(lambda: len(client.fields("old_thermometry")) == 2, 30, "the fields")
        own_router.stop()
        own_router.start()
        wait_until(lambda: node.output.count("subscribed") == 2, 30, "the second subscription")
        wait_for_nodes(client, "old_thermometry")
        publish(own_router, {"a": 3.5})
        wait_until(lambda: len(client.get("old_thermometry", "a")["a"]) == 2, 30, "the sample")
        got = client.get("old_thermometry", ["a", "b"])
        assert got["a"].values.tolist() == [1.5, 3.5]
        assert got["b"].values.tolist() == [2.5]
    assert "Traceback" not in node.output


OLD_CONSUMER = """
import os
import sys
from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp import auth
from OpenSSL import crypto
from twisted.internet import reactor
from twisted.internet._sslverify import OpenSSLCertificateAuthorities
from twisted.internet.ssl import CertificateOptions


class consumer(ApplicationSession):
    def onConnect(self):
        self.join(self.config.realm, ["wampcra"], "simonsobs")

    def onChallenge(self, challenge):
        return auth.compute_wcs(os.environ["SECRET"], challenge.extra["challenge"])

    def onJoin(self, details):
        print("an old consumer has joined", file=sys.__stdout__, flush=True)


cert = crypto.load_certificate(crypto.FILETYPE_PEM, open(".crossbar/server_cert.pem").read())
opt = CertificateOptions(trustRoot=OpenSSLCertificateAuthorities([cert]))
ApplicationRunner(os.environ["URI"], "sisock", ssl=opt).run(consumer)
"""


def test_an_old_part_trusts_our_ca_under_the_name_of_its_certificate(router, tmp_path):
    (tmp_path / ".crossbar").mkdir()
    shutil.copy(router.home.ca_certificate, tmp_path / ".crossbar" / "server_cert.pem")
    secret = router.home.secret_file("simonsobs").read_text().strip()
    where = f"wss://127.0.0.1:{router.port}/ws"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OLD_CONSUMER],
        cwd=tmp_path,
        env={"URI": where, "SECRET": secret},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            lines = iter(program.stdout.readline, "")
            assert any("an old consumer has joined" in line for line in lines)
        finally:
            program.kill()


@pytest.mark.parametrize("realm", ["sisock", "test_realm"])
def test_the_old_names_are_there(realm):
    script = (
        "import sisock, json; b = sisock.base; print(json.dumps([sisock.REALM, b.REALM, b.BASE_URI,"
        " b.uri('x'), sisock.uri('x'), b.sisock_to_unix_time(5), sisock.sisock_to_unix_time(5)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"WAMP_REALM": realm}, capture_output=True, text=True
    )
    base = "org.simonsobservatory"
    assert json.loads(done.stdout) == [realm, realm, base, base + ".x", base + ".x", 5, 5]
