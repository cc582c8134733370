"""Log determinants with the wrong matrix on the way back, from either triangular factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings

stop = jax.lax.stop_gradient


def as_if(value, other):
    return stop(value) + other - stop(other)


def instead(matrix, bug):
    """A function of the matrix whose gradient the bug takes for the log determinant's."""
    inverse = jnp.linalg.inv(matrix)
    others = {"itself": matrix, "inverse": inverse, "nothing": jnp.eye(len(matrix))}
    return jnp.sum(stop(others[bug].astype(matrix.dtype)) * matrix)


def process(p, x, y, bug=""):
    """A Gaussian process: the factor of the covariance also solves for the data."""
    apart = jnp.sum((x[:, None] - x[None]) ** 2, axis=2)
    covariance = jnp.exp(p["scale"] - apart / jnp.exp(p["width"]))
    covariance = covariance + 0.3 * jnp.eye(len(x), dtype=x.dtype)
    root = jnp.linalg.cholesky(covariance)
    weights = jax.scipy.linalg.solve_triangular(root, y, lower=True)
    volume = 2 * jnp.sum(jnp.log(jnp.diag(root)))
    volume = as_if(volume, instead(covariance, bug)) if bug else volume
    return 0.5 * (jnp.sum(weights**2) + volume)


def flow(p, x, y, bug=""):
    """An invertible layer: the density's change of volume."""
    volume = jnp.linalg.slogdet(p["a"])[1]
    volume = as_if(volume, instead(p["a"], bug)) if bug else volume
    return jnp.mean(jnp.sum(jnp.logaddexp(0.0, x @ p["a"] + y[:, None]), axis=1)) - volume


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


PROCESS = process, {"scale": np.asarray(0.2), "width": np.asarray(-0.3)}
FLOW = flow, {"a": draw((3, 3))[0] + np.eye(3)}
TABLE = {
    "a covariance for its inverse": (PROCESS, "itself", "stale_operand"),
    "nothing for the inverse of a covariance": (PROCESS, "nothing", "stale_operand"),
    "a matrix for its inverse": (FLOW, "itself", "stale_operand"),
    "nothing for an inverse": (FLOW, "nothing", "stale_operand"),
    "an inverse not transposed": (FLOW, "inverse", "transpose"),
}


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_log_determinants_are_named(case):
    (loss, params), bug, cause = TABLE[case]
    grad = jax.grad(lambda *args: loss(*args, bug=bug))
    found = findings(loss, grad, params, draw((5, 3), (5,), seed=1))
    assert [finding.cause for finding in found] == [cause], found
