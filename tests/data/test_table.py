"""Cells to numbers: decided by the training part, never a gap, the same after saving."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxdl.data import table, targets

CELLS = pd.DataFrame(
    {
        "age": [30.0, np.nan, 50.0, 40.0],
        "city": ["Oslo", "Rome", None, "Oslo"],
        "seen": ["2024-01-01", "2024-07-01", "2023-01-01", None],
        "always": [7, 7, 7, 7],
    }
)


def test_by_hand():
    encoder = table.fit(CELLS.to_numpy(object), tuple(CELLS))
    assert [c.kind for c in encoder] == ["number", "category", "date", "dropped"]
    x = table.apply(encoder, CELLS.to_numpy(object))
    names = table.feature_names(encoder)
    found = dict(zip(names, x.T, strict=True))
    assert found["age"].tolist() == [30, 40, 50, 40]  # the median of 30, 40, 50 in the gap
    assert found["age is empty"].tolist() == [0, 1, 0, 0]
    assert found["city=Oslo"].tolist() == [1, 0, 0, 1]
    assert found["city=Rome"].tolist() == [0, 1, 0, 0]
    assert found["city is empty"].tolist() == [0, 0, 1, 0]
    # 2024-01-01 is 8766 days after 2000-01-01, 8766 / 365.2425 years.
    assert found["seen in years"][0] == pytest.approx(8766 / 365.2425)
    assert encoder[3].note == "'always' is 7 in every row"


def column(values, name="c"):
    return table.fit(np.array(values, dtype=object)[:, None], (name,))[0]


KINDS = {
    "numbers": ([1, 2, 3.5] * 9, "number"),
    "numbers as text": (["1", "2.5", "3"] * 9, "number"),
    "booleans": ([True, False] * 9, "number"),
    "a word or two among numbers": ([*["1", "2", "3"] * 9, "?"], "number"),
    "half words": (["1", "a"] * 9, "category"),
    "text": (["u", "v", "w"] * 9, "category"),
    "dates": (["2024-01-05", "2024-02-06", "2023-05-01"] * 5, "date"),
    "days first": (["25/01/2024", "06/02/2024", "13/05/2023"] * 5, "date"),
    "months first": (["01/25/2024", "02/06/2024", "05/13/2023"] * 5, "date"),
    "timestamps": (["2024-01-05 10:00:00", "2024-02-06 11:30:00"] * 5, "date"),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds(case):
    values, kind = KINDS[case]
    assert column(values).kind == kind


DROPPED = {
    "constant": (["u"] * 9, "c", "is 'u' in every row"),
    "empty": ([None] * 9, "c", "empty in every row"),
    "names": ([f"person {i}" for i in range(99)], "c", "different text in nearly every row"),
    "row numbers": (list(range(100, 150)), "id", "numbers the rows"),
    "an index": (list(range(50)), "Unnamed: 0", "numbers the rows"),
}


def test_row_numbers_are_features_on_request():
    cells = np.stack([np.arange(50), np.tile([1.0, np.nan], 25)], axis=1).astype(object)
    kinds = [[c.kind for c in table.fit(cells, ("id", "x"), keep)] for keep in (False, True)]
    assert kinds == [["dropped", "number"], ["number", "number"]]


@pytest.mark.parametrize("case", DROPPED)
def test_what_teaches_nothing_is_left_out_and_said(case):
    values, name, note = DROPPED[case]
    cells = np.array([[v, i % 3] for i, v in enumerate(values)], dtype=object)
    encoder = table.fit(cells, (name, "other"))
    assert table.feature_names(encoder) == ("other",)
    assert note in encoder[0].note
    with pytest.raises(ValueError, match="No column is left"):
        table.fit(cells[:, :1], (name,))


def test_a_count_that_is_no_row_number_stays():
    assert column(list(range(50)), "day").kind == "number"


def test_unseen_levels_gaps_and_words_have_a_place():
    encoder = table.fit(CELLS.to_numpy(object), tuple(CELLS))
    new = np.array([["n/a", "Paris", "yesterday", 9], [None, "Rome", None, None]], dtype=object)
    x = table.apply(encoder, new)
    assert np.isfinite(x).all()
    found = dict(zip(table.feature_names(encoder), x.T, strict=True))
    assert found["age"].tolist() == [40, 40] and found["age is empty"].tolist() == [1, 1]
    assert found["city=Oslo"][0] == found["city=Rome"][0] == found["city is empty"][0] == 0
    said = table.surprises(encoder, new)
    assert [sentence.split(":")[0] for sentence in said] == [
        "'age' holds 'n/a'", "'city' holds 'Paris'", "'seen' holds 'yesterday'",
    ]  # fmt: skip


def test_a_gap_that_the_training_part_never_had_is_filled():
    encoder = table.fit(np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 9.0]]), ("a", "b"))
    assert table.apply(encoder, np.array([[np.nan, 7.0]])).tolist() == [[2.0, 7.0]]


def test_rare_levels_share_a_feature_and_so_do_unseen_ones():
    values = ["common"] * 80 + ["usual"] * 40 + ["rare", "seldom"]
    encoder = (column(values),)
    assert encoder[0].levels == ("common", "usual") and encoder[0].rest
    x = table.apply(encoder, np.array([["rare"], ["never seen"], ["usual"]], dtype=object))
    assert x.tolist() == [[0, 0, 1], [0, 0, 1], [0, 1, 0]]


def test_heavy_tails_are_drawn_in_and_light_ones_are_not():
    light = np.linspace(-1, 1, 101)
    heavy = np.concatenate([light, [1000.0]])
    assert column(light.tolist()).width == 0
    encoder = (column(heavy.tolist()),)
    x = table.apply(encoder, heavy[:, None])
    assert x.max() < 10 and (np.diff(x[:, 0]) > 0).all()


def test_each_row_is_encoded_by_itself_and_the_same_after_saving():
    cells = CELLS.to_numpy(object)
    encoder = table.fit(cells, tuple(CELLS))
    again = table.from_json(json.loads(json.dumps(table.to_json(encoder))))
    assert again == encoder
    whole = table.apply(encoder, cells)
    rows = np.concatenate([table.apply(again, cells[i : i + 1]) for i in range(len(cells))])
    np.testing.assert_array_equal(whole, rows)
    assert whole.shape[1] == len(table.feature_names(encoder))


def test_rare_indicators_stay_small_when_scaled():
    cells = np.array([["a"]] * 500 + [["b"]] * 4, dtype=object)
    encoder = table.fit(cells)
    x = table.apply(encoder, cells)
    state = table.scaler(encoder, x)
    assert np.abs((x - state.shift) / state.scale).max() <= 2


def test_numbers_too_large_are_refused_with_their_place():
    with pytest.raises(ValueError, match=r"row 2, column 'a' holds 1e\+31"):
        table.fit(np.array([[1.0], [1e31]]), ("a",))


def test_filled_puts_numbers_into_gaps_and_refuses_words():
    cells = np.array([[1.0, None], ["2", 3.0]], dtype=object)
    assert table.filled(cells, np.array([8.0, 9.0])).tolist() == [[1, 9], [2, 3]]
    with pytest.raises(ValueError, match="row 1, column 2 holds 'x'"):
        table.filled(np.array([[1.0, "x"]], dtype=object), np.zeros(2))


TARGETS = {
    "text": (["b", "a", "b"], [1, 0, 1], ("a", "b")),
    "booleans": ([True, False, True], [1, 0, 1], ("False", "True")),
    "whole numbers": ([3, 7, 3, 7], [0, 1, 0, 1], ("3", "7")),
    "whole floats": ([1.0, 0.0, 1.0], [1, 0, 1], ("0", "1")),
}


@pytest.mark.parametrize("case", TARGETS)
def test_targets_that_are_classes(case):
    values, expected, names = TARGETS[case]
    y, classes = targets.targets(np.array(values))
    assert y.tolist() == expected and classes == names


def test_targets_that_are_amounts_or_neither():
    y, classes = targets.targets(np.array([0.5, 1.5, 2.5]))
    assert y.dtype == np.float32 and classes == ()
    assert targets.targets(np.array([1, 2, 1, 2]), "regression")[1] == ()
    with pytest.raises(ValueError, match="Did you mean 'regression'"):
        targets.targets(np.array([1, 2]), "regresion")
