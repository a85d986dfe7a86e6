"""Run Crossbar in a small process that survives whatever its clients send or fail to read.

`sisock.router.launch` starts Crossbar with this module. Placeholders replace modules that Crossbar
imports but no router uses; `sisock.router.patches` replaces parts of Crossbar.
"""

from __future__ import annotations

import functools
import gc
import importlib
import runpy
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

UNUSED = (
    "cfxdb",
    "crossbar.edge.worker.router",
    "eth_utils.pydantic",
    "txtorcon",
    "web3",
    "xbr",
    "xbr._secmod",
    "yapf.yapflib.yapf_api",
)
"""Modules for Ethereum, Tor and so on, which take 30 MB in each process."""


class Placeholder(ModuleType):
    """A stand-in for a module that is not imported yet, or for a name in one.

    The module is imported when one of its names is called or becomes the parent of a class. Its
    submodules can be imported without it.
    """

    def __init__(self, module: str, *path: str) -> None:
        super().__init__(module)
        self._path = path
        if not path and "." not in module and (spec := find_spec(module)):
            self.__path__ = list(spec.submodule_search_locations or ())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(self.__name__, *self._path, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Import the module, and call the real object."""
        return self._load()(*args, **kwargs)

    def __ror__(self, other: Any) -> Any:
        return Any  # in the type of an argument

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._load())

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (self._load(),)

    def _load(self) -> Any:
        sys.modules.pop(self.__name__, None)
        if "." not in self.__name__:  # a submodule is imported without the others
            remove_placeholders()
        limit = sys.getrecursionlimit()
        found: Any = importlib.import_module(self.__name__)
        sys.setrecursionlimit(limit)  # py_ecc sets 100,000: parsing 40 kB of brackets takes 48 s
        return functools.reduce(getattr, self._path, found)


def remove_placeholders() -> None:
    """Make later imports find the real modules; Crossbar keeps the placeholders that it has."""
    for name in UNUSED:
        if not name.startswith("crossbar.") and isinstance(sys.modules.get(name), Placeholder):
            del sys.modules[name]


for unused in UNUSED:
    sys.modules.setdefault(unused, Placeholder(unused))

from crossbar import personality
from crossbar.node import main as command
from crossbar.node import node
from crossbar.worker.transport import create_router_transport
from twisted.internet import reactor

from sisock.connection.runtime import allow_open_files
from sisock.connection.transport import leave_log_texts_plain
from sisock.router import patches  # noqa: F401  replaces parts of what was imported

WORKER = "crossbar.worker.main"


class Node(node.Node):
    """Crossbar's controller, which starts workers in the way this process was started."""

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
        sys.setrecursionlimit(1000)  # Python's default; imports may have raised it (`Placeholder`)
        allow_open_files()
        leave_log_texts_plain()
        keep_freed_memory()
        # Exclude lasting objects from garbage collection: searching them blocks for 0.2 s.
        gc.collect()
        gc.freeze()
        return create_router_transport(worker, transport_id, config)


def keep_freed_memory() -> None:
    """Let the C library keep up to 34 MiB of freed memory for the next messages.

    Otherwise glibc returns it to the system, and getting it back takes up to half of a router's
    time. glibc keeps twice as much as the largest block that was ever freed, so this frees one.
    """
    _ = bytes(17 << 20)  # takes no memory, as nothing is written to it


def main() -> None:
    """Run Crossbar's own command line, or one of its workers."""
    if sys.argv[1].startswith("-"):
        remove_placeholders()
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
