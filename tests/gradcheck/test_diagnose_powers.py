"""Powers and |z| with the derivative of another, alone, in a formula and in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, stop


def sent(z, f, slope):
    """f(z), with another slope."""
    return as_if(f(z), stop(slope(z)) * z)


FUNCTIONS = {
    "square": lambda z: z**2,
    "product": lambda z: z * z,
    "cube": lambda z: z**3,
    "size": jnp.abs,
    "root": jnp.sqrt,
    "logarithm": jnp.log,
    "inverse": lambda z: 1 / z,
}


def in_a_sum(p, x, y, act):
    return jnp.mean((act(1.5 + jnp.sin(x @ p)) - y) ** 2)


def in_a_residual(p, x, y, act):
    return jnp.mean(act(x @ p - y))


def in_a_formula(p, x, y, act):
    z = 0.5 + jnp.exp(x @ p)
    return jnp.mean(jnp.sin(z + 0.3 * act(z)) * y)


def in_a_loop(p, x, y, act):
    z = 1.0 + 0.1 * x @ p
    for row in y:
        z = z + 0.1 * row - 0.05 * act(z)
    return jnp.mean(z**4)


BUGS = {
    "a square as a size": ("square", jnp.sign),
    "a size as a square": ("size", lambda z: 2 * z),
    "a cube as a square": ("cube", lambda z: 2 * z),
    "a cube not lowered": ("cube", lambda z: 3 * z**3),
    "a cube lowered too early": ("cube", lambda z: 2 * z**2),
    "a root as an inverse": ("root", lambda z: -1 / z**2),
    "a logarithm as a root": ("logarithm", lambda z: 0.5 / jnp.sqrt(z)),
    "an inverse as a logarithm": ("inverse", lambda z: 1 / z),
    "a product as a cube": ("product", lambda z: 3 * z * z),
}


@pytest.mark.parametrize(
    ("loss", "case"),
    [*((in_a_sum, case) for case in BUGS),
     (in_a_formula, "a cube as a square"), (in_a_formula, "a size as a square"),
     (in_a_loop, "a cube not lowered"), (in_a_loop, "a square as a size")],
)  # fmt: skip
def test_other_powers_are_named(loss, case):
    name, slope = BUGS[case]
    act = FUNCTIONS[name]
    p, x = 0.4 * np.random.default_rng(0).normal(size=3), np.random.default_rng(1)
    x, y = x.normal(size=(5, 3)), x.normal(size=5)

    def right(*args):
        return loss(*args, act)

    def grad(*args):
        return jax.grad(lambda *a: loss(*a, lambda z: sent(z, act, slope)))(*args)

    found = findings(right, grad, p, (x, y))
    assert found and found[0].cause in ("activation_derivative_wrong", "scale"), found
    assert found[0].cause == "activation_derivative_wrong" or "early" in case, found


FACTORS = {
    "half a square's": ("square", lambda z: z, "scale"),
    "a square's negated": ("square", lambda z: -2 * z, "sign"),
    "a size's negated": ("size", lambda z: -jnp.sign(z), "sign"),
}


@pytest.mark.parametrize("case", FACTORS)
def test_a_wrong_factor_before_a_power_is_no_other_power(case):
    name, slope, cause = FACTORS[case]
    act = FUNCTIONS[name]
    rng = np.random.default_rng(2)
    p, args = rng.normal(size=3), (rng.normal(size=(5, 3)), rng.normal(size=5))

    def grad(*args):
        return jax.grad(lambda *a: in_a_residual(*a, lambda z: sent(z, act, slope)))(*args)

    found = findings(lambda *a: in_a_residual(*a, act), grad, p, args)
    assert found and found[0].cause == cause, found
