"""Read text files with columns: guess delimiter and headers, parse rows with pyarrow."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sisock.archive.text import open_text, whole_lines
from sisock.errors import SisockError
from sisock.sources.tables.parquet import (
    HEAD_ROWS,
    TIME_NAMES,
    UNREADABLE,
    Chunk,
    ColumnarFile,
    Malformed,
    NoRows,
    TableFile,
    Times,
    quoted,
    split_units,
)
from sisock.sources.tables.timestamps import count_numbers

with suppress(ImportError):  # the extra ``tables``
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as pa_csv

COLUMNAR = (".parquet", ".pq", ".feather", ".arrow")
TEXT = (".csv", ".tsv", ".txt", ".dat")
SUFFIXES = (*(f"{suffix}.gz" for suffix in TEXT), *TEXT, *COLUMNAR)

_PARTS = re.compile(
    r"[-_. ]*(?<!\d)(\d\d[-_.]\d\d[-_.])?\d{4,}([-_.T:]?\d\d)*Z?(?!\d)[-_. ]*|^\d+$"
)
"""Parts of a path that distinguish files of one table: dates, times, numbers of four digits."""

MAX_HEADER = 3  # header rows: names, units, and how the values were measured

HEAD_BYTES, CHUNK_BYTES, MAX_LINE = 1 << 16, 1 << 21, 1 << 20

NULLS = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "NA", "N/A", "#N/A", "n/a"]
NULLS += ["-", "--", "---"]

_CELL = re.compile(r"[^\s\[(]+(?:\s*[\[(][^\])]*[\])])?")
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")
_DATE = re.compile(r"\d{4}[-/]\d\d|\d\d?([./:]\d\d|[- ][A-Z][a-z]{2}[- ]\d)|\d{8}T")
_COMMA = re.compile(r"[-+]?\d+,\d+")


class TextFile(TableFile):
    """Read a text file with columns, plain or gzipped; ``#`` begins a comment line."""

    def _read_head(self) -> tuple[list[str], list[str | None], Any]:
        with open_text(self.path) as file:
            beginning = file.read(HEAD_BYTES)
        _check_text(beginning)
        text = _decode(beginning).lstrip("\ufeff")
        lines = [line for line in text.splitlines() if line.strip()]
        # The last line may be cut off.
        lines = lines[: -1 if len(lines) > 2 and text[-1] != "\n" else None]
        rows = [line for line in lines if not line.startswith("#") and line.count('"') % 2 == 0]
        if not rows:
            raise NoRows
        self._delimiter = self._find_delimiter(rows[: 2 * HEAD_ROWS])
        cells = [self._split(row) for row in rows[: 2 * HEAD_ROWS]]
        # If two widths are equally frequent, choose that of the later rows.
        (width, _), *_ = Counter(map(len, reversed(cells))).most_common(1)
        header, self._heads = _split_header(cells, width)
        data = cells[self._heads :][:HEAD_ROWS]
        if not data:
            raise NoRows
        if not header:
            comments = [self._split(line.lstrip("# ")) for line in lines if line.startswith("#")]
            comments = [row for row in comments if len(row) == width]
            header = _from_names(comments, self._names) or comments[-1:]
            # Without delimiters, any comment may have as many words.
            header = header if self._delimiter else header[:1]
        names, units = [*header, [], []][:2]
        headers = [*names, *[""] * width][:width]
        if not header:
            headers = [f"column {number + 1}" for number in range(width)]
        columns = list(zip(*(row for row in data if len(row) == width), strict=True))
        self._decimal = "."
        if self._delimiter != "," and any(map(_COMMA.fullmatch, sum(columns, ()))):
            self._decimal = ","
        arrays = [self._points(pa.array(column, pa.string())) for column in columns]
        self._width = width
        return (
            headers,
            [*(split_units(cell)[1] or cell or None for cell in units), *[None] * width][:width],
            pa.table(arrays, [str(n) for n in range(width)]),
        )

    def _chunks(self, offset: int, is_whole: bool, bad: Malformed) -> Iterator[Chunk]:
        is_packed, skips = self.path.suffix == ".gz", 0 if offset else self._heads
        is_cut = False
        with open_text(self.path, offset) as file:
            for text, end in self._lines(file, offset, is_whole):
                rows, is_cut = self._rows(text, bad), end is None
                while skips and rows:
                    skips -= 1
                    rows = rows.lstrip().partition(b"\n")[2]
                yield self._parse(rows, bad), None if is_packed else end
            if is_packed and (is_whole or not is_cut):
                # An appended part is a gzip stream of its own, so parsing can continue here.
                yield self._parse(b"", bad), file.fileobj.tell()

    def _lines(
        self, file: IO[bytes], offset: int, is_whole: bool
    ) -> Iterator[tuple[bytes, int | None]]:
        rest = yield from whole_lines(file, offset, MAX_LINE, CHUNK_BYTES)
        if rest.strip() and (is_whole or self.path.suffix == ".gz"):
            yield rest + b"\n", None

    def _rows(self, text: bytes, bad: Malformed) -> bytes:
        """Return the rows without comments, and without those with an unpaired quotation mark."""
        if not text.isascii():
            text = _decode(text).lstrip("\ufeff").encode()
        if b"#" not in text and b'"' not in text and self._delimiter:
            return text.lstrip(b"\r\n")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith(b"#")]
        whole = [line for line in lines if line.count(b'"') % 2 == 0]
        bad.add("row", len(lines) - len(whole), lambda: _first_unpaired(lines))
        if not self._delimiter:
            whole = [b"\t".join(line.split()) for line in whole]
        return b"".join(line + b"\n" for line in whole)

    def _parse(self, rows: bytes, bad: Malformed) -> Any:
        names = [str(number) for number in range(self._width)]
        if not rows:
            return pa.table([pa.array([], pa.string())] * self._width, names)

        skipped: list[str] = []

        def skip(row: Any) -> str:
            skipped.append(row.text)
            return "skip"

        reading = pa_csv.ReadOptions(column_names=names, block_size=len(rows) + 1)
        parsing = pa_csv.ParseOptions(delimiter=self._delimiter or "\t", invalid_row_handler=skip)

        def read(types: dict[str, Any]) -> Any:
            converting = pa_csv.ConvertOptions(
                column_types=types,
                null_values=NULLS,
                strings_can_be_null=True,
                decimal_point=self._decimal,
            )
            return pa_csv.read_csv(pa.BufferReader(rows), reading, parsing, converting)

        texts = dict.fromkeys(names, pa.string())
        numeric = [self._column[name] for name, kind in self.types.items() if kind == "number"]
        try:
            table = read(texts | dict.fromkeys(numeric, pa.float64()))
        except pa.ArrowInvalid:
            # Some value is not a number: parse all columns as text.
            skipped.clear()
            table = read(texts)
            table = pa.table([self._points(column) for column in table.columns], names)
        bad.add("row", len(skipped), lambda: quoted(skipped[0]))
        return table

    def _points(self, texts: Any) -> Any:
        """Replace decimal commas with points."""
        return pc.replace_substring(texts, ",", ".") if self._decimal == "," else texts

    def _type_of(self, array: Any) -> str | None:
        """Return the type of most of the texts."""
        texts = [text for cell in array.to_pylist() if (text := cell.strip()) not in NULLS]
        if not texts:
            return None
        if {text.lower() for text in texts} <= {"true", "false"}:
            return "bool"
        return "number" if 2 * count_numbers(texts) >= len(texts) else "string"

    def _find_delimiter(self, rows: list[str]) -> str:
        """Return the delimiter that gives most rows as many cells; empty for white space."""
        if self.path.name.lower().removesuffix(".gz").endswith(".tsv"):
            return "\t"
        agreeing = {"": len(rows) // 2}
        for delimiter in "\t;,|":
            widths = Counter(len(next(csv.reader([row], delimiter=delimiter))) for row in rows)
            del widths[1]
            agreeing[delimiter] = max(widths.values(), default=0)
        return max(agreeing, key=lambda delimiter: agreeing[delimiter])

    def _split(self, line: str) -> list[str]:
        if self._delimiter:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter))]
        return _CELL.findall(line) if not _NUMBER.match(line.strip()) else line.split()


