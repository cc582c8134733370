"""One slip has one name, however the loss is written: activations, layers, penalties, masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.gradcheck.diagnosis import findings

pytestmark = pytest.mark.usefixtures("users_settings")

DECAY = 0.1


@pytest.fixture
def users_settings():
    """Losses as people write them."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


ACTIVATIONS = {
    "maximum": lambda z: jnp.maximum(z, 0),
    "where": lambda z: jnp.where(z > 0, z, 0),
    "where not": lambda z: jnp.where(z < 0, 0.0, z),
    "product": lambda z: z * (z > 0),
    "product with a float": lambda z: z * (z > 0).astype(z.dtype),
    "stopped": lambda z: z * lax.stop_gradient(z > 0),
    "mean of z and |z|": lambda z: (z + jnp.abs(z)) / 2,
    "clip": lambda z: jnp.clip(z, 0),
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "fraction": lambda z: 1 / (1 + jnp.exp(-z)),
    "other fraction": lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
    "half a tanh": lambda z: 0.5 * (jnp.tanh(z / 2) + 1),
    "a softplus": lambda z: jnp.exp(-jnp.logaddexp(0, -z)),
    "tanh": jnp.tanh,
    "a sigmoid": lambda z: 2 * jax.nn.sigmoid(2 * z) - 1,
    "tanh by exp": lambda z: 1 - 2 / (jnp.exp(2 * z) + 1),
}
KINDS = dict.fromkeys(list(ACTIVATIONS)[:9], "relu")
KINDS |= dict.fromkeys(list(ACTIVATIONS)[9:14], "sigmoid")

LAYERS = {
    "product": lambda x, w, b: x @ w + b,
    "columns": lambda x, w, b: (w.T @ x.T + b[:, None]).T,
    "each example": lambda x, w, b: jnp.stack([row @ w + b for row in x]),
    "sum": lambda x, w, b: (x[:, :, None] * w[None]).sum(1) + b,
}

SLIPS = {
    "no derivative": "activation_derivative_missing",
    "derivative at z": "activation_derivative_wrong",
    "undropped": "stale_operand",
}


def network(activation, layer):
    def loss(p, x, y, mask):
        hidden = ACTIVATIONS[activation](LAYERS[layer](x, p["w"], p["b"])) * mask
        out = LAYERS[layer](hidden, p["v"], p["c"])
        return jnp.mean(jnp.sum((out - y) ** 2, axis=1)) + DECAY * jnp.sum(p["w"] ** 2)

    return loss


def gradient(kind, slip):
    functions = {
        "relu": (lambda z: np.maximum(z, 0), lambda z, a: (z > 0) * 1.0, lambda z: z),
        "sigmoid": (
            lambda z: 1 / (1 + np.exp(-z)),
            lambda z, a: a * (1 - a),
            lambda z: z * (1 - z),
        ),
        "tanh": (np.tanh, lambda z, a: 1 - a * a, lambda z: 1 - z * z),
    }
    f, slope, at_z = functions[kind]

    def grad(p, x, y, mask):
        p = {name: np.asarray(leaf) for name, leaf in p.items()}
        z = x @ p["w"] + p["b"]
        a = f(z)
        dout = 2 * ((a * mask) @ p["v"] + p["c"] - y) / len(x)
        slopes = {"no derivative": np.ones_like(z), "derivative at z": at_z(z)}
        dz = (dout @ p["v"].T) * mask * slopes.get(slip, slope(z, a))
        seen = a if slip == "undropped" else a * mask
        decay = 2 * DECAY * p["w"]
        return {"w": x.T @ dz + decay, "b": dz.sum(0), "v": seen.T @ dout, "c": dout.sum(0)}

    return grad


def draw():
    rng = np.random.default_rng(2)
    shapes = {"w": (4, 5), "b": 5, "v": (5, 3), "c": 3}
    params = {name: 0.7 * rng.normal(size=shape) for name, shape in shapes.items()}
    mask = 0.5 + rng.random((7, 5))
    return params, (rng.normal(size=(7, 4)), rng.normal(size=(7, 3)), mask)


WAYS = [(activation, "product", slip) for activation in ACTIVATIONS for slip in list(SLIPS)[:2]]
WAYS += [("tanh", layer, slip) for layer in list(LAYERS)[1:] for slip in SLIPS]


@pytest.mark.parametrize(("activation", "layer", "slip"), WAYS)
def test_a_slip_has_one_name(activation, layer, slip):
    params, args = draw()
    grad = gradient(KINDS.get(activation, "tanh"), slip)
    found = findings(network(activation, layer), grad, params, args, batch=(0, 1, 2))
    assert SLIPS[slip] in [found[0].cause, *found[0].equivalent], found
    if slip != "undropped":
        assert found[0].cause == SLIPS[slip], found
