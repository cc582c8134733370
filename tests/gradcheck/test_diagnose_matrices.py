"""Linear systems, products of matrices, normalisations and activations with wrong derivatives."""

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


EYE = np.eye(3)


def system(p, x, y, bug=""):
    """Stiffness and load; what is seen is a linear function of the displacement."""
    matrix = jnp.tanh(p["k"]) + 2.0 * jnp.asarray(EYE, p["k"].dtype)
    u = jnp.linalg.solve(matrix, p["b"])
    if bug:
        back = {"bare": stop(jnp.linalg.inv(jnp.tanh(p["k"]))), "unsolved": jnp.asarray(EYE)}
        inverse = back.get(bug, stop(jnp.linalg.inv(matrix)))
        solution = stop(p["b"] if bug == "load" else u)
        u = as_if(u, inverse @ (p["b"] - matrix @ solution))
    return jnp.mean((x @ u - y) ** 2)


def shape(p, x, y, bug=""):
    """A precision matrix from a square root of it, with something on its diagonal."""
    root = p["a"]
    plain = root @ root.T
    if bug == "side":
        half = jax.grad(lambda m: jnp.trace(m @ y) - jnp.linalg.slogdet(m)[1])
        back = stop(half(plain + 0.3 * jnp.asarray(EYE)))
        return jnp.sum(stop(root @ (back + back.T)) * root)
    if bug == "transposed":
        plain = as_if(plain, root @ stop(root) + stop(root) @ root.T)
    matrix = plain + 0.3 * jnp.asarray(EYE, root.dtype)
    volume = jnp.linalg.slogdet(matrix)[1]
    volume = as_if(volume, jnp.linalg.slogdet(plain)[1]) if bug == "bare" else volume
    return jnp.trace(matrix @ y) - volume


def whitened(p, x, y, bug=""):
    """Gaussians whose triangular factors are parameters, one for each of two means."""
    factor = jnp.tril(jnp.tanh(p["l"])) + jnp.asarray(EYE, p["l"].dtype)
    rest = jnp.swapaxes(x[None] - p["m"][:, None], 1, 2)
    e = jax.lax.linalg.triangular_solve(factor, rest, left_side=True, lower=True)
    inverse = stop(jnp.linalg.inv(factor))
    diagonal = stop(factor) * jnp.asarray(EYE)
    back = {
        "turned": jnp.swapaxes(inverse, 1, 2),
        "unsolved": jnp.asarray(EYE),
        "diagonal": jnp.linalg.inv(diagonal),
        "negated": jnp.linalg.inv(2 * diagonal - stop(factor)),
    }
    if bug:
        e = as_if(e, back[bug] @ (rest - stop(rest)) + inverse @ (stop(rest) - factor @ stop(e)))
    weights = jnp.exp(-0.5 * jnp.sum(e**2, axis=1))
    return -jnp.mean(jnp.log(weights.sum(axis=0)))


def layer_norm(p, x, y, bug=""):
    z = x @ p["w"]
    n = standard(z)
    c = z - z.mean(1, keepdims=True)
    scale = jnp.sqrt(jnp.mean(c**2, axis=1, keepdims=True) + 0.1)
    if bug == "whole":
        n = standard(stop(z) + stop(scale) * (z - stop(z)))
    if bug == "direct":
        n = as_if(n, c + stop(c) / scale)
    return jnp.mean((jnp.tanh(n * p["g"]) - y) ** 2)


def standard(z):
    c = z - z.mean(1, keepdims=True)
    return c / jnp.sqrt(jnp.mean(c**2, axis=1, keepdims=True) + 0.1)


def cosine(p, x, y, bug=""):
    def length(z):
        return jnp.linalg.norm(z, axis=1, keepdims=True)

    z = x @ p["w"]
    if bug == "whole":
        z = as_if(z, stop(length(z)) * z)
    n = z / length(z)
    return jnp.mean(jnp.sum(n * p["g"], axis=1) * y[:, 0])


WEIGHTS = named("kb", (3, 3), (3,)), draw((5, 3), (5,), seed=1)
ROOT = {"a": draw((3, 3))[0] + EYE}, [*draw((5, 3), seed=1), np.diag([0.5, 1.0, 1.5])]
GAUSS = named("lm", (2, 3, 3), (2, 3)), draw((5, 3), (5,), seed=1)
NORM = named("wg", (4, 3), (3,)), draw((5, 4), (5, 3), seed=1)

