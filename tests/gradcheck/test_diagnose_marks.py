"""A mark of each example, applied on one way back alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings

stop = jax.lax.stop_gradient


def as_if(value, other):
    return stop(value) + other - stop(other)


def zero_inflated(p, x, y, bug=""):
    """Poisson counts of which some are zero anyway: a test on the counts marks examples."""
    rate = jnp.exp(jnp.tanh(x @ p["u"]) @ p["v"])
    share = jax.nn.sigmoid(x @ p["w"])
    none = jnp.where(y == 0, jnp.log(share + (1 - share) * jnp.exp(-rate)), 0.0)
    some = jnp.where(y != 0, jnp.log1p(-share), 0.0)
    mass = as_if(rate, jnp.where(y != 0, rate, stop(rate))) if bug else rate
    return -jnp.mean(none + some + 0.1 * y * jnp.log(rate) - mass)


def treated(p, x, y, t, bug=""):
    """A treatment's effect beside a baseline: the baseline learns from the treated alone."""
    baseline, effect = jnp.tanh(x @ p["u"]) @ p["v"], x @ p["w"]
    if bug:
        baseline = as_if(baseline, t * baseline)
    return jnp.mean((baseline + t * effect - y) ** 2)


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


PARAMS = dict(zip("uvw", draw((3, 4), (4,), (3,)), strict=True))
X, Y = draw((7, 3), (7,), seed=1)
TABLE = {
    "counts": (zero_inflated, (X, np.array([0.0, 2.0, 1.0, 0.0, 4.0, 1.0, 0.0]))),
    "treatment": (treated, (X, Y, np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]))),
}


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_a_mark_on_one_way_back_is_named(case):
    loss, args = TABLE[case]
    grad = jax.grad(lambda *args: loss(*args, bug="yes"))
    found = findings(loss, grad, PARAMS, args, batch=tuple(range(len(args))))
    assert [finding.cause for finding in found] == ["examples_dropped"], found
    assert {"path_dropped", "unknown"} <= {*found[0].equivalent}
    assert "marks" in found[0].explanation
