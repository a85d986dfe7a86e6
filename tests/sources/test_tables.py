"""Tables in files, as people have them: every form gives the same samples."""

import gzip
import itertools
import os
import re
import shutil
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from sisock.errors import SisockError
from sisock.testing import check_node, wait_until
from tests.conftest import TOP
from tests.sources.conftest import check

sys.path.insert(0, str(TOP / "data_nodes"))
from tables import Tables

T = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""

numbers = itertools.count()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "archive"
    path.mkdir()
    return path


class Watched(Tables):
    """Notes what is parsed, and when samples were replaced."""

    def __init__(self, path, **flags):
        super().__init__(path, **flags)
        self.name, self.parsed, self.changes = f"watched{next(numbers)}", [], 0
        self.prepare()

    def parse_table(self, table, path, offset):
        self.parsed.append((path.name, offset))
        return super().parse_table(table, path, offset)

    def samples_changed(self):
        self.changes += 1

    def samples(self, field):
        t, values = self.read(field, -1e12, 1e12)
        return t.tolist(), values.tolist()


def stamp(t):
    return datetime.fromtimestamp(t, UTC)


def rows(start, count, step=60.0):
    """Lines of a time and three values each."""
    times = [start + step * i for i in range(count)]
    return "".join(f"{stamp(t):%Y-%m-%d %H:%M:%S},{t % 77},{t % 5 - 2:.2f},{i}\n"
                   for i, t in enumerate(times))  # fmt: skip


HEADER = "time,temp [K],wind (m/s),n\n"


def day(folder, number, count=1440, name="weather-"):
    path = folder / f"{name}{stamp(T + number * 86400):%Y-%m-%d}.csv"
    path.write_text(HEADER + rows(T + number * 86400, count))
    return path


