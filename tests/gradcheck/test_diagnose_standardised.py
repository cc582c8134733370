"""Slips in the gradient of a normalisation, however the loss writes it, beside a residual path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck

EPS = 1e-2
RNG = np.random.default_rng(5)
P = {name: 0.7 * RNG.normal(size=size) for name, size in (("w", (4, 3)), ("g", (3,)), ("v", (3,)))}
X, Y = 1.5 * RNG.normal(size=(7, 4)), RNG.normal(size=7)

WAYS = {
    "as a quotient": lambda z: (
        (z - z.mean(-1, keepdims=True)) / jnp.sqrt(z.var(-1, keepdims=True) + EPS)
    ),
    "as a difference": lambda z: (
        z / jnp.sqrt(z.var(-1, keepdims=True) + EPS)
        - z.mean(-1, keepdims=True) / jnp.sqrt(z.var(-1, keepdims=True) + EPS)
    ),
    "by E z² − μ²": lambda z: (
        (z - z.mean(-1, keepdims=True))
        * jax.lax.rsqrt(jnp.mean(z**2, -1, keepdims=True) - z.mean(-1, keepdims=True) ** 2 + EPS)
    ),
}

ROOT = {"RMS": lambda z: z / jnp.sqrt(jnp.mean(z**2, -1, keepdims=True) + EPS)}


def loss_of(normalise):
    def loss(p, x, y):
        z = x @ p["w"]
        return jnp.mean(((z + normalise(z) * p["g"]) @ p["v"] - y) ** 2)

    return loss


def by_hand(slip, centred=True):
    def grad(p, x, y):
        z = x @ p["w"]
        mu = z.mean(-1, keepdims=True) if centred else 0.0
        sigma = np.sqrt(np.mean((z - mu) ** 2, -1, keepdims=True) + EPS)
        h = (z - mu) / sigma
        d = 2 * ((z + h * p["g"]) @ p["v"] - y) / len(y)
        out = d[:, None] * p["v"]
        dh = out * p["g"]
        axis = 0 if slip == "means over axis 0" else -1
        a = dh.mean(axis, keepdims=True) * centred
        b = (dh * h).mean(axis, keepdims=True)
        n = z.shape[-1]
        dz = {
            "lacks the factor 1/σ": dh - a - h * b,
            "has the factor 1/σ twice": (dh - a - h * b) / sigma**2,
            "has sums in place of means": (dh - n * a - n * h * b) / sigma,
            "has n − 1 in place of n": (dh - a - h * b * n / (n - 1)) / sigma,
            "has y left out on the way to σ": (dh - a - b) / sigma,
            "goes through σ with the wrong sign": (dh - a + h * b) / sigma,
        }.get(slip, (dh - a - h * b) / sigma)
        return {"w": x.T @ (dz + out), "g": (out * h).sum(0), "v": (z + h * p["g"]).T @ d}

    return grad


SLIPS = {
    "lacks the factor 1/σ": "path_dropped",
    "has the factor 1/σ twice": "unknown",
    "has sums in place of means": "scale",
    "has n − 1 in place of n": "scale",
    "has y left out on the way to σ": "stale_operand",
    "goes through σ with the wrong sign": "sign",
    "means over axis 0": "unknown",
}


@pytest.fixture(autouse=True)
def users_settings():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def checked(normalise, slip, centred=True):
    grad = by_hand(slip, centred)
    return gradcheck.check(loss_of(normalise), grad, P, X, Y, batch_argnums=(0, 1))


@pytest.mark.parametrize("way", WAYS)
def test_slips_in_a_normalisation_are_named(way):
    assert checked(WAYS[way], "").verdict == "PASS"
    for slip, cause in SLIPS.items():
        (finding,) = checked(WAYS[way], slip).findings
        assert finding.cause == cause and finding.leaves == ("w",), (slip, finding)


def test_without_a_mean_there_is_none_on_the_way_back():
    assert checked(ROOT["RMS"], "", False).verdict == "PASS"
    for slip in ("lacks the factor 1/σ", "has sums in place of means"):
        (finding,) = checked(ROOT["RMS"], slip, False).findings
        assert finding.cause == SLIPS[slip], (slip, finding)
