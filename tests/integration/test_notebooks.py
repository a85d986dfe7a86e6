"""What a notebook shows, in a kernel as Jupyter starts it."""

import os
from dataclasses import dataclass, field

import pytest
from jupyter_client.manager import start_new_kernel

from sisock.testing import RouterProcess, wait_until
from tests.conftest import TOP
from tests.documents import blocks, page
from tests.integration.peers import serving

NODES = {
    "sensors": ["data_nodes/sensors.py"],
    "apex_archive": ["data_nodes/weather.py", "--directory", str(TOP / "example_data")],
    "slow_disk": ["tests/nodes.py", "slow_disk"],
}

# As a kernel is told of another router, or of another secret.
ELSEWHERE = """
import os
from sisock.connection.settings import load_settings
def given(**settings):
    return load_settings(environ={**os.environ, **settings})
"""


@dataclass
class Cell:
    """What came of a cell: texts, HTML, progress so far at each time, and lines of its error."""

    said: str = ""
    html: str = ""
    progress: list = field(default_factory=list)
    error: list = field(default_factory=list)

    def hear(self, message):
        """Take one of the kernel's messages."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self.said += content["text"]
        elif kind == "execute_result":
            self.said += content["data"]["text/plain"]
            self.html += content["data"].get("text/html", "")
        elif kind in ("display_data", "update_display_data"):
            self.progress.append(content["data"]["text/plain"])
        elif kind == "error":
            self.error += content["traceback"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a cell next to a slow node and those of the guide, which have the demo's names."""
    folder = tmp_path_factory.mktemp("notebook")
    nodes = {name: [str(TOP / command[0]), *command[1:]] for name, command in NODES.items()}
    with RouterProcess() as router, serving(router, folder, nodes) as client:
        environ = {**router.environ(), "IPYTHONDIR": str(folder), "PYTHONPATH": str(TOP)}
        manager, kernel = start_new_kernel(env={**os.environ, **environ}, cwd=str(folder))

        def execute(code):
            cell = Cell()
            kernel.execute_interactive(
                code, output_hook=cell.hear, timeout=60, allow_stdin=False, store_history=False
            )
            return cell

        try:
            execute("import sisock\nclient, asking = sisock.Client(), sisock.AsyncClient()")
            # A single sample would not be plotted.
            load = "cpu_percent"
            wait_until(lambda: len(client.get("sensors", load)[load]) > 1, 30, "two samples")
            yield execute
        finally:
            kernel.stop_channels()
            manager.shutdown_kernel(now=True)


def test_the_cells_of_the_guide_work(run):
    # The guide watches for longer than a test should.
    guide = page("notebooks.md").replace("seconds, samples = 10,", "seconds, samples = 3,")
    cells = [run(code) for code in blocks(guide, "python")]
    assert [cell.error for cell in cells] == [[]] * len(cells)
    said = "".join(cell.said for cell in cells)
    shown = next(cell.html for cell in cells if cell.html)
    assert "<td>cpu_percent</td><td>percent</td>" in shown
    assert "data:image/png;base64," in shown
    assert "no_such_field" in said and "xarray.Dataset" in said
    assert sum('class="dataframe"' in cell.html for cell in cells) == 2, "watched samples"


@pytest.mark.parametrize(
    ("error", "call"),
    [
        ("UnknownNode: there is no data node 'nowhere'", "client.get('nowhere', 'x')"),
        ("UnknownField: 'sensors' has no field 'x'", "client.get('sensors', 'x')"),
        ("UnknownField: 'sensors' has no field 'x'", "await asking.get('sensors', 'x')"),
        ("UnknownField: 'sensors' has no field 'x'", "await anext(asking.watch('sensors', 'x'))"),
        ("InvalidArgument: ", "client.get('sensors', 'x', 'tomorrow')"),
        ("RouterUnreachable: ", "sisock.Client(given(CROSSBAR_TLS_PORT='1'))"),
        ("RouterUnreachable: ", "await sisock.AsyncClient(given(CROSSBAR_TLS_PORT='1')).nodes()"),
        ("AuthenticationRejected: ", "sisock.Client(given(WAMP_SECRET='wrong'))"),
        (
            "AuthenticationRejected: ",
            "await sisock.AsyncClient(given(WAMP_SECRET='wrong')).nodes()",
        ),
        ("SettingsError: ", "sisock.Client(given(CROSSBAR_TLS_PORT='http'))"),
    ],
)
def test_an_error_is_one_sentence(run, error, call):
    run(ELSEWHERE)
    cell = run(call)
    (line,) = cell.error
    assert line.startswith(error)
    assert cell.said == ""


@pytest.mark.parametrize("ask", ["client.get", "await asking.get"])
def test_what_takes_long_shows_its_progress_below_its_cell(run, ask):
    cell = run(f"{ask}('slow_disk', 'f8', 1.5e9, 1.5e9 + 1000, min_stride=0.0005);")
    assert cell.error == []
    *shown, last = cell.progress
    assert shown and all("samples/s]" in text and "%|" in text for text in shown)
    assert last == "", "it is removed at the end"
    assert run("client.latest('sensors', 'cpu_percent');").progress == []
