"""Run Crossbar in a small process that survives whatever its clients send or fail to read.

`sisock.router.launch` starts Crossbar with this module. Placeholders replace modules that Crossbar
imports but no router uses; `sisock.router.patches` replaces parts of Crossbar.
"""

from __future__ import annotations

import gc
import importlib
import runpy
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SECURITY = "xbr._secmod"

UNUSED = (
    "cfxdb",
    "crossbar.edge.worker.router",
    "eth_utils.pydantic",
    "txtorcon",
    "web3",
    "xbr",
    SECURITY,
    "yapf.yapflib.yapf_api",
)
"""Modules for Ethereum, Tor and so on, which take 30 MB in each process."""


class Placeholder(ModuleType):
    """A stand-in for a module that is never used, or for a name in one.

    Submodules can be imported without it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if "." not in name and (spec := find_spec(name)):
            self.__path__ = list(spec.submodule_search_locations or ())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self.__name__}.{name}")

    def __ror__(self, other: Any) -> Any:
        return Any  # in the type of an argument

    def __mro_entries__(self, bases: tuple) -> tuple:
        return ()


for unused in UNUSED:
    sys.modules[unused] = Placeholder(unused)

from crossbar import personality
from crossbar.node import main as command
from crossbar.node import node
from crossbar.worker.transport import create_router_transport
from twisted.internet import reactor

from sisock.connection.runtime import allow_open_files, keep_freed_memory
from sisock.connection.transport import leave_log_texts_plain
from sisock.router import patches  # noqa: F401  replaces parts of what was imported

WORKER = "crossbar.worker.main"


class Node(node.Node):
    """Crossbar's controller, which starts workers in the way this process was started."""

    def load_keys(self, *args: Any, **kwargs: Any) -> Any:
        """Load the keys of the node, with a module that only the controller uses."""
        del sys.modules[SECURITY]
        vars(node)["SecurityModuleMemory"] = importlib.import_module(SECURITY).SecurityModuleMemory
        return super().load_keys(*args, **kwargs)

    def boot(self) -> Any:
        """Start what is configured, and say when clients can join."""
        return super().boot().addCallback(lambda _: print("the router is ready", flush=True))

    def _extend_worker_args(self, args: list[str], options: Any) -> None:
        place = args.index(WORKER) - 1
        args[place : place + 2] = sys.orig_argv[1:3]


class Personality(personality.Personality):
    """Crossbar's personality with our controller; it prepares the process before listening."""

    Node = Node

    @staticmethod
    def create_router_transport(  # type: ignore[override]
        worker: Any, transport_id: str, config: Any
    ) -> Any:
        """Prepare the process before it listens; also in a proxy worker."""
        # Python's default. With the 100,000 of py_ecc, parsing 40 kB of brackets takes 48 s.
        sys.setrecursionlimit(1000)
        allow_open_files()
        leave_log_texts_plain()
        keep_freed_memory()
        # Exclude lasting objects from garbage collection: searching them blocks for 0.2 s.
        gc.collect()
        gc.freeze()
        return create_router_transport(worker, transport_id, config)


def main() -> None:
    """Run Crossbar's own command line, or one of its workers."""
    if sys.argv[1].startswith("-"):
        del sys.modules[WORKER]  # otherwise runpy warns about it
        runpy.run_module(WORKER, run_name="__main__")
    else:
        try:
            # It would print an empty line, logged with nothing but a time.
            vars(command).update(print=lambda *words: print(*words) if words else None)
            sys.exit(command.main("crossbar", sys.argv[1:], reactor, Personality))
        except SystemExit:
            # Crossbar exits with status 1 if a signal stopped the reactor: that is no error.
            if getattr(reactor, "_exitSignal", None) is None:
                raise
            sys.exit(0)
