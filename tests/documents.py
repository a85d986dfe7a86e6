"""The documents, for the tests that hold them to their word."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import TOP


def pages() -> list[Path]:
    """Return all documents, those outside docs/ included."""
    made = TOP / "docs" / "_build"
    below = [path for path in TOP.glob("docs/**/*.md") if not path.is_relative_to(made)]
    return [*TOP.glob("*.md"), *sorted(below)]


def page(name: str) -> str:
    """Return the text of the one page in docs/ with this file name, wherever it is."""
    (path,) = (path for path in pages() if path.name == name and path.parent != TOP)
    return path.read_text()


def blocks(text: str, *languages: str) -> list[str]:
    """Return the code of all blocks in one of these languages, in order."""
    names = "|".join(languages)
    return re.findall(rf"^```(?:{names})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def as_programs(text: str) -> str:
    """Return a text whose commands start the files of sisock's own nodes."""
    return re.sub(r"\bsisock node (\w+)", r"python data_nodes/\1.py", text)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[tuple[str, str]]:
    """Return file and anchor of each link that stays in the repository; either may be empty."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)", prose)


def steps(text: str) -> list[tuple[str, str, str]]:
    """Return the shell blocks that a comment says to run: how, with what argument, and the code.

    ``<!-- run -->`` stands above a block that must succeed, ``<!-- run: TEXT -->`` above one that
    must also print a text, after some time at most; with ``try`` it may fail, too.
    ``<!-- start: NODE -->`` stands above a program that goes on and makes a node appear.
    """
    found = re.findall(
        r"^<!-- (run|try|start)(?:: (.*?))? -->\n```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    return [(how, argument, code) for how, argument, code in found]
