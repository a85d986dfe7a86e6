"""The reference is complete, and each document can be found."""

import re
import shlex
import tomllib

import pytest
import yaml

import sisock
from sisock import errors
from sisock.bridge.app import ROUTES
from sisock.bridge.metrics import GAUGES, Metrics
from sisock.cli.main import EXAMPLES, PROGRAMS, allow_negative_times, make_parser
from sisock.wire import fields, protocol
from tests.conftest import TOP
from tests.documents import anchors, blocks, links, page, pages

SECTIONS = ("tutorial", "how-to", "how-to/sources", "reference", "explanation", "decisions")


def test_links_lead_somewhere():
    broken = []
    for path in pages():
        for file, anchor in links(path.read_text()):
            target = path.parent / file if file else path
            is_there = target.exists() and (not anchor or anchor in anchors(target.read_text()))
            broken += [] if is_there else [f"{path.relative_to(TOP)}: {file}#{anchor}"]
    assert broken == []


def test_the_documents_link_to_no_page_that_is_not_built_with_them():
    docs = TOP / "docs"
    for path in docs.glob("**/*.md"):
        targets = [(path.parent / file).resolve() for file, _ in links(path.read_text())]
        pages_outside = [t for t in targets if t.suffix == ".md" and not t.is_relative_to(docs)]
        assert pages_outside == [], path


@pytest.mark.parametrize("section", SECTIONS)
def test_each_page_is_in_the_list_of_its_section(section):
    folder = TOP / "docs" / section
    listed = {file for file, _ in links((folder / "README.md").read_text())}
    assert {path.name for path in folder.glob("*.md")} - {"README.md"} - listed == set()


def test_each_public_name_is_in_the_reference():
    text = page("python.md")
    missing = [n for n in sisock.__all__ if not re.search(rf"sisock\.{n}\b", text)]
    assert missing == []
    assert "automodule:: sisock.testing\n   :members:" in text  # all of its __all__


def test_each_symptom_names_what_doctor_checks():
    rows = re.findall(
        r"^\| (?!symptom|---)(.*?) \| (.*?) \|", page("troubleshooting.md"), re.MULTILINE
    )
    assert len(rows) >= 25
    checks = {check for _, names in rows if "none: " not in names for check in names.split(", ")}
    doctor = (TOP / "sisock/cli/doctor.py").read_text()
    assert [check for check in checks if not re.search(rf'f?"{check}[ :]', doctor)] == []


def test_each_quoted_message_is_one_of_ours():
    files = [*TOP.glob("sisock/**/*.py"), *TOP.glob("js/page/**/*.js")]
    source = re.sub(r'"\s+f?"', "", "".join(path.read_text() for path in files))
    rows = re.findall(r"^\| (.*?) \|", page("troubleshooting.md"), re.MULTILINE)
    quoted = [text for row in rows for text in re.findall(r'"([^"]+)"', row)]
    parts = [part.strip(" ,0123456789%") for text in quoted for part in re.split("[…(]", text)]
    assert [part for part in parts if part.strip(")") not in source] == []


def test_each_error_says_what_it_means_in_the_reference():
    assert "{derived} error_classes" in page("errors.md")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert [kind for kind in kinds if not vars(kind)["__doc__"]] == []


def test_each_metric_says_what_it_measures_in_the_reference():
    assert "{derived} metrics" in page("metrics.md")
    text, _ = Metrics().expose({name: {"": 0.0} for name in GAUGES})
    lines = text.decode().splitlines()
    kinds = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    said = {line.split()[2] for line in lines if re.match(r"# HELP \S+ \S+ \S", line)}
    assert "sisock_http_requests_total" in kinds
    assert kinds - said == set()


def test_each_module_whose_limits_are_in_the_reference_exists():
    names = " ".join(re.findall(r"^```{derived} limits (.+)$", page("limits.md"), re.M)).split()
    assert len(names) >= 5
    assert [n for n in names if not (TOP / f"{n.replace('.', '/')}.py").exists()] == []


