"""Wrong input to `train.fit`: one clear sentence, before anything is compiled."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import metrics, optim, train
from tests.train.problems import accuracy, classes, network

X, Y = classes()
MODEL, OBJECTIVE, PARAMS = network()
HOLED = X.copy()
HOLED[4, 2] = np.nan

CASES = {
    "no pair": ({"data": X}, ValueError, "must be a pair"),
    "lengths": ({"data": (X, Y[:9])}, ValueError, r"\(10, 3\).*\(9,\)"),
    "empty": ({"data": (X[:0], Y[:0])}, ValueError, "at least one example"),
    "nan": ({"data": (HOLED, Y)}, ValueError, "row 4, column 2"),
    "overflow": ({"data": (X * 1e300, Y)}, ValueError, "float32"),
    "label K": ({"data": (X, Y + 1)}, ValueError, r"\[0, 4\).*1 to 4"),
    "label -1": ({"data": (X, Y - 1)}, ValueError, r"\[0, 4\).*-1 to 2"),
    "label shape": ({"data": (X, Y[:, None])}, ValueError, r"\(10, 1\)"),
    "features": ({"data": (X[:, :2], Y)}, ValueError, r"x must have shape \(m, 3\); got \(10, 2\)"),
    "dev labels": ({"dev": (X, Y + 1)}, ValueError, r"\[0, 4\)"),
    "dev nan": ({"dev": (HOLED, Y)}, ValueError, "the dev data.*row 4"),
    "batch 11": ({"batch_size": 11}, ValueError, "10 examples, got 11"),
    "batch 0": ({"batch_size": 0}, ValueError, "at least 1, got 0"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be a whole number of at least 1, got 0"),
    "epochs 1.5": ({"epochs": 1.5}, ValueError, "got 1.5"),
    "key": ({"key": 0}, TypeError, r"jax.random.key\(0\)"),
    "keys": ({"key": jax.random.split(jax.random.key(0))}, TypeError, r"one random key.*\(2,\)"),
    "optimizer": ({"optimizer": optim.adam}, TypeError, r"Call it: adam\(\.\.\.\)"),
    "params int": ({"params": [{"w": np.arange(3)}]}, TypeError, "int.* at '0.w'"),
    "params nan": ({"params": [{"w": np.full(3, np.nan)}]}, ValueError, "'0.w'"),
    "params empty": ({"params": []}, ValueError, "empty tree"),
    "metric name": ({"metrics": {"cost": accuracy(MODEL)}}, ValueError, "'cost' is taken"),
    "metrics list": ({"metrics": [accuracy(MODEL)]}, TypeError, "a dict of names and functions"),
    "metric norm": (
        {"metrics": {"update_norm/0.w": accuracy(MODEL)}},
        ValueError,
        "'update_norm/0.w' is taken",
    ),
    "metric complex": (
        {"metrics": {"c": lambda p, x, y: jnp.complex64(1j)}},
        ValueError,
        "one real number.*compl",
    ),
    "half an optimizer": (
        {"optimizer": types.SimpleNamespace(init=len)},
        TypeError,
        "functions init and update",
    ),
    "metric": ({"metrics": {"accuracy": 3}}, TypeError, "must be a function"),
    "monitor": (
        {"monitor": "dev_acuracy", "dev": (X, Y), "metrics": {"accuracy": accuracy(MODEL)}},
        ValueError,
        "Did you mean 'dev_accuracy'",
    ),
    "layer": ({"objective": MODEL}, TypeError, r"losses\.objective\(model, loss\)"),
    "metric of outputs": (
        {"metrics": {"accuracy": metrics.accuracy}},
        ValueError,
        r"'accuracy' cannot be.*metrics\.of\(model, metric\)",
    ),
    "metric that is no number": (
        {"metrics": {"outputs": lambda p, x, y: x}},
        ValueError,
        "'outputs' must return one real number",
    ),
    "metric that needs arrays": (
        {"metrics": {"auc": metrics.of(MODEL, metrics.auc)}},
        ValueError,
        "'auc' cannot be.*after the compiled loop",
    ),
    "gradient": ({"value_and_grad": OBJECTIVE}, ValueError, "must return .cost, gradients."),
    "weights by name": ({"class_weights": "balanced"}, ValueError, "'balanced'"),
    "patience": ({"patience": 3}, ValueError, "something to watch"),
    "weights": ({"class_weights": [1.0, 0.0, 1.0, 1.0]}, ValueError, "positive"),
    "weights missing": ({"class_weights": [1.0, 2.0]}, ValueError, "2 entries.*0 to 3"),
    "objective": (
        {"objective": lambda p, x, y, key=None, weights=None: x[:, 0]},
        ValueError,
        "one real number",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_says_what_is_wrong_before_compiling(case, monkeypatch):
    changes, error, message = CASES[case]

    def refuse(*args):
        raise AssertionError("compiled before the check")

    monkeypatch.setattr(train.fit.__globals__["loop"], "init", refuse)
    arguments = {
        "objective": OBJECTIVE, "params": PARAMS, "optimizer": optim.sgd(0.1), "data": (X, Y),
        "epochs": 2, "key": jax.random.key(0),
    } | changes  # fmt: skip
    with pytest.raises(error, match=message):
        train.fit(**arguments)


def test_takes_numpy_parameters_a_dataset_and_raw_keys():
    class Dataset:
        x, y = X, Y

    params = jax.tree.map(np.asarray, PARAMS)
    result = train.fit(
        OBJECTIVE, params, optim.sgd(0.1), Dataset, epochs=1, key=jax.random.PRNGKey(0)
    )
    assert result.params[0]["w"].dtype == jnp.float32
