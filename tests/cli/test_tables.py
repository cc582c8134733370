"""Tables of the user's own: each difficulty is read, or is refused with row and column named."""

import decimal
import pathlib
import pickle

import numpy as np
import pandas as pd
import pytest

from jaxdl.run import recipe, recipe_screen, tables

GOOD = "a,b,label\n1,2,x\n3,4,y\n5,6,x\n7,8.5,y\n"


def write(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


WORKS = {
    "plain": (GOOD, "label", 4, ("x", "y")),
    "byte-order mark": (b"\xef\xbb\xbf" + GOOD.encode(), "label", 4, ("x", "y")),
    "windows lines": (GOOD.replace("\n", "\r\n").replace(",", ", "), "label", 4, ("x", "y")),
    "constant column": ("a,b,c\n1,4,x\n3,4,y\n", "c", 2, ("x", "y")),
    "integer classes": ("a,c\n" + "1,7\n2,3\n" * 5, "c", 10, ("3", "7")),
    "float classes": ("a,c\n" + "1,1.0\n2,0.0\n" * 5, "c", 10, ("0", "1")),
    "booleans": ("a,c\n" + "1,True\n2,False\n" * 5, "c", 10, ("False", "True")),
    "regression": ("a,c\n1,0.5\n2,1.5\n3,2.5\n", "c", 3, ()),
    "many whole numbers": ("a,c\n" + "".join(f"{i},{i}\n" for i in range(99)), "c", 99, ()),
    "empty cell": ("a,b,c\n1,2,u\n3,,v\n", "c", 2, ("u", "v")),
    "semicolons": ("a,b;c\n1;u\n2;v\n", "c", 2, ("u", "v")),
    "tabs": ("a\tc\n1.5\tu, or so\n2\tv\n", "c", 2, ("u, or so", "v")),
    "bars": ("a|c\n1|u\n2|v\n", "c", 2, ("u", "v")),
    "text": ("a,b,c\n1,2,u\n3,Paris,v\n", "c", 2, ("u", "v")),
    "quoted names": ('"a ""x"", y",c\n1,u\n2,v\n', "c", 2, ("u", "v")),
    "blank lines": ("\na,c\n\n1,u\n  \n2,v\n\n", "c", 2, ("u", "v")),
    "trailing commas": ("a,c\n1,u,\n2,v,\n", "c", 2, ("u", "v")),
    "newlines in quotes": ('a,b,c\n1,"two\nlines",u\n2,"more\nlines",v\n', "c", 2, ("u", "v")),
    "very long text": (f"a,b,c\n1,{'x' * 200_000},u\n2,y,v\n", "c", 2, ("u", "v")),
    "very long name": (f"{'a' * 200_000},c\n1,u\n2,v\n", "c", 2, ("u", "v")),
    "dates and booleans": ("d,b,c\n2024-01-05,True,u\n2024-02-05,False,v\n", "c", 2, ("u", "v")),
    "codes with commas": ('a,c\n"1,2",u\n"1,2,3",v\nnone,u\n2,v\n', "c", 4, ("u", "v")),
}  # fmt: skip


TEXT = {
    "empty cell", "text", "newlines in quotes", "very long text", "dates and booleans",
    "codes with commas",
}  # fmt: skip


@pytest.mark.parametrize("case", WORKS)
def test_works(case, tmp_path):
    text, target, m, classes = WORKS[case]
    dataset = tables.load(write(tmp_path, text), target)
    assert len(dataset.x) == len(dataset.y) == m
    assert dataset.target_names == classes
    assert (dataset.x.dtype == object) == (case in TEXT)
    if classes:
        assert set(dataset.y) == set(range(len(classes)))


REFUSED = {
    "1e308": ("a,b,c\n1,2,u\n3,1e308,v\n", "c", "row 2, column 'b' holds 1e+308"),
    "infinity": ("a,b,c\n1,2,u\n3,-inf,v\n", "c", "row 2, column 'b' holds -inf"),
    "empty target": ("a,c\n1,u\n2,\n", "c", "row 2, column 'c', the target, is empty"),
    "one class": ("a,c\n1,u\n2,u\n", "c", "'c' is 'u' in every row"),
    "a class for every row": (
        "a,c\n1,p\n2,q\n3,r\n4,s\n5,t\n", "c", "5 classes in 5 rows",
    ),
    "duplicate names": ("a,b,a,c\n1,2,3,u\n", "c", "columns 1 and 3 are both called 'a'"),
    "no such target": (GOOD, "lable", "Did you mean 'label'"),
    "no target": (GOOD, None, "Name it with --target: a, b, label"),
    "only the target": ("c\nu\nv\n", "c", "no column besides the target"),
    "ragged": ("a,c\n1,u\n2,v,9,9\n", "c", "row 2 (line 3) goes on after the last column 'c'"),
    "all rows too long": ("a,c\n1,u,9\n2,v,9\n", "c", "row 1 (line 2) goes on after"),
    "too short": ("a,b,c\n1,2,u\n3\n", "c", "row 2 (line 3) ends before column 'b'"),
    "open quote": ('a,b,c\n1,"2,u\n3,4,v\n', "c", "ends before column 'c': it has 2 of 3"),
    "both marks": ("a;c\n1,5;u\n2.5;v\n", "c", "is that comma a decimal mark"),
    "decimal commas": (
        'a,c\n?,u\n"1,5",v\n' + '"2,25",u\n' * 9, "c", "row 2, column 'a' holds '1,5'",
    ),
    "commas of thousands": ('a,c\n"1,500",u\n7,v\n', "c", "row 1, column 'a' holds '1,500'"),
    "decimal commas in the target": (
        'a,c\n1,"0,5"\n2,"1,5"\n', "c", "row 1, column 'c' holds '0,5'",
    ),
    "zero byte": ("a,c\n1,u\n2\0,v\n", "c", "line 3 holds a zero byte"),
    "utf-16": (GOOD.encode("utf-16"), "label", "line 1 holds the byte 0xff"),
    "blanks": (" \n\n", "c", "is empty: a header line"),
    "a word among target numbers": (
        "a,c\n1,0.5\n2,1.5\n3,oops\n4,2.5\n5,3.5\n6,4.5\n", "c", "row 3, column 'c' holds 'oops'",
    ),
    "infinite target": ("a,c\n1,0.5\n2,inf\n3,2.5\n", "c", "row 2, column 'c', the target, is inf"),
    "constant target": ("a,c\n1,0.5\n2,0.5\n3,0.5\n", "c", "'c' is 0.5 in every row: there is"),
    "target constant in float32": (
        "a,c\n" + "".join(f"{i},{10**12 + i}\n" for i in range(99)), "c", "digits of float32",
    ),
    "NA as a class": ("a,c\n1,NA\n2,u\n", "c", "row 1, column 'c', the target, is empty (or"),
    "empty file": ("", "c", "is empty: a header line"),
    "only a header": ("a,c\n", "c", "header but no rows"),
    "latin-1": ("a,c\n1,\xe9\n2,u\n".encode("latin-1"), "c", "not UTF-8 text: line 2 "),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_with_row_and_column(case, tmp_path):
    text, target, message = REFUSED[case]
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        tables.load(path, target)
    assert message in str(caught.value) and "data.csv" in str(caught.value)


def test_decimal_commas_where_semicolons_separate(tmp_path):
    found = tables.load(write(tmp_path, "a;c\n1,5;u\n-2,25;v\n3;u\n"), "c")
    np.testing.assert_array_equal(found.x[:, 0], [1.5, -2.25, 3])


def test_parquet_and_npz(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "c": ["u", "v", "u", "v"]})
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", x=np.arange(8.0).reshape(4, 2), y=np.array([0, 1, 0, 1]))
    assert tables.load(str(tmp_path / "t.parquet"), "c").target_names == ("u", "v")
    assert tables.load(str(tmp_path / "t.npz"), None).x.shape == (4, 2)
    with pytest.raises(ValueError, match="no array 'z', only x, y"):
        tables.load(str(tmp_path / "t.npz"), "z")
    write(tmp_path, b"PAR1 nonsense", "bad.parquet")
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        tables.load(str(tmp_path / "bad.parquet"), "c")


NPZ_REFUSED = {
    "too large": ({"x": [[1.0, 2], [3, 1e308]]}, "row 2, column 2 holds 1e\\+308, too large"),
    "infinity": ({"x": [[1.0, -np.inf], [3, 4]]}, "row 1, column 2 holds -inf"),
    "half precision": ({"x": np.array([[1, np.inf], [3, 4]], "f2")}, "row 1, column 2 holds inf"),
    "gap": ({"x": [[1.0, 2], [np.nan, 4]]}, "x is NaN in row 2, column 1"),
    "text": ({"x": [["a"], ["b"]]}, "x must hold numbers"),
    "no matrix": ({"x": [1.0, 2.0]}, r"x must be \(m, n\).*\(2,\)"),
    "several targets": ({"y": [[0, 1], [1, 0]]}, r"y \(m,\) or \(m, 1\), got.*\(2, 2\)"),
    "gap in the target": ({"y": [np.nan, 1.0]}, "row 1, column 'y', the target, is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ_REFUSED)
def test_arrays_that_are_refused(case, tmp_path):
    arrays, message = NPZ_REFUSED[case]
    np.savez(tmp_path / "t.npz", **({"x": [[1.0, 2], [3, 4]], "y": [0, 1]} | arrays))
    with pytest.raises(ValueError, match=message):
        tables.load(str(tmp_path / "t.npz"), None)


def test_cells_of_parquet_that_no_csv_has(tmp_path):
    path = tmp_path / "t.parquet"
    exact = [decimal.Decimal(i) / 2 for i in range(4)]
    pd.DataFrame({"a": [1.0, 2, 3, 4], "c": exact}).to_parquet(path)
    assert tables.load(str(path), "c").y.tolist() == [0.0, 0.5, 1.0, 1.5]
    for column in ("a", "c"):
        frame = pd.DataFrame({"a": [1.0, 2], "b": [1.0, 2], "c": ["u", "v"]})
        frame.assign(**{column: [[1, 2], [3, 4]]}).to_parquet(path)
        with pytest.raises(ValueError, match=f"row 1, column '{column}' holds several values"):
            tables.load(str(path), "c")


class Trap:
    """Would write a file if it were ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


def test_nothing_is_unpickled(tmp_path):
    bait = tmp_path / "sprung"
    np.savez(tmp_path / "t.npz", x=np.array([Trap(bait)], dtype=object), y=np.zeros(1))
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Trap(bait)))
    for name in ("t.npz", "p.npz"):
        with pytest.raises(ValueError, match="cannot be read"):
            tables.load(str(tmp_path / name), None)
    assert not bait.exists()


def test_unknown_files_and_names(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        tables.load(str(tmp_path / "absent.csv"), "c")
    with pytest.raises(ValueError, match=r"\.csv, \.parquet, \.npz"):
        tables.load(str(tmp_path / "absent.txt"), "c")
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        tables.load("digit")


def test_dropped_columns_and_forced_tasks(tmp_path):
    path = write(tmp_path, "id,a,c\np,1,1\nq,2,2\nr,3,1\ns,4,2\n")
    assert tables.load(path, "c", drop=("id",)).feature_names == ("a",)
    assert tables.load(path, "c", "regression", ("id",)).y.dtype == np.float32
    with pytest.raises(ValueError, match="4 classes in 4 rows"):
        tables.load(path, "a", "classification", ("id",))


def numbered(first, name="i", m=12):
    """A table whose first column counts from `first`; y follows from x alone."""
    return f"{name},x,y\n" + "".join(f"{first + i},{i * i % 7},{i * i % 7 / 2}\n" for i in range(m))


LEFT_OUT = {
    "from 0": (numbered(0), "'i' numbers the rows"),
    "from 1": (numbered(1), "'i' numbers the rows"),
    "called so, in another order": (
        "id,x,y\n" + "".join(f"{i * 5 % 13},{i % 7},{i % 7 / 2}\n" for i in range(13)),
        "'id' numbers the rows",
    ),
    "without a name": (numbered(0, ""), "the first column has no name"),
    "the index of a part": (
        ",x,y\n" + "7,1,2.5\n3,2,1.5\n9,4,0.5\n",
        "the first column has no name",
    ),
    "names of rows": (",x,y\n" + "p,1,2.5\nq,2,1.5\nr,4,0.5\n", "the first column has no name"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_row_numbers_are_left_out_with_a_sentence_and_kept_on_request(case, tmp_path):
    text, sentence = LEFT_OUT[case]
    path, said = write(tmp_path, text), []
    assert tables.load(path, "y", keep_row_numbers=False, tell=said.append).feature_names == ("x",)
    assert len(said) == 1 and sentence in said[0] and "--keep-row-numbers" in said[0]
    assert len(tables.load(path, "y", tell=said.append).feature_names) == 2 and len(said) == 1


@pytest.mark.parametrize("keep", [False, True])
def test_the_recipe_leaves_row_numbers_out_as_training_does(keep, tmp_path):
    path = write(tmp_path, numbered(1, m=12) + "13,4,\n")
    options = recipe.Recipe(data=str(path), target="y", keep_row_numbers=keep)
    dataset, said = recipe.read(options)
    assert dataset.feature_names == (("i", "x") if keep else ("x",))
    assert ["rows without 'y'" in s for s in said] == [False] * (not keep) + [True]


def test_the_command_that_repeats_a_recipe_is_one_that_runs():
    options = recipe.Recipe(data="t.csv", target="y", keep_row_numbers=True)
    again = recipe_screen._again(options, (3,))
    assert again == "jaxdl recipe t.csv --target y --keep-row-numbers --seed 0 --rounds 3"


FEATURES = {
    "from 2": (numbered(2), ("i", "x")),
    "in another order": (
        "i,x,y\n" + "".join(f"{5 * i % 12},1,{i / 2}\n" for i in range(12)), ("i", "x"),
    ),
    "few rows": (numbered(1, m=5), ("i", "x")),
    "all there is": ("i,y\n" + "".join(f"{i},{i / 2}\n" for i in range(12)), ("i",)),
    "not the first": ("x,,y\n1,5,0.5\n2,3,1.5\n3,1,2.5\n", ("x", "Unnamed: 1")),
}  # fmt: skip


@pytest.mark.parametrize("case", FEATURES)
def test_what_only_looks_like_row_numbers_stays(case, tmp_path):
    text, names = FEATURES[case]
    said = []
    found = tables.load(write(tmp_path, text), "y", keep_row_numbers=False, tell=said.append)
    assert (found.feature_names, said) == (names, [])


ONE_COLUMN = {
    "between": ("a\n1\n\n3\n", [1, np.nan, 3]),
    "first": ("a\n\n2\n", [np.nan, 2]),
    "spaces, windows lines": ("a\r\n1\r\n  \r\n\r\n4\r\n", [1, np.nan, np.nan, 4]),
    "before the header and at the end": (b"\xef\xbb\xbf\n\na\n1\n2\n\n \n", [1, 2]),
    "quoted": ('a\n1\n""\n', [1, np.nan]),
}


@pytest.mark.parametrize("case", ONE_COLUMN)
def test_a_blank_line_in_a_table_of_one_column_is_a_row(case, tmp_path):
    text, expected = ONE_COLUMN[case]
    found = tables.columns(pathlib.Path(write(tmp_path, text)), ("a",))
    np.testing.assert_array_equal(np.asarray(found, float)[:, 0], expected)


def test_rows_of_one_column_count_blank_lines(tmp_path):
    path = pathlib.Path(write(tmp_path, "a\n1\n\n2,3\n"))
    with pytest.raises(ValueError, match=r"row 3 \(line 4\) goes on after"):
        tables.columns(path, ("a",))
