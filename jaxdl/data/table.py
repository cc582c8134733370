"""Columns of text, dates and gaps as numbers: fitted on the training part, saved with the model.

    encoder = table.fit(train_cells, names)      # cells (m, c): numbers, text, None, NaN
    x = table.apply(encoder, cells)              # (m, n) float64, no gaps

What a column becomes is decided by the training part alone:

    number     itself, gaps filled with the median; heavy tails are drawn in (see `Column.width`);
               a further 0/1 feature says where the gaps were
    category   one 0/1 feature for each frequent level, one for all others, one for gaps
    date       years since 2000, and the phases of year, week and day on circles
    dropped    nothing: constant columns, row numbers, and text with a value of its own in every row
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl.data.scaling import AffineState, standardize

MOST_LEVELS = 300
"""Levels of a category with a feature of their own, if frequent enough; the rest share one."""

MOST_WORDS = 3
"""So many different words in up to a tenth of a column of numbers are read as gaps ("?", "n/a")."""

LARGEST = 1e30
"""Larger numbers leave no room to compute with in float32, whose own largest is 3.4e38."""

HEAVY = 20.0
"""A column that reaches further from its median than so many interquartile ranges is drawn in."""

ROW_NUMBER_NAMES = {"", "id", "index", "row", "rowid", "row_id", "no", "nr", "number"}

DATE_FORMATS = (
    "ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m/%d/%y",
    "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d %b %Y",
    "%b %d, %Y",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Column:
    """What one column of a table becomes.

    `kind` is "number", "category", "date" or "dropped". Numbers: `fill` is the training median,
    `words` are read as gaps, and with `width` > 0 the feature is arsinh((x − fill)/width), linear
    near the median and logarithmic far from it. Categories: `levels` have a feature each, `rest`
    says whether all others share one. `gaps`: a feature says where the cell was empty. Dates:
    `form` as in `strptime`, `fill` in years since 2000. `note` tells a person what was decided.
    """

    name: str
    kind: str
    fill: float = 0.0
    width: float = 0.0
    words: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    rest: bool = False
    gaps: bool = False
    form: str = ""
    note: str = ""


Encoder = tuple[Column, ...]


def fit(cells: np.ndarray, names: Sequence[str] = (), row_numbers: bool = False) -> Encoder:
    """Decide what each column becomes, from the training part.

    Args:
        cells: (m, c) floats or objects; None, NaN and NaT are gaps.
        names: of the columns; "column 1" and so on without.
        row_numbers: whether columns that by their name and values number the rows are features.

    Raises:
        ValueError: for infinite or too large numbers, with row and column, or if no column is
            left.
    """
    cells = _matrix(cells)
    names = tuple(map(str, names)) or tuple(f"column {i + 1}" for i in range(cells.shape[1]))
    if len(names) != cells.shape[1]:
        raise ValueError(f"Expected one name for each of {cells.shape[1]} columns, got {names}.")
    encoder = tuple(_decide(cells[:, i], name, row_numbers) for i, name in enumerate(names))
    if not feature_names(encoder):
        why = "; ".join(c.note for c in encoder if c.note)
        advice = "Add columns that say something about each row."
        if "numbers the rows" in why:
            advice += " --keep-row-numbers makes those that number the rows features, too."
        raise ValueError(f"No column is left to learn from: {why}. {advice}")
    return encoder


def apply(encoder: Encoder, cells: np.ndarray) -> np.ndarray:
    """The features (m, n) float64 of a table with the same columns; never a gap among them.

    A level that the training part did not have counts with the rest, if there is one, else it
    has no feature on. A gap where the training part had none is filled and not marked; words
    among numbers count as gaps. `surprises` says where such cells are.

    Raises:
        ValueError: for another number of columns, or a number too large, with row and column.
    """
    cells = _matrix(cells)
    if cells.shape[1] != len(encoder):
        raise ValueError(f"Expected {len(encoder)} columns, got {cells.shape[1]}.")
    blocks = [_ENCODE[c.kind](c, cells[:, i]) for i, c in enumerate(encoder)]
    return np.concatenate(blocks, axis=1)


def surprises(encoder: Encoder, cells: np.ndarray) -> list[str]:
    """Sentences about cells unlike any of the training part: new levels, words for numbers."""
    found = []
    for c, column in zip(encoder, _matrix(cells).T, strict=True):
        present = column[~_missing(column)]
        if c.kind == "number":
            new = set(_text(present[np.isnan(_numbers(present))])) - set(c.words)
            what = "no number, so read as empty"
        elif c.kind == "category" and c.levels and not c.rest:
            new, what = set(_text(present)) - set(c.levels), "not among the training part's values"
        elif c.kind == "date":
            new = set(_text(present[np.isnan(_years(present, c.form))]))
            what = "no date in the form of the training part's, so read as empty"
        else:
            continue
        if new:
            some = ", ".join(map(repr, sorted(new)[:3])) + (", ..." if len(new) > 3 else "")
            found.append(f"{c.name!r} holds {some}: {what}.")
    return found


def feature_names(encoder: Encoder) -> tuple[str, ...]:
    """The names of the n features, such as "city=Paris"."""
    names: list[str] = []
    for c in encoder:
        if c.kind == "number":
            names.append(c.name)
        elif c.kind == "date":
            names += [f"{c.name} {part}" for part in _DATE_PARTS]
        names += [f"{c.name}={level}" for level in c.levels]
        names += [f"{c.name}=other"] * c.rest + [f"{c.name} is empty"] * c.gaps
    return tuple(names)


def scaler(encoder: Encoder, x: np.ndarray) -> AffineState:
    """`standardize` of the encoded training part, but 0/1 features only centred and doubled.

    Divided by its standard deviation, a level seen once in 10,000 rows would be 100 where it is
    on; doubled, as that of a fair coin, it stays 2.
    """
    state = standardize.fit(x, feature_names(encoder))
    indicator = np.concatenate([_is_indicator(c) for c in encoder])
    return AffineState(state.shift, np.where(indicator, 0.5, state.scale))


def to_json(encoder: Encoder) -> list[dict[str, Any]]:
    """Plain lists and dicts, for a configuration file."""
    default = Column("", "")
    return [
        {k: v for k, v in dataclasses.asdict(c).items() if v != getattr(default, k)}
        for c in encoder
    ]


def from_json(content: Sequence[dict[str, Any]]) -> Encoder:
    """The encoder that `to_json` wrote."""
    tuples = ("words", "levels")

    def column(c: dict[str, Any]) -> Column:
        values: dict[str, Any] = {k: tuple(v) if k in tuples else v for k, v in c.items()}
        return Column(**values)

    return tuple(map(column, content))


def filled(cells: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Numbers (m, c) with `fill` (c,) in the gaps, for a model whose training part had none.

    Raises:
        ValueError: for a word among the numbers, with row and column.
    """
    cells = _matrix(cells)
    values = np.stack([_numbers(column) for column in cells.T], axis=1)
    gaps = np.isnan(values)
    empty = np.stack([_missing(column) for column in cells.T], axis=1)
    if (gaps & ~empty).any():
        row, column = (int(i) for i in np.argwhere(gaps & ~empty)[0])
        raise ValueError(
            f"row {row + 1}, column {column + 1} holds {cells[row, column]!r}, which is no number, "
            "and the model was trained on numbers: correct the cell or leave it empty."
        )
    return np.where(gaps, fill[None], values)


