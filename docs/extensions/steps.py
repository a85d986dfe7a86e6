"""Show a step of a tutorial with the lines marked that are new: ``{step} step02.py``.

The page holds the step's code, for who reads it as Markdown; it must be that of the file.
"""

import difflib
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class Step(SphinxDirective):
    """Show the program in the page's folder, compared with the step before it."""

    required_arguments = 1
    has_content = True

    def run(self):
        """Return the program's code, and a link to its file."""
        path = Path(self.get_source_info()[0]).with_name(self.arguments[0])
        before = path.with_name(f"step{int(path.stem[-2:]) - 1:02}.py")
        for each in filter(Path.exists, (path, before)):
            self.env.note_dependency(str(each))
        text = path.read_text()
        if [*self.content] != text.splitlines():
            raise self.error(f"the page's code differs from {path.name}: copy it from there")
        code = nodes.literal_block(text, text, language="python", caption=path.name)
        # A step that is a file of its own has nothing in common with the one before it.
        if before.exists() and "sisock.run(" in text:
            code["highlight_args"] = {"hl_lines": new_lines(before.read_text(), text)}
        caption = nodes.caption("", path.name)
        return [
            nodes.container(
                "", caption, code, literal_block=True, classes=["literal-block-wrapper"]
            )
        ]


def new_lines(before, after):
    """Return the numbers of the lines that are not in the text before."""
    changes = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    return [
        number + 1
        for kind, _, _, first, last in changes.get_opcodes()
        if kind != "equal"
        for number in range(first, last)
    ]


def setup(app):
    """Register the directive, as Sphinx wants it."""
    app.add_directive("step", Step)
    return {"parallel_read_safe": True}
