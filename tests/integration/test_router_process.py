"""What the router's process leaves out of Crossbar, and has after all when it is used."""

import subprocess
import sys

LEFT_OUT = """
import sys
from sisock.router import process
from crossbar.router.auth import cryptosign

assert not {"aiohttp", "pydantic", "web3.main"} & set(sys.modules)
"""

USED = (
    LEFT_OUT
    + """
limit = sys.getrecursionlimit()
assert cryptosign.parse_certificate_chain([]) == []
address = cryptosign.web3.Web3.toChecksumAddress("0x" + "ab" * 20)
assert address == "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB", address
assert sys.getrecursionlimit() == limit
"""
)

OF_A_COMPONENT = (
    LEFT_OUT
    + """
process.remove_placeholders()
import web3
assert isinstance(web3.__version__, str)
"""
)


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_crossbar_imports_in_vain_is_there_when_it_is_used():
    run(USED)


def test_a_component_imports_the_modules_themselves():
    run(OF_A_COMPONENT)
