"""What `check` remembers between calls, and what it leaves as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck
from jaxdl.gradcheck.interpret import constants
from jaxdl.gradcheck.sameness import same_array, same_program
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


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [(0.0, 0.0, True), (0.0, -0.0, False), (np.nan, float("nan"), True)],
)
@pytest.mark.parametrize("made", [float, np.float32, np.array, lambda c: np.full(3, c)])
def test_programs_differ_by_the_bits_of_their_numbers(first, second, same, made):
    def program(c):
        return jax.make_jaxpr(lambda x: jax.jit(lambda x: x * made(c))(x))(np.ones(3))

    a, b = program(first), program(second)
    pairs = zip(constants(a), constants(b), strict=True)
    assert (same_program(a, b) and all(same_array(x, y) for x, y in pairs)) == same


def test_a_changed_global_is_noticed_by_finite_differences(monkeypatch):
    monkeypatch.setitem(SCALE, "factor", 1.0)
    assert verdict(scaled_loss, scaled_grad, W, oracle="fd") == "PASS"
    monkeypatch.setitem(SCALE, "factor", 2.0)
    assert verdict(scaled_loss, scaled_grad, W, oracle="fd") == "FAIL"


FACTOR = np.array(1.0)


@jax.custom_vjp
def ruled_by_array(w):
    """Σ w², with a derivative rule that computes with a global array."""
    return jnp.sum(w**2)


ruled_by_array.defvjp(
    lambda w: (ruled_by_array(w), w),
    lambda w, ct: (2 * ct * jax.lax.exp(jnp.asarray(FACTOR) - 1) * w,),
)


IN_PLACE = {
    "in the loss": lambda w: FACTOR * jnp.sum(w**2),
    "in a derivative rule": lambda w: ruled_by_array(w),
}


@pytest.mark.parametrize("place", IN_PLACE, ids=str)
def test_an_array_changed_in_place_is_noticed(place):
    loss = IN_PLACE[place]
    assert verdict(loss, scaled_grad, W) == "PASS"
    FACTOR[...] = 2.0
    try:
        assert verdict(loss, scaled_grad, W) == "FAIL"
    finally:
        FACTOR[...] = 1.0


def test_a_change_that_only_small_batches_show_is_noticed(monkeypatch):
    def loss(w, x):
        factor = SCALE["factor"] if len(x) < 10 else 1.0
        return factor * jnp.mean(x @ w)

    def grad(w, x):
        return jnp.mean(x, axis=0)

    x = np.random.default_rng(0).normal(size=(12, 3))
    monkeypatch.setitem(SCALE, "factor", 1.0)
    assert verdict(loss, grad, W, x, batch_argnums=0) == "PASS"
    monkeypatch.setitem(SCALE, "factor", 2.0)
    assert verdict(loss, grad, W, x, batch_argnums=0) == "FAIL"


def test_a_change_that_only_float32_shows_is_noticed(monkeypatch):
    def grad(w):
        return 2 * w * (SCALE["factor"] if w.dtype == np.float32 else 1.0)

    def loss(w):
        return jnp.sum(w**2)

    w = jnp.asarray(W, jnp.float32)
    monkeypatch.setitem(SCALE, "factor", 1.0)
    assert verdict(loss, grad, w) == "PASS"
    monkeypatch.setitem(SCALE, "factor", np.inf)
    assert verdict(loss, grad, w) == "FAIL"


@jax.custom_vjp
def ruled(w):
    """Σ w², with a derivative rule that reads a global."""
    return jnp.sum(w**2)


ruled.defvjp(lambda w: (ruled(w), w), lambda w, ct: (2 * SCALE["factor"] * ct * w,))


@jax.custom_jvp
def pushed(w):
    """The same with a rule for tangents."""
    return jnp.sum(w**2)


@pushed.defjvp
def _(primals, tangents):
    return pushed(*primals), 2 * SCALE["factor"] * jnp.sum(primals[0] * tangents[0])


def _plain(w):
    return jnp.sum(w**2)


def graded(w):
    """The same once more, with a rule that is made anew at every call."""
    f = jax.custom_gradient(lambda w: (_plain(w), lambda ct: 2 * SCALE["factor"] * ct * w))
    return f(w)


@pytest.mark.parametrize("loss", [ruled, pushed, graded])
def test_a_changed_derivative_rule_is_noticed(loss, monkeypatch):
    monkeypatch.setitem(SCALE, "factor", 1.0)
    assert verdict(loss, scaled_grad, W, oracle="ad") == "PASS"
    monkeypatch.setitem(SCALE, "factor", 2.0)
    assert verdict(loss, scaled_grad, W, oracle="ad") == "FAIL"


@pytest.mark.parametrize("mode", ["traced", "numpy"])
def test_what_did_not_change_is_not_traced_for_its_gradient_again(mode, monkeypatch):
    from jaxdl.gradcheck import tracing
    from tests.gradcheck.logistic import numpy_grad

    def own_loss(w, x, y):
        return loss(w, x, y)

    def own_grad(w, x, y):
        return (grad if mode == "traced" else numpy_grad)(w, x, y)

    first = gradcheck.check(own_loss, own_grad, W, X, Y, batch_argnums=(0, 1))
    calls = []
    original = tracing.value_and_grad_of
    monkeypatch.setattr(
        tracing, "value_and_grad_of", lambda *a: lambda *b: calls.append(a) or original(*a)(*b)
    )
    again = gradcheck.check(own_loss, own_grad, W, X, Y, batch_argnums=(0, 1))
    assert not calls
    assert (first.verdict, first.leaves) == (again.verdict, again.leaves)


def test_nothing_global_is_left_changed_when_the_callers_code_raises():
    before = dict(jax.config.values), jax.numpy.zeros(1).dtype

    def broken(w):
        raise RuntimeError("no luck")

    assert verdict(lambda w: jnp.sum(w), broken, W) == "FAIL"
    with pytest.raises(ValueError, match="no luck"):
        gradcheck.check(broken, lambda w: w, W)
    assert (dict(jax.config.values), jax.numpy.zeros(1).dtype) == before
