"""Slips at single leaves: averaged biases, entries in another order, places of a convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, stop


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: `x @ w + b`, NumPy arrays beside JAX arrays."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def recurrent(p, x, y):
    """Two gates, each with a bias, in a loop."""
    h = 0 * x[0] @ p["w"]
    for row in x:
        gate = jax.nn.sigmoid(row @ p["w"] + p["b"])
        h = gate * h + (1 - gate) * jnp.tanh(row @ p["v"] + p["c"])
    return jnp.sum((h - y) ** 2)


def averaged(p, x, y):
    g = jax.grad(recurrent)(p, x, y)
    return g | {"b": g["b"] / len(y), "c": g["c"] / len(y)}


def averaged_once(p, x, y):
    g = jax.grad(recurrent)(p, x, y)
    return g | {"b": g["b"] / len(y), "c": jnp.sin(g["c"])}


LOOP = named("wvbc", (2, 3), (2, 3), (3,), (3,)), draw((4, 5, 2), (5, 3), seed=1)


def test_the_same_slip_at_several_leaves_is_one_finding():
    found = findings(recurrent, averaged, *LOOP)
    assert [f.cause for f in found] == ["bias_reduction_wrong"], found
    assert [leaf.strip("[]'") for leaf in found[0].leaves] == ["b", "c"]


def test_different_slips_at_several_leaves_are_not():
    found = findings(recurrent, averaged_once, *LOOP)
    causes = {leaf.strip("[]'"): f.cause for f in found for leaf in f.leaves}
    assert causes == {"b": "bias_reduction_wrong", "c": "unknown"}, found


def layer(p, x, y):
    return jnp.mean((jnp.tanh(x @ p["w"] + p["b"]) - y) ** 2)


def elastic(p, x, y):
    return layer(p, x, y) + 0.03 * jnp.sum(jnp.abs(p["w"])) + 0.05 * jnp.sum(p["w"] ** 2)


def elastic_on_bias(p, x, y):
    g = jax.grad(elastic)(p, x, y)
    return g | {"b": g["b"] + 0.03 * jnp.sign(p["b"]) + 0.1 * p["b"]}


def test_an_elastic_penalty_on_a_bias_is_one_finding():
    p = named("wb", (3, 4), (4,))
    (found,) = findings(elastic, elastic_on_bias, p, draw((6, 3), (6, 4), seed=3))
    assert found.cause == "l2_on_bias" and "on this leaf as well" in found.explanation, found
    assert not findings(elastic, jax.grad(elastic), p, draw((6, 3), (6, 4), seed=3))


def rearranged(leaf, change):
    def grad(p, x, y):
        g = jax.grad(layer)(p, x, y)
        return g | {leaf: change(g[leaf])}

    return grad


def other_axis(p, x, y):
    """The bias gradient summed over the units, of which there are fewer than examples."""
    t = jnp.tanh(x @ p["w"] + p["b"])
    dz = 2 * (t - y) / y.size * (1 - t**2)
    return {"w": x.T @ dz, "b": dz.sum(1)[: len(p["b"])]}


ORDERS = {
    "two entries": (rearranged("b", lambda g: g[jnp.array([0, 3, 2, 1])]), "leaves_swapped"),
    "two blocks of columns": (rearranged("w", lambda g: jnp.roll(g, 2, 1)), "leaves_swapped"),
    "entries moved on": (rearranged("b", lambda g: jnp.roll(g, 1)), "unknown"),
    "one entry for another": (rearranged("b", lambda g: g.at[1].set(g[0])), "wrong_entry"),
    "entries sorted by the data": (rearranged("b", lambda g: g + jnp.flip(g) ** 2), "unknown"),
    "a sum over the other axis": (other_axis, "bias_reduction_wrong"),
}


@pytest.mark.parametrize("case", ORDERS)
def test_orders_of_entries_are_named(case):
    grad, cause = ORDERS[case]
    p, args = named("wb", (3, 4), (4,)), draw((6, 3), (6, 4), seed=1)
    found = findings(layer, grad, p, args)
    assert [f.cause for f in found] == [cause], found


def scaled(p, x, y):
    """A scale as its logarithm, in two terms, and a softplus of another."""
    s, width = jnp.exp(p["s"]), jax.nn.softplus(p["t"])
    return jnp.mean(((x - y) / s) ** 2 + p["s"] + width * x**2 - jnp.log(width))


OTHERS = {
    "the scale itself": ("s", lambda v: jnp.exp(-v), "exp θ"),
    "the softplus": ("t", lambda v: 1 / jax.nn.sigmoid(v), "softplus θ"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_gradients_with_respect_to_another_quantity_are_named(case):
    leaf, factor, what = OTHERS[case]

    def grad(p, x, y):
        g = jax.grad(scaled)(p, x, y)
        return g | {leaf: g[leaf] * factor(p[leaf])}

    p, args = named("st", (4,), (4,)), draw((6, 4), (6, 4), seed=1)
    found = findings(scaled, grad, p, args, batch=(0, 1))
    assert [f.cause for f in found] == ["activation_derivative_missing"], found
    assert f"with respect to {what}" in found[0].explanation or "left out" in found[0].explanation


def picture(p, x, y, keep=None):
    """A convolution; its kernel's gradient sums over some of the places alone."""

    def conv(x, k):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=numbers)

    z = conv(x, p)
    if keep is not None:
        z = as_if(z, conv(x, stop(p)) + jnp.asarray(keep) * conv(stop(x), p))
    return jnp.mean((jnp.sin(z) - y) ** 2)