def _first_unpaired(lines: list[bytes]) -> str:
    return quoted(_decode(next(line for line in lines if line.count(b'"') % 2)))


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        # The text is cut within a character, or is not UTF-8.
        with suppress(UnicodeDecodeError):
            return text[: text.rfind(b"\n") + 1].decode("utf-8")
        return text.decode("latin-1")


def _check_text(beginning: bytes) -> None:
    """Raise SisockError, which says what to do, if a file is not text with lines."""
    if b"\0" in beginning[:64]:
        raise SisockError("it is not text, or is UTF-16 or a workbook: save it as CSV in UTF-8")
    if b"\n" not in beginning and beginning.count(b"\r") > 1:
        raise SisockError("its lines end with CR only: convert it, for example with tr '\\r' '\\n'")


def _split_header(cells: list[list[str]], width: int) -> tuple[list[list[str]], int]:
    """Return the header rows (names, then possibly units), and the number of rows before the data.

    Text above them is not returned, nor the first row of Excel (``sep=;``) or Campbell loggers.
    """
    begin = int("".join(cells[0][:1]).startswith(("sep=", "TOA5")))
    values = (len(row) == width and any(map(_is_value, row)) for row in cells[begin:])
    end = begin + next((number for number, is_value in enumerate(values) if is_value), 1)
    header = end
    length = len(cells[end - 1])
    while header > max(begin, end - MAX_HEADER) and len(cells[header - 1]) == length:
        header -= 1
    rows = cells[header:end] if length >= min(width, 2) else []
    return _from_names(rows, TIME_NAMES) or rows, end


def _from_names(rows: list[list[str]], known: Sequence[str]) -> list[list[str]]:
    """Return the rows from the one with the likeliest name of times on, if there is one."""
    names = [[split_units(cell)[0].lower() for cell in row] for row in rows]
    found = (rows[names.index(row) :] for name in known for row in names if name in row)
    return next(found, [])


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _DATE.match(cell))


def find_tables(root: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders that may be tables; or `root`, if a file."""
    if not root.exists():
        raise SisockError(f"{root} does not exist")
    if root.is_file():
        yield root
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def try_to_open(path: Path, times: Times) -> TableFile | str | None:
    """Open a file and read its beginning; return an error's text, or None if it has no rows yet."""
    try:
        return (ColumnarFile if path.suffix.lower() in COLUMNAR else TextFile)(path, times)
    except NoRows:
        return None
    except SisockError as error:
        return str(error)
    except UNREADABLE as error:
        return f"{type(error).__name__}: {error}"


def table_of(path: Path, root: Path) -> str:
    """Return the name of a file's table: its path without dates; may be empty."""
    if path == root:
        return ""
    *folders, name = path.relative_to(root).parts
    suffix = next(suffix for suffix in SUFFIXES if name.lower().endswith(suffix))
    parts = (_PARTS.sub("", part) for part in (*folders, name[: -len(suffix)]))
    return ".".join(part for part in parts if part)
