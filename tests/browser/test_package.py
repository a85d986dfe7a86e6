"""The client as a package, and as the one file that the router serves."""

import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from sisock.testing import wait_until
from tests.conftest import TOP, wait_for_nodes
from tests.documents import blocks, links, page

MODULES = TOP / "js" / "node_modules"
PATH = f"{os.environ['PATH']}:{TOP / '.venv/bin'}"
WITHOUT_WEBSOCKET = """
import { connect } from "sisock";
const began = performance.now();
const error = await connect({ url: "wss://localhost:1/ws", secret: "s" }).catch((error) => error);
console.log(error.kind, error.message, performance.now() - began < 5000);
process.exit();
"""
TYPED = """
import { connect, Sisock, SisockError, Sites } from "sisock";
const sisock: Sisock = await connect({ secret: "s", onState: (state) => console.log(state.state) });
const series = await sisock.get("n", ["x"], -60, 0, { maxPoints: 100 });
const t: Float64Array = series.x.t;
const units: string | null = series.x.units;
const low: number | null | undefined = series.x.limits.alarm?.[0];
const stop = await sisock.watch("n", (item) => {
  if (item.gap) console.log(item.gap.start);
  else console.log(item.t.toFixed(3), item.values.x);
});
await stop();
const kind: string = new SisockError("node", "gone").kind;
const sites: Sites = await connect({ sites: [{ name: "a", url: "wss://a/ws", secret: "s" }] });
const why: string | null = sites.sites[0].reason;
const texts = (await sites.get("a/n", ["x"], -60, 0)).x.values;
console.log(t, units, low, kind, why, texts);
// @ts-expect-error
await sisock.get("n", "x", -60, 0);
// @ts-expect-error
await connect({ url: "wss://router/ws" });
"""


def run(*command, cwd, **variables):
    environ = {**os.environ, "PATH": PATH, **variables}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder in which the package is installed."""
    folder = tmp_path_factory.mktemp("package")
    told = run("npm", "pack", "--json", "--pack-destination", folder, cwd=TOP / "js")
    told = json.loads(told[told.index("[\n") if "[\n" in told else told.index("[") :])
    package = folder / "node_modules" / "sisock"
    with tarfile.open(folder / told[0]["filename"]) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    package.parent.mkdir()
    shutil.move(folder / "unpacked" / "package", package)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture
def ws(project):
    """The package ws beside sisock for one test; another shows what happens without it."""
    link = project / "node_modules" / "ws"
    link.symlink_to(MODULES / "ws")
    yield
    link.unlink()


@pytest.fixture(scope="module")
def example():
    """The example of the documentation."""
    return blocks(page("javascript.md"), "js")[0]


@pytest.fixture
def sensors(router, start, client):
    """The node of the example, once it has samples; other tests may serve it, too."""
    start(router, "data_nodes/sensors.py")
    wait_for_nodes(client, "sensors")

    def count():
        return len(client.get("sensors", "cpu_percent", -60, 0)["cpu_percent"])

    wait_until(lambda: count() > 1, 30, "its first samples")


def test_the_package_needs_no_other_and_holds_the_licences(project):
    package = project / "node_modules" / "sisock"
    told = json.loads((package / "package.json").read_text())
    assert "dependencies" not in told
    assert {"LICENSE", "README.md", "package.json", "packed"} == {p.name for p in package.iterdir()}
    licence = (package / "LICENSE").read_text()
    assert "wampy" in licence
    assert "Permission is hereby granted" in licence


def test_its_readme_leads_nowhere_that_is_not_there(project):
    readme = (project / "node_modules" / "sisock" / "README.md").read_text()
    assert links(readme) == []
    named = re.findall(r"`((?:docs|js)/[\w/.-]+)`", readme)
    assert named and all((TOP / name).exists() for name in named), named


def test_without_a_websocket_it_says_so_at_once(project):
    (project / "without.js").write_text(WITHOUT_WEBSOCKET)
    told = run("node", "--no-experimental-websocket", "without.js", cwd=project)
    assert told.startswith("websocket there is no WebSocket")
    assert told.strip().endswith("true")


def test_its_types_are_those_of_its_functions(project):
    (project / "typed.ts").write_text(TYPED)
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"]
    compiler = MODULES / "typescript" / "bin" / "tsc"
    run("node", compiler, "typed.ts", *options, cwd=project)


@pytest.mark.usefixtures("sensors", "ws")
def test_the_example_runs_in_node(project, router, example):
    address = f"localhost:{router.port}"
    secret = router.home.secret_file("simonsobs").read_text().strip()
    program = example.replace("localhost:8080", address).replace("THE SECRET", secret)
    (project / "example.js").write_text(program)
    told = run(
        "node", "example.js", cwd=project, NODE_EXTRA_CA_CERTS=str(router.home.ca_certificate)
    )
    check_told(told.splitlines())


def check_told(lines):
    """Check what the example writes."""
    assert any(line.startswith("sensors: ") for line in lines), lines
    assert any(re.match(r"\d+ samples, the last one \d", line) for line in lines), lines
    assert any(re.match(r"[\d.]+ percent at 20\d\d-\d\d-\d\dT", line) for line in lines), lines
    assert len(samples(lines)) >= 2, lines


def samples(lines):
    """Return the lines of the watch, which ends after ten seconds."""
    return [line for line in lines if re.match(r"1\d{9}\.", line)]


def test_the_example_runs_in_a_browser(page, sensors, example):
    """From the address that the comment of its first line names, in a page of another's."""
    page.open("settings")
    program = example.replace("localhost:8080", f"localhost:{page.router.port}")
    program = program.replace("THE SECRET", page.secret)
    program = re.sub(r'from "sisock";.*?from "(.*?)"', r'from "\1";', program)
    page.run(
        "window.lines = [];"
        "console.log = (...words) => lines.push(words.map(String).join(' '));"
        "const script = document.createElement('script');"
        "script.type = 'module'; script.textContent = arguments[0];"
        "document.documentElement.append(script)",
        program,
    )
    written = "return window.lines"

    wait_until(lambda: len(samples(page.run(written))) >= 2, 30, "two samples of the watch")
    check_told(page.run(written))
    page.errors()  # of an icon, for which that page has no place
