"""Fast reading of text in two columns, a time and a number a line; pure numpy.

Lines as nearly all are, digits with at most a point and a sign, are read all at once: eight digits
lie in one machine word and become a number by three multiplications. Every other line is read on
its own, by `float`. Both give the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_PIECE = 1 << 18
"""Bytes read at once: what is computed of them stays in the processor's cache."""

LONGEST_LINE = 1 << 12
"""Bytes of a line; a longer one is malformed."""

_BEFORE = b"\n" * 24
"""Put before the text, so that the digits before any place can be taken as words."""

_MOST_DIGITS = 16
_EXACT_BELOW = 1 << 53
"""An integer below it and a power of ten are floats, so their quotient is rounded only once."""

_KEPT = np.array([0x0F0F0F0F0F0F0F0F >> 8 * n << 8 * n for n in range(8, -1, -1)], dtype="<u8")
"""For so many digits at the end of a word, the bits that count."""

_TEN_TO = 10 ** np.arange(_MOST_DIGITS + 1)
_NEWLINE, _RETURN, _SPACE, _TAB, _POINT, _PLUS, _MINUS = b"\n\r \t.+-"


@dataclass(frozen=True)
class Pairs:
    """What was read of some lines.

    Attributes
    ----------
    t, values : ndarray of float64, shape (n,)
        Of the good lines, in their order; the times are finite.
    malformed : list of int
        Indices of the lines that are neither good nor empty, from zero.
    """

    t: np.ndarray
    values: np.ndarray
    malformed: list[int]


def parse_pairs(text: bytes) -> Pairs:
    """Read lines of a finite time, white space, and a number, which may be nan.

    What follows a ``#`` is a remark, and empty lines are allowed. A line has at most
    `LONGEST_LINE` bytes.

    Parameters
    ----------
    text : bytes
        Whole lines, each with its newline.
    """
    parts, malformed, lines, begin = [], [], 0, 0
    while begin < len(text):
        end = text.rfind(b"\n", begin, begin + _PIECE) + 1 or text.index(b"\n", begin) + 1
        samples, bad, count = _parse_piece(text[begin:end])
        parts.append(samples)
        malformed += [lines + index for index in bad]
        lines, begin = lines + count, end
    both = np.concatenate(parts, axis=1) if parts else np.empty((2, 0))
    return Pairs(both[0], both[1], malformed)


def _parse_piece(text: bytes) -> tuple[np.ndarray, list[int], int]:
    """Times and values as shape (2, n), the malformed lines' indices, and the number of lines."""
    marks = _Marks(text)
    value, good = marks.read_number((_SPACE, _TAB))
    t, is_good = marks.read_number((_NEWLINE,))
    good &= is_good & marks.is_at_line_start()
    samples = np.stack([t, value])
    malformed = []
    for index, start, end in marks.lines(np.flatnonzero(~good)):
        is_long = end - start > LONGEST_LINE
        words = [b"?"] if is_long else text[start:end].partition(b"#")[0].split()
        pair = _parse_words(words)
        if pair is not None:
            samples[:, index], good[index] = pair, True
        elif words:
            malformed.append(index)
    return samples if good.all() else samples[:, good], malformed, len(good)


def _parse_words(words: list[bytes]) -> tuple[float, float] | None:
    if any(b"_" in word for word in words):  # Python takes 1_0 for ten
        return None
    try:
        t, value = map(float, words)
    except ValueError:
        return None
    return (t, value) if math.isfinite(t) else None


class _Marks:
    """The bytes that are no digits, from which the lines are read, all at once, from their ends."""

    def __init__(self, text: bytes) -> None:
        padded = _BEFORE + text
        codes = np.frombuffer(padded, dtype=np.uint8)
        # The eight bytes from any place on, without a copy.
        self._words = np.ndarray((len(codes) - 7,), dtype="<u8", buffer=padded, strides=(1,))
        self._place = np.flatnonzero(codes - ord("0") > 9)
        self._code = codes[self._place]
        newline = np.flatnonzero(self._code == _NEWLINE)[len(_BEFORE) - 1 :]
        self._line_start, self._line_end = newline[:-1], newline[1:]
        # The mark before what is read next, and where that ends.
        self._mark, self._end = self._line_end - 1, self._place[self._line_end]
        is_return = self._code[self._mark] == _RETURN
        is_return &= self._place[self._mark] == self._end - 1
        if is_return.any():
            self._end, self._mark = self._end - is_return, self._mark - is_return

    def lines(self, which: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """The indices of some lines, and where in the text each begins and ends."""
        starts = self._place[self._line_start[which]] + (1 - len(_BEFORE))
        ends = self._place[self._line_end[which]] - len(_BEFORE)
        return zip(which.tolist(), starts.tolist(), ends.tolist(), strict=True)

    def is_at_line_start(self) -> np.ndarray:
        """Whether nothing of the line is left."""
        return self._mark + 1 == self._line_start

    def read_number(self, before: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Read each line's last number that is not read yet, and say which are good.

        Those are that can be read so, and have one of the bytes `before` before them.
        """
        end, mark, code = self._end, self._mark, self._code[self._mark]
        is_point = code == _POINT
        has_points = is_point.any()
        if has_points:
            point = np.where(is_point, self._place[mark], end)
            mark = mark - is_point
            code = self._code[mark]
        is_minus = code == _MINUS
        is_sign = is_minus | (code == _PLUS)
        has_signs = is_sign.any()
        if has_signs:
            sign = self._place[mark]
            mark = mark - is_sign
            code = self._code[mark]
        begin = self._place[mark] + 1
        good = np.logical_or.reduce([code == one for one in before])
        if has_signs:
            good &= ~is_sign | (sign == begin)
            begin += is_sign
        if has_points:
            whole, decimals = self._digits(begin, point), end - np.minimum(point + 1, end)
            scale = _TEN_TO[np.minimum(decimals, _MOST_DIGITS)]
            digits = whole * scale + self._digits(end - decimals, end)
            count = point - begin + decimals
            numbers = digits / scale
        else:
            digits, count = self._digits(begin, end), end - begin
            numbers = digits.astype(float)
        if has_signs:
            np.negative(numbers, out=numbers, where=is_minus)
        good &= (count > 0) & (count <= _MOST_DIGITS) & (digits < _EXACT_BELOW)
        self._mark, self._end = mark - 1, self._place[mark]
        return numbers, good

    def _digits(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The integers that stand there, of at most sixteen digits."""
        count = end - begin
        if count.max(initial=0) <= 8:
            return self._last_digits(end, count)
        high = self._last_digits(end - 8, np.clip(count - 8, 0, 8))
        return high * 10**8 + self._last_digits(end, np.minimum(count, 8))

    def _last_digits(self, end: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Up to eight digits: neighbours are joined to two, these to four, these to eight."""
        word = self._words[end - 8]
        word &= _KEPT[count]
        word *= np.uint64(10 << 8 | 1)
        word >>= np.uint64(8)
        word &= np.uint64(0x00FF00FF00FF00FF)
        word *= np.uint64(100 << 16 | 1)
        word >>= np.uint64(16)
        word &= np.uint64(0x0000FFFF0000FFFF)
        word *= np.uint64(10000 << 32 | 1)
        word >>= np.uint64(32)
        return word.view(np.int64)
