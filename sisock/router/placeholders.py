"""Stand for modules that Crossbar imports and no router uses: Ethereum, Tor, 30 MB a process.

One is imported after all when a name of it is called, or is the parent of a class.
"""

from __future__ import annotations

import functools
import importlib
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


class _Placeholder(ModuleType):
    """A module that is not imported yet, though its submodules can be, or a name of one."""

    def __init__(self, module: str, *path: str) -> None:
        super().__init__(module)
        self._path = path
        if not path and "." not in module:
            spec = find_spec(module)
            self.__path__ = list(spec.submodule_search_locations or ()) if spec else []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder(self.__name__, *self._path, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._load()(*args, **kwargs)

    def __ror__(self, other: Any) -> Any:
        return Any  # in the type of an argument

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._load())

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (self._load(),)

    def _load(self) -> Any:
        sys.modules.pop(self.__name__, None)
        if "." not in self.__name__:  # a part of a package is imported without the rest
            remove()
        limit = sys.getrecursionlimit()
        found: Any = importlib.import_module(self.__name__)
        sys.setrecursionlimit(limit)  # py_ecc sets 100,000: 40 kB of brackets then take 48 s
        return functools.reduce(getattr, self._path, found)


def install() -> None:
    """Put the placeholders where the modules would be; call it before Crossbar is imported."""
    for name in UNUSED:
        if name not in sys.modules:
            sys.modules[name] = _Placeholder(name)


def remove() -> None:
    """Let who imports such a module from now on have it; Crossbar keeps its placeholders."""
    for name in UNUSED:
        if not name.startswith("crossbar.") and isinstance(sys.modules.get(name), _Placeholder):
            del sys.modules[name]
