"""Losses that draw random numbers: keys are on the tape like numbers, but are none."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import gradcheck
from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named


def tuned(p, bug):
    """A scale as its softplus, whose derivative the slip leaves out."""
    s = jax.nn.softplus(p["s"])
    return as_if(s, p["s"]) if bug else s


def folded(p, x, key, bug=""):
    """A key made from another in a loop over the layers."""
    h = x
    for k in ("v", "w"):
        noise = jax.random.normal(jax.random.fold_in(key, len(h.shape)), h.shape, h.dtype)
        h = jnp.tanh((h + tuned(p, bug) * noise) @ p[k])
    return jnp.mean(h**2)


def split(p, x, key, bug=""):
    """Several draws at once by `vmap`."""

    def one(key):
        noise = jax.random.normal(key, x.shape, x.dtype)
        return jnp.mean(jnp.tanh((x + tuned(p, bug) * noise) @ p["v"] @ p["w"]) ** 2)

    return jnp.mean(jax.vmap(one)(jax.random.split(key, 4)))


def of_each(p, x, keys, bug=""):
    """A key for every example."""
    noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
    return jnp.mean(jnp.tanh((x + tuned(p, bug) * noise) @ p["v"] @ p["w"]) ** 2)


def of_each_in_a_loop(p, x, keys, bug=""):
    total = jnp.zeros(())
    for row, key in zip(x, keys, strict=True):
        noise = jax.random.normal(key, row.shape, x.dtype)
        total += jnp.sum(jnp.tanh((row + tuned(p, bug) * noise) @ p["v"] @ p["w"]) ** 2)
    return total / len(x)


@pytest.mark.parametrize("loss", [folded, split, of_each, of_each_in_a_loop])
def test_slips_are_named_in_losses_that_draw(loss):
    p = named("svw", (), (3, 3), (3, 3))
    (x,) = draw((5, 3), seed=1)
    key = jax.random.key(3)
    args = (x, jax.random.split(key, 5) if loss in (of_each, of_each_in_a_loop) else key)
    found = findings(loss, jax.grad(lambda *args: loss(*args, bug="s")), p, args)
    assert [f.cause for f in found] == ["activation_derivative_missing"], found


@pytest.mark.parametrize("loss", [split, of_each])
def test_right_gradients_of_losses_that_draw_pass(loss):
    p = named("svw", (), (3, 3), (3, 3))
    (x,) = draw((5, 3), seed=1)
    key = jax.random.key(3)
    keys = jax.random.split(key, 5) if loss is of_each else key
    with jax.enable_x64(True):
        report = gradcheck.check(loss, jax.grad(loss), p, x, keys)
    assert report.verdict == "PASS", str(report)
    assert not any("randomness" in text for text in report.adequacy)
