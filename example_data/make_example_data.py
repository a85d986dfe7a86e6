#!/usr/bin/env python3
"""Make the synthetic weather archive that the demo data node "apex_archive" serves.

Writes five text files, ``apex_<quantity>.dat``: temperature, humidity and pressure once an hour,
wind speed and precipitable water vapour (radiometer) once a minute, for 14 days of July 2017.
Nothing in them was measured: each quantity is a mean, plus a daily cycle, plus first-order
autoregressive ("red") noise of a few time scales, chosen to look like winter weather at the APEX
site (Chajnantor, 5,100 m). The outages of `GAPS` are then cut out of each timeline, and one more
minute out of the wind speed, so that the files of one timeline differ by a sample.

Seeds are fixed and `numpy.random.RandomState` has a frozen stream, so that every run writes the
same bytes.
"""

import argparse
from pathlib import Path

import numpy as np

SEED = 20170714
START, STOP = "2017-07-14T00:00", "2017-07-28T00:00"  # UTC; STOP itself is left out.
HOUR, DAY = 3600, 86400
STEP = {"hourly": HOUR, "minutely": 60}

#: Outages of each timeline as (first missing time, first time present again), UTC.
GAPS = {
    "hourly": [
        ("2017-07-19T07:00", "2017-07-19T10:00"),
        ("2017-07-24T16:00", "2017-07-24T17:00"),
    ],
    "minutely": [
        ("2017-07-17T13:05", "2017-07-17T13:45"),
        ("2017-07-21T02:12", "2017-07-21T07:20"),
        ("2017-07-25T20:31", "2017-07-25T20:38"),
    ],
}

#: The minute which the wind speed lacks and the radiometer has, UTC.
MISSING_WIND = "2017-07-18T17:23"

#: Quantity: (description, timeline, units, number of decimals).
FILES = {
    "temperature": ("Air temperature at the APEX site", "hourly", "C", 1),
    "humidity": ("Relative humidity at the APEX site", "hourly", "%", 1),
    "pressure": ("Air pressure at the APEX site", "hourly", "hPa", 1),
    "windspeed": ("Wind speed at the APEX site", "minutely", "m/s", 1),
    "radiometer": ("Precipitable water vapour above the APEX site", "minutely", "mm", 2),
}


def _unix(utc):
    """Return the UNIX time, a whole number of seconds, of an ISO 8601 string in UTC."""
    return int(np.datetime64(utc, "s").astype(np.int64))


def _cycle(times, period, peak):
    """Return a cosine of `period` seconds which is greatest `peak` seconds after 00:00 UTC."""
    return np.cos(2 * np.pi * (times - peak) / period)


def _red_noise(rng, times, scale):
    """Return red noise of unit variance whose correlation decays over `scale` seconds."""
    memory = np.exp(-(times[1] - times[0]) / scale)
    noise = rng.standard_normal(times.size)
    noise[1:] *= np.sqrt(1 - memory**2)
    for i in range(1, noise.size):
        noise[i] += memory * noise[i - 1]
    return noise


def hourly_weather(times):
    """Make up temperature, humidity and pressure.

    Parameters
    ----------
    times : numpy.ndarray
        Evenly spaced UNIX times, s.

    Returns
    -------
    dict of str to numpy.ndarray
        The quantities by name: C, % and hPa.
    """
    rng = np.random.RandomState(SEED)
    warmth = 3.6 * _cycle(times, DAY, 18 * HOUR)  # Warmest at 14:00 local time (UTC-4).
    warmth += 1.3 * _red_noise(rng, times, 36 * HOUR) + 0.4 * _red_noise(rng, times, 2 * HOUR)
    moisture = _red_noise(rng, times, 30 * HOUR) + 0.3 * _red_noise(rng, times, 3 * HOUR)
    tide = 0.9 * _cycle(times, DAY / 2, 2 * HOUR)  # High at about 10:00 and 22:00 local time.
    synoptic = 1.3 * _red_noise(rng, times, 48 * HOUR) + 0.1 * _red_noise(rng, times, HOUR)
    return {
        "temperature": -3.5 + warmth,
        "humidity": 5 + 85 / (1 + np.exp(0.9 + 0.3 * warmth - 0.7 * moisture)),
        "pressure": 555 + tide + synoptic,
    }


def minutely_weather(times):
    """Make up wind speed and precipitable water vapour.

    Parameters
    ----------
    times : numpy.ndarray
        Evenly spaced UNIX times, s.

    Returns
    -------
    dict of str to numpy.ndarray
        The quantities by name: m/s and mm.
    """
    rng = np.random.RandomState(SEED + 1)
    wind = 1.7 + 0.45 * _cycle(times, DAY, 19 * HOUR)  # Strongest at 15:00 local time.
    wind += 0.27 * _red_noise(rng, times, 12 * HOUR)
    gusts = 0.18 * _red_noise(rng, times, 600) + 0.12 * _red_noise(rng, times, 60)
    vapour = 0.45 * _red_noise(rng, times, 30 * HOUR) + 0.01 * _red_noise(rng, times, 300)
    return {
        "windspeed": np.clip(np.exp(wind + gusts) - 0.5, 0, 25),
        "radiometer": np.clip(0.85 * np.exp(vapour), 0.2, 4),
    }


def write_archive(folder):
    """Write all files of the archive.

    Parameters
    ----------
    folder : pathlib.Path
        Where to put them; it must exist. Files of the same names are overwritten.
    """
    grid = {name: np.arange(_unix(START), _unix(STOP), step) for name, step in STEP.items()}
    weather = {**hourly_weather(grid["hourly"]), **minutely_weather(grid["minutely"])}
    for name, (description, timeline, units, decimals) in FILES.items():
        times = grid[timeline]
        keep = np.ones(times.size, dtype=bool)
        for first, end in GAPS[timeline]:
            keep &= (times < _unix(first)) | (times >= _unix(end))
        if name == "windspeed":
            keep &= times != _unix(MISSING_WIND)
        lines = [f"# {description}", f"# {timeline}", f"# {units}"]
        lines.append("# Synthetic, not measured: made by make_example_data.py")
        samples = zip(times[keep], weather[name][keep], strict=True)
        lines += [f"{time} {value:.{decimals}f}" for time, value in samples]
        (folder / f"apex_{name}.dat").write_bytes(("\n".join(lines) + "\n").encode("ascii"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the synthetic APEX weather archive.")
    here = Path(__file__).resolve().parent
    parser.add_argument("--output", type=Path, default=here, help="default: %(default)s")
    write_archive(parser.parse_args().output)