FORMS = {
    "commas.csv": "time,a [K],b\n2026-01-01 00:00:00,1.5,2\n2026-01-01 00:00:10,-3e1,4\n",
    "iso.csv": "a [K],time,b\n1.5,2026-01-01T00:00:00.000Z,2\n-30,2026-01-01T01:00:10+01:00,4\n",
    "crlf.csv": "time,a [K],b\r\n2026-01-01 00:00:00,1.5,2\r\n\r\n2026-01-01 00:00:10,-30,4\r\n",
    "bom.csv": "\ufefftime,a [K],b\n1767225600,1.5,2\n1767225610,-30,4\n",
    "quotes.csv": '"time","a [K]","b"\n"1767225600","1.5","2"\n"1767225610","-30","4"\n',
    "milli.csv": "t,a (K),b\n1767225600000,1.5,2\n1767225610000,-30,4\n",
    "pandas.csv": ",a [K],b\n2026-01-01 00:00:00,1.5,2\n2026-01-01 00:00:10,-30,4\n",
    "german.csv": "Zeit;a [K];b\n01.01.2026 00:00:00;1,5;2\n01.01.2026 00:00:10;-30,0;4\n",
    "two.csv": "date,time,a [K],b\n2026-01-01,00:00:00,1.5,2\n2026-01-01,00:00:10,-30,4\n",
    "tabs.tsv": "time\ta [K]\tb\n1767225600\t1.5\t2\n1767225610\t-30\t4\n",
    "spaces.txt": "time   a [K]   b\n1767225600   1.5 2\n1767225610   -30 4\n",
    "remark.dat": "# time a [K] b\n# made by us\n1767225600 1.5 2\n1767225610 -30 4\n",
    "units.csv": "time,a,b\n,K,\n1767225600,1.5,2\n1767225610,-30,4\n",
    "campbell.dat": '"TOA5","CR1000","1234"\n"TIMESTAMP","a","b"\n"TS","K",""\n"","Avg","Smp"\n'
    '"2026-01-01 00:00:00",1.5,2\n"2026-01-01 00:00:10",-30,4\n',
    "brackets.csv": "time,a,b\n(s),(K),\n1767225600,1.5,2\n1767225610,-30,4\n",
    "remarks.csv": "#time;a;b\n#UTC;K;\n1767225600;1.5;2\n1767225610;-30;4\n",
    "excel.csv": "\ufeffsep=;\r\nZeit;a [K];b\r\n01.01.26 00:00:00;1,5;2\r\n"
    "01.01.26 00:00:10;-30,0;4\r\n",
    "above.csv": "Site: A\nLogger, by us\n\ntime,a [K],b\n1767225600,1.5,2\n1767225610,-30,4\n",
    "clock.csv": "Datum;Uhrzeit;a [K];b\n01.01.2026;00:00:00;1,5;2\n01.01.2026;00:00:10;-30,0;4\n",
    "later.csv": "b,obs_time,a [K]\n2,2026-01-01 00:00:00 UTC,1.5\n4,2026-01-01 00:00:10 UTC,-30\n",
    "parts.csv": "year,month,day,hour,minute,second,a [K],b\n2026,1,1,0,0,0,1.5,2\n"
    "2026,1,1,0,0,10,-30,4\n",
    "more.csv": "time,a [K],b\n1767225600,1.5,2,\n1767225610,-30,4,\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_samples(folder, name):
    (folder / name).write_bytes(FORMS[name].encode())
    node = Watched(folder / name)
    assert {field: about["units"] for field, about in node.list_fields(1, 0).items()} == {
        "a": "K",
        "b": None,
    }
    assert node.samples("a") == ([T, T + 10], [1.5, -30])
    assert node.samples("b") == ([T, T + 10], [2, 4])
    assert node.trouble is None


def test_numbers_without_a_header_have_numbered_columns(folder):
    (folder / "a.csv").write_text(f"{T},1\n{T + 1},2\n")
    assert Watched(folder / "a.csv").samples("column 2") == ([T, T + 1], [1, 2])


@pytest.mark.parametrize(
    ("texts", "flags"),
    [
        (("61041", "61041.5"), {"time_format": "mjd"}),
        (("2461041.5", "2461042.0"), {"time_format": "jd"}),
        ((f"{T}", f"{T + 43200}"), {"time_format": "s"}),
        (("01/01/26 00:00:00.0", "01/01/26 12:00:00.0"), {"time_format": "%m/%d/%y %H:%M:%S.%f"}),
        (("2026-01-01 01:00:00", "2026-01-01 13:00:00"), {"zone": "Europe/Berlin"}),
        (("2026/01/01 00:00", "2026/01/01 12:00"), {}),
        (("2026/01/01 00:00:00.0", "2026/01/01 12:00:00.0"), {}),
        (("20260101T000000", "20260101T120000"), {}),
        (("20260101000000", "20260101120000"), {}),
        (("2026 1.0", "2026 1.5"), {}),
        (("2026:001:00:00:00", "2026:001:12:00:00"), {}),
        (("01-Jan-2026 00:00", "01-Jan-2026 12:00"), {}),
        (("46023", "46023.5"), {"time_format": "excel"}),
    ],
)
def test_times_may_be_in_any_format(folder, texts, flags):
    (folder / "a.csv").write_text("x,when,y\n" + "".join(f"1,{text},2\n" for text in texts))
    node = Watched(folder / "a.csv", time="when", **flags)
    assert node.samples("y") == ([T, T + 43200], [2, 2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"time,x\n01/02/2026 00:00,1\n",
            "as '%d/%m/%Y %H:%M' if the day is .*'%m/%d/%Y %H:%M' if",
        ),
        (b"time,x\n61041.5,1\n", "too small for UNIX time; say --time-format, as mjd"),
        (b"a,b\nx,1\n", "no times in 'a': 'x' is of no known form.*--time: 'a', 'b'"),
        ("time\tx\n01.01.2026\t1\n".encode("utf-16"), "save it as CSV in UTF-8"),
        (b"time,x\r2026-01-01,1\r2026-01-02,2\r", "its lines end with CR only"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(folder, content, said):
    (folder / "a.csv").write_bytes(content)
    node = Watched(folder)
    assert node.list_fields(1, 0) == {}
    assert re.search(said, node.trouble), node.trouble


def test_a_column_of_days_is_known_by_its_name(folder):
    (folder / "a.csv").write_text("MJD,T [K]\n61041,4.2\n61041.5,4.5\n")
    assert Watched(folder / "a.csv").samples("T") == ([T, T + 43200], [4.2, 4.5])


def test_a_folder_without_tables_is_said_until_one_comes(folder):
    node = Watched(folder)
    assert node.list_fields(1, 0) == {}
    assert "no file of .csv, .tsv" in node.trouble and "has rows yet" in node.trouble


def test_malformed_rows_cost_only_themselves(folder):
    good = rows(T, 3000).splitlines(keepends=True)
    bad = [
        "oops\n",
        "1,2\n",
        '"2026-01-01 00:00:30,1,2,3\n',
        "when?,1,2,3\n",
        "\0\0\0\0\n",
        ",,,\n",
    ]
    lines = [good[0]]
    for i, line in enumerate(good[1:]):
        lines += [bad[i // 100 % len(bad)], line] if i % 100 == 0 else [line]
    lines[500] = lines[500].replace(f",{T % 77:.0f}", ",x")
    (folder / "a.csv").write_text(HEADER + "".join(lines))
    (folder / "good.csv").write_text(HEADER + "".join(good))
    node = Watched(folder)
    for field in ("temp", "wind", "n"):
        assert node.samples(f"a.{field}") == node.samples(f"good.{field}")


def test_a_value_that_is_none_is_missing_alone(folder):
    (folder / "a.csv").write_text(f"time,a,b\n{T},1,2\n{T + 1},x,3\n{T + 2},,nan\n{T + 3},4,5\n")
    node = Watched(folder / "a.csv")
    assert node.samples("b")[1][:2] == [2, 3]
    assert np.isnan(node.samples("a")[1]).tolist() == [False, True, True, False]


def test_texts_and_booleans_are_served_as_such(folder):
    text = "time,door,ok,x\n" + "".join(
        f"{T + i},{['open', 'closed', ''][i % 3]},{['true', 'false', ''][i % 3]},{i}\n"
        for i in range(9)
    )
    (folder / "a.csv").write_text(text)
    node = Watched(folder / "a.csv")
    entries = node.list_fields(1, 0)
    assert [entries[name]["type"] for name in ("door", "ok", "x")] == ["string", "bool", "number"]
    assert node.samples("door")[1] == ["open", "closed", None] * 3
    assert node.samples("ok") == ([T + i for i in (0, 1, 3, 4, 6, 7)], [True, False] * 3)
    with open(folder / "a.csv", "a") as file:
        file.write(f"{T + 9},ajar,true,1\n")
    assert node.samples("door")[1] == [*["open", "closed", None] * 3, "ajar"]
    assert node.changes == 0


def arrow_table():
    return pa.table(
        {
            "when": pa.array(
                [int(T * 1e9), int(T * 1e9) + 1_500_000_000], pa.timestamp("ns", "UTC")
            ),
            "a [K]": pa.array([1.5, None], pa.float32()),
            "n": pa.array([1, 2], pa.int16()),
            "state": pa.array(["on", None]).dictionary_encode(),
            "list": [[1], [2]],
        },
        metadata=None,
    )


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_parquet_and_feather_have_their_own_types_and_units(folder, name):
    table = arrow_table()
    column = table.schema.field("n").with_metadata({"units": "rpm"})
    table = table.cast(table.schema.set(2, column))
    write = parquet.write_table if name == "a.parquet" else feather.write_feather
    write(table, folder / name)
    node = Watched(folder / name, time="when")
    entries = node.list_fields(1, 0)
    assert {field: (about["type"], about["units"]) for field, about in entries.items()} == {
        "a": ("number", "K"),
        "n": ("number", "rpm"),
        "state": ("string", None),
    }
    assert node.samples("n") == ([T, T + 1.5], [1, 2])
    assert node.samples("state")[1] == ["on", None]
    write(pa.concat_tables([table, table]), folder / name)
    assert len(node.samples("n")[0]) == 4


def test_packed_text_is_served_and_what_is_appended_to_it(folder):
    path = folder / "a.csv.gz"
    path.write_bytes(gzip.compress((HEADER + rows(T, 100)).encode()))
    node = Watched(folder)
    assert len(node.samples("a.n")[0]) == 100
    with open(path, "ab") as file:
        file.write(gzip.compress(rows(T + 6000, 50).encode()))
    assert node.samples("a.n")[1] == [*range(100), *range(50)]
    assert node.changes == 0


def test_packed_text_may_end_within_a_line(folder):
    path, text = folder / "a.csv.gz", (HEADER + rows(T, 100)).encode()
    cut = len(text) - 2
    path.write_bytes(gzip.compress(text[:cut]))
    node = Watched(folder)
    node.samples("a.n")
    with open(path, "ab") as file:
        file.write(gzip.compress(text[cut:]))
    assert node.samples("a.n")[1] == [*range(100)]


def test_daily_files_are_one_table_in_the_order_of_their_times(folder):
    (folder / "2025").mkdir()
    for number in (2, 0, 1):
        day(folder, number)
    os.rename(day(folder, -1), folder / "2025" / "weather-2025-12-31.csv")
    day(folder, 0, 60, "radiometer_")
    node = Watched(folder)
    assert sorted(node.list_fields(1, 0)) == sorted(
        f"{table}.{name}" for table in ("weather", "radiometer") for name in ("temp", "wind", "n")
    )
    t, values = node.samples("weather.n")
    assert t == [T - 86400 + 60 * i for i in range(4 * 1440)]
    assert values == [*range(1440)] * 4


def test_new_files_and_rows_are_there_and_only_they_are_parsed(folder):
    day(folder, 0)
    last = day(folder, 1, 100)
    node = Watched(folder)
    assert len(node.samples("weather.temp")[0]) == 1540
    size = last.stat().st_size
    with open(last, "a") as file:
        file.write(rows(T + 86400 + 6000, 100))
    assert len(node.samples("weather.temp")[0]) == 1640
    assert node.parsed[-1] == (last.name, size)
    size = last.stat().st_size
    newest = day(folder, 2, 7)
    wait_until(lambda: len(node.samples("weather.temp")[0]) == 1647, 60, "the new file")
    assert node.parsed[-2:] == [(last.name, size), (newest.name, 0)]
    assert node.changes == 0


def test_a_column_that_comes_later_is_added(folder):
    day(folder, 0, 10)
    node = Watched(folder)
    assert len(node.samples("weather.n")[0]) == 10
    count = len(node.parsed)
    path = folder / "weather-2026-01-02.csv"
    path.write_text("time,n,new [V]\n" + "".join(f"{T + 86400 + i},{i},{i}\n" for i in range(5)))
    wait_until(lambda: "weather.new" in node.list_fields(1, 0), 60, "the column")
    assert node.samples("weather.new") == ([T + 86400 + i for i in range(5)], [*range(5)])
    assert len(node.samples("weather.n")[0]) == 15
    assert len(node.samples("weather.wind")[0]) == 10
    assert [name for name, offset in node.parsed[count:] if not offset] == [path.name]
    assert node.changes == 0


def test_an_earlier_file_that_changes_is_noticed_and_consumers_hear_it(folder):
    first = day(folder, 0, 10)
    day(folder, 1, 10)
    node = Watched(folder)
    assert len(node.samples("weather.n")[0]) == 20
    first.write_text(HEADER + rows(T, 12))
    wait_until(lambda: len(node.samples("weather.n")[0]) == 22, 60, "the rows of the first file")
    assert node.changes == 1


def test_rows_appended_while_reading_are_read_once_and_in_order(folder):
    path = folder / "a.csv"
    path.write_text("time,n\n")
    lines = [f"{T + i},{i}\n" for i in range(20_000)]
    with open(path, "a") as file:
        file.write(lines[0])

    def write():
        text = "".join(lines[1:])
        with open(path, "a", buffering=1) as file:
            # In pieces that end anywhere.
            for start in range(0, len(text), 4999):
                has_read.wait(20)
                has_read.clear()
                file.write(text[start : start + 4999])
                file.flush()

    has_read = threading.Event()
    writer = threading.Thread(target=write)
    node = Watched(folder)
    counts = []
    writer.start()
    while writer.is_alive():
        t, values = node.samples("a.n")
        assert values == [*range(len(values))]
        assert t == [T + i for i in range(len(t))]
        counts.append(len(t))
        has_read.set()
    writer.join()
    assert node.samples("a.n")[1] == [*range(20_000)]
    assert counts == sorted(counts) and len(set(counts)) > 5
    assert node.changes == 0


def test_a_last_row_without_its_newline_is_whole_if_it_is_old(folder):
    path = folder / "a.csv"
    path.write_text(f"time,n\n{T},1\n{T + 1},2")
    assert Watched(folder).samples("a.n")[1] == [1]
    os.utime(path, (T, T))
    node = Watched(folder)
    assert node.samples("a.n")[1] == [1, 2]
    with open(path, "a") as file:
        file.write(f"5\n{T + 2},3\n")
    assert node.samples("a.n")[1] == [1, 25, 3]
    assert node.changes == 1


def test_what_was_parsed_is_there_at_the_next_start(folder, cache):
    for number in range(3):
        day(folder, number)
    node = Watched(folder)
    wanted = node.samples("weather.temp")
    shutil.copytree(cache / node.name, cache / "moved")
    again = Watched(folder)
    again.name = "moved"
    assert again.samples("weather.temp") == wanted
    assert again.parsed == []
    shutil.copytree(cache / node.name, cache / "third")
    third = Watched(folder, zone="Europe/Berlin")
    third.name = "third"
    assert third.samples("weather.temp")[0] == [t - 3600 for t in wanted[0]]


def test_times_of_files_that_overlap_are_put_in_order(folder):
    (folder / "a_0001.csv").write_text(f"time,n\n{T},0\n{T + 4},4\n{T + 2},2\n")
    (folder / "a_0002.csv").write_text(f"time,n\n{T + 1},1\n{T + 3},3\n")
    assert Watched(folder).samples("a.n") == ([T + i for i in range(5)], [*range(5)])


@pytest.mark.parametrize("suffix", ["parquet", "feather", "csv.gz", "csv"])
def test_a_new_file_after_sorted_ones_is_added_once(folder, suffix):
    def write(number, *seconds):
        path, n = folder / f"a_{number:04}.{suffix}", [float(each) for each in seconds]
        table = pa.table({"time": [T + each for each in seconds], "n": n})
        if suffix == "parquet":
            parquet.write_table(table, path)
        elif suffix == "feather":
            feather.write_feather(table, path)
        else:
            lines = "".join(f"{T + each},{each}\n" for each in seconds[:-1])
            # The last line of an old file has no newline.
            text = f"time,n\n{lines}{T + seconds[-1]},{seconds[-1]}".encode()
            path.write_bytes(gzip.compress(text) if suffix == "csv.gz" else text)
            os.utime(path, (T, T))
        return path

    for number, seconds in enumerate(((10, 30), (20, 21), (40,))):
        last = write(number, *seconds)
    node = Watched(folder)
    assert node.samples("a.n")[1] == [10, 20, 21, 30, 40]
    newest = write(3, 50)
    wait_until(lambda: len(node.samples("a.n")[1]) > 5, 60, "the new file")
    assert node.samples("a.n")[1] == [10, 20, 21, 30, 40, 50]
    if suffix != "csv":
        assert node.parsed[-2:] == [(last.name, last.stat().st_size), (newest.name, 0)]
    assert node.changes == 0


def test_a_folder_that_is_not_there_is_said_until_it_comes(tmp_path):
    node = Watched(tmp_path / "later")
    with pytest.raises(SisockError, match="does not exist"):
        node.get_fields(1, 0)
    assert "does not exist" in node.trouble
    (tmp_path / "later").mkdir()
    day(tmp_path / "later", 0, 10)

    def comes():
        try:
            return node.list_fields(1, 0)
        except SisockError:
            return None

    assert "weather.n" in wait_until(comes, 60, "the folder")
    assert len(node.samples("weather.n")[0]) == 10
    assert node.trouble is None


def test_the_column_of_times_is_found_in_any_letters(folder):
    (folder / "log.csv").write_text("When,x\n2026-01-01 00:00:00,1\n")
    node = Watched(folder, time="when")
    assert len(node.samples("log.x")[0]) == 1
    assert node.description == f"Tables in {folder}"


def test_files_of_another_shape_are_left_out_and_said(folder):
    day(folder, 0, 10)
    (folder / "broken.parquet").write_bytes(b"PAR1 half of it")
    (folder / "words.csv").write_text("what,is\nthis,then\nnothing,known\n")
    (folder / "empty.csv").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    node = Watched(folder)
    assert {name.partition(".")[0] for name in node.list_fields(1, 0)} == {"weather"}
    assert node.trouble.count("is left out") == 2
    parquet.write_table(arrow_table(), folder / "broken.parquet")
    (folder / "words.csv").unlink()
    wait_until(lambda: "broken.n" in node.list_fields(1, 0), 60, "the file that is whole")
    assert node.trouble is None


def test_the_config_says_what_files_do_not(folder):
    day(folder, 0, 10)
    config = folder / "about.toml"
    config.write_text(
        '[fields."weather.temp"]\ndescription = "outside"\nprecision = 1\n'
        '[fields."*.n"]\nunits = "counts"\nlimits = {warning = [0, 5]}\n'
    )
    entries = Watched(folder, config=config).get_fields(1, 0)[0]
    assert entries["weather.temp"]["description"] == "outside"
    assert (entries["weather.temp"]["units"], entries["weather.temp"]["precision"]) == ("K", 1)
    assert entries["weather.n"]["units"] == "counts"
    assert entries["weather.n"]["limits"] == {"warning": [0, 5]}
    with pytest.raises(SisockError, match="missing"):
        Watched(folder, config=folder / "missing.toml")
    with pytest.raises(SisockError, match="--zone"):
        Watched(folder, zone="Mars/Olympus")


def test_whatever_is_asked_for_is_what_the_files_have(folder):
    random = np.random.default_rng(3)
    for number in range(3):
        lines = []
        for i in range(0, 86400, 60):
            if random.random() < 0.6:
                value = "" if random.random() < 0.1 else f"{random.normal():.3f}"
                state = random.choice(["on", "off", "fault"])
                lines.append(f"{T + number * 86400 + i},{value},{state},{random.random() < 0.5}\n")
        path = Path(folder, f"log-{stamp(T + number * 86400):%Y%m%d}.csv")
        path.write_text("time,x,state,flag\n" + "".join(lines))
    check(lambda: Watched(folder))
    assert len(check_node(Watched(folder))) == 4
