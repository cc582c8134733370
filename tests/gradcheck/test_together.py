"""Many mutations in one pass give what each gives alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck.replay.backward import by_position, shift, sweep
from jaxdl.gradcheck.replay.together import FEWEST, shifts
from jaxdl.gradcheck.replay.trace import trace


def recurrent(p, x):
    """States handed on, a look-up, a maximum, a product with a leaf, a function JAX derives."""
    h = jnp.zeros((x.shape[1], 3))
    for row in x:
        h = jnp.tanh(row @ p["w"] + h @ p["u"]) * jnp.maximum(h, -0.1 * h)
        h = h + p["b"][jnp.array([0, 1, 1])][None, :]
    covariance = h.T @ h + jnp.eye(3)
    return jnp.sum(jnp.linalg.cholesky(covariance)) + jnp.sum(p["b"] ** 2)


def scaled(tape, index, factor):
    """A node that sends a multiple to its first operand, and looks at a cotangent elsewhere."""

    def rule(sweep, node, ct):
        sent = by_position(tape, node, ct)
        seen = 1e-3 * np.sum(sweep.ct(tape.inputs[0]))
        return [
            (node.ins[p], (factor + seen) * c if k == 0 else c) for k, (p, c) in enumerate(sent)
        ]

    return {index: rule}


@pytest.fixture(scope="module")
def tape():
    rng = np.random.default_rng(0)
    p = {"w": (2, 3), "u": (3, 3), "b": (2,)}
    p = {name: 0.5 * rng.normal(size=shape) for name, shape in p.items()}
    with jax.numpy_rank_promotion("allow"):
        return trace(recurrent, p, (rng.normal(size=(4, 5, 2)),))


@pytest.mark.parametrize("count", [1, FEWEST - 1, 40])
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("leaves", [-1, 0b010])
def test_rows_are_single_shifts(tape, count, broken, leaves):
    rng = np.random.default_rng(count)
    active = [n.index for n in tape.nodes if tape.is_active(n.index) and n.opaque is None]
    base = sweep(tape, scaled(tape, active[len(active) // 2], 0.7) if broken else None)
    mutations = []
    for _ in range(count):
        chosen = rng.choice(active, size=int(rng.integers(0, 5)), replace=False)
        mutations.append({k: v for i in chosen for k, v in scaled(tape, i, rng.normal()).items()})
    moved = 0
    for mutation, ours in zip(mutations, shifts(base, mutations, leaves), strict=True):
        alone = shift(base, mutation, leaves)
        assert set(alone) <= set(ours)
        for i, change in ours.items():
            wanted = alone.get(i, np.zeros(change.shape))
            np.testing.assert_allclose(change, wanted, rtol=1e-9, atol=1e-12)
            moved += bool(np.any(wanted))
    assert moved or count == 1
