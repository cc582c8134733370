"""Bad data gets one sentence with the values in it, before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import data

X, Y = np.zeros((6, 2), np.float32), np.array([0, 1, 2, 0, 1, 2])


def spoiled(value):
    x = X.copy()
    x[4, 1] = value
    return x


BAD = {
    "nan": (spoiled(np.nan), Y, {}, r"got nan in row 4, column 1 \(1 such"),
    "inf": (spoiled(-np.inf), Y, {}, "got -inf in row 4, column 1"),
    "named": (spoiled(np.nan), Y, {"feature_names": ("age", "pay")}, r"column 1 \(pay\)"),
    "image": (np.full((6, 2, 2), np.nan), Y, {}, r"row 0, position \(0, 0\)"),
    "nan target": (X, np.array([[0.0]] * 5 + [[np.nan]]), {}, "targets.*row 5, column 0"),
    "empty": (X[:0], Y[:0], {}, r"at least one example.*\(0, 2\)"),
    "no features": (X[:, :0], Y, {}, r"one feature.*\(6, 0\)"),
    "lengths": (X, Y[:5], {}, r"one target per example.*\(6, 2\).*\(5,\)"),
    "rank of x": (X[:, 0], Y, {}, r"reshape\(-1, 1\)"),
    "label too large": (X, Y, {"n_classes": 2}, r"\[0, 2\).*got 2 in row 2"),
    "label negative": (X, Y - 1, {"n_classes": 3}, "got -1 in row 0"),
    "label and outputs": (X, Y, {"outputs_shape": (6, 2)}, "got 2 in row 2"),
    "rank-1 labels": (X, Y, {"outputs_shape": (6, 1)}, r"\(6, 1\).*int32 of shape \(6,\)"),
    "rank-1 floats": (X, Y * 1.0, {"outputs_shape": (6, 1)}, r"\(6, 1\).*float64 of shape \(6,\)"),
    "column for classes": (X, Y[:, None], {"outputs_shape": (6, 3)}, r"of shape \(6, 1\)"),
    "no column": (X, Y, {"outputs_shape": (6, 1)}, r"data\.column\(y\) makes that column"),
    "batch size": (X, Y, {"batch_size": 7}, "between 1 and the 6 examples, got 7"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_data(case):
    x, y, options, message = case
    with pytest.raises(ValueError, match=message) as raised:
        data.check(x, y, **options)
    assert "\n" not in str(raised.value)


NOT_NUMBERS = [
    (np.array([["a", "b"]] * 6), Y),
    (X, np.array(list("abcabc"))),
    (X.astype(complex), Y),
    (X.astype(object), Y),
]


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=["text", "text targets", "complex", "objects"])
def test_what_is_not_a_real_number_is_a_type_error(bad):
    with pytest.raises(TypeError, match="Encode"):
        data.check(*bad)


def test_types_are_made_ready():
    x, y = data.check(X.astype(np.uint8), Y)
    assert x.dtype == np.float32 and y.dtype == np.int32
    x, y = data.check([[1, 2], [3, 4]], [True, False])
    assert x.dtype == np.float32 and y.dtype == np.int32
    _, y = data.check(X, Y[:, None])
    assert y.dtype == np.float32
    x, y = data.check(jnp.asarray(X), jnp.asarray(Y), outputs_shape=(6, 3), batch_size=6)
    assert isinstance(x, jax.Array) and isinstance(y, jax.Array)
    x, _ = data.check(X.astype(np.float64), Y)
    assert x.dtype == np.float64


def test_traced_arrays_are_checked_for_shape_only():
    jax.eval_shape(lambda x, y: data.check(x, y, n_classes=2), X, Y)
    with pytest.raises(ValueError, match="one target per example"):
        jax.eval_shape(lambda x, y: data.check(x, y), X, Y[:5])


def test_bfloat16_is_a_float():
    x = jnp.asarray(spoiled(np.nan), jnp.bfloat16)
    with pytest.raises(ValueError, match="row 4, column 1"):
        data.check(x, Y)


def test_labels_are_checked_before_int32_could_wrap_them():
    with pytest.raises(ValueError, match="4294967296"):
        data.check(np.ones((2, 1), np.float32), np.array([0, 2**32]), n_classes=2)
