"""What `check` remembers between calls, and what it leaves as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck
from tests.gradcheck.logistic import W, X, Y, grad, loss, verdict


def test_programs_are_remembered_in_the_mode_they_were_made_for():
    for on in (False, True, False, True):
        with jax.enable_x64(on):
            assert verdict(loss, grad, W, X, Y) == "PASS"
            assert verdict(loss, grad, jnp.asarray(W, jnp.float32), X, Y) == "PASS"
            assert verdict(loss, grad, W.astype(np.float64), X, Y) == "PASS"


SCALE = {"factor": 1.0}


def scaled_loss(w):
    return SCALE["factor"] * jnp.sum(w**2)


def scaled_grad(w):
    return 2 * w


def test_a_changed_global_is_noticed(monkeypatch):
    monkeypatch.setitem(SCALE, "factor", 1.0)
    assert verdict(scaled_loss, scaled_grad, W) == "PASS"
    monkeypatch.setitem(SCALE, "factor", 2.0)
    assert verdict(scaled_loss, scaled_grad, W) == "FAIL"


def test_nothing_global_is_left_changed_when_the_callers_code_raises():
    before = dict(jax.config.values), jax.numpy.zeros(1).dtype

    def broken(w):
        raise RuntimeError("no luck")

    assert verdict(lambda w: jnp.sum(w), broken, W) == "FAIL"
    with pytest.raises(ValueError, match="no luck"):
        gradcheck.check(broken, lambda w: w, W)
    assert (dict(jax.config.values), jax.numpy.zeros(1).dtype) == before
