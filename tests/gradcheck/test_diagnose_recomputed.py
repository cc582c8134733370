"""Slips in the forward pass that a gradient recomputes, with the place and the slip."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck


def loss(p, x, y):
    h = jnp.tanh(x @ p["W"] + p["b"])
    return jnp.mean(jnp.sum((h @ p["V"] * p["g"] - p["c"] - y) ** 2, axis=1) / 2)


def by_hand(p, x, y, slip):
    """Every rule of the way back is right; one line of the forward pass is not."""
    z = x @ p["W"] + (0 if slip == "no bias" else p["b"])
    h = z if slip == "no tanh" else np.tanh(z)
    u = h @ p["V"]
    scaled = {"no gain": u, "divided by the gain": u / p["g"]}.get(slip, u * p["g"])
    d = (scaled + (p["c"] if slip == "added" else -p["c"]) - y) / len(x)
    dz = (d * p["g"]) @ p["V"].T * (1 - h**2)
    return {
        "W": x.T @ dz,
        "b": dz.sum(axis=0),
        "V": h.T @ (d * p["g"]),
        "g": (d * u).sum(axis=0),
        "c": -d.sum(axis=0),
    }


SLIPS = {
    "no bias": ("path_dropped", "the second term left out"),
    "no tanh": ("activation_derivative_wrong", "tanh left out"),
    "no gain": ("path_dropped", "the second factor left out"),
    "divided by the gain": ("stale_operand", "a division in place of the product"),
    "added": ("sign", "+ in place of −"),
}


def checked(slip):
    rng = np.random.default_rng(3)
    shapes = {"W": (3, 4), "b": (4,), "V": (4, 2), "g": (2,), "c": (2,)}
    p = {name: 0.4 + 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    return gradcheck.check(
        loss, lambda p, x, y: by_hand(p, x, y, slip), p, x, y, batch_argnums=(0, 1)
    )


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_of_the_forward_pass_is_shown(slip):
    (finding,) = checked(slip).findings
    cause, what = SLIPS[slip]
    assert finding.cause == cause and "unknown" in finding.equivalent
    assert f"forward pass that it recomputes has a slip: {what}" in finding.explanation
    assert "test_diagnose_recomputed.py" in finding.explanation


def test_without_a_slip_it_passes():
    assert checked("").verdict == "PASS"


def clipped(p, x, y):
    return jnp.mean((jnp.clip(x @ p["w"], -0.5, 0.5) - y) ** 2)


def unclipped(p, x, y):
    return {"w": 2 * x.T @ (x @ p["w"] - y) / len(y)}


def evidence(p, x, y):
    """A Gaussian process with a jitter beside the noise."""
    k = jnp.outer(x, x) * p["w"] + (jnp.exp(p["n"]) + 1e-2) * jnp.eye(len(y))
    chol = jnp.linalg.cholesky(k)
    return y @ jnp.linalg.solve(k, y) / 2 + jnp.sum(jnp.log(jnp.diagonal(chol)))


def without_jitter(p, x, y):
    inverse = np.linalg.inv(np.outer(x, x) * p["w"] + np.exp(p["n"]) * np.eye(len(y)))
    alpha = inverse @ y
    dk = (inverse - np.outer(alpha, alpha)) / 2
    return {"w": np.sum(dk * np.outer(x, x)), "n": np.exp(p["n"]) * np.trace(dk)}


@pytest.mark.parametrize(
    ("loss", "grad", "columns", "params"),
    [
        (clipped, unclipped, (3,), {"w": np.array([0.4, -0.3, 0.6])}),
        (evidence, without_jitter, (), {"w": np.array(0.7), "n": np.array(-0.4)}),
    ],
)
def test_a_limit_left_out_of_the_forward_pass_and_of_the_way_back_is_named(
    loss, grad, columns, params
):
    """Both limits of a clip at once; before a factorisation that JAX differentiates."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(9, *columns)), rng.normal(size=9)
    (finding,) = gradcheck.check(loss, grad, params, x, y).findings
    assert finding.cause == "clip_or_eps_ignored"
    assert "that of a loss without its ε or clip" in finding.explanation
