"""The node of tables as people start it: on a router, with much to serve, and on the page."""

import re
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from sisock.errors import NodeFailed, NodeTimeout
from sisock.testing import wait_until
from sisock.wire import grid
from tests.browser.conftest import browser, page  # noqa: F401 - fixtures
from tests.conftest import TOP
from tests.documents import as_programs
from tests.documents import page as document
from tests.sources.processes import peak

T = 1_767_225_600
COLOURED_COLUMNS = """
return Math.max(0, ...[...document.querySelectorAll("canvas")].map((canvas) => {
    const { width, height } = canvas;
    if (!width || !height) return 0;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const columns = new Set();
    for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, alpha] = data.subarray(i, i + 4);
        if (alpha > 100 && Math.max(r, g, b) - Math.min(r, g, b) > 40) columns.add((i / 4) % width);
    }
    return columns.size / width;
}));
"""
"""JavaScript: the part of a canvas's columns of pixels in which something is drawn in a colour."""
COUNT = 10_000_000
MAX_BYTES = 300_000_000

README = as_programs((TOP / "README.md").read_text())
PAGE = as_programs(document("tables.md"))


def write_days(folder, days=3):
    """A folder of daily files of a weather station, a row a minute."""
    for number in range(days):
        lines = ["time,temp [C],wind [m/s]"]
        for i in range(1440):
            t = T + 86400 * number + 60 * i
            time = datetime.fromtimestamp(t, UTC)
            lines.append(f"{time:%Y-%m-%d %H:%M:%S},{5 + 3 * np.sin(t / 7000):.2f},{i % 11}")
        (folder / f"{time:%Y-%m-%d}.csv").write_text("\n".join(lines) + "\n")


def test_from_a_folder_of_daily_files_to_a_curve(serve, client, tmp_path, page):  # noqa: F811
    folder = tmp_path / "weather"
    folder.mkdir()
    write_days(folder)
    (command,) = re.findall(r"^python data_nodes/tables.py (.*)$", README, re.MULTILINE)
    flags, name = command.replace("/data/weather", str(folder)).split(" --name ")
    serve("tables", name, *flags.split())
    assert {field.name: field.units for field in client.fields(name).values()} == {
        **{"temp": "C", "wind": "m/s"}
    }
    page.open(f"?s={name}::temp&from={T}&to={T + 3 * 86400}")
    page.wait(lambda: page.run(COLOURED_COLUMNS) > 0.7, "the curve", 60)
    page.picture("tables")


@pytest.mark.timeout(900)
def test_ten_million_rows_are_decimated_exactly_in_little_memory(serve, client, tmp_path):
    random, i = np.random.default_rng(5), np.arange(COUNT)
    columns = {
        "a": np.round(np.cumsum(random.normal(size=COUNT)), 3),
        "b": np.round(random.normal(size=COUNT), 4),
        "c": np.round(np.sin(i / 9000), 5),
        "d": np.round(i % 86400 / 10, 1),
    }
    times = {"time": T + i}
    folder = tmp_path / "large"
    folder.mkdir()
    csv.write_csv(pa.table({**times, **columns}), folder / "large.csv")
    process = serve("tables", "large_tables", folder / "large.csv")

    def answer():
        try:
            return client.get("large_tables", list(columns), start=1, max_points=1000)
        except NodeTimeout:
            return None
        except NodeFailed as error:  # until it is parsed
            assert "not ready" in str(error)
            return None

    found = wait_until(answer, 300, "the first answer")
    for name, values in columns.items():
        which, _ = grid.decimate_by(times["time"].astype(float), values, None, 1000)
        assert found[name].values.tolist() == values[which].tolist()
    assert peak(process) < MAX_BYTES


def test_the_table_of_options_is_that_of_the_program():
    said = subprocess.run(
        [sys.executable, "data_nodes/tables.py", "--help"],
        cwd=TOP, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    own = set(re.findall(r"^  (--[a-z-]+)", said, re.MULTILINE)) - {
        *("--router", "--log-level", "--name", "--description", "--replica", "--check")
    }
    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)) == own


def test_a_check_shows_the_first_malformed_row_and_value(tmp_path):
    good = [f'{T + i},{i},"a"' for i in range(99)]
    bad = ["oops", f"{T + 99},x,a", f"when?,1,{'b' * 80}", f'{T},1,"a', "1,2,3,4"]
    (tmp_path / "a.csv").write_text(
        "\n".join(["time,n,text", *good, *bad, f"{T + 100},1,a"]) + "\n"
    )
    said = subprocess.run(
        [sys.executable, "data_nodes/tables.py", tmp_path / "a.csv", "--check"],
        cwd=TOP, capture_output=True, text=True, check=True,
        env={"SISOCK_CACHE": str(tmp_path / "cache"), "PATH": ""},
    )  # fmt: skip
    assert "n: 101 samples" in said.stdout
    warning = said.stderr.partition("a.csv: ")[2]
    assert warning.startswith("skipped 4 malformed rows, the first: '")
    assert warning.endswith("; cannot read 1 malformed value, the first: 'x' in 'n'\n")


def test_the_example_of_the_document_is_served(tmp_path):
    (example,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "2026-01-01.csv").write_text(example)
    (config,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "weather.toml").write_text(config)
    (command,) = re.findall(r"^python (data_nodes/tables.py \S+ .*)$", PAGE, re.MULTILINE)
    words = command.replace("/data/weather", str(tmp_path)).split()
    environ = {"SISOCK_CACHE": str(tmp_path / "cache"), "PATH": ""}
    run = {"cwd": TOP, "capture_output": True, "text": True, "env": environ}
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for path in ([words[1]], ["--path", words[1]]):
        line = [sys.executable, words[0], *path, *words[2:], "--check"]
        assert subprocess.run(line, **run).stdout == printed
    (tmp_path / "none").write_text("no times")
    wrong = subprocess.run([sys.executable, words[0], tmp_path / "none", "--check"], **run)
    assert wrong.returncode == 1 and wrong.stderr.count("is left out") == 1
    nothing = subprocess.run([sys.executable, words[0], "--check"], **run)
    assert nothing.returncode == 1 and "name a file or a folder" in nothing.stderr
