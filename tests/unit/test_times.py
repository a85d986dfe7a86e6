import datetime

import numpy as np
import pandas as pd
import pytest

from sisock.errors import InvalidArgument
from sisock.wire.times import format_time, parse_duration, parse_size, to_interval, to_sisock_time

NOON = 1500120000.0


@pytest.mark.parametrize(
    ("written", "time"),
    [
        (5, 5.0),
        (-30.5, -30.5),
        (np.float64(7), 7.0),
        ("now", 0.0),
        ("0", 0.0),
        ("-1h", -3600.0),
        ("-30s", -30.0),
        ("-1.5d", -129600.0),
        ("-1", -1.0),
        ("1500120000", NOON),
        ("2017-07-15T12:00Z", NOON),
        ("2017-07-15T12:00", NOON),
        ("2017-07-15 12:00:00.000", NOON),
        ("2017-07-15T14:00+02:00", NOON),
        ("2017-07-15", NOON - 43200),
        (datetime.datetime(2017, 7, 15, 12), NOON),
        (datetime.datetime(2017, 7, 15, 12, tzinfo=datetime.UTC), NOON),
        (np.datetime64("2017-07-15T12:00:00", "ns"), NOON),
        (np.datetime64("1971", "Y"), 31536000.0),
        ("2017.0", 2017.0),
        (pd.Timestamp("2017-07-15T12:00Z"), NOON),
    ],
)
def test_times_as_people_write_them(written, time):
    assert to_sisock_time(written) == time


@pytest.mark.parametrize(
    "written", ["yesterday", "", "-", "-1x", "1969-12-31", float("nan"), None, True, [], "inf"]
)
def test_what_is_no_time_says_how_to_write_one(written):
    with pytest.raises(InvalidArgument):
        to_sisock_time(written)


@pytest.mark.parametrize(("written", "date"), [("2025", "2025-01-01"), ("20170715", "2017-07-15")])
def test_a_number_that_may_be_a_date_is_asked_back(written, date):
    with pytest.raises(InvalidArgument, match=f'write "{date}" or "{written}.0"'):
        to_sisock_time(written)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5min", 300), ("5m", 300), ("2w", 1209600), ("1y", 31557600), ("1.5", 1.5)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("500MB", 5e8), ("1.5 kB", 1500), ("7B", 7)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "20", "20 apples", "-1MB", "1mb"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidArgument, match="is not a number of bytes"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "h", "1q", "-5", "nan", "1 2"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidArgument):
        parse_duration(text)


def test_times_are_shown_in_utc():
    assert format_time(NOON) == "2017-07-15T12:00:00Z"
    assert format_time(NOON + 0.25) == "2017-07-15T12:00:00.250000Z"
    assert format_time(1e20) == "1e+20"


def test_an_end_before_the_start_is_named_as_it_was_written():
    with pytest.raises(InvalidArgument, match=r"start \(-1h\) is after end \(2017-07-16\)"):
        to_interval("-1h", "2017-07-16")
