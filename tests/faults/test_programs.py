import shutil

import pytest

from sisock.client.client import Client
from sisock.connection.settings import Home
from sisock.router.credentials import make_certificates, make_credentials
from sisock.testing import RouterProcess
from tests.conftest import TOP, wait_for_nodes
from tests.faults.helpers import TICKER, WEATHER, promised_list, promised_presence

HUB = ["hub.py"]
WRONG = "a-wrong-secret-of-a-test"

every_program = pytest.mark.parametrize(
    "command", [WEATHER, TICKER, HUB], ids=["archive", "live", "hub"]
)
node_and_hub = pytest.mark.parametrize("command", [WEATHER, HUB], ids=["node", "hub"])


def secret_of(router: RouterProcess, user: str = "server") -> str:
    return router.home.secret_file(user).read_text().strip()


def assert_ended_with_a_sentence(program, *words: str) -> None:
    """Status 1, and the last line says why; a log may come before it, but no traceback."""
    assert program.wait() == 1
    output = program.output
    last = output.splitlines()[-1]
    for word in words:
        assert word in last
    assert "Traceback" not in output and "ApplicationError" not in output
    assert output.count(words[0]) == 1, "it is said once"


@pytest.fixture
def empty_home(tmp_path):
    home = Home(tmp_path / "home")
    home.path.mkdir()
    return home


def borrow_secret(router: RouterProcess, home: Home) -> None:
    """Give a home the secret of a router's own, and nothing else."""
    home.secret_file("server").parent.mkdir()
    shutil.copy(router.home.secret_file("server"), home.secret_file("server"))


@every_program
def test_a_refused_secret_ends_a_program_with_a_sentence(router, start, command):
    program = start(router, *command, WAMP_SECRET=WRONG)
    assert_ended_with_a_sentence(
        program, "refuses the user 'server'", "environment (WAMP_SECRET)", "sisock config"
    )
    assert WRONG not in program.output and secret_of(router) not in program.output


@node_and_hub
def test_a_refused_secret_is_not_printed_even_at_debug(router, start, command):
    program = start(router, *command, WAMP_SECRET=WRONG, LOGLEVEL="debug")
    assert program.wait() == 1
    # Threads that end may add to it at that level.
    assert "refuses the user 'server'" in program.output
    assert WRONG not in program.output and secret_of(router) not in program.output


@node_and_hub
def test_an_unknown_user_ends_a_program_with_a_sentence(router, start, command):
    program = start(router, *command, user="nobody", WAMP_SECRET=WRONG)
    assert_ended_with_a_sentence(program, "refuses the user 'nobody'")
    assert WRONG not in program.output


@pytest.mark.parametrize("command", [WEATHER, TICKER], ids=["archive", "live"])
def test_a_consumer_that_wants_to_serve_data_ends_with_a_sentence(router, start, command):
    program = start(router, *command, "--name", "of_a_consumer", user="simonsobs")
    assert_ended_with_a_sentence(program, "this user may not serve data", "WAMP_USER")
    assert secret_of(router, "simonsobs") not in program.output


def test_a_consumer_that_wants_to_be_the_hub_ends_with_a_sentence(router, start):
    program = start(router, *HUB, user="simonsobs")
    assert_ended_with_a_sentence(program, "WAMP_USER")


@every_program
def test_a_missing_secret_ends_a_program_with_a_sentence(router, start, empty_home, command):
    program = start(router, *command, SISOCK_HOME=str(empty_home.path))
    assert_ended_with_a_sentence(
        program, "there is no secret for the user 'server'", "WAMP_SECRET", "credentials/server"
    )


TALKATIVE = f"""
import sys
sys.path.insert(0, {str(TOP)!r})
import sisock

class Talkative(sisock.LiveNode):
    name = "talkative"
    fields = {{"x": {{}}}}

    def begin(self, service):
        self.log.warn("it has begun")

    def read(self):
        self.log.warn("it has begun")
        return {{"x": 1}}

sisock.run(Talkative)
"""


def test_no_node_begins_its_work_without_a_secret(router, start, empty_home, tmp_path):
    path = tmp_path / "talkative.py"
    path.write_text(TALKATIVE)
    program = start(router, path, SISOCK_HOME=str(empty_home.path))
    assert_ended_with_a_sentence(program, "there is no secret for the user 'server'")
    assert "it has begun" not in program.output


@node_and_hub
def test_a_secret_file_that_cannot_be_read_is_named(router, start, tmp_path, command):
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.touch()
    for path, why in ((missing, "cannot be read"), (empty, "empty")):
        program = start(router, *command, WAMP_SECRET_FILE=str(path))
        assert_ended_with_a_sentence(program, str(path), why)


def test_a_node_waits_for_the_ca_certificate_that_it_lacks(router, start, client, empty_home):
    name = "without_ca"
    borrow_secret(router, empty_home)
    node = start(router, *WEATHER, "--name", name, SISOCK_HOME=str(empty_home.path))
    node.wait_for(f"put its CA's into {empty_home.ca_certificate}; trying again")
    empty_home.ca_certificate.parent.mkdir()
    shutil.copy(router.home.ca_certificate, empty_home.ca_certificate)
    promised_presence(client, name)
    assert "Traceback" not in node.output


def test_a_node_that_trusts_another_installations_ca_doubts_it(router, start, client, empty_home):
    name = "with_other_ca"
    borrow_secret(router, empty_home)
    make_certificates(empty_home)
    node = start(router, *WEATHER, "--name", name, SISOCK_HOME=str(empty_home.path))
    node.wait_for(f"is {empty_home.ca_certificate} the CA of this router?; trying again")
    shutil.copy(router.home.ca_certificate, empty_home.ca_certificate)
    promised_presence(client, name)
    assert "Traceback" not in node.output


@node_and_hub
def test_a_ca_file_that_is_no_certificate_ends_a_program_with_a_sentence(
    router, start, empty_home, command
):
    borrow_secret(router, empty_home)
    empty_home.ca_certificate.parent.mkdir()
    empty_home.ca_certificate.write_text("this is not PEM")
    program = start(router, *command, SISOCK_HOME=str(empty_home.path))
    assert_ended_with_a_sentence(program, f"{empty_home.ca_certificate} is not a certificate")


def test_programs_wait_for_a_certificate_with_the_routers_name(start):
    address = "127.0.0.2"
    with RouterProcess(hub=False) as router:
        node, hub = (start(router, *command, CROSSBAR_HOST=address) for command in (WEATHER, HUB))
        for program in (node, hub):
            program.wait_for(f"its certificate is not for {address}: on its computer run")
            program.wait_for("trying again")
        router.stop()
        make_certificates(router.home, names=[address])
        router.start()
        with Client(router.settings()) as client:
            promised_list(client, "apex_archive")
        assert node.process.poll() is hub.process.poll() is None


def test_another_installations_secrets_do_not_open_this_router(router, start, client, empty_home):
    make_credentials(empty_home)
    shutil.copytree(router.home.path / "tls", empty_home.path / "tls")
    node = start(router, *WEATHER, "--name", "stranger", SISOCK_HOME=str(empty_home.path))
    assert_ended_with_a_sentence(
        node, "refuses the user 'server'", str(empty_home.secret_file("server"))
    )
    beside = "beside_the_stranger"
    start(router, *WEATHER, "--name", beside)
    wait_for_nodes(client, beside)
    assert "stranger" not in [node.name for node in client.nodes()]
