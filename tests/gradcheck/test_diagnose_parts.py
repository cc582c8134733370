"""Parts exchanged, repeated, weighted or normalised, and not so on the way back.

As in `test_diagnose_names`, a wrong gradient is the true one of a loss with a part replaced.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, of, stop


def gates(p, x, y, bug=""):
    """An LSTM's cell of one step, its gates cut from one product."""
    z = x @ p["w"]
    i, f, o = jax.nn.sigmoid(z[:, :2]), z[:, 2:4], jnp.tanh(z[:, 4:])
    h = i * f + o
    if bug:  # what comes back from the first two gates is put together in another order
        crossed = z[:, 2:4] * stop(f * i * (1 - i)) + z[:, :2] * stop(i)
        h = as_if(h, crossed + o)
    return jnp.mean((h @ p["v"] - y) ** 2)


def heads(p, x, y, bug=""):
    """Two heads on one layer, each of which gets the other's gradient."""
    h = jnp.tanh(x @ p["w"])
    a, b = h @ p["a"], h @ p["b"]
    loss = jnp.mean((a - y) ** 2) + jnp.mean((b**3 - y) ** 2)
    if bug:
        da = stop(2 * (a - y) / y.size)
        db = stop(6 * (b**3 - y) * b**2 / y.size)
        own = jnp.sum(stop(h) @ p["a"] * da) + jnp.sum(stop(h) @ p["b"] * db)
        back = jnp.sum(h @ stop(p["a"]) * db) + jnp.sum(h @ stop(p["b"]) * da)
        loss = as_if(loss, own + back)
    return loss


def experts(p, x, y, bug=""):
    """A mixture of experts: the gate's weights are forgotten on the way back to the experts."""
    gate = jax.nn.softmax(x @ p["gate"])
    each = jnp.tanh(jnp.einsum("mi,kio->kmo", x, p["w"]))
    out = jnp.einsum("mk,kmo->mo", gate, each)
    if bug:
        out = as_if(out, jnp.einsum("mk,kmo->mo", gate, stop(each)) + each.sum(axis=0))
    return jnp.mean((out - y) ** 2)


def upsampled(p, x, y, bug=""):
    """Every place repeated: the way back takes the first of each pair alone."""
    h = jnp.tanh(x @ p["w"])
    rows = jnp.broadcast_to(h[:, :, None], (*h.shape, 2))
    if bug:
        rows = jnp.stack([rows[..., 0], stop(rows[..., 1])], axis=-1)
    return jnp.mean((rows.reshape(len(x), -1) @ p["v"] - y) ** 2)


def rewarded(p, x, y, bug=""):
    """A policy with an entropy: the taken action's own share is all that its gradient has."""
    logs = jax.nn.log_softmax(x @ p["w"])
    entropy = -jnp.sum(jnp.exp(logs) * logs, axis=1)
    taken = logs[:, 1] * y
    if bug:
        taken = as_if(taken, (x @ p["w"])[:, 1] * stop(1 - jnp.exp(logs[:, 1])) * y)
    return -jnp.mean(taken + 0.3 * entropy)


def elu(p, x, y, bug=""):
    z = x @ p["w"]
    a = jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0)))
    if bug:  # its derivative from the output is a + 1, taken of z
        a = as_if(a, stop(jnp.where(z > 0, 1.0, z + 1)) * z)
    return jnp.mean((a @ p["v"] - y) ** 2)


CELL = named("wv", (3, 6), (2,)), draw((6, 3), (6,), seed=1), (0, 1)
TWO = named("wab", (3, 4), (4, 2), (4, 2)), draw((6, 3), (6, 2), seed=1), (0, 1)
EXPERTS = (
    dict(zip(("gate", "w"), draw((3, 2), (2, 3, 2)), strict=True)),
    draw((5, 3), (5, 2), seed=1),
    (0, 1),
)
LAYER = named("wv", (3, 4), (4,)), draw((6, 3), (6,), seed=1), (0, 1)
PAIRS = named("wv", (3, 4), (8,)), draw((6, 3), (6,), seed=1), (0, 1)
POLICY = named("w", (3, 4)), draw((6, 3), (6,), seed=1), (0, 1)

BUGS = {
    "gates in another order": (gates, *CELL, "leaves_swapped"),
    "two heads": (heads, *TWO, "leaves_swapped"),
    "the weights of a mixture": (experts, *EXPERTS, "path_dropped"),
    "one of two repetitions": (upsampled, *PAIRS, "path_dropped"),
    "the diagonal of one use": (rewarded, *POLICY, "softmax_jacobian_diagonal"),
    "a derivative of the output, at z": (elu, *LAYER, "activation_derivative_wrong"),
}


@pytest.fixture(autouse=True)
def users_settings():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_names_what_happens_to_parts(case):
    loss, params, args, batch, cause = BUGS[case]
    found = findings(loss, of(loss, "wrong"), params, args, batch=batch)
    assert [finding.cause for finding in found] == [cause], found
    assert np.all([finding.residual < 1e-9 for finding in found])


def gated(p, x, y, bug=""):
    """An LSTM whose gates are made in a loop over their names, each step from the same array."""
    h = c = jnp.zeros((x.shape[0], 2))
    for t in range(x.shape[1]):
        k = jnp.concatenate([h, x[:, t]], axis=1)
        seen = {g: stop(k) if g == bug else k for g in "fio"}
        f, i, o = (jax.nn.sigmoid(seen[g] @ p[g]) for g in "fio")
        c = f * c + i * jnp.tanh(k @ p["c"])
        h = o * jnp.tanh(c)
    return jnp.mean((h.sum(axis=1) - y) ** 2)


@pytest.mark.parametrize("gate", "fo")
def test_one_gate_left_out_of_the_way_back_to_the_state_is_named(gate):
    p = named("fioc", (5, 2), (5, 2), (5, 2), (5, 2))
    grad = jax.grad(lambda *args: gated(*args, bug=gate))
    (found,) = findings(gated, grad, p, draw((4, 5, 3), (4,), seed=2), batch=(0, 1))
    assert found.cause == "path_dropped", found
    assert f"number {'fio'.index(gate) + 1} of every 3" in found.explanation