PLACES = {
    "no first row": (np.arange(4)[:, None, None] > 0, "shared_weight_missed"),
    "no last column": (np.arange(5)[None, :, None] < 4, "shared_weight_missed"),
    "no third column": (np.arange(5)[None, :, None] != 2, "shared_weight_missed"),
    "less of each": (np.arange(5)[None, :, None] / 4.0, "unknown"),
}


@pytest.mark.parametrize("case", PLACES)
def test_places_of_a_convolution_left_out_are_named(case):
    keep, cause = PLACES[case]
    found = findings(
        picture,
        jax.grad(lambda *args: picture(*args, keep=keep * 1.0)),
        draw((3, 3, 2, 2))[0],
        draw((3, 4, 5, 2), (3, 4, 5, 2), seed=1),
        batch=(0, 1), sizes=(2,),
    )  # fmt: skip
    assert [f.cause for f in found] == [cause], found


def factor(p, x):
    """A Gaussian by its Cholesky factor, whose diagonal is exponentiated."""
    lower = jnp.tril(p["l"], -1) + jnp.diag(jnp.exp(jnp.diagonal(p["l"])))
    u = jax.scipy.linalg.solve_triangular(lower, x.T - p["m"][:, None], lower=True)
    return jnp.mean(jnp.sum(u**2, axis=0)) / 2 + jnp.sum(jnp.diagonal(p["l"]))


def factor_by_hand(p, x, diagonal):
    lower = np.tril(p["l"], -1) + np.diag(np.exp(np.diagonal(p["l"])))
    u = np.linalg.solve(lower, x.T - p["m"][:, None])
    v = np.linalg.solve(lower.T, u)
    d = np.diag(1 / np.diagonal(lower)) - v @ u.T / len(x)
    size = {"right": np.diagonal(lower), "left out": 1.0, "θ": np.diagonal(p["l"])}[diagonal]
    return {"l": np.tril(d, -1) + np.diag(np.diagonal(d) * size), "m": -v.mean(axis=1)}


DIAGONALS = {"left out": "activation_derivative_missing", "θ": "activation_derivative_wrong"}


@pytest.mark.parametrize("slip", DIAGONALS)
def test_an_exponential_on_a_diagonal_is_named(slip):
    p = named("lm", (3, 3), (3,))
    args = draw((6, 3), seed=4)
    (found,) = findings(factor, lambda *a: factor_by_hand(*a, slip), p, args, batch=(0,))
    assert found.cause == DIAGONALS[slip] and "diagonal" in found.explanation, found
    assert not findings(factor, lambda *a: factor_by_hand(*a, "right"), p, args, batch=(0,))


def saturated(p, x, y):
    return jnp.mean((jnp.clip(x @ p["w"], -0.5, 0.8) - y) ** 2)


def unsaturated(p, x, y):
    z = x @ p["w"]
    return {"w": 2 * x.T @ (np.clip(z, -0.5, 0.8) - y) / len(y)}


def test_a_batch_where_the_right_gradient_is_zero_tells_as_much_as_others():
    """All of its examples beyond the clip, up to rounding of the wrong gradient."""
    (x, y), p = draw((7, 3), (7,), seed=1), named("w", (3,))
    x = np.where((x @ p["w"])[:, None] > 0, 9.0, 7.0) * x
    x[0] *= 1e-2
    (found,) = findings(saturated, unsaturated, p, (x, y), batch=(0, 1))
    assert found.cause == "clip_or_eps_ignored", found


def elastic_twice(p, x, y):
    g = jax.grad(elastic)(p, x, y)
    return g | {"w": g["w"] + 0.03 * jnp.sign(p["w"]) + 0.1 * p["w"]}


def test_an_elastic_penalty_that_counts_twice_is_not_on_a_bias():
    p = named("wb", (3, 4), (4,))
    found = findings(elastic, elastic_twice, p, draw((6, 3), (6, 4), seed=3))
    assert found and "l2_on_bias" not in (found[0].cause, *found[0].equivalent), found


EMPTY = {
    "a maximum": lambda p, x: jnp.sum(jnp.maximum(x @ p["w"], 0.1)) + jnp.sum(p["w"] ** 2),
    "a clip": lambda p, x: jnp.sum(jnp.clip(x @ p["w"], -1.0, 1.0)) + jnp.sum(p["w"] ** 3),
    "a product": lambda p, x: jnp.sum((x @ p["w"]) ** 2) + jnp.sum(jnp.sin(p["w"])),
}


@pytest.mark.parametrize("case", EMPTY)
def test_arrays_of_no_entries_stop_nothing(case):
    p = named("w", (3,))
    grad = jax.grad(lambda p, x: 1.3 * EMPTY[case](p, x))
    found = findings(EMPTY[case], grad, p, (np.zeros((0, 3)),))
    assert found, found


def sparse(p, x):
    """Examples are columns; a floor under the units' mean activities, which are all above it."""
    q = jnp.maximum(jax.nn.sigmoid(p["w"] @ x).mean(axis=1), 0.01)
    return jnp.sum(jnp.log(q) ** 2)


def test_a_mean_left_out_behind_a_floor_is_no_slope_of_the_floor():
    p, args = named("w", (4, 3)), draw((3, 9), seed=2)
    grad = jax.grad(sparse)
    (found,) = findings(sparse, lambda p, x: {"w": 9 * grad(p, x)["w"]}, p, args)
    assert "slope" not in found.explanation, found
    assert {"scale", "batch_mean_missing"} <= {found.cause, *found.equivalent}
