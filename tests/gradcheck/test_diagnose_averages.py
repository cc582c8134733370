"""Averages over other entries than the loss's: the marked ones, the active ones, or all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck

KNOWN = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])


def over_all(p, x, y, known):
    return jnp.sum(known * (x @ p["w"] + p["b"] - y) ** 2) / len(y)


def over_known(p, x, y, known):
    return jnp.sum(known * (x @ p["w"] + p["b"] - y) ** 2) / jnp.sum(known)


def hinge(p, x, y, known):
    return jnp.mean(jnp.maximum(0.3 + y * (x @ p["w"] + p["b"]), 0.0))


def relu_hinge(p, x, y, known):
    return jnp.mean(jax.nn.relu(0.3 + y * (x @ p["w"] + p["b"])))


def over_positive(p, x, y, known):
    """The mark is made by a comparison."""
    mark = y > -0.5
    return jnp.sum(jnp.where(mark, (x @ p["w"] + p["b"] - y) ** 2, 0.0)) / len(y)


def by_hand(loss, count):
    """The gradient with `count(known, active)` entries in the average."""

    def grad(p, x, y, known):
        z = x @ p["w"] + p["b"]
        active = 0.3 + y * z > 0
        known = y > -0.5 if loss is over_positive else known
        d = active * y if loss in (hinge, relu_hinge) else 2 * known * (z - y)
        d = d / count(known, active)
        return {"w": x.T @ d, "b": d.sum()}

    return grad


def example():
    rng = np.random.default_rng(5)
    p = {"w": rng.normal(size=3), "b": np.array(0.2)}
    return p, (rng.normal(size=(7, 3)), rng.normal(size=7), KNOWN)


@pytest.mark.parametrize(
    ("loss", "count"),
    [
        (over_all, lambda known, active: known.sum()),
        (over_known, lambda known, active: len(known)),
        (hinge, lambda known, active: active.sum()),
        (relu_hinge, lambda known, active: active.sum()),
        (over_positive, lambda known, active: known.sum()),
    ],
)
def test_the_number_of_entries_is_named(loss, count):
    p, args = example()
    (finding,) = gradcheck.check(
        loss, by_hand(loss, count), p, *args, batch_argnums=(0, 1, 2)
    ).findings
    assert finding.cause == "scale"
    assert "averaged over" in finding.explanation and "marks" in finding.explanation


def test_the_right_numbers_pass():
    p, args = example()
    for loss, count in (
        (over_all, lambda known, active: len(known)),
        (over_known, lambda known, active: known.sum()),
        (hinge, lambda known, active: len(known)),
        (over_positive, lambda known, active: len(known)),
    ):
        assert gradcheck.check(loss, by_hand(loss, count), p, *args).verdict == "PASS"
