"""Ours inside optax and flax, and optax inside ours."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState

from jaxdl import optim
from jaxdl.optim import testing
from tests.optim.cases import LR, is_matrix

RECIPES = {"adam": optim.adam, "adamw": optim.adamw, "momentum": optim.momentum, "lion": optim.lion}
BOTH = {
    "ours-in-theirs": optax.chain(optim.clip(0.5), optax.scale_by_adam(), optim.scale(-LR)),
    "theirs-in-ours": optim.chain(optax.clip(0.5), optim.scale_by_adam(), optax.scale(-LR)),
    "nested": optim.chain(optax.chain(optim.clip(0.5), optim.adam(1.0)), optax.scale(LR)),
}


@pytest.fixture(autouse=True)
def relaxed():
    """optax mixes dtypes freely."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def run(optimizer, steps=5, **extra):
    params, gradients = testing.problem(), testing.random_gradients(steps=steps)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for t in range(steps):
        updates, state = update(
            jax.tree.map(lambda g, t=t: g[t], gradients), state, params, **extra
        )
        params = optax.apply_updates(params, updates)
    return params, state


def assert_same(a, b, rtol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol), a, b)


@pytest.mark.parametrize("mixed", BOTH.values(), ids=BOTH)
def test_chains_mix_both_ways(mixed):
    pure = optax.chain(optax.clip(0.5), optax.scale_by_adam(), optax.scale(-LR))
    assert_same(run(mixed)[0], run(pure)[0])


def test_extra_arguments_pass_optax_by():
    # polyak_sgd needs `value`; scale_by_adam of optax rejects extra arguments, ours ignores them.
    mixed = optim.chain(optax.scale_by_adam(), optim.identity(), optax.polyak_sgd())
    pure = optax.chain(optax.scale_by_adam(), optax.polyak_sgd())
    assert_same(run(mixed, value=jnp.float32(2))[0], run(pure, value=jnp.float32(2))[0])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_inject_hyperparams(recipe):
    injected = optax.inject_hyperparams(recipe)(learning_rate=LR)
    params, state = run(injected)
    assert_same(params, run(recipe(LR))[0], rtol=1e-3)
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(LR)
    scheduled = optax.inject_hyperparams(recipe)(learning_rate=optim.inverse_time_decay(LR, 0.1))
    assert_same(run(scheduled)[0], run(recipe(optim.inverse_time_decay(LR, 0.1)))[0], rtol=1e-3)


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.adam(LR),
        optim.muon(LR),
        optim.lookahead(optim.adamw(LR, mask=is_matrix)),
        optim.with_hyperparams(optim.adam)(LR),
        optim.chain(optim.accumulate(optim.sgd(LR, 0.9), 2), optim.average_params(0.9)),
    ],
    ids=["adam", "muon", "lookahead", "with_hyperparams", "accumulate"],
)
def test_map_params_reaches_every_copy_of_the_parameters(optimizer):
    _, state = run(optimizer, steps=2)
    marked = optax.tree.map_params(optimizer, lambda x: x + 1000, state)
    counts = optax.tree.map_params(optimizer, lambda x: x * 0, state)
    for before, after, zero in zip(*map(jax.tree.leaves, (state, marked, counts)), strict=True):
        if before.ndim:
            np.testing.assert_allclose(after, before + 1000, rtol=1e-6)
            np.testing.assert_array_equal(zero, 0)


def test_multi_steps():
    ours = optax.MultiSteps(optim.adam(LR), 3).gradient_transformation()
    assert_same(run(ours, 7)[0], run(optim.accumulate(optim.adam(LR), 3), 7)[0])


def test_masked_and_partition_by_optax():
    theirs = optax.masked(optim.adam(LR), is_matrix)
    assert_same(run(theirs)[0], run(optim.masked(optax.adam(LR), is_matrix))[0])
    labels = lambda params: jax.tree.map(lambda m: "a" if m else "b", is_matrix(params))  # noqa: E731
    parts = {"a": optim.adam(LR), "b": optim.sgd(LR, 0.9)}
    assert_same(run(optax.partition(parts, labels))[0], run(optim.partition(parts, labels))[0])


def test_other_wrappers_of_optax():
    assert_same(
        run(optax.apply_if_finite(optim.adam(LR), 2))[0],
        run(optim.apply_if_finite(optax.adam(LR), 2))[0],
    )
    ours = optax.chain(optax.clip(1.0), optim.with_hyperparams(optim.adam)(LR))
    assert_same(run(ours)[0], run(optax.chain(optax.clip(1.0), optax.adam(LR)))[0])


def test_states_move_between_the_libraries():
    _, state = run(optax.adam(LR))
    params, gradients = (
        testing.problem(),
        jax.tree.map(lambda g: g[0], testing.random_gradients((1.0,))),
    )
    got, _ = optim.scale_by_adam().update(gradients, state[0], params)
    want, _ = optax.scale_by_adam().update(gradients, state[0], params)
    assert_same(got, want)


def test_train_state_of_flax():
    params = {"w": jnp.ones((2, 1)), "b": jnp.zeros(1)}
    x = jnp.array([[1.0, 2.0], [0.5, -1.0]])

    def apply(params, x):
        return x @ params["w"] + params["b"][None, :]

    def trained(optimizer):
        state = TrainState.create(apply_fn=apply, params=params, tx=optimizer)
        for _ in range(3):
            grads = jax.grad(lambda p: jnp.sum(apply(p, x) ** 2))(state.params)
            state = state.apply_gradients(grads=grads)
        return state

    ours, theirs = trained(optim.adam(LR)), trained(optax.adam(LR))
    assert int(ours.step) == 3
    assert_same(ours.params, theirs.params)