def is_plain(cells: np.ndarray) -> bool:
    """Whether the cells are numbers without gaps, which need no encoder."""
    return cells.dtype.kind in "fiub" and not bool(np.isnan(cells.astype(float)).any())


def _matrix(cells) -> np.ndarray:
    cells = np.asarray(cells)
    if cells.ndim != 2 or cells.size == 0:
        raise ValueError(f"Expected a table of shape (m, c) with m, c ≥ 1, got {cells.shape}.")
    return cells


def _missing(column: np.ndarray) -> np.ndarray:
    import pandas as pd

    empty = np.asarray(pd.isna(column))
    if column.dtype.kind == "O":
        empty |= np.array([isinstance(v, str) and not v.strip() for v in column], bool)
    return empty


def _numbers(column: np.ndarray) -> np.ndarray:
    """Floats; NaN where a cell is empty or no number."""
    import pandas as pd

    if column.dtype.kind in "fiub":
        return column.astype(float)
    return np.asarray(pd.to_numeric(pd.Series(column, dtype=object), errors="coerce"), float)


def _text(column: np.ndarray) -> list[str]:
    """Each cell as text; 3.0 is "3", whatever a file's other rows made of its column."""
    return [
        str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in column
    ]


def _decide(column: np.ndarray, name: str, row_numbers: bool) -> Column:
    missing = _missing(column)
    if missing.all():
        return Column(name, "dropped", note=f"{name!r} is empty in every row")
    gaps, present = bool(missing.any()), column[~missing]
    values = _numbers(present)
    words = np.isnan(values)
    if words.any() and words.mean() <= 0.1:
        kinds = tuple(sorted(set(_text(present[words]))))
        if len(kinds) <= MOST_WORDS:
            note = f"{', '.join(map(repr, kinds))} in {name!r} read as empty"
            return _number(name, values[~words], True, missing, kinds, note)
    if not words.any():
        return _number(name, values, gaps, missing, row_numbers=row_numbers)
    if form := _date_form(present):
        years = _years(present, form)
        return Column(name, "date", float(np.nanmedian(years)), gaps=gaps, form=form)
    return _category(name, _text(present), gaps)


def _number(name, values, gaps, missing, words=(), note="", row_numbers=False) -> Column:
    _check_size(values, np.flatnonzero(~missing), name)
    if np.ptp(values) == 0 and not gaps:
        return Column(name, "dropped", note=f"{name!r} is {values[0]:g} in every row")
    if counts_rows(name, values) and not gaps and not row_numbers:
        return Column(name, "dropped", note=f"{name!r} numbers the rows")
    median = float(np.median(values))
    q25, q75 = np.percentile(values, [25, 75])
    width = float(q75 - q25) or float(values.std())
    heavy = float(np.abs(values - median).max()) > HEAVY * width
    return Column(name, "number", median, width if heavy else 0.0, words, gaps=gaps, note=note)


