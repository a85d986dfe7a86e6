"""What the page saves: all samples as CSV and JSON, panels as PNG and SVG."""

import csv
import json
import re
import shutil
import struct
import xml.etree.ElementTree as ET

import pytest

from tests.browser.nodes import MISSING, PAUSE, SPIKES, START

TEMPERATURE = "page_weather::apex_temperature"
DAY = "from=1500076800&to=1500163200"
ABOUT = "return document.querySelector('#export [role=status]').textContent"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def spiky(serve):
    return serve("tests/browser/nodes.py", "spiky", name="page_spiky")


def test_every_sample_of_a_million_is_saved_with_gaps_as_they_are(page, spiky):
    page.open(f"?p={spiky}::x&from={START}&to={START + 800}")
    page.wait(lambda: page.counts().get(f"{spiky}::x", 0) > 0, "the curve")
    with page.save_samples().open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["time", "unix", f"{spiky}::x"]
    milliseconds = [round((float(row[1]) - START) * 1000) for row in rows]
    assert milliseconds == [i for i in range(800_000) if not PAUSE.start <= i < PAUSE.stop]
    missing = [i for i, row in zip(milliseconds, rows, strict=True) if row[2] == "NaN"]
    assert missing == list(range(MISSING.start, MISSING.stop))
    values = dict(zip(milliseconds, rows, strict=True))
    assert {i: float(values[i][2]) for i in SPIKES} == SPIKES
    assert values[500_000][0] == "2017-07-14T02:48:20.000Z"
    assert values[500_001][0] == "2017-07-14T02:48:20.001Z"


def test_json_says_what_the_node_says_of_each_field(page, weather):
    page.open(f"?p={weather}::apex_temperature,apex_windspeed&{DAY}")
    page.wait(lambda: page.counts().get(TEMPERATURE) == 24, "the samples")
    saved = json.loads(page.save_samples("json").read_text())
    assert saved["from"] == "2017-07-15T00:00:00.000Z"
    assert saved["columns"] == ["time", "unix", "value"]
    temperature, wind = saved["series"]
    assert (temperature["key"], temperature["units"]) == (TEMPERATURE, "C")
    assert temperature["samples"][0] == ["2017-07-15T00:00:00.000Z", 1500076800, -5.1]
    assert len(temperature["samples"]) == 24
    assert len(wind["samples"]) > 1000


def open_export(page):
    page.run("document.getElementById('export-open').click()")
    page.wait(lambda: "sample" in page.run(ABOUT) and "Asking" not in page.run(ABOUT), "the size")


def test_the_size_is_said_before_and_the_progress_meanwhile(page, spiky):
    page.open(f"?p={spiky}::x&from={START}&to={START + 1000}")
    page.wait(lambda: page.counts().get(f"{spiky}::x", 0) > 0, "the curve")
    open_export(page)
    assert re.fullmatch(
        r"about (1|950,000|9\d\d,\d+)( million)? samples, \d\d(\.\d)? MB", page.run(ABOUT)
    )
    page.picture("export")
    page.run(
        "window.parts = [];"
        "new MutationObserver(() => parts.push(document.querySelector('#export progress').value))"
        ".observe(document.querySelector('#export progress'), { attributes: true })"
    )
    for old in page.browser.downloads.glob("*.csv"):
        old.unlink()
    page.run("document.querySelector('#export .main').click()")
    page.wait(lambda: page.downloaded(".csv"), "the file")
    parts = page.run("return parts")
    assert len(parts) > 3
    assert parts == sorted(parts)
    page.wait(lambda: page.run("return !document.querySelector('#export')"), "the end")


def test_an_export_is_cancelled(page, spiky):
    page.open(f"?p={spiky}::x&from={START}&to={START + 1000}")
    page.wait(lambda: page.counts().get(f"{spiky}::x", 0) > 0, "the curve")
    for old in page.browser.downloads.glob("*.csv"):
        old.unlink()
    open_export(page)
    page.run(
        "document.querySelector('#export .main').click();"
        "[...document.querySelectorAll('#export button')]"
        ".find((each) => each.textContent === 'Cancel').click()"
    )
    page.wait(lambda: page.run("return !document.querySelector('#export')"), "the end")
    page.open(f"?p={spiky}::x&from={START}&to={START + 1}")
    page.wait(lambda: page.counts().get(f"{spiky}::x") == 1000, "the next samples")
    assert page.downloaded(".csv") is None


def test_what_cannot_be_exported_is_said(page, serve):
    odd = serve("tests/nodes.py", "odd", name="page_odd")
    page.open(f"?p={odd}::fails&{DAY}")
    page.wait_until_connected()
    open_export(page)
    page.run("document.querySelector('#export .main').click()")
    page.wait(lambda: "OSError" in page.run(ABOUT), "the failure")
    assert page.run(ABOUT).startswith("Nothing is saved")


def picture_of(page, kind, title="Night <1> & co"):
    for old in page.browser.downloads.glob(f"*.{kind}"):
        old.unlink()
    page.choose("Save as a picture")
    page.run("document.querySelector('#picture [name=title]').value = arguments[0]", title)
    page.run(f"document.querySelector('#picture [name={kind}]').click()")
    return page.wait(lambda: page.downloaded(f".{kind}"), "the picture")


@pytest.fixture
def panel(page, serve, weather):
    """A panel of a dark page with two curves of two units, and a state."""
    wall = serve("tests/browser/wall.py", name="page_wall")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    page.open(f"?p={wall}::hot!lHot one,wave_001,valve&last=60")
    page.wait(lambda: [n > 1 for n in page.counts().values()] == [True] * 3, "the curves")
    yield page
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_panel_becomes_an_svg(panel):
    file = picture_of(panel, "svg")
    root = ET.parse(file).getroot()
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert root.find(f"{SVG}title").text == "Night <1> & co"
    assert "Night <1> & co" in texts
    assert any("UTC" in text for text in texts)
    assert any(text.startswith("Hot one, last 25.00") for text in texts)
    assert {"K", "page_wall::valve"} <= set(texts)
    assert {"V", "mV"} & set(texts)  # by how large the first values are
    assert any(re.fullmatch(r"\d\d:\d\d:\d\d", text) for text in texts)
    background = root.find(f"{SVG}rect")
    assert background.get("fill") == "rgb(255, 255, 255)"
    curves = [path for path in root.iter(f"{SVG}path") if path.get("d").count("L") > 0]
    assert len(curves) >= 2
    assert "NaN" not in file.read_text()


def test_a_long_title_begins_at_its_beginning(panel):
    file = picture_of(panel, "svg", "Temperature of " + "the cold stage " * 20)
    texts = [element.text for element in ET.parse(file).getroot().iter(f"{SVG}text")]
    (title,) = (text for text in texts if text.startswith("Temperature of the cold stage"))
    assert title.endswith("\u2026") and len(title) < 120


def test_a_panel_becomes_a_png(panel):
    file = picture_of(panel, "png")
    data = shutil.copy(file, panel.picture("panel")).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 1800
    assert height >= 800