def test_each_uri_of_an_error_is_in_the_reference():
    uris = {value for name, value in vars(protocol).items() if name.startswith("ERROR_")}
    text = page("errors.md")
    assert [uri for uri in uris - {protocol.ERROR_PREFIX} if f"`{uri}`" not in text] == []


def test_each_uri_of_a_call_is_in_the_protocol():
    text = "".join(path.read_text() for path in (*TOP.glob("sisock/**/*.py"), *TOP.glob("*.py")))
    tails = set(re.findall(r'\buri\("([a-z_.]+)"\)', text))
    tails |= {f"<name>.{verb}" for verb in re.findall(r'node_uri\([^()"]*"([a-z_]+)"\)', text)}
    assert {"consumer.get_data_node", "data_node.add", "<name>.data", "<name>.get_data"} <= tails
    known = page("protocol.md")
    assert [tail for tail in tails if f"{tail.rpartition('.')[2]}`" not in known] == []


def test_each_route_is_in_the_reference():
    assert [route for route in ROUTES if f"`{route}`" not in page("http.md")] == []


def test_each_flag_of_the_ready_made_nodes_is_documented():
    others = {"recorder": "recorder.md", "sensors": "migration.md"}
    for path in TOP.glob("data_nodes/*.py"):
        text = page(others.get(path.stem, f"{path.stem}.md"))
        flags = set(re.findall(r'"(--[a-z-]+)"', path.read_text()))
        assert {flag for flag in flags if not re.search(rf"{flag}\b(?!-)", text)} == set(), path


def test_each_ready_made_node_is_in_the_list():
    listed = (TOP / "docs/how-to/sources/README.md").read_text()
    names = {path.stem for path in TOP.glob("data_nodes/*.py")}
    assert [n for n in names if f"| [{n}](" not in listed and f"| `{n}`" not in listed] == []


def test_each_command_in_a_shell_block_is_understood():
    parser = make_parser()
    for path in pages():
        for code in blocks(path.read_text(), "sh"):
            for line in re.findall(r"^(?:\S+/)?sisock (\w.*)$", code.replace("\\\n", ""), re.M):
                words = shlex.split(line, comments=True)
                _, rest = parser.parse_known_args(words)
                assert words[0] in PROGRAMS or not rest, f"{path}: {line}"


def test_each_command_has_examples_that_are_understood():
    parser = make_parser()
    listed = re.findall(r"^    (\w+)(?:  |$)", parser.format_help(), re.MULTILINE)
    assert set(listed) - set(PROGRAMS) == set(EXAMPLES)
    for command, lines in EXAMPLES.items():
        for line in lines:
            words = shlex.split(re.search(r"sisock ([^|)]*)", line)[1], comments=True)
            assert parser.parse_args(allow_negative_times(words)).command == command


def test_each_document_that_a_text_of_ours_names_is_there():
    files = [
        *TOP.glob("sisock/**/*.py"),
        *TOP.glob("data_nodes/*.py"),
        *TOP.glob("js/page/**/*.js"),
    ]
    named = {name for path in files for name in re.findall(r"docs/[\w/-]+\.md", path.read_text())}
    assert len(named) >= 3
    assert [name for name in named if not (TOP / name).exists()] == []


def test_each_key_of_a_field_is_in_the_reference():
    text = page("fields.md")
    assert [key for key in fields.ENTRY_KEYS if f"`{key}`" not in text] == []
    assert [kind for kind in fields.FIELD_TYPES if f'`"{kind}"`' not in text] == []


def test_the_workflows_run_what_there_is():
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for path in sorted(TOP.glob(".github/**/*.yml")):
        parsed = yaml.safe_load(path.read_text())
        steps = [step for job in parsed.get("jobs", {}).values() for step in job["steps"]]
        words = [step["run"].split() for step in steps if "run" in step]
        assert {word for first, word, *_ in words if first == "make"} <= targets, path
        assert all((TOP / word).exists() for first, word, *_ in words if first == "sudo"), path


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((TOP / "CITATION.cff").read_text())
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
