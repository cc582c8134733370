"""Three gradients, one answer: here, by hand against `jax.grad`."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import activations, backprop, layers, losses, models
from tests.comparing import FLOAT32, FLOAT64, assert_trees_close
from tests.compiling import once

FACTORS = {
    "activation": ["identity", "sigmoid", "tanh", "relu", "leaky_relu"],
    "loss": ["softmax_cross_entropy", "binary_cross_entropy", "squared_error"],
    "depth": [1, 2, 3, 4, 5, 6],
    "m": [1, 2, 7, 64],
    "extra": ["none", "l1", "l2", "dropout", "weights", "everything"],
    "shape": ["square", "rectangular"],
    "point": ["random", "zero biases", "dead units", "saturated"],
}


class Case(NamedTuple):
    activation: str
    loss: str
    depth: int
    m: int
    extra: str
    shape: str
    point: str


def covering_table():
    """Few cases in which every pair of values of every two factors occurs (greedy)."""
    names = list(FACTORS)
    pairs = {
        frozenset([(a, u), (b, v)])
        for a, b in itertools.combinations(names, 2)
        for u in FACTORS[a]
        for v in FACTORS[b]
    }
    cases = []
    while pairs:
        # Start from a pair still missing and extend it, factor by factor, by the value that
        # covers most of what is left.
        row = dict(sorted(min(pairs, key=lambda p: sorted(map(str, p)))))
        for name in sorted(names, key=lambda n: -len(FACTORS[n])):
            if name not in row:
                row[name] = max(
                    FACTORS[name],
                    key=lambda v: sum(
                        frozenset([(name, v), item]) in pairs for item in row.items()
                    ),
                )
        pairs -= {frozenset(two) for two in itertools.combinations(row.items(), 2)}
        cases.append(Case(**row))
    return cases


CASES = covering_table()


def problem(case, seed=0):
    """Model, parameters and data of a case, drawn with NumPy: nothing to compile."""
    rng = np.random.default_rng(seed)
    n_out = {"binary_cross_entropy": 1}.get(case.loss, 3)
    width = [4] * case.depth if case.shape == "square" else [4, 6, 3, 7, 5, 8][: case.depth]
    dropout = case.extra in ("dropout", "everything")
    model = models.mlp((*width, n_out), case.activation, keep_prob=0.7 if dropout else 1.0)
    params = [
        {"w": rng.normal(size=(i, o)) * np.sqrt(2 / i), "b": biases(case.point, rng, o)}
        for i, o in itertools.pairwise((*width, n_out))
    ]
    if case.point == "saturated":
        params = [{"w": 30 * p["w"], "b": p["b"]} for p in params]
    y = {
        "softmax_cross_entropy": rng.integers(0, n_out, case.m),
        "binary_cross_entropy": rng.integers(0, 2, (case.m, 1)).astype(float),
        "squared_error": rng.normal(size=(case.m, n_out)),
    }[case.loss]
    penalties = {
        "l1": 0.3 if case.extra in ("l1", "everything") else 0.0,
        "l2": 0.7 if case.extra in ("l2", "everything") else 0.0,
    }
    weighted = case.extra in ("weights", "everything")
    call = {
        "key": jax.random.key(seed) if dropout else None,
        "weights": rng.uniform(0.1, 1, case.m) if weighted else None,
    }
    return model, params, rng.normal(size=(case.m, width[0])), y, penalties, call


def biases(point, rng, n):
    """Biases at which gradients are known to hide bugs."""
    if point == "zero biases":
        return np.zeros(n)
    b = rng.normal(size=n)
    return np.where(np.arange(n) % 2 == 1, -1e3, b) if point == "dead units" else b


def both(model, loss, penalties, params, x, y, call):
    """Cost and gradients by hand and by autodiff, in one compiled program."""

    def pair(params, x, y, call):
        by_hand = backprop.value_and_grad(model, loss, **penalties)(params, x, y, **call)
        cost = losses.objective(model, loss, **penalties)
        return by_hand, jax.value_and_grad(cost)(params, x, y, **call)

    return once(pair)(params, x, y, call)


def to_float32(a):
    return jnp.float32(a) if a.dtype == np.float64 else a


def name_of(case):
    return "-".join(str(v).replace(" ", "_") for v in case)


def test_the_table_covers_every_pair():
    for a, b in itertools.combinations(Case._fields, 2):
        seen = {(getattr(c, a), getattr(c, b)) for c in CASES}
        assert seen == set(itertools.product(FACTORS[a], FACTORS[b]))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_by_hand_equals_autodiff(case, x64):
    model, params, x, y, penalties, call = problem(case)
    by_hand, auto = both(model, case.loss, penalties, params, x, y, call)
    assert_trees_close(by_hand, auto, FLOAT64)


@settings(max_examples=30)
@given(st.builds(Case, **{k: st.sampled_from(v) for k, v in FACTORS.items()}), st.integers(0, 99))
def test_by_hand_equals_autodiff_on_drawn_cases(case, seed):
    with jax.enable_x64(True):
        model, params, x, y, penalties, call = problem(case, seed)
        by_hand, auto = both(model, case.loss, penalties, params, x, y, call)
        assert_trees_close(by_hand, auto, FLOAT64)


@pytest.mark.parametrize("case", CASES[::8], ids=name_of)
def test_float32(case):
    model, params, x, y, penalties, call = problem(case)
    params, x, call = jax.tree.map(to_float32, (params, x, call))
    with jax.default_matmul_precision("highest"):
        by_hand, auto = both(model, case.loss, penalties, params, x, y, call)
    assert_trees_close(by_hand, auto, FLOAT32)


def test_the_oracles_propagate_unit(oracle, x64):
    """dw, db and cost that the course prints for one unit and two examples."""
    unit = oracle["propagate_unit"]
    model = models.logistic_regression(2)
    params = [{"w": jnp.array(unit["w"], float), "b": jnp.array([unit["b"]], float)}]
    x, y = jnp.array(unit["X"], float).T, jnp.array(unit["Y"], float).T
    cost, grads = once(backprop.value_and_grad(model, "binary_cross_entropy"))(params, x, y)
    assert float(cost) == pytest.approx(unit["cost"], abs=5e-12)
    assert grads[0]["w"].tolist() == [pytest.approx(w, abs=5e-9) for w in unit["dw"]]
    assert float(grads[0]["b"][0]) == pytest.approx(unit["db"], abs=5e-13)


def test_ties_at_the_kink_agree(x64):
    """All pre-activations exactly 0: both sides choose ReLU's slope from the left."""
    model = models.mlp((3, 4, 2), "relu", init="zeros")
    params = model.init(jax.random.key(0))
    params[1]["w"] += 1.0
    x, y = jnp.ones((5, 3)), jnp.array([0, 1, 0, 1, 1])
    by_hand, auto = both(model, "softmax_cross_entropy", {}, params, x, y, {})
    assert_trees_close(by_hand, auto, FLOAT64)


