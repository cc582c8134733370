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


def changed(change):
    """A gradient with one mistake in every matrix."""

    def value_and_grad(*arguments):
        cost, grads = jax.value_and_grad(OBJECTIVE)(*arguments)
        return cost, jax.tree.map(lambda g: change(g) if g.ndim == 2 else g, grads)

    return value_and_grad


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
    "gradient of another shape": (
        {"value_and_grad": changed(jnp.transpose)},
        ValueError,
        r"'0.w' the parameter is float32 of shape \(3, 5\), its gradient float32 of shape \(5, 3\)",
    ),
    "gradient that is one number": ({"value_and_grad": changed(jnp.mean)}, ValueError, r"\(\)"),
    "gradient of whole numbers": (
        {"value_and_grad": changed(lambda g: g.astype(int))},
        ValueError,
        "its gradient int",
    ),
    "complex gradient": (
        {"value_and_grad": changed(lambda g: g.astype(jnp.complex64))},
        ValueError,
        "complex64",
    ),
    "complex cost": (
        {"value_and_grad": lambda *a: (OBJECTIVE(*a).astype(jnp.complex64), PARAMS)},
        ValueError,
        "real cost of floats, got dtype complex64",
    ),
    "gradient of three arguments": (
        {"value_and_grad": lambda params, x, y: None},
        TypeError,
        r"value_and_grad is called with \(params, x, y, key, weights\), but takes \(params, x, y\)",
    ),
    "gradient that is none": ({"value_and_grad": 3}, TypeError, "must be a function of.*got 3"),
    "objective of three arguments": (
        {"objective": lambda params, x, y: jnp.float32(0)},
        TypeError,
        r"objective is called with .*weights\), but takes \(params, x, y\): too many",
    ),
    "objective of six arguments": (
        {"objective": lambda params, x, y, key, weights, more: jnp.float32(0)},
        TypeError,
        "missing a required argument: 'more'",
    ),
    "objective of names only": (
        {"objective": lambda params, x, y, *, key=None, weights=None: jnp.float32(0)},
        TypeError,
        "too many positional arguments",
    ),
    "dev objective that needs a key": (
        {"dev": (X, Y), "dev_objective": lambda params, x, y, key: jnp.float32(0)},
        TypeError,
        r"dev_objective is called with \(params, x, y\).*'key'",
    ),
    "update without params": (
        {"optimizer": types.SimpleNamespace(init=len, update=lambda g, s: (g, s))},
        TypeError,
        r"the optimizer's update is called with \(updates, state, params\)",
    ),
    "update that needs more": (
        {"optimizer": types.SimpleNamespace(init=len, update=lambda g, s, p, *, loss: (g, s))},
        TypeError,
        "missing a required.* argument: 'loss'",
    ),
    "mesh list": ({"mesh": jax.devices()}, TypeError, r"devices\.row_of\('batch'\).*got list"),
    "mesh number": ({"mesh": 2}, TypeError, "must be a jax.sharding.Mesh.*got int 2"),
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


def optimizer(start, step):
    """One whose state is not what a loop can carry."""
    return types.SimpleNamespace(
        init=lambda params: start, update=lambda g, state, params=None: (g, step(state))
    )


@pytest.mark.parametrize(
    ("optimizer", "error", "message"),
    [
        (optimizer((), lambda s: (1.0,)), ValueError, "what its update made of it must have one"),
        (optimizer(None, lambda s: 1.0), ValueError, "must have one structure"),
        (optimizer(np.zeros(2), lambda s: jnp.zeros(4)), ValueError, r"\(2,\).*\(4,\)"),
        (optimizer(np.int32(0), lambda s: jnp.float32(1)), TypeError, "int32 became float32"),
        (
            types.SimpleNamespace(init=lambda p: (), update=lambda g, s, p=None: (g, s, 1)),
            ValueError,
            r"must return \(updates, state\)",
        ),
    ],
)
@pytest.mark.parametrize("patience", [None, 2])
def test_an_optimizer_whose_state_changes_its_form(optimizer, error, message, patience):
    with pytest.raises(error, match=message):
        train.fit(
            OBJECTIVE, PARAMS, optimizer, (X, Y), epochs=2, key=jax.random.key(0),
            patience=patience, monitor="cost",
        )  # fmt: skip
