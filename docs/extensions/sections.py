"""Make the table of contents of each section from the links of its README, in their order."""

import re
from pathlib import Path

_LINK = re.compile(r"\]\((?![a-z]+:)([^)#]+)\.md\)")

_CONTENTS = """

```{{toctree}}
:hidden:
:glob:

{entries}
```
"""


def add_contents(app, docname, source):
    """Append a hidden table of contents to an index: the pages that it links to, or else all."""
    if Path(docname).name not in ("README", "index"):
        return
    folder = Path(app.srcdir, docname).parent
    linked = [name for name in _LINK.findall(source[0]) if _is_below(folder, name)]
    source[0] += _CONTENTS.format(entries="\n".join(dict.fromkeys(linked) or ["*"]))


def _is_below(folder, name):
    return (folder / f"{name}.md").exists() and ".." not in name


def setup(app):
    """Register the event, as Sphinx wants it."""
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True}
