"""Kinds of numbers: traced, swept, complex, of 16 bits; hyperparameters that live in the state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import optim
from jaxdl.optim import testing
from tests.compiling import as_users_do, once
from tests.optim.cases import LR, RECIPES


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@as_users_do()
def test_equals_constant_hyperparameters(recipe):
    in_state = optim.with_hyperparams(recipe)(LR)
    testing.check_against(
        in_state, recipe(LR), to_reference=lambda state: state.inner_state, scales=(1.0,)
    )


@pytest.mark.parametrize("shape", [(8,), (1000,), (64, 32)], ids=str)
@pytest.mark.parametrize("name", ["adam", "nadam", "muon"])
@as_users_do()
def test_equals_constant_hyperparameters_whatever_the_shape(name, shape):
    # How a sum of two products is rounded depends on how the compiler cuts a leaf into vectors,
    # and in Nadam's sum the products often cancel.
    in_state, constant = optim.with_hyperparams(RECIPES[name])(LR), RECIPES[name](LR)
    rng = np.random.default_rng(0)
    params, *gradients = jnp.asarray(rng.standard_normal((5, *shape)), jnp.float32)
    state, ours, theirs = in_state.init(params), jax.jit(in_state.update), jax.jit(constant.update)
    for g in gradients:
        expected, _ = theirs(g, state.inner_state, params)
        updates, state = ours(g, state, params)
        assert testing.ulps_apart(updates, expected).max() <= 4


@as_users_do()
def test_optax_recipes_keep_their_numbers_too():
    in_state = optim.with_hyperparams(optax.adam)(LR)
    with jax.numpy_dtype_promotion("standard"):
        testing.check_against(
            in_state, optax.adam(LR), to_reference=lambda state: state.inner_state, scales=(1.0,)
        )


def test_the_state_shows_the_hyperparameters():
    adam = optim.with_hyperparams(optim.adam)(learning_rate=1e-3, b2=0.99)
    params = {"w": jnp.ones(3)}
    state = adam.init(params)
    assert set(state.hyperparams) == {"learning_rate", "b1", "b2", "eps", "eps_root"}
    traces = []

    @jax.jit
    def step(state):
        traces.append(1)
        return adam.update(params, state, params)

    small, _ = step(state)
    large, _ = step(optim.set_hyperparams(state, learning_rate=1e-2))
    np.testing.assert_allclose(large["w"], 10 * small["w"], rtol=1e-6)
    # A person may also write into the state: the rest of the old number is not added to it.
    written = state._replace(hyperparams={**state.hyperparams, "b2": jnp.float32(0.9)})
    assigned = optim.set_hyperparams(state, b2=jnp.float32(0.9))
    np.testing.assert_array_equal(step(written)[0]["w"], step(assigned)[0]["w"])
    assert len(traces) == 1


def test_hyperparameters_in_the_state_may_follow_schedules():
    decay = optim.inverse_time_decay(0.1, 1.0)
    scheduled = optim.with_hyperparams(optim.sgd)(decay, momentum=0.5)

    def constant_state(state):
        counted = optim.scale_by_schedule(decay).init(())._replace(count=state.count)
        return state.inner_state[0], counted

    testing.check_against(
        scheduled,
        optim.sgd(decay, momentum=0.5),
        to_reference=constant_state,
        scales=(1.0,),
        steps=50,
    )


def test_a_sweep_over_states():
    params = {"w": jnp.arange(3.0)}
    sgd = optim.with_hyperparams(optim.sgd)(0.1)
    rates = jnp.linspace(0.0, 1.0, 7)
    states = jax.vmap(lambda r: optim.set_hyperparams(sgd.init(params), learning_rate=r))(rates)
    updates, _ = jax.vmap(lambda state: sgd.update(params, state))(states)
    np.testing.assert_allclose(updates["w"], -rates[:, None] * params["w"][None], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: optim.set_hyperparams(s, lr=0.1), "Unknown hyperparameter 'lr'"),
        (lambda s: optim.set_hyperparams(s, momentum=1.0), r"momentum must be in \[0, 1\)"),
        (lambda s: optim.set_hyperparams(s.inner_state, momentum=0.5), "its own state"),
        (lambda s: optim.with_hyperparams(optim.sgd)(-0.1), "learning_rate must be"),
    ],
)
def test_hyperparameters_are_checked(call, message):
    state = optim.with_hyperparams(optim.sgd)(0.1, 0.9).init({"w": jnp.ones(2)})
    with pytest.raises(ValueError, match=message):
        call(state)


# Sweeps.


def valley(params):
    return 0.5 * (jnp.sum(params["w"] ** 2) + 30 * jnp.sum(params["b"] ** 2))


def descend(recipe, rate):
    optimizer = recipe(rate)
    params = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(2)}

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(valley)(params), state, params)
        return (optim.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), length=10)[0][0]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_sweep_over_256_rates_is_one_vmap(recipe, x64):
    traces = []

    def run(rate):
        traces.append(1)
        return descend(recipe, rate)

    rates = jnp.geomspace(1e-4, 1e-1, 256)
    swept = once(jax.vmap(run))(rates)
    assert len(traces) == 1
    one = once(lambda rate: descend(recipe, rate))
    alone = jax.tree.map(lambda *runs: jnp.stack(runs), *[one(rate) for rate in rates])
    for a, b in zip(jax.tree.leaves(swept), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# Traced against traced.

TRACED = {
    "adam": (optim.adam, optax.adam, {"b1": 0.9, "b2": 0.999, "eps": 1e-8}),
    "adamw": (optim.adamw, optax.adamw, {"b2": 0.999, "weight_decay": 0.01}),
    "sgd": (optim.sgd, optax.sgd, {"momentum": 0.9}),
    "lion": (optim.lion, optax.lion, {"b1": 0.9, "b2": 0.99, "weight_decay": 0.1}),
    "adagrad": (optim.adagrad, optax.adagrad, {"eps": 1e-7}),
    "amsgrad": (optim.amsgrad, optax.amsgrad, {"b1": 0.9, "b2": 0.999}),
}


@pytest.mark.parametrize(("ours", "theirs", "numbers"), TRACED.values(), ids=TRACED)
@as_users_do()
def test_traced_hyperparameters_equal_optax(ours, theirs, numbers):
    params, gradients = testing.problem(), testing.random_gradients(steps=20)

    def run(recipe, numbers):
        optimizer = recipe(**numbers)

        def step(state, g):
            updates, state = optimizer.update(g, state, params)
            return state, updates

        with jax.numpy_dtype_promotion("standard"):
            return jax.lax.scan(step, optimizer.init(params), gradients)[1]

    numbers = {"learning_rate": LR, **numbers}
    traced = jax.tree.map(jnp.float32, numbers)
    got, want = (jax.jit(functools.partial(run, recipe))(traced) for recipe in (ours, theirs))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert testing.ulps_apart(a, b).max() <= 4


# Complex numbers, and numbers of 16 bits.

PEERS = {
    "sgd": (optim.sgd(LR, 0.9, nesterov=True), optax.sgd(LR, 0.9, nesterov=True)),
    "adam": (optim.adam(LR), optax.adam(LR)),
    "adamw": (optim.adamw(LR), optax.adamw(LR)),
    "nadam": (optim.nadam(LR), optax.nadam(LR)),
    "amsgrad": (optim.amsgrad(LR), optax.amsgrad(LR)),
    "adagrad": (optim.adagrad(LR), optax.adagrad(LR)),
    "rmsprop": (optim.rmsprop(LR), optax.rmsprop(LR, eps_in_sqrt=False)),
    "lion": (optim.lion(LR), optax.lion(LR)),
}


def updates_of(optimizer, params, gradients):
    def step(state, g):
        updates, state = optimizer.update(g, state, params)
        return state, updates

    with jax.numpy_dtype_promotion("standard"):
        return once(lambda: jax.lax.scan(step, optimizer.init(params), gradients))()


@pytest.mark.parametrize("name", [n for n in PEERS if n != "amsgrad"])
def test_complex_parameters_equal_optax(name, x64):
    params = testing.problem(dtype=jnp.complex128)
    gradients = testing.random_gradients(dtype=jnp.complex128, steps=30)
    (_, got), (_, want) = (updates_of(peer, params, gradients) for peer in PEERS[name])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == jnp.complex128
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def floating_dtypes(state):
    dtypes = {x.dtype for x in jax.tree.leaves(state)}
    return {d for d in dtypes if jnp.issubdtype(d, jnp.floating)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", PEERS)
def test_numbers_of_16_bits_have_the_dtypes_of_optax(name, dtype):
    params = testing.problem(dtype=jnp.dtype(dtype))
    gradients = testing.random_gradients(dtype=jnp.dtype(dtype))
    (ours, got), (theirs, want) = (updates_of(peer, params, gradients) for peer in PEERS[name])
    assert floating_dtypes(ours) == floating_dtypes(theirs)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == jnp.dtype(dtype)
        # optax rounds (and squares small numbers) in 16 bits, ours rounds at the end.
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=0.05)


def test_a_small_gradient_of_16_bits_makes_no_infinity():
    # (0.01·g)² is zero in float16, and so is ε = 1e-8: optax divides by zero here.
    params = {"w": jnp.ones(2, jnp.float16)}
    gradients = {"w": jnp.array([1e-4, 0.0], jnp.float16)}
    adam = optim.adam(1e-3)
    updates, _ = adam.update(gradients, adam.init(params))
    np.testing.assert_allclose(updates["w"].astype(float), [-1e-3, 0.0], rtol=1e-2)


def test_the_accumulators_have_the_dtype_asked_for():
    params = {"w": jnp.ones(2)}
    for optimizer in (optim.adam(LR, mu_dtype=jnp.bfloat16), optim.lion(LR, mu_dtype=jnp.bfloat16)):
        updates, state = optimizer.update(params, optimizer.init(params), params)
        assert state[0].mu["w"].dtype == jnp.bfloat16
        assert updates["w"].dtype == jnp.float32
    for optimizer in (
        optim.sgd(LR, 0.9, accumulator_dtype=jnp.bfloat16),
        optim.momentum(LR, accumulator_dtype=jnp.bfloat16),
    ):
        _, state = optimizer.update(params, optimizer.init(params), params)
        assert floating_dtypes(state) == {jnp.dtype(jnp.bfloat16)}


def test_updates_have_the_dtype_of_the_gradients():
    params, gradients = {"w": jnp.ones(2)}, {"w": jnp.ones(2, jnp.bfloat16)}
    for recipe in RECIPES.values():
        optimizer = recipe(LR)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        assert updates["w"].dtype == jnp.bfloat16
