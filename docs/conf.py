"""Build the documents with Sphinx: ``make docs``. It needs no network, and warnings are errors."""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "sisock"
copyright = "the sisock developers"
author = "the sisock developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "derived", "sections", "steps"]
exclude_patterns = ["_build", "extensions"]

# Links between documents, and to headings, work on GitHub too.
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]

autodoc_typehints = "none"  # numpydoc's sections name the types
autodoc_member_order = "bysource"
autodoc_mock_imports = ["pyarrow"]
numpydoc_show_class_members = False
default_role = "py:obj"  # a name in single backticks is a link where it is documented

html_theme = "pydata_sphinx_theme"
html_title = "sisock"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
html_copy_source = False


def setup(app):
    """Show samples of files as they are."""
    for language in ("csv", "log"):
        app.add_lexer(language, TextLexer)
