"""However a line is spelled, it is read as `float` reads its words."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sisock.archive.text import parse_pairs

DIGITS = st.text("0123456789", max_size=20)
NUMBER = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "-", "+"]),
        DIGITS,
        st.sampled_from(["", "."]),
        DIGITS,
    ),
    st.builds("{}e{}".format, DIGITS, st.integers(-330, 330)),
    st.floats().map(repr),
    st.floats(width=32).map("{:.6g}".format),
    st.sampled_from(
        ["nan", "inf", "-inf", "-0", "1_0", "0x1", "1e", "--1", "1-", "٣", "9007199254740993"]
    ),
)
GAP = st.sampled_from([" ", "\t", "  ", " \t", "\x0b", "\r", "\0", "\xa0", ","])
LINE = st.one_of(
    st.builds("{}{}{}".format, NUMBER, st.sampled_from([" ", "\t"]), NUMBER),
    st.lists(st.one_of(NUMBER, GAP, st.just("#")), max_size=6).map("".join),
)
TEXT = st.lists(st.builds("{}{}".format, LINE, st.sampled_from(["\n", "\n", "\r\n"])), max_size=30)


def parse_slowly(text):
    pairs, malformed = [], []
    for index, line in enumerate(text.split(b"\n")):
        words = line.partition(b"#")[0].split()
        try:
            t, value = map(float, words)
        except ValueError:
            t, value = math.nan, math.nan
        if math.isfinite(t) and not any(b"_" in word for word in words):
            pairs.append((t, value))
        elif words:
            malformed.append(index)
    return np.array(pairs).reshape(-1, 2).T, malformed


def check(text):
    expected, malformed = parse_slowly(text)
    *found, bad = parse_pairs(text)
    assert bad == malformed
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


@given(TEXT)
@example(["1 2\n", "3 1-.5\n", "3\r 1\n", "1 3\r5\n", "-1.5 +.5\n", ". 1\n", "1 .\n", " 1 2\n"])
@example(["-\n", "\n", "\r\n", " \n", "1 2 3\n", "1..2 3\n", "12345678.12345678 1\n"])
def test_every_spelling_is_read_as_float_reads_it(lines):
    check("".join(lines).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_float_reads_them(text):
    check(text + b"\n")


@given(TEXT, st.integers(0, 30))
def test_odd_lines_among_many_plain_ones_are_read_as_float_reads_them(lines, plain):
    many = [f"{t} {t / 8 - 3}\n" for t in range(100)]
    check("".join([*many, *lines[:plain], *many, *lines[plain:]]).encode())


def test_large_texts_are_read_like_small_ones():
    t, values = 1499990400 + np.arange(30_000) * 0.25, np.arange(30_000) / 8 - 100
    lines = [f"{a} {b}\n" for a, b in zip(t.tolist(), values.tolist(), strict=True)]
    read_t, read_values, _ = parse_pairs("".join(lines).encode())
    np.testing.assert_array_equal(read_t, t)
    np.testing.assert_array_equal(read_values, values)
    lines[20_000:20_000] = ["# a remark, of 1_0 words\n", "bad\n", "\n", "1 " + "0" * 5000 + "\n"]
    read_t, _, malformed = parse_pairs("".join(lines).encode())
    np.testing.assert_array_equal(read_t, t)
    assert malformed == [20_001, 20_003]


def test_no_text_has_no_samples():
    assert [len(each) for each in parse_pairs(b"")] == [0, 0, 0]