TABLE = {
    "the load for the displacement": (system, "load", WEIGHTS, "stale_operand"),
    "the adjoint not solved": (system, "unsolved", WEIGHTS, "stale_operand"),
    "the adjoint without the diagonal": (system, "bare", WEIGHTS, "clip_or_eps_ignored"),
    "a determinant without the diagonal": (shape, "bare", ROOT, "clip_or_eps_ignored"),
    "a factor for its transpose": (whitened, "turned", GAUSS, "transpose"),
    "a factor's adjoint not solved": (whitened, "unsolved", GAUSS, "stale_operand"),
    "a factor's adjoint, its diagonal alone": (whitened, "diagonal", GAUSS, "path_dropped"),
    "a sign in the substitution": (whitened, "negated", GAUSS, "sign"),
    "a matrix on the wrong side": (shape, "side", ROOT, "transpose"),
    "a matrix not transposed": (shape, "transposed", ROOT, "transpose"),
    "the scale of a normalisation": (layer_norm, "whole", NORM, "path_dropped"),
    "the scale on the direct way alone": (layer_norm, "direct", NORM, "path_dropped"),
    "the length of a vector": (cosine, "whole", NORM, "path_dropped"),
}


@pytest.mark.parametrize("case", TABLE)
def test_products_and_systems_are_named(case):
    loss, bug, (params, args), cause = TABLE[case]
    found = findings(loss, jax.grad(lambda *a: loss(*a, bug=bug)), params, args)
    assert [f.cause for f in found] == [cause], found
    text = found[0].explanation
    told = "normalising factor" in text or "factor 1/σ" in text
    assert told == (bug == "whole"), found
    assert ("wrong side" in text) == (bug == "side"), found
    assert ("added to the matrix's diagonal" in text) == (bug == "bare"), found


def gated(z):
    return z * jax.nn.sigmoid(z)


def gaussian(z):
    return jnp.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


SLOPES = {
    "swish for GELU": (jax.nn.gelu, jax.vmap(jax.vmap(jax.grad(gated)))),
    "a sigmoid's GELU": (
        jax.nn.gelu, jax.vmap(jax.vmap(jax.grad(lambda z: z * jax.nn.sigmoid(1.702 * z)))),
    ),
    "the exact GELU": (jax.nn.gelu, lambda z: jax.scipy.stats.norm.cdf(z) + z * gaussian(z)),
    "z forgotten": (
        gated, lambda z: jax.nn.sigmoid(z) * (1 + jax.nn.sigmoid(-z)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOPES)
def test_derivatives_of_relatives_are_named(case):
    act, slope = SLOPES[case]

    def loss(p, x, y, act=act):
        return jnp.mean((act(x @ p["w"]) @ p["v"] - y) ** 2)

    def grad(*args):
        return jax.grad(lambda *a: loss(*a, act=lambda z: sent(z, act, slope)))(*args)

    found = findings(loss, grad, named("wv", (3, 4), (4,)), draw((6, 3), (6,), seed=1))
    assert [f.cause for f in found] == ["activation_derivative_wrong"], found


def evidence(p, x, y, solve):
    """Correlated errors around a line: their quadratic form by way of a Cholesky factor."""
    covariance = jnp.exp(-((x[:, :1] - x[:, 0]) ** 2)) + jnp.exp(p["n"]) * jnp.eye(len(y))
    factor = jnp.linalg.cholesky(covariance)
    return 0.5 * jnp.sum(solve(factor, y - x @ p["w"]) ** 2) + jnp.sum(
        jnp.log(jnp.diagonal(factor))
    )


def evidence_by_hand(p, x, y, residual):
    covariance = np.exp(-((x[:, :1] - x[:, 0]) ** 2)) + np.exp(p["n"]) * np.eye(len(y))
    inverse, r = np.linalg.inv(covariance), y - x @ p["w"]
    alpha = inverse @ r
    noise = 0.5 * np.exp(p["n"]) * (np.trace(inverse) - alpha @ alpha)
    return {"n": noise, "w": -x.T @ (r if residual else alpha)}


SOLVERS = {
    "general": jnp.linalg.solve,
    "triangular": lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True),
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_residual_in_place_of_the_solution_is_named(solver):
    """Ordinary least squares where generalised ones belong."""

    def loss(p, x, y):
        return evidence(p, x, y, SOLVERS[solver])

    p, args = named("nw", (), (3,)), draw((6, 3), (6,), seed=2)
    (found,) = findings(loss, lambda *a: evidence_by_hand(*a, residual=True), p, args)
    assert found.cause == "stale_operand", found
    assert "without the inverse matrix" in found.explanation
    assert not findings(loss, lambda *a: evidence_by_hand(*a, residual=False), p, args)
