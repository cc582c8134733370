"""What people get wrong, and numbers at the edge: a sentence or a value that makes sense."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import averages, optim
from jaxdl.optim import testing

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
KEPT = {"learning_rate", "b1", "b2", "eps", "eps_root"}


def step(optimizer, gradients=None, params=PARAMS, **extra):
    gradients = params if gradients is None else gradients
    updates, _ = optimizer.update(gradients, optimizer.init(params), params, **extra)
    return optim.apply_updates(params, updates)


def relaxed_step(*args):
    """Under the promotion rules that people have, not those of the tests."""
    with jax.numpy_dtype_promotion("standard"):
        return step(*args)


def of_dtype(dtype):
    return {name: value.astype(dtype) for name, value in PARAMS.items()}


REFUSED = {
    "no-rate": (
        lambda: optim.adam(None),
        TypeError,
        "learning_rate must be a real number, got None",
    ),
    "no-b1": (lambda: optim.adam(0.1, b1=None), TypeError, "b1 must be a real number, got None"),
    "b1-schedule": (
        lambda: optim.adam(0.1, b1=lambda count: 0.9),
        TypeError,
        r"b1 must be a number here, got a function.*with_hyperparams",
    ),
    "momentum-by-its-name": (
        lambda: optim.sgd(0.1, 1.0),
        ValueError,
        r"momentum must be in \[0, 1\)",
    ),
    "rate-of-adam-in-muon": (
        lambda: optim.muon(0.1, adam_learning_rate=-1.0),
        ValueError,
        "adam_learning_rate must be",
    ),
    "schedule-of-none": (
        lambda: step(optim.adam(lambda count: None)),
        TypeError,
        "A schedule must return one number for each step, got None",
    ),
    "schedule-of-vector": (
        lambda: step(optim.sgd(lambda count: jnp.ones(3))),
        ValueError,
        r"A schedule must return one number .* shape \(3,\)",
    ),
    "integer-gradients": (
        lambda: step(optim.sgd(0.1), {"w": jnp.ones((2, 3), int), "b": jnp.zeros(3)}),
        TypeError,
        "expects floating-point gradients, but 'w' is int32",
    ),
    "boolean-gradients": (
        lambda: step(optim.lion(0.1), of_dtype(bool)),
        TypeError,
        "expects floating-point gradients, but 'b' is bool",
    ),
    "complex-gradients": (
        lambda: relaxed_step(optim.adam(0.1), of_dtype(complex)),
        TypeError,
        "Gradients of complex64 do not fit parameters of float32",
    ),
    "complex-updates": (
        lambda: step(optim.sgd(0.1), of_dtype(complex)),
        TypeError,
        "Updates of complex64 have no place in parameters of float32",
    ),
    "integer-memory": (
        lambda: step(optim.adam(0.1, mu_dtype=jnp.int32)),
        TypeError,
        "must hold parameters of float32, got int32",
    ),
    "real-memory": (
        lambda: step(optim.adam(0.1, mu_dtype=jnp.float32), params=of_dtype(complex)),
        TypeError,
        "must hold parameters of complex64, got float32",
    ),
    "recipe-not-called": (
        lambda: optim.chain(optim.clip(1.0), optim.adam),
        TypeError,
        "chain expects transformations.*A recipe is called first",
    ),
    "list-of-links": (lambda: optim.chain([optim.clip(1.0)]), TypeError, "one argument each"),
    "chain-without-names": (
        lambda: optim.named_chain(optim.sgd(0.1)),
        TypeError,
        r"expects pairs \(name, transformation\)",
    ),
    "no-such-axis": (
        lambda: step(optim.centralize(output_axis=2)),
        ValueError,
        r"No axis 2 in a gradient of shape \(2, 3\)",
    ),
    "instance-as-recipe": (
        lambda: optim.with_hyperparams(optim.adam(0.1)),
        TypeError,
        "expects a recipe such as optim.adam itself",
    ),
    "set-to-none": (
        lambda: optim.set_hyperparams(
            optim.with_hyperparams(optim.sgd)(0.1).init(PARAMS), learning_rate=None
        ),
        TypeError,
        "learning_rate must be a real number, got None",
    ),
    "set-against-a-schedule": (
        lambda: optim.set_hyperparams(
            optim.with_hyperparams(optim.sgd)(lambda count: 0.1).init(PARAMS), learning_rate=0.5
        ),
        ValueError,
        "learning_rate follows a schedule, which would overwrite 0.5",
    ),
    "peak-of-zero": (
        lambda: optim.warmup_cosine_decay_schedule(0.0, 0.0, 5, 20),
        ValueError,
        "peak_value must be positive",
    ),
    "negative-table": (
        lambda: optim.sampled_schedule(np.array([0.1, np.nan])),
        ValueError,
        r"values\[1\] must be",
    ),
    "negative-end": (
        lambda: optim.exponential_decay(0.1, 10, 0.5, end_value=-1.0),
        ValueError,
        "end_value must be",
    ),
    "number-as-schedule": (
        lambda: optim.join_schedules([0.1, optim.constant_schedule(0.2)], [5]),
        TypeError,
        "joins functions of the step, got 0.1",
    ),
    "kit-without-optimizer": (
        lambda: testing.check_against(optim.adam, optim.adam(0.1)),
        TypeError,
        r"such as optim\.adam\(1e-3\)",
    ),
    "kit-without-steps": (
        lambda: testing.check_against(optim.adam(0.1), optim.adam(0.1), steps=0),
        ValueError,
        "nothing would be compared",
    ),
    "laws-of-a-number": (lambda: testing.check_laws(3), TypeError, "got 3"),
    "empty-series": (lambda: averages.ewa(jnp.ones(0), 0.9), ValueError, r"got shape \(0,\)"),
    "no-beta": (lambda: averages.ewa(jnp.ones(3), None), TypeError, "got None"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_is_refused_with_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_matrices_without_entries_and_masks_of_numpy():
    empty = {"w": jnp.ones((0, 3))}
    assert step(optim.muon(0.1), params=empty)["w"].shape == (0, 3)
    half = step(optim.masked(optim.scale(0.0), {"w": np.True_, "b": np.False_}))
    np.testing.assert_array_equal(half["w"], PARAMS["w"])


def test_a_clip_to_nothing_of_nothing_is_nothing():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    np.testing.assert_array_equal(step(optim.clip_by_global_norm(0.0), zero)["w"], PARAMS["w"])


@pytest.mark.parametrize("rate", [1, np.float64(1), np.int64(1), jnp.float32(1), jnp.int32(1)])
def test_a_rate_may_be_any_kind_of_number(rate):
    np.testing.assert_allclose(step(optim.sgd(rate))["w"], 0.0)
    in_state = optim.with_hyperparams(optim.sgd)(rate)
    np.testing.assert_allclose(step(in_state)["w"], 0.0)


def test_whole_numbers_and_schedules_stand_for_hyperparameters():
    assert set(optim.with_hyperparams(optim.adam)(1).init(PARAMS).hyperparams) == KEPT
    falling = optim.with_hyperparams(optim.sgd)(
        1, momentum=lambda count: jnp.where(count < 9, 0.5, 0.9)
    )
    assert float(falling.init(PARAMS).hyperparams["momentum"]) == 0.5
    by_keyword = optim.with_hyperparams(lambda **numbers: optim.adam(**numbers))
    assert set(by_keyword(learning_rate=0.1).init(PARAMS).hyperparams) == {"learning_rate"}


def test_a_mask_and_a_dtype_are_no_hyperparameters():
    mask = lambda params: jax.tree.map(lambda p: p.ndim == 2, params)  # noqa: E731
    for recipe in (optim.adamw, optax.adamw):
        state = optim.with_hyperparams(recipe)(0.1, mask=mask).init(PARAMS)
        assert set(state.hyperparams) == {*KEPT, "weight_decay"}
    with jax.numpy_dtype_promotion("standard"):
        state = optim.with_hyperparams(optax.adafactor)(0.1).init(PARAMS)
    assert "dtype_momentum" not in state.hyperparams


def test_a_search_in_the_state_finds_the_rate():
    state = optim.with_hyperparams(optim.adam)(0.1).init(PARAMS)
    assert float(optax.tree.get(state, "learning_rate")) == pytest.approx(0.1)
    changed = optax.tree.set(state, learning_rate=jnp.float32(0.5))
    assert float(changed.hyperparams["learning_rate"]) == 0.5


def test_schedules_without_a_warm_up_begin_at_the_peak():
    assert optim.warmup_constant_schedule(0.0, 0.3, 0)(0) == 0.3
    assert float(optim.warmup_cosine_decay_schedule(0.0, 0.3, 0, 10)(0)) == pytest.approx(0.3)
    assert float(optim.piecewise_constant_schedule(0.3)(7)) == pytest.approx(0.3)


def test_averages_in_16_bits_and_of_a_beta_that_rounds_to_one():
    series = jnp.ones(3000, jnp.bfloat16)
    assert averages.ewa(series, 0.98).dtype == jnp.bfloat16
    np.testing.assert_array_equal(averages.ewa(series, 0.98)[-1].astype(float), 1.0)
    np.testing.assert_allclose(averages.ewa(jnp.ones(3), 0.9999999999), 1.0, rtol=1e-6)
