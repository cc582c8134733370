"""Words that follow from the place of a slip, after those that were found."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck import nearby
from jaxdl.gradcheck.replay.trace import trace

FLOOR, RATE = 1e-3, 0.25
DROPOUT = "dropout_scale_missing", "dropout_mask_missing"


def loss(p, x, y, mask):
    h = jnp.maximum(x @ p["W"], 0.0) * mask / 0.75
    s = jnp.log(jnp.sum(h @ p["V"], axis=1) ** 2 + FLOOR) * jnp.tanh(p["t"])
    return jnp.mean((s - y) ** 2) + RATE * jnp.sum(p["W"] ** 2)


@pytest.fixture(scope="module")
def tape():
    rng = np.random.default_rng(2)
    p = {"W": rng.normal(size=(3, 4)), "V": rng.normal(size=(4, 2)), "t": np.array(0.7)}
    args = rng.normal(size=(5, 3)), rng.normal(size=5), rng.integers(0, 2, (5, 4)) * 1.0
    return trace(loss, p, args)


def node_of(tape, prim, which=0):
    return [n for n in tape.nodes if n.prim == prim and tape.is_active(n.index)][which]


@pytest.mark.parametrize(
    ("prim", "which", "found", "also"),
    [
        ("max", 0, ("activation_derivative_missing",), {"relu_mask_wrong", *DROPOUT}),
        ("log", 0, ("activation_derivative_wrong",), {"clip_or_eps_ignored", "stale_operand"}),
        ("max", 0, ("sign",), set()),
        ("mul", 0, ("path_dropped",), {"relu_mask_wrong", *DROPOUT}),
        ("mul", 0, ("scale",), {"dropout_scale_missing"}),
        ("log", 0, ("activation_derivative_missing",), {"clip_or_eps_ignored"}),
        ("mul", 1, ("path_dropped",), {"scale", "stale_operand"}),
        ("tanh", 0, ("activation_derivative_wrong",), {"scale", "activation_derivative_missing",
                                                       "stale_operand"}),
        ("sub", 0, ("stale_operand",), {"activation_derivative_wrong", "path_dropped"}),
        ("dot_general", 0, ("path_dropped", "unknown"), {"stale_operand"}),
        ("mul", -1, ("path_dropped", "l2_missing"), {"l2_scaled"}),
        ("dot_general", 0, ("unknown",), set()),
    ],
)  # fmt: skip
def test_the_place_adds_words(tape, prim, which, found, also):
    assert set(nearby.words(tape, node_of(tape, prim, which), found)) == also
