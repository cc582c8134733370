"""Shares of a softmax taken from other logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import named

LABELS = np.eye(4)[[0, 3, 2, 1, 1, 0]]


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: `x @ w + b`, NumPy arrays beside JAX arrays."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def tempered(p, x, y):
    """A cross-entropy at a temperature of 2.5."""
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax((x @ p["w"] + p["b"]) / 2.5), axis=1))


def tempered_by_hand(p, x, y, temperature):
    z = (x @ p["w"] + p["b"]) / temperature
    share = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    d = (share - y) / len(y) / 2.5
    return {"w": x.T @ d, "b": d.sum(0)}


def experts(p, x, y):
    """A mixture of lines with a gate, in the log domain."""
    gate = jax.nn.log_softmax(x @ p["g"])
    error = y[:, None] - x @ p["e"]
    return -jnp.mean(jax.nn.logsumexp(gate - error**2 / 2, axis=1))


def experts_by_hand(p, x, y, weights):
    logits = x @ p["g"]
    prior = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = y[:, None] - x @ p["e"]
    posterior = prior * np.exp(-(error**2) / 2)
    posterior /= posterior.sum(1, keepdims=True)
    weight = {"prior": prior, "posterior": posterior}[weights]
    return {"g": x.T @ (prior - posterior) / len(y), "e": -x.T @ (weight * error) / len(y)}


SHARES = {
    "a temperature": (tempered, tempered_by_hand, 1.0, 2.5),
    "the prior": (experts, experts_by_hand, "prior", "posterior"),
}


@pytest.mark.parametrize("case", SHARES)
def test_shares_of_other_logits_are_named(case):
    loss, by_hand, slip, right = SHARES[case]
    rng = np.random.default_rng(4)
    if loss is tempered:
        p, args = named("wb", (3, 4), (4,)), [rng.normal(size=(6, 3)), LABELS]
    else:
        p, args = named("ge", (3, 4), (3, 4)), [rng.normal(size=(6, 3)), rng.normal(size=6)]
    (found,) = findings(loss, lambda *a: by_hand(*a, slip), p, args, batch=(0, 1))
    assert found.cause == "stale_operand", found
    assert "shares" in found.explanation and "another array" in found.explanation
    assert not findings(loss, lambda *a: by_hand(*a, right), p, args, batch=(0, 1))


@pytest.mark.parametrize(
    "arrange", [lambda s: s[:3], lambda s: s[::-1], lambda s: jnp.broadcast_to(s, (2, 6))]
)
def test_what_lies_between_a_sum_and_its_logarithm_may_change_its_places(arrange):
    """Then no share is told by its place, and the search goes on without."""

    def loss(p, x, y):
        total = jnp.sum(jnp.exp(x @ p["w"] + p["b"]), axis=1)
        return jnp.sum(jnp.log(arrange(total)) ** 2)

    def grad(p, x, y):
        return jax.grad(loss)({**p, "b": 0 * p["b"]}, x, y)

    p, args = named("wb", (3, 4), (4,)), [np.linspace(-1, 1, 18).reshape(6, 3), LABELS]
    found = findings(loss, grad, p, args)
    assert found and "the shares of" not in found[0].explanation, found