def test_penalize_overrides_by_hand_as_by_autodiff(x64):
    model, params, x, y, _, call = problem(CASES[0])
    penalties = {"l2": 0.5, "l1": 0.1, "penalize": lambda p: jax.tree.map(lambda _: True, p)}
    by_hand, auto = both(model, CASES[0].loss, penalties, params, x, y, call)
    assert_trees_close(by_hand, auto, FLOAT64)


def test_traced_penalties_and_keep_prob(x64):
    def grads(strength, keep_prob, value_and_grad):
        model = models.mlp((3, 4, 2), "tanh", keep_prob=keep_prob)
        params = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0)))
        f = value_and_grad(model, strength)
        return f(params, jnp.ones((5, 3)), jnp.array([0, 1, 0, 1, 1]), jax.random.key(1))

    by_hand = lambda model, s: backprop.value_and_grad(model, "softmax_cross_entropy", s, s)  # noqa: E731
    auto = lambda model, s: jax.value_and_grad(  # noqa: E731
        losses.objective(model, "softmax_cross_entropy", s, s)
    )
    strengths, probabilities = jnp.array([0.0, 0.5]), jnp.array([0.5, 1.0])
    grid = [
        once(jax.vmap(lambda s, p, f=f: grads(s, p, f)))(strengths, probabilities)
        for f in (by_hand, auto)
    ]
    assert_trees_close(*grid, FLOAT64)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_custom_vjp_runs_the_hand_derived_rule(training, x64):
    marked = layers.dense(3, 4, "tanh", keep_prob=0.8)
    loud = marked._replace(backward=lambda *a: jax.tree.map(lambda g: 2 * g, marked.backward(*a)))
    params, x = marked.init(jax.random.key(0)), jnp.ones((2, 3))
    key = jax.random.key(1) if training else None

    def cost(apply):
        return once(jax.grad(lambda p: (apply(p, x, key) ** 2).sum()))(params)

    auto = cost(lambda p, x, key: layers.apply(marked, p, x, key))
    assert_trees_close(cost(backprop.with_custom_vjp(marked)), auto, FLOAT64)
    doubled = jax.tree.map(lambda g: 2 * g, auto)
    assert_trees_close(cost(backprop.with_custom_vjp(loud)), doubled, FLOAT64)


