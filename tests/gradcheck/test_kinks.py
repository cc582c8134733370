"""Where autodiff and derivative part: kinks, `stop_gradient`, custom rules, NaN behind `where`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import gradcheck
from tests.gradcheck.logistic import W, verdict

KINKS = {
    "relu'(0) = 1": (lambda w: jnp.sum(jax.nn.relu(w)), lambda w: (w >= 0).astype(w.dtype)),
    "relu'(0) = 1/2": (lambda w: jnp.sum(jax.nn.relu(w)), lambda w: jnp.heaviside(w, 0.5)),
    "sign(0) = 1": (lambda w: jnp.sum(jnp.abs(w)), lambda w: jnp.where(w >= 0, 1.0, -1.0)),
    "first of a tie": (jnp.max, lambda w: jnp.zeros_like(w).at[jnp.argmax(w)].set(1.0)),
}


@pytest.mark.parametrize("case", KINKS, ids=str)
def test_another_choice_at_a_kink_passes(case):
    report = gradcheck.check(*KINKS[case], np.array([0.0, 0.0, -2.0, -1.0]))
    assert report.verdict == "PASS"
    assert any("kink" in note for note in report.notes)


def test_a_note_says_what_the_gradients_are_on_a_kink():
    report = gradcheck.check(*KINKS["relu'(0) = 1"], np.array([0.5, 0.0, -2.0]))
    assert "There at [1] it is 1, not 0: ≥ in place of > in a mask" in " ".join(report.notes)


def test_a_small_kink_is_one_too():
    """A unit at exactly 0 that hardly counts beside a smooth part."""

    def loss(w):
        return jnp.sum(jnp.sin(w)) + 1e-3 * jnp.sum(jax.nn.relu(w[:1]))

    def by_hand(w):
        return jnp.cos(w) + 1e-3 * (w > 0) * jnp.array([1.0, 0.0, 0.0])

    assert verdict(loss, by_hand, np.array([0.0, 0.4, -2.0])) == "PASS"


@pytest.mark.parametrize("seed", [15, 21, 0])
def test_small_kinks_of_both_signs_that_cancel_are_kinks(seed):
    """Many units at exactly 0: what autodiff says lies between no two one-sided derivatives."""
    rng = np.random.default_rng(seed)
    w, x = (rng.integers(-2, 3, size) * 1.0 for size in ((3, 6), (6, 3)))
    v = rng.normal(size=6)

    def loss(w, x, v):
        return jnp.sum(jnp.sin(w)) + 1e-4 * jnp.mean(jax.nn.relu(x @ w) @ v)

    assert verdict(loss, jax.grad(loss), w, x, v) == "PASS"


def test_a_bug_beside_a_kink_still_fails():
    def by_hand(w):
        return (w >= 0).astype(w.dtype) * 1.01

    assert verdict(KINKS["relu'(0) = 1"][0], by_hand, np.array([0.0, 0.0, 2.0])) == "FAIL"


def test_norm_at_zero_is_a_kink():
    def by_hand(w):
        return w / jnp.maximum(jnp.sqrt(jnp.sum(w**2)), 1e-300)

    def norm(w):
        return jnp.sqrt(jnp.sum(w**2))

    assert verdict(norm, by_hand, np.zeros(3)) == "PASS"
    assert verdict(norm, lambda w: w / norm(w), np.zeros(3)) == "FAIL"  # not a number


def test_stop_gradient_is_said_aloud():
    report = gradcheck.check(lambda w: jnp.sum(w * lax.stop_gradient(w)), lambda w: w, W)
    assert report.verdict == "PASS"
    assert any("stop_gradient at test_kinks.py" in note for note in report.notes)


def test_a_shared_surrogate_is_inconclusive():
    @jax.custom_vjp
    def rounded(x):
        return 3 * x

    rounded.defvjp(lambda x: (3 * x, None), lambda _, g: (g,))
    report = gradcheck.check(lambda w: jnp.sum(rounded(w) * W), lambda w: W + 0 * w, W)
    assert report.verdict == "INCONCLUSIVE"
    assert "custom derivative rule" in report.doubts[0]


@pytest.mark.parametrize("where", ["stop_gradient", "custom rule", "NaN behind where"])
def test_faults_of_autodiff_are_blamed_on_autodiff(where):
    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (x**2, x), lambda x, g: (3 * x * g,))
    losses = {
        "stop_gradient": lambda w: jnp.sum(w * lax.stop_gradient(w)),
        "custom rule": lambda w: jnp.sum(square(w)),
        "NaN behind where": lambda w: jnp.sum(jnp.where(w > 5, jnp.sqrt(w - 5), w**2)),
    }
    report = gradcheck.check(losses[where], lambda w: 2 * w, W)
    assert report.verdict == "FAIL"
    assert [finding.cause for finding in report.findings] == ["autodiff_path"]
