"""Backward rules bound to a node: the same numbers, bit for bit, as the rules that they bind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck.replay.backward import sweep
from jaxdl.gradcheck.replay.pullbacks import pullback
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.trace import trace

RNG = np.random.default_rng(3)
X = RNG.standard_normal((4, 3, 2))
ROWS = np.array([2, 0, 2])

LOSSES = {
    "elementwise": lambda x: jnp.sum(jnp.tanh(x) * jnp.exp(-x) / (2 + jnp.cos(x)) - x),
    "broadcast": lambda x: jnp.sum(
        (x - x.mean(0, keepdims=True)) ** 3 / (1 + x.var((1, 2), keepdims=True))
    ),
    "maxima": lambda x: jnp.sum(jnp.maximum(x, 0.3)[2] * jnp.minimum(x[0], x[1]) ** 2),
    "selections": lambda x: jnp.sum(jnp.where(x > 0, x * x, jnp.sin(x))),
    "products": lambda x: jnp.sum(jnp.einsum("abc,dbc->adb", x, jnp.tanh(x)) @ x[:3, 0]),
    "layout": lambda x: jnp.sum(jnp.sin(x.transpose(2, 0, 1).reshape(6, 4))[1:5:2, ::-1] ** 2),
    "parts": lambda x: jnp.sum(jnp.stack([x[0], x[3] ** 2]) * jnp.concatenate([x[1:2], x[2:3]])),
    "look-ups": lambda x: jnp.sum(jnp.exp(x[ROWS])),
    "windows": lambda x: jnp.sum(jax.lax.dynamic_slice(x, (1, 0, 0), (2, 3, 1)) ** 2),
    "powers": lambda x: jnp.sum(x**5 + (2 + x * x) ** -3),
    "extrema": lambda x: jnp.sum(x.max(0) * x.min(1)[:3] + jnp.cumsum(x, 1)[3]),
    "loop": lambda x: jnp.sum(jax.lax.scan(lambda h, z: (jnp.tanh(h + z), h * z), x[0], x)[1]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_bound_and_free_rules_agree_bit_for_bit(name):
    with jax.enable_x64(True):
        tape = trace(LOSSES[name], X, (), False)
    base = sweep(tape)
    seen = 0
    for node in tape.nodes:
        if not tape.is_active(node.index) or node.outs[0] not in base.cts:
            continue
        ins, out = [tape.values[v] for v in node.ins], tape.values[node.outs[0]]
        ct = np.asarray(base.cts[node.outs[0]])
        free = RULES[node.prim][1](node.params, ct, ins, out)
        for p in tape.moving(node):
            ours = np.asarray(pullback(node.prim, node.params, ins, out, p)(ct))
            assert ours.shape == np.shape(free[p]), node.prim
            assert ours.tobytes() == np.asarray(free[p]).tobytes(), (node.prim, p)
            seen += 1
    assert seen