def counts_rows(name: str, values: np.ndarray) -> bool:
    """Whether a column called like one holds whole numbers that never repeat."""
    plain = name.strip().lower()
    called = plain in ROW_NUMBER_NAMES or plain.startswith("unnamed:") or plain.endswith("_id")
    whole = bool(np.all(np.mod(values, 1) == 0))
    return called and whole and len(np.unique(values)) == len(values)


def _category(name: str, texts: list[str], gaps: bool) -> Column:
    counts = Counter(texts).most_common()
    if len(counts) == 1 and not gaps:
        return Column(name, "dropped", note=f"{name!r} is {counts[0][0]!r} in every row")
    if len(counts) > max(10, len(texts) / 2):
        note = f"{name!r} is different text in nearly every row"
        return Column(name, "category" if gaps else "dropped", gaps=gaps, note=note)
    least = 1 if len(texts) < 100 else 3 if len(texts) < 1000 else 10
    levels = tuple(level for level, n in counts[:MOST_LEVELS] if n >= least)
    rest = len(levels) < len(counts)
    if not levels and not gaps:
        return Column(name, "dropped", note=f"no value of {name!r} occurs often enough")
    note = f"{name!r}: the {len(levels)} commonest of {len(counts)} values" if rest else ""
    return Column(name, "category", levels=levels, rest=rest, gaps=gaps, note=note)


def _date_form(present: np.ndarray) -> str:
    """The first format that reads at least 19 of 20 cells; "" if none does."""
    for form in DATE_FORMATS:
        first = np.isnan(_years(present[:20], form)).sum() <= 1  # cheap, and mostly decides
        if first and np.isnan(_years(present, form)).mean() <= 0.05:
            return form
    return ""


def _years(column: np.ndarray, form: str) -> np.ndarray:
    """Years since 2000, NaN where a cell is no date."""
    import pandas as pd

    stamps = pd.to_datetime(pd.Series(column, dtype=object), format=form, errors="coerce", utc=True)
    days = (stamps - pd.Timestamp("2000-01-01", tz="UTC")) / pd.Timedelta(days=1)
    return np.asarray(days, float) / 365.2425


_DATE_PARTS = (
    "in years", "in the year (sin)", "in the year (cos)", "in the week (sin)", "in the week (cos)",
    "in the day (sin)", "in the day (cos)",
)  # fmt: skip


def _encode_number(c: Column, column: np.ndarray) -> np.ndarray:
    values = _numbers(column)
    _check_size(values, np.arange(len(values)), c.name)
    empty = np.isnan(values)
    values = np.where(empty, c.fill, values)
    if c.width:
        values = np.arcsinh((values - c.fill) / c.width)
    return np.stack([values, *[empty.astype(float)] * c.gaps], axis=1)


def _encode_category(c: Column, column: np.ndarray) -> np.ndarray:
    missing = _missing(column)
    place = {level: i for i, level in enumerate(c.levels)}
    out = np.zeros((len(column), len(c.levels) + c.rest + c.gaps))
    unknown = len(c.levels) if c.rest else -1
    at = np.array([place.get(text, unknown) for text in _text(column)])
    at[missing] = out.shape[1] - 1 if c.gaps else -1
    rows = np.flatnonzero(at >= 0)
    out[rows, at[rows]] = 1
    return out


def _encode_date(c: Column, column: np.ndarray) -> np.ndarray:
    years = _years(column, c.form)
    empty = np.isnan(years)
    years = np.where(empty, c.fill, years)
    days = years * 365.2425
    turns = [2 * np.pi * phase for phase in (years, days / 7, days)]
    circles = [f(turn) for turn in turns for f in (np.sin, np.cos)]
    return np.stack([years, *circles, *[empty.astype(float)] * c.gaps], axis=1)


def _encode_dropped(c: Column, column: np.ndarray) -> np.ndarray:
    del c
    return np.zeros((len(column), 0))


_ENCODE = {
    "number": _encode_number,
    "category": _encode_category,
    "date": _encode_date,
    "dropped": _encode_dropped,
}


def _is_indicator(c: Column) -> np.ndarray:
    own = {"number": 1, "date": len(_DATE_PARTS)}.get(c.kind, 0)
    return np.repeat([False, True], [own, len(c.levels) + c.rest + c.gaps])


def _check_size(values: np.ndarray, rows: np.ndarray, name: str) -> None:
    large = np.abs(values) > LARGEST
    if large.any():
        i = int(large.argmax())
        raise ValueError(
            f"row {int(rows[i]) + 1}, column {name!r} holds {values[i]:g}, too large to compute "
            f"with (at most {LARGEST:g}): rescale it or correct the cell."
        )
