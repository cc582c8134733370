"""A CSV file as a table, or one sentence with the line that is wrong.

Cells may be separated by commas, semicolons, tabs or bars; where no comma separates, commas may be
decimal. What a lenient reader would guess or leave out is refused: cells beyond the last column,
rows that are too short, bytes that are not UTF-8. Rows count from 1 after the header. Blank lines
are none, except in a table of one column: there each one above the last row is an empty cell.
"""

import codecs
import csv
import io
import pathlib
import re
from typing import Any

import numpy as np

SEPARATORS = (",", ";", "\t", "|")

COMMA_NUMBER = re.compile(r"\s*[+-]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)\s*")
"""1,5 and 1,234.5 and 1.234,5: which of its marks is the decimal one cannot be known."""


DECIMAL_COMMA, DECIMAL_POINT = (re.compile(rf"\s*[+-]?\d*{m}\d+\s*") for m in (",", r"\."))


def read(path: pathlib.Path) -> Any:
    """The table as a pandas DataFrame: every row has the header's cells, every name occurs once.

    Raises:
        ValueError: with the line, and the row and the column where there is one.
    """
    import pandas as pd

    content = path.read_bytes()
    _check_text(content, path)
    limit = csv.field_size_limit(len(content) + 1)  # of the whole process: put back below
    try:
        separator = _separator(content)
        decimal, alone = _check_rows(content, separator, path)
    finally:
        csv.field_size_limit(limit)
    if alone:  # blank lines are rows, but for those before the header and after the last row
        content = content.removeprefix(codecs.BOM_UTF8).strip()
    try:
        return pd.read_csv(
            io.BytesIO(content), sep=separator, decimal=decimal, encoding="utf-8-sig",
            index_col=False, low_memory=False, skipinitialspace=True, skip_blank_lines=not alone,
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        said = " ".join(str(error).split()).rstrip(".")[:200]
        raise ValueError(f"{path} cannot be read as CSV: {said}.") from None


def is_unnamed(name: str) -> bool:
    """Whether the header left the column's name empty: pandas then calls it "Unnamed: 0"."""
    return not name.strip() or name.startswith("Unnamed: ")


def check_commas(column: Any, name: str, path: pathlib.Path) -> None:
    """Refuses a column of numbers with commas in them, which would pass for text.

    Up to a tenth of the cells may be words, as in any column of numbers.

    Raises:
        ValueError: naming the first such cell.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return
    cells = np.asarray(column, object)
    odd = np.array([isinstance(v, str) and bool(COMMA_NUMBER.fullmatch(v)) for v in cells], bool)
    if not odd.any():
        return
    numbers = ~np.asarray(pd.isna(pd.to_numeric(column, errors="coerce")))
    present = ~np.asarray(pd.isna(column))
    if (odd | numbers).sum() >= 0.9 * present.sum():
        row = int(odd.argmax())
        raise ValueError(
            f"{path}: row {row + 1}, column {str(name)!r} holds {str(cells[row]).strip()!r}: is "
            "that comma a decimal mark or one of thousands? Write the numbers with a decimal point "
            "and without any comma."
        )


def _check_text(content, path):
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not UTF-8 text: line {line} holds the byte 0x{content[error.start]:02x}. "
            "Save it as UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path} is no text: line {line} holds a zero byte.")


def _separator(content):
    """The one that makes most names of the header; of equals, that which fits the first row too."""

    def fit(mark):
        rows = _rows(_reader(content, mark))
        header, first = next(rows, []), next(rows, [])
        return len(header), len(first) == len(header)

    return max(SEPARATORS, key=fit)


def _check_rows(content, separator, path):
    """A table of one shape: as many cells in every row as the header has names, all different.

    Returns the decimal mark, a comma if some cells are like 3,14 and none is like 3.14, and
    whether there is one column only.
    """
    commas = points = False
    reader = _reader(content, separator)
    header = [name.strip() for name in next(_rows(reader), [])]
    _check_header(header, path)
    alone = len(header) == 1
    for i, row in enumerate(reader if alone else _rows(reader), 1):
        if len(row) != len(header) and not (alone and not row):
            _check_length(header, row, f"{path}: row {i} (line {reader.line_num})")
        if separator != "," and not points:
            commas = commas or any(DECIMAL_COMMA.fullmatch(cell) for cell in row)
            points = any(DECIMAL_POINT.fullmatch(cell) for cell in row)
    return "," if commas and not points else ".", alone


def _reader(content, separator):
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    return csv.reader(stream, delimiter=separator, skipinitialspace=True)


def _rows(reader):
    """Those that are not blank."""
    return (row for row in reader if len(row) > 1 or (row and row[0].strip()))


def _check_header(header, path):
    if not header:
        raise ValueError(f"{path} is empty: a header line with the columns' names comes first.")
    for i, name in enumerate(header):
        if name in header[:i]:
            raise ValueError(
                f"{path}: columns {header.index(name) + 1} and {i + 1} are both called {name!r}: "
                "rename one of them."
            )


def _check_length(header, row, where):
    if len(row) < len(header):
        raise ValueError(
            f"{where} ends before column {header[len(row)]!r}: it has {len(row)} of {len(header)} "
            "cells. An empty cell still needs its comma, a quotation mark its second."
        )
    if any(cell.strip() for cell in row[len(header) :]):
        raise ValueError(
            f"{where} goes on after the last column {header[-1]!r}: it has {len(row)} cells for "
            f"{len(header)} columns. Text with a comma needs quotation marks, a number a decimal "
            "point."
        )