def test_custom_vjp_under_vmap_and_without_a_key(x64):
    model = models.mlp((3, 4, 1), "sigmoid")
    apply = backprop.with_custom_vjp(model)
    params, x = model.init(jax.random.key(0)), np.random.default_rng(1).normal(size=(7, 3))
    row_by_row = jax.vmap(jax.grad(lambda p, row: apply(p, row[None, :])[0, 0]), (None, 0))
    each = once(row_by_row)(params, x)
    together = once(jax.grad(lambda p: layers.apply(model, p, x).sum()))(params)
    assert_trees_close(jax.tree.map(lambda g: g.sum(axis=0), each), together, FLOAT64)


@pytest.mark.parametrize(("of_params", "of_x"), [("bfloat16", "float32"), ("float32", "float64")])
def test_gradients_have_the_dtype_of_what_they_are_the_gradient_of(of_params, of_x, x64):
    model = models.mlp((3, 4, 1), "tanh")
    params = jax.tree.map(lambda p: p.astype(of_params), model.init(jax.random.key(0)))
    x, y = jnp.ones((5, 3), of_x), jnp.ones((5, 1), of_x)
    marked = backprop.with_custom_vjp(model)

    def gradients(params, x, y):
        _, by_hand = backprop.value_and_grad(model, "squared_error", l2=0.1)(params, x, y)
        auto = jax.grad(losses.objective(model, "squared_error", l2=0.1))(params, x, y)
        return by_hand, auto, jax.grad(lambda p, x: marked(p, x).sum(), argnums=(0, 1))(params, x)

    with jax.numpy_dtype_promotion("standard"):
        by_hand, auto, through = once(gradients)(params, x, y)
    assert jax.tree.map(jnp.result_type, by_hand) == jax.tree.map(jnp.result_type, auto)
    assert jax.tree.map(jnp.result_type, through) == jax.tree.map(jnp.result_type, (params, x))


def test_a_tuple_of_params_has_a_tuple_of_gradients():
    model = models.mlp((3, 4, 1), "tanh")
    params = tuple(model.init(jax.random.key(0)))
    x, y = jnp.ones((5, 3)), jnp.ones((5, 1))
    by_hand, auto = both(model, "squared_error", {"l2": 0.1}, params, x, y, {})
    assert_trees_close(by_hand, auto, FLOAT32)


def test_value_and_grad_wants_a_layer():
    with pytest.raises(TypeError, match=r"Layer.*jax\.value_and_grad"):
        backprop.value_and_grad(lambda p, x, key: x, "squared_error")
    with pytest.raises(ValueError, match="Did you mean 'squared_error'"):
        backprop.value_and_grad(models.mlp((2, 1)), "squared_eror")
    with pytest.raises(ValueError, match="l2"):
        backprop.value_and_grad(models.mlp((2, 1)), "squared_error", l2=-0.1)


def test_every_activation_is_in_the_table():
    assert set(FACTORS["activation"]) == set(activations.ACTIVATIONS)
    assert set(FACTORS["loss"]) == set(losses.LOSSES)
