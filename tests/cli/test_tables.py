"""Tables of the user's own: each difficulty is read, or is refused with row and column named."""

import pathlib
import pickle

import numpy as np
import pandas as pd
import pytest

from jaxdl.run import tables

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
    "text": ("a,b,c\n1,2,u\n3,Paris,v\n", "c", 2, ("u", "v")),
    "quoted names": ('"a ""x"", y",c\n1,u\n2,v\n', "c", 2, ("u", "v")),
}  # fmt: skip


@pytest.mark.parametrize("case", WORKS)
def test_works(case, tmp_path):
    text, target, m, classes = WORKS[case]
    dataset = tables.load(write(tmp_path, text), target)
    assert len(dataset.x) == len(dataset.y) == m
    assert dataset.target_names == classes
    assert dataset.x.dtype == (object if case in ("empty cell", "text") else float)
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
    "ragged": ("a,c\n1,u\n2,v,9,9\n", "c", "line 3"),
    "empty file": ("", "c", "is empty: a header line"),
    "only a header": ("a,c\n", "c", "header but no rows"),
    "latin-1": ("a,c\n1,\xe9\n2,u\n".encode("latin-1"), "c", "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_is_refused_with_row_and_column(case, tmp_path):
    text, target, message = REFUSED[case]
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        tables.load(path, target)
    assert message in str(caught.value) and "data.csv" in str(caught.value)


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
