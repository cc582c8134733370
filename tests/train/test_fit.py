"""`train.fit` against plain Python loops, under transformations, and step by step by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import backprop, data, losses, models, optim, train
from tests.train.problems import accuracy, assert_close, classes, network

KEY = jax.random.key(7)


def python_loop(objective, params, optimizer, x, y, epochs, batch_size, weights=None):
    """The notes' two nested loops, with real short batches and no padding."""
    state = optimizer.init(params)
    grad = jax.jit(jax.value_and_grad(objective))
    for e in range(epochs):
        order_key, step_key = jax.random.split(jax.random.fold_in(KEY, e))
        batches, kept = data.epoch_indices(order_key, len(x), batch_size)
        for i in range(len(batches)):
            rows = np.asarray(batches[i])[np.asarray(kept[i]) > 0]
            w = None if weights is None else jnp.asarray(weights)[y[rows]]
            key = jax.random.fold_in(step_key, i)
            _, g = grad(params, jnp.asarray(x[rows]), jnp.asarray(y[rows]), key, w)
            updates, state = optimizer.update(g, state, params)
            params = optim.apply_updates(params, updates)
    return params


def test_one_step_by_hand():
    # J = ½ mean (w x − y)², one weight w = 1, x = (1, 2), y = (3, 2):
    # dJ/dw = mean (w x − y) x = ((−2)·1 + 0·2)/2 = −1, so w ← 1 + 0.5 = 1.5 with α = 0.5.
    # Second epoch: (1.5 − 3)·1 + (3 − 2)·2 = 0.5, mean 0.25, so w ← 1.5 − 0.125 = 1.375.
    model = models.mlp((1, 1))
    params = [{"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}]

    def objective(params, x, y, key=None, weights=None):
        return losses.objective(model, "squared_error")(
            [{"w": params[0]["w"], "b": jnp.zeros(1)}], x, y, key, weights
        )

    xy = np.array([[1.0], [2.0]]), np.array([[3.0], [2.0]])
    result = train.fit(objective, params, optim.sgd(0.5), xy, epochs=2, key=KEY)
    assert float(result.params[0]["w"][0, 0]) == 1.375
    # Costs before each step: ½(4 + 0)/2 = 1 and ½(2.25 + 1)/2 = 0.8125.
    np.testing.assert_array_equal(result.history["cost"], [1.0, 0.8125])
    assert int(result.diverged_at) == -1 and int(result.epochs) == 2


@pytest.mark.parametrize(
    ("case", "batch_size"),
    [
        ("plain", 1),
        ("plain", 4),
        ("plain", 10),
        ("plain", None),
        ("dropout and l2", 4),
        ("dropout and l2", 5),
        ("class weights", 4),
        ("class weights", None),
        ("by hand", 4),
    ],
)
def test_equals_nested_python_loops(x64, case, batch_size):
    regular = {"keep_prob": 0.7, "l2": 0.3} if case == "dropout and l2" else {}
    model, objective, params = network(**regular, dtype=jnp.float64)
    weights = np.array([1.0, 2.0, 0.5, 3.0]) if case == "class weights" else None
    by_hand = backprop.value_and_grad(model, "softmax_cross_entropy")
    x, y = classes()
    optimizer = optim.adam(0.03)
    result = train.fit(
        objective,
        params,
        optimizer,
        (x, y),
        epochs=3,
        batch_size=batch_size,
        key=KEY,
        class_weights=weights,
        value_and_grad=by_hand if case == "by hand" else None,
    )
    expected = python_loop(objective, params, optimizer, x, y, 3, batch_size or 10, weights)
    assert_close(result.params, expected, 1e-12)


def test_history_holds_the_mean_cost_and_the_evaluations_of_each_epoch(x64):
    model, objective, params = network(dtype=jnp.float64)
    x, y = classes()
    dev = classes(m=6, seed=1)
    metrics = {"accuracy": accuracy(model)}
    result = train.fit(
        objective, params, optim.sgd(0.0), (x, y), epochs=2, batch_size=4, key=KEY,
        dev=dev, metrics=metrics,
    )  # fmt: skip
    cost, dev_cost = (
        objective(params, jnp.asarray(x), jnp.asarray(y)),
        objective(params, *map(jnp.asarray, dev)),
    )
    # A learning rate of 0 leaves everything as it was: short batches must not count more.
    np.testing.assert_allclose(result.history["cost"], [cost, cost], rtol=1e-14)
    np.testing.assert_allclose(result.history["dev_cost"], [dev_cost, dev_cost], rtol=1e-14)
    expected = [float(metrics["accuracy"](params, *map(jnp.asarray, d))) for d in ((x, y), dev)]
    got = [float(result.history[k][-1]) for k in ("accuracy", "dev_accuracy")]
    assert got == pytest.approx(expected)


def _run(params, key, lr, l2, keep_prob):
    model = models.mlp((3, 5, 4), "tanh", keep_prob=keep_prob)
    objective = losses.objective(model, "softmax_cross_entropy", l2=l2)
    return train.fit(objective, params, optim.adam(lr), classes(), epochs=3, batch_size=4, key=key)


def test_vmap_over_keys_and_hyperparameters_equals_one_at_a_time():
    _, _, params = network()
    keys = jax.random.split(jax.random.key(3), 4)
    grid = (
        jnp.array([0.1, 0.01, 0.001, 1.0]),
        jnp.array([0.0, 0.1, 1.0, 10.0]),
        jnp.array([1.0, 0.5, 0.9, 0.7]),
    )
    together = jax.vmap(_run, (None, 0, 0, 0, 0))(params, keys, *grid)
    one = jax.jit(_run)
    for i in range(4):
        alone = one(params, keys[i], *(g[i] for g in grid))
        assert_close(jax.tree.map(lambda a, i=i: a[i], together), alone, 1e-5)


def test_jit_of_fit_is_fit_and_the_key_decides():
    _, objective, params = network(keep_prob=0.5)
    xy, optimizer = classes(), optim.sgd(0.1)

    def run(key):
        return train.fit(objective, params, optimizer, xy, epochs=2, batch_size=4, key=key)

    eager, jitted, other = run(KEY), jax.jit(run)(KEY), run(jax.random.key(8))
    assert_close(eager, jitted, 1e-6)
    assert not np.allclose(eager.params[0]["w"], other.params[0]["w"])


def test_traced_once_and_compiled_once_for_the_same_functions():
    _, objective, params = network()
    calls = []

    def counted(*args):
        calls.append(None)
        return objective(*args)

    optimizer = optim.sgd(0.1)
    for seed in (0, 1):
        train.fit(counted, params, optimizer, classes(seed=seed), epochs=2, batch_size=4, key=KEY)
        if seed == 0:
            first = len(calls)
    assert len(calls) == first + 1  # only the look at the door, on shapes


def test_can_be_differentiated_with_respect_to_a_hyperparameter(x64):
    _, objective, params = network(dtype=jnp.float64)
    x, y = map(jnp.asarray, classes())

    def final(lr):
        r = train.fit(objective, params, optim.sgd(lr), (x, y), epochs=2, batch_size=5, key=KEY)
        return objective(r.params, x, y)

    h, lr = 1e-5, jnp.float64(0.3)
    f = jax.jit(final)
    np.testing.assert_allclose(
        jax.jit(jax.grad(final))(lr), (f(lr + h) - f(lr - h)) / (2 * h), rtol=1e-7
    )


def test_statistics_are_the_norms_of_gradient_and_update(x64):
    _, objective, params = network(dtype=jnp.float64)
    x, y = map(jnp.asarray, classes())
    result = train.fit(
        objective, params, optim.sgd(0.25), (x, y), epochs=1, key=KEY, statistics=True
    )
    norm = float(jnp.linalg.norm(jax.grad(objective)(params, x, y)[1]["w"]))
    np.testing.assert_allclose(result.history["gradient_norm/1.w"], [norm], rtol=1e-12)
    np.testing.assert_allclose(result.history["update_norm/1.w"], [0.25 * norm], rtol=1e-12)
    assert sum(name.startswith("gradient_norm/") for name in result.history) == 4
