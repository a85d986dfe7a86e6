"""Tests of the example weather archive and of the script that makes it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "example_data"
START, STOP = 1499990400, 1501200000  # 2017-07-14 and 2017-07-28, 00:00 UTC.
JULY_15 = 1500076800
STEP = {"hourly": 3600, "minutely": 60}

# Quantity: (timeline, units, lowest and highest plausible value).
FILES = {
    "temperature": ("hourly", "C", -12, 5),
    "humidity": ("hourly", "%", 5, 90),
    "pressure": ("hourly", "hPa", 551, 559),
    "windspeed": ("minutely", "m/s", 0, 25),
    "radiometer": ("minutely", "mm", 0.2, 4),
}
HOURLY = [name for name, (timeline, *_) in FILES.items() if timeline == "hourly"]


def read_lines(name):
    """Return the header lines and the data lines of a committed file."""
    lines = (FOLDER / f"apex_{name}.dat").read_text(encoding="ascii").splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header
    return header, lines[len(header) :]


def read_samples(name):
    """Return the times, as integers, and the values of a committed file."""
    pairs = [line.split() for line in read_lines(name)[1]]
    return np.array([int(t) for t, _ in pairs]), np.array([float(v) for _, v in pairs])


def test_script_reproduces_the_committed_files(tmp_path):
    script = FOLDER / "make_example_data.py"
    subprocess.run([sys.executable, script, "--output", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in FOLDER.glob("*.dat")}
    assert sorted(made) == sorted(f"apex_{name}.dat" for name in FILES)
    assert sorted(committed) == sorted(made)
    for name in made:
        assert made[name] == committed[name], name  # One file at a time: a readable failure.


def test_folder_is_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.dat")) < 1_500_000


@pytest.mark.parametrize("name", FILES)
def test_header(name):
    timeline, units, *_ = FILES[name]
    header, _ = read_lines(name)
    assert len(header) == 4
    assert header[0].startswith("# ") and "APEX" in header[0]
    assert header[1:3] == [f"# {timeline}", f"# {units}"]
    assert "synthetic" in header[3].lower() and "make_example_data.py" in header[3]


@pytest.mark.parametrize("name", FILES)
def test_times(name):
    times, _ = read_samples(name)
    step = STEP[FILES[name][0]]
    assert np.all(np.diff(times) > 0)
    assert np.all(times % step == 0)
    assert times[0] == START
    assert times[-1] == STOP - step


@pytest.mark.parametrize("name", FILES)
def test_values_are_plausible(name):
    *_, low, high = FILES[name]
    _, values = read_samples(name)
    assert low <= values.min() < values.max() <= high
    assert values.max() - values.min() > (high - low) / 3


@pytest.mark.parametrize("name", HOURLY)
def test_15_july_is_complete(name):
    times, _ = read_samples(name)
    day = times[(times >= JULY_15) & (times < JULY_15 + 86400)]
    assert day.tolist() == list(range(JULY_15, JULY_15 + 86400, 3600))


@pytest.mark.parametrize(
    ("name", "missing"),
    [(name, [3, 1]) for name in HOURLY] + [("radiometer", [40, 308, 7])],
)
def test_gaps(name, missing):
    times, _ = read_samples(name)
    lost = np.diff(times) // STEP[FILES[name][0]] - 1
    assert lost[lost > 0].tolist() == missing


def test_hourly_files_share_their_times():
    first, *others = [read_samples(name)[0].tolist() for name in HOURLY]
    assert all(times == first for times in others)


def test_windspeed_lacks_one_minute_of_the_radiometer():
    wind = set(read_samples("windspeed")[0].tolist())
    radiometer = set(read_samples("radiometer")[0].tolist())
    assert wind < radiometer
    (lone,) = radiometer - wind
    assert {lone - 60, lone + 60} <= wind  # Not at the edge of an outage.


def test_weather_follows_the_sun():
    for name, peak in (("temperature", 18), ("windspeed", 19)):  # UTC: early afternoon there.
        times, values = read_samples(name)
        hours = times % 86400 // 3600
        means = [values[hours == hour].mean() for hour in range(24)]
        assert abs(int(np.argmax(means)) - peak) <= 2
    temperature, humidity = (read_samples(name)[1] for name in ("temperature", "humidity"))
    assert np.corrcoef(temperature, humidity)[0, 1] < -0.4
