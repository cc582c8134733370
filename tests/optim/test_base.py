"""The calling convention: chains, extra arguments, the step, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optim

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}


def needs_value():
    """A transformation that takes one keyword argument and rejects others."""

    def update(updates, state, params=None, *, value):
        return jax.tree.map(lambda g: value * g, updates), state

    return optim.GradientTransformation(lambda params: (), update)


def test_a_step_of_adam_by_hand():
    # g = 2: v = 0.1·2 = 0.2, s = 0.001·4 = 0.004; v̂ = 0.2/0.1 = 2, ŝ = 0.004/0.001 = 4;
    # u = −0.5·2/(√4 + 0.25) = −1/2.25.
    adam = optim.adam(0.5, eps=0.25)
    updates, _ = adam.update(jnp.float32(2), adam.init(jnp.float32(1)))
    np.testing.assert_allclose(updates, -1 / 2.25, rtol=1e-5)


def test_chain_composes_in_order():
    both = optim.chain(optim.clip(1.0), optim.scale(3.0))
    updates, _ = both.update(PARAMS, both.init(PARAMS))
    np.testing.assert_array_equal(updates["w"], jnp.full((2, 3), 3.0))


def test_extra_arguments_reach_those_that_take_them():
    mixed = optim.chain(optim.adam(1.0), needs_value(), optim.trace(0.9))
    state = mixed.init(PARAMS)
    once, _ = mixed.update(PARAMS, state, PARAMS, value=jnp.float32(1), unused="text")
    twice, _ = mixed.update(PARAMS, state, PARAMS, value=jnp.float32(2), unused="text")
    np.testing.assert_array_equal(2 * once["w"], twice["w"])


def test_named_chain_names_its_states():
    named = optim.named_chain(("direction", optim.ema(0.5)), ("rate", optim.scale(-1.0)))
    plain = optim.chain(optim.ema(0.5), optim.scale(-1.0))
    state = named.init(PARAMS)
    assert set(state) == {"direction", "rate"}
    updates, state = named.update(PARAMS, state)
    expected, _ = plain.update(PARAMS, plain.init(PARAMS))
    np.testing.assert_array_equal(updates["w"], expected["w"])
    assert int(state["direction"].count) == 1


def test_apply_updates_keeps_the_dtype_of_the_parameters():
    params = {"w": jnp.ones(2, jnp.bfloat16), "b": 1.0}
    moved = optim.apply_updates(params, {"w": jnp.full(2, 0.5), "b": jnp.float32(-1)})
    assert moved["w"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(moved["w"].astype(float), [1.5, 1.5])
    assert float(moved["b"]) == 0


ERRORS = [
    pytest.param(lambda: optim.adam(-1e-3), "learning_rate must be finite", id="negative-rate"),
    pytest.param(lambda: optim.sgd(float("nan")), "got nan", id="nan-rate"),
    pytest.param(lambda: optim.adam(1e-3, b1=1.0), r"b1 must be in \[0, 1\), got 1.0", id="b1"),
    pytest.param(lambda: optim.adam(1e-3, b2=-0.1), r"b2 must be in \[0, 1\)", id="b2"),
    pytest.param(lambda: optim.rmsprop(1e-3, eps=-1.0), "eps must be", id="eps"),
    pytest.param(lambda: optim.sgd(0.1, momentum=1.5), "momentum|decay must be", id="momentum"),
    pytest.param(lambda: optim.sgd(jnp.ones(3)), "one number, got an array of shape", id="vector"),
    pytest.param(lambda: optim.momentum(0.1, form="emma"), "Did you mean 'ema'", id="form"),
    pytest.param(
        lambda: optim.momentum(0.1, form="heavy_ball", debias=True), "use form='ema'", id="debias"
    ),
    pytest.param(
        lambda: optim.named_chain(("a", optim.identity()), ("a", optim.identity())),
        "different name",
        id="names",
    ),
    pytest.param(
        lambda: optim.sgd(0.1).update(PARAMS, optim.ema(0.9).init(PARAMS)),
        "chain expected a tuple of 2 states",
        id="state-of-no-chain",
    ),
    pytest.param(
        lambda: optim.adam(0.1).update(PARAMS, optim.momentum(0.1).init(PARAMS)),
        "scale_by_adam expected its own state, ScaleByAdamState, got EmaState",
        id="state-of-another",
    ),
    pytest.param(
        lambda: optim.adamw(0.1).update(PARAMS, optim.adamw(0.1).init(PARAMS)),
        "add_decayed_weights needs the current parameters",
        id="params-missing",
    ),
    pytest.param(
        lambda: optim.adam(0.1).update({"w": jnp.ones((2, 3))}, optim.adam(0.1).init(PARAMS)),
        "differ first at 'b'",
        id="other-tree",
    ),
    pytest.param(
        lambda: optim.apply_updates(PARAMS, {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}),
        r"at 'b' the parameters have \(3,\) and the updates \(2,\)",
        id="other-shape",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_bad_input_is_refused_with_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("recipe", [optim.adam, optim.sgd, optim.gradient_descent])
def test_integer_parameters_are_a_type_error(recipe):
    with pytest.raises(TypeError, match=r"'step' is int32.*optim\.masked"):
        recipe(0.1).init({"step": jnp.int32(1), "w": jnp.ones(2)})


def test_a_rate_that_is_no_number_is_a_type_error():
    with pytest.raises(TypeError, match="learning_rate must be a real number, got 'fast'"):
        optim.adam("fast")
