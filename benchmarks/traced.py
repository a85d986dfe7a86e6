"""Note what a program passes through: ``python -m benchmarks.traced FILE PROGRAM [ARGUMENT …]``.

The program is a file or a module. At SIGUSR1 and at its end, what was noted since the start or the
last signal goes into FILE, as JSON: the modules of sisock of which a function was called, other
than by an import, and the number of WAMP calls that the process made.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

LIBRARY = str(Path(__file__).parent.parent / "sisock") + os.sep
WAMP_MESSAGES = os.path.join("autobahn", "wamp", "message.py")


class Trace:
    """Modules and WAMP calls of all threads that are started after it."""

    def __init__(self) -> None:
        self.clear()
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def clear(self) -> None:
        """Begin anew."""
        self._seen: set[CodeType] = set()
        self.calls = 0

    @property
    def modules(self) -> list[str]:
        """The modules passed through as paths within sisock/, without ``__init__`` and such."""
        paths = {code.co_filename.removeprefix(LIBRARY) for code in self._seen}
        return sorted(path for path in paths if not path.endswith("__.py"))

    def as_json(self) -> str:
        """Return what was noted."""
        return json.dumps({"modules": self.modules, "calls": self.calls})

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code in self._seen:
            return
        if code.co_filename.startswith(LIBRARY):
            if not _is_import(frame):
                self._seen.add(code)
        elif code.co_qualname == "Call.__init__" and code.co_filename.endswith(WAMP_MESSAGES):
            self.calls += 1


def _is_import(frame: FrameType | None) -> bool:
    """Return whether a module of sisock is being imported."""
    while frame is not None:
        code = frame.f_code
        is_module = code.co_name == "<module>" and frame.f_globals["__name__"] != "__main__"
        if is_module and code.co_filename.startswith(LIBRARY):
            return True
        frame = frame.f_back
    return False


def main() -> None:
    """Run a program."""
    file, program = Path(sys.argv[1]), sys.argv[2]
    del sys.argv[:2]
    trace = Trace()

    def write(*_: Any) -> None:
        new = file.with_suffix(".new")
        new.write_text(trace.as_json())
        new.rename(file)
        trace.clear()

    signal.signal(signal.SIGUSR1, write)
    try:
        if os.path.exists(program):
            sys.path[0] = str(Path(program).parent)
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        write()


if __name__ == "__main__":
    main()
