"""Part of a sum forgotten or of the wrong sign: terms of a factor, picked entries, arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, stop
from tests.gradcheck.test_diagnose_powers import sent


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: `x @ w + b`, NumPy arrays beside JAX arrays."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


LABELS = np.array([0, 2, 1, 1, 0, 2])


def well(p, x, bug=""):
    """A depth times a sum of two terms, of distances in units of a length."""
    s = (p["length"] / (1.0 + x**2)) ** 3
    s = as_if(s, stop(3 * s) * p["length"]) if bug == "1/length" else s
    both = s**2 - s
    slope = {"second": s**2, "first": -s, "sign": s**2 + s, "twice": 2 * both}.get(bug, both)
    return p["depth"] * both.sum() + (p["depth"] - stop(p["depth"])) * stop((slope - both).sum())


WELL = {
    "second": "path_dropped",
    "first": "path_dropped",
    "sign": "sign",
    "1/length": "path_dropped",
    "twice": "scale",
}


@pytest.mark.parametrize("bug", WELL)
def test_terms_of_a_factor_are_named(bug):
    p = {"depth": np.asarray(0.7), "length": np.asarray(1.3)}
    x = np.random.default_rng(0).normal(size=5)

    found = findings(well, jax.grad(lambda *a: well(*a, bug=bug)), p, (x,))
    assert [f.cause for f in found] == [WELL[bug]], found


def scores(p, x, y, weights=None):
    """Scores against that of the right class; the gradient of some is multiplied for w alone."""
    s = x @ p["w"] + p["b"]
    if weights is not None:
        other = x @ p["w"]
        s = as_if(s, weights(other, y) + p["b"])
    gaps = s - jnp.take_along_axis(s, y[:, None], 1)
    return jnp.mean(jnp.sum(jnp.exp(gaps), axis=1))


def negated(s, y):
    return jnp.where(jnp.arange(3)[None] == y[:, None], -s, s)


def forgotten(s, y):
    return jnp.where(jnp.arange(3)[None] == y[:, None], stop(s), s)


def first_class(s, y):
    return jnp.where(jnp.arange(3)[None] == 0, -s, s)


@pytest.mark.parametrize(
    ("weights", "cause"),
    [(negated, "sign"), (forgotten, "path_dropped"), (first_class, "wrong_entry")],
)
def test_picked_entries_of_the_wrong_sign_are_named(weights, cause):
    p, args = named("wb", (4, 3), (3,)), [*draw((6, 4), seed=1), LABELS]
    found = findings(
        scores, jax.grad(lambda *a: scores(*a, weights=weights)), p, args, batch=(0, 1)
    )
    assert [f.cause for f in found] == [cause], found


def pairs(p, x, y, act=jax.nn.log_sigmoid):
    return -jnp.mean(act((x @ p) * y))


def reflected(z):
    return -jax.nn.sigmoid(z)  # −f′(−z), of log sigmoid


ARGUMENTS = {
    "the argument's sign": (reflected, "unknown"),
    "the sigmoid forgotten": (lambda z: 1 - z, "activation_derivative_wrong"),
    "the sign of all": (lambda z: -jax.nn.sigmoid(-z), "sign"),
    "its square": (lambda z: jax.nn.sigmoid(-z) ** 2, "activation_derivative_wrong"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_of_the_wrong_sign_are_named(case):
    slope, cause = ARGUMENTS[case]

    def grad(*args):
        return jax.grad(lambda *a: pairs(*a, act=lambda z: sent(z, jax.nn.log_sigmoid, slope)))(
            *args
        )

    found = findings(pairs, grad, draw((3,))[0], draw((5, 3), (5,), seed=1))
    assert [f.cause for f in found] == [cause], found
    assert ("argument" in case) == ("argument" in found[0].explanation)
