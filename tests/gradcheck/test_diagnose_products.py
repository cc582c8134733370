"""Bugs in products of several factors, whatever the order in which the loss multiplies them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.compiling import once
from tests.gradcheck.diagnosis import findings

EPS = 1e-2


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: `x @ w + b`, NumPy arrays beside JAX arrays."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def last(scale, centred, variance):
    return scale * centred / jnp.sqrt(variance + EPS)


def first(scale, centred, variance):
    return scale * (centred / jnp.sqrt(variance + EPS))


def inverse(scale, centred, variance):
    return centred * (scale / jnp.sqrt(variance + EPS))


def power(scale, centred, variance):
    return centred * (variance + EPS) ** -0.5 * scale


def reciprocal(scale, centred, variance):
    return scale * (1 / jnp.sqrt(variance + EPS)) * centred


def normalised(order, axis):
    """A layer with batch (axis 0) or layer normalisation (axis 1), and a tanh."""

    def loss(p, x, y):
        z = x @ p["w"]
        mean = z.mean(axis, keepdims=True)
        variance = ((z - mean) ** 2).mean(axis, keepdims=True)
        out = order(p["gamma"], z - mean, variance) + p["beta"]
        return jnp.sum((jnp.tanh(out) @ p["v"] - y) ** 2) / len(x)

    return loss


def normalised_gradient(axis, bug):
    def grad(p, x, y):
        z = x @ p["w"]
        centred = z - z.mean(axis, keepdims=True)
        variance = (centred**2).mean(axis, keepdims=True)
        eps, back = EPS, 0.0 if bug in ("eps", "eps but for gamma", "eps outside") else EPS
        hat = centred / np.sqrt(variance + (back if bug == "eps" else eps))
        t = np.tanh(p["gamma"] * centred / np.sqrt(variance + eps) + p["beta"])
        r = 2 * (t @ p["v"] - y) / len(x)
        behind = r @ p["v"].T
        dout = behind * (1 - t**2)
        dhat = dout if bug == "no scale" else dout * (p["beta"] if bug == "shift" else p["gamma"])
        root = np.sqrt(variance + back)
        again = hat if bug == "eps outside" else centred / root
        dz = dhat - dhat.mean(axis, keepdims=True)
        dz = (dz - again * (dhat * again).mean(axis, keepdims=True)) / root
        factor = {"raw": z, "centred": centred}.get(bug, hat)
        return {
            "w": x.T @ dz,
            "gamma": np.sum((behind if bug == "behind tanh" else dout) * factor, axis=0),
            "beta": dout.sum(0),
            "v": t.T @ r,
        }

    return grad


def weights(bug, size=EPS):
    """A weight of learned length, w = g v / |v|, with an ε in the root."""

    def loss(p, x, y):
        return jnp.mean((jnp.tanh(x @ unit(p) * p["a"]) - y) ** 2)

    def unit(p):
        return p["g"] * p["d"] / jnp.sqrt(jnp.sum(p["d"] ** 2, axis=0) + size)

    def grad(p, x, y):
        w, back = np.asarray(unit(p)), 0.0 if bug == "eps" else size
        t = np.tanh(x @ w * p["a"])
        dz = 2 * (t - y) / y.size * (1 - t**2)
        dw = x.T @ (dz * p["a"])
        root = np.sqrt(np.sum(p["d"] ** 2, axis=0) + back)
        hat = p["d"] / root
        dhat = dw if bug == "no scale" else dw * p["g"]
        dd = (dhat - hat * np.sum(dhat * hat, axis=0)) / root
        dg = np.sum(dw * hat, axis=0)
        return {"g": dg, "d": dd, "a": np.sum(dz * (x @ w), axis=0)}

    return loss, grad


def heavy(bug):
    """The same with an ε that is not small."""
    return weights(bug, 0.3)


def ratio(bug):
    """tanh(x a) · tanh(x b) / max(|x c|, 0.8)."""

    def loss(p, x, y):
        below = jnp.maximum(jnp.abs(x @ p["c"]), 0.8)
        return jnp.mean((jnp.tanh(x @ p["a"]) * jnp.tanh(x @ p["b"]) / below - y) ** 2)

    def grad(p, x, y):
        a, b, size = np.tanh(x @ p["a"]), np.tanh(x @ p["b"]), np.abs(x @ p["c"])
        below = size if bug == "floor" else np.maximum(size, 0.8)
        r = 2 * (a * b / np.maximum(size, 0.8) - y) / y.size
        da = r * (1.0 if bug == "one" else b) / below
        db = r * (1.0 if bug == "both" else a) / below
        dc = -r * (b if bug == "both" else a * b) / below**2
        dc = dc * (1.0 if bug == "floor" else size > 0.8) * np.sign(x @ p["c"])
        da, db = da * (1 - a**2), db * (1 - b**2)
        return {"a": x.T @ da, "b": x.T @ db, "c": x.T @ dc}

    return loss, grad


def draw(**shapes):
    rng = np.random.default_rng(0)
    p = {k: 0.5 + 0.5 * rng.normal(size=shape) for k, shape in shapes.items()}
    inputs = next(iter(shapes.values()))[0] if "w" in shapes else 4
    return p, (rng.normal(size=(7, inputs)), rng.normal(size=(7, 3)))


def layer(order, axis):
    def of(bug):
        return normalised(order, axis), normalised_gradient(axis, bug)

    return of


LAYER = {"w": (4, 3), "gamma": (3,), "beta": (3,), "v": (3, 3)}
WEIGHTS = {"d": (4, 3), "g": (3,), "a": (3,)}
RATIO = {"a": (4, 3), "b": (4, 3), "c": (4, 3)}

BUGS = {
    "the scale left out": (layer(last, 0), LAYER, "no scale", "path_dropped", "w"),
    "the shift for the scale": (layer(inverse, 0), LAYER, "shift", "stale_operand", "w"),
    "the input for the normalised": (layer(first, 0), LAYER, "raw", "stale_operand", "gamma"),
    "the centred for the normalised": (layer(last, 1), LAYER, "centred", "stale_operand", "gamma"),
    "the gradient behind tanh": (
        layer(last, 1), LAYER, "behind tanh", "activation_derivative_missing", "gamma",
    ),
    "no ε anywhere": (layer(reciprocal, 1), LAYER, "eps", "clip_or_eps_ignored", "gamma w"),
    "no ε but for the scale": (
        layer(last, 0), LAYER, "eps but for gamma", "clip_or_eps_ignored", "w",
    ),
    "no ε but in the normalised": (
        layer(power, 1), LAYER, "eps outside", "clip_or_eps_ignored", "w",
    ),
    "no ε in a weight's length": (weights, WEIGHTS, "eps", "clip_or_eps_ignored", "d g"),
    "no large ε in a weight's length": (heavy, WEIGHTS, "eps", "clip_or_eps_ignored", "d g"),
    "a weight's length left out": (weights, WEIGHTS, "no scale", "path_dropped", "d"),
    "a factor left out for the others": (ratio, RATIO, "both", "path_dropped", "b c"),
    "a factor left out for one other": (ratio, RATIO, "one", "path_dropped", "a"),
    "a floor below ignored": (ratio, RATIO, "floor", "clip_or_eps_ignored", "a b c"),
}  # fmt: skip


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_slips_in_products_are_named_in_any_order(case):
    of, shapes, bug, cause, leaves = BUGS[case]
    p, args = draw(**shapes)
    loss, grad = of(bug)
    found = findings(loss, grad, p, args, batch=(0, 1), sizes=(3,))
    assert [finding.cause for finding in found] == [cause], found
    assert [sorted(leaf.strip("[]'") for leaf in f.leaves) for f in found] == [leaves.split()]
    assert cause != "path_dropped" or {"stale_operand", "unknown"} <= {*found[0].equivalent}, found


@pytest.mark.parametrize("of", (layer(last, 0), layer(power, 1), weights, heavy, ratio))
def test_gradients_without_a_bug_are_right(of):
    shapes = {weights: WEIGHTS, heavy: WEIGHTS, ratio: RATIO}.get(of, LAYER)
    p, args = draw(**shapes)
    loss, grad = of("")
    with jax.enable_x64(True):
        auto, hand = once(jax.grad(loss))(p, *args), grad(p, *args)
    jax.tree.map(np.testing.assert_allclose, hand, auto)


def product(z, lost=""):
    """(1 + z²) cos z with one factor taken for a constant."""
    square, wave = 1 + z**2, jnp.cos(z)
    stop = jax.lax.stop_gradient
    return (stop(square) if lost == "square" else square) * (stop(wave) if lost == "wave" else wave)


def in_the_loss(p, x, y, lost=""):
    return jnp.mean(y[:, 0] * product(x @ p["w"] @ p["v"], lost))


def in_a_layer(p, x, y, lost=""):
    return jnp.mean((product(x @ p["w"], lost) @ p["v"] - y[:, 0]) ** 2)


@pytest.mark.parametrize("lost", ("square", "wave"))
@pytest.mark.parametrize(
    "loss, word",
    ((in_the_loss, "path_dropped"), (in_a_layer, "activation_derivative_wrong")),
)
def test_half_a_product_rule_is_called_by_its_place(loss, word, lost):
    p, args = draw(w=(4, 3), v=(3,))
    found = findings(loss, jax.grad(lambda *a: loss(*a, lost=lost)), p, args, batch=(0, 1))
    assert [finding.cause for finding in found] == [word], found
    assert {"path_dropped", "activation_derivative_wrong"} <= {word, *found[0].equivalent}
