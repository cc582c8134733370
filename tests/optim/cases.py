"""Every public name of `optim` beside its reference: optax, or a test with the sum by hand."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxdl import optim
from jaxdl.optim.testing import problem

# Rate, and a mask and labels that are functions of any tree.
LR = 3e-3
KEY = jax.random.key(7, impl="unsafe_rbg")  # compiles in half the time of the default


def is_matrix(params):
    return jax.tree.map(lambda p: jnp.ndim(p) == 2, params)


def by_rank(params):
    return jax.tree.map(lambda p: "matrix" if jnp.ndim(p) == 2 else "rest", params)


def halving(count):
    return 0.1 * 0.5 ** jnp.asarray(count, dtype=float)


# States that do not hold the same arrays in the same order: made into optax's by hand.


def without_count(state):
    """optax keeps no count where RMSprop corrects no bias."""
    return optax.ScaleByRmsState(state.nu)


def rmsprop_state(state):
    return (without_count(state[0]), *state[1:])


def with_coefficients(reference, state):
    """optax keeps the coefficients of Muon's iteration in the state."""
    structure = jax.tree.structure(reference.init(problem()))
    coefficients = jnp.asarray((3.4445, -4.7750, 2.0315))
    return jax.tree.unflatten(structure, [*jax.tree.leaves(state), coefficients])


def only_matrices(partition, transform, identity):
    """Muon moves matrices only; the trees of the kit have other leaves too."""
    return partition({"matrix": transform, "rest": identity}, by_rank)


def paired_lookahead(inner, *args):
    """optax's lookahead, whose parameters are a pair, with the slow half kept in the state."""
    pair = optax.lookahead(inner, *args)

    def init(params):
        return pair.init(optax.LookaheadParams(params, params)), params

    def update(updates, state, params):
        state, slow = state
        updates, state = pair.update(updates, state, optax.LookaheadParams(params, slow))
        return updates.fast, (state, optax.apply_updates(slow, updates.slow))

    return optax.GradientTransformation(init, update)


def case(name, ours, theirs, id="", **options):
    return pytest.param(ours, theirs, options, id=f"{name}-{id}" if id else name)


MUON = optax.contrib.muon(LR)
SCALE_BY_MUON = only_matrices(
    optax.partition,
    optax.contrib.scale_by_muon(
        weight_dimension_numbers=lambda updates: jax.tree.map(
            lambda _: optax.contrib.MuonDimensionNumbers(), updates
        )
    ),
    optax.identity(),
)
# The matrices of the kit are (3, 2): wider than tall or not, √(max(3, 2)) = √3.
SHAPE = optax.scale(0.2 * 3**0.5)
# Squares of gradients above 1e19 overflow in optax's float32 norm, and in the rest they vanish.
SMALL = {"scales": (1.0, 1e-6)}
REFERENCES = [
    case("identity", optim.identity(), optax.identity()),
    case("scale", optim.scale(-0.3), optax.scale(-0.3)),
    case("scale_by_schedule", optim.scale_by_schedule(halving), optax.scale_by_schedule(halving)),
    case(
        "scale_by_learning_rate", optim.scale_by_learning_rate(LR), optax.scale_by_learning_rate(LR)
    ),
    case(
        "scale_by_learning_rate",
        optim.scale_by_learning_rate(halving, flip_sign=False),
        optax.scale_by_learning_rate(halving, flip_sign=False),
        id="schedule",
    ),
    case("scale_by_sign", optim.scale_by_sign(), optax.scale_by_sign()),
    case("clip", optim.clip(0.4), optax.clip(0.4)),
    case(
        "clip_by_global_norm",
        optim.clip_by_global_norm(2.0),
        optax.clip_by_global_norm(2.0),
        **SMALL,
    ),
    case("centralize", optim.centralize(output_axis=0), optax.centralize()),
    case(
        "add_noise", optim.add_noise(0.1, 0.55, KEY), optax.add_noise(0.1, 0.55, KEY), scales=(1.0,)
    ),
    case("add_decayed_weights", optim.add_decayed_weights(0.1), optax.add_decayed_weights(0.1)),
    case(
        "add_decayed_weights",
        optim.add_decayed_weights(0.1, is_matrix),
        optax.add_decayed_weights(0.1, is_matrix),
        id="mask",
    ),
    case("trace", optim.trace(0.9), optax.trace(0.9)),
    case("nesterov", optim.nesterov(0.9), optax.trace(0.9, nesterov=True)),
    case("ema", optim.ema(0.9), optax.ema(0.9)),
    case("ema", optim.ema(0.98, debias=False), optax.ema(0.98, debias=False), id="biased"),
    case("scale_by_lion", optim.scale_by_lion(), optax.scale_by_lion()),
    case(
        "scale_by_rms",
        optim.scale_by_rms(),
        optax.scale_by_rms(eps_in_sqrt=False),
        to_reference=without_count,
    ),
    case(
        "scale_by_rms",
        optim.scale_by_rms(0.95, 1e-6, 0.5, eps_in_sqrt=True),
        optax.scale_by_rms(0.95, 1e-6, 0.5),
        id="eps-in-sqrt",
        to_reference=without_count,
    ),
    case(
        "scale_by_rms",
        optim.scale_by_rms(bias_correction=True),
        optax.scale_by_rms(eps_in_sqrt=False, bias_correction=True),
        id="debiased",
    ),
    case("scale_by_adam", optim.scale_by_adam(), optax.scale_by_adam()),
    case(
        "scale_by_adam",
        optim.scale_by_adam(0.8, 0.99, 1e-3, 1e-5, nesterov=True),
        optax.scale_by_adam(0.8, 0.99, 1e-3, 1e-5, nesterov=True),
        id="nesterov-eps-root",
    ),
    case("scale_by_amsgrad", optim.scale_by_amsgrad(), optax.scale_by_amsgrad()),
    case(
        "scale_by_amsgrad",
        optim.scale_by_amsgrad(bias_correction_mu=False, bias_correction_nu=False),
        optax.scale_by_amsgrad(bias_correction_mu=False, bias_correction_nu=False),
        id="paper",
    ),
    case("scale_by_adagrad", optim.scale_by_adagrad(), optax.scale_by_rss()),
    case("scale_by_adagrad", optim.scale_by_adagrad(0.0), optax.scale_by_rss(0.0), id="zero"),
    case(
        "scale_by_muon",
        only_matrices(optim.partition, optim.scale_by_muon(), optim.identity()),
        SCALE_BY_MUON,
        to_reference=functools.partial(with_coefficients, SCALE_BY_MUON),
        **SMALL,
    ),
    case(
        "scale_by_shape",
        only_matrices(optim.partition, optim.scale_by_shape(0.2), optim.identity()),
        only_matrices(optax.partition, SHAPE, optax.identity()),
    ),
    case(
        "chain",
        optim.chain(optim.clip(0.5), optim.ema(0.9)),
        optax.chain(optax.clip(0.5), optax.ema(0.9)),
    ),
    case(
        "named_chain",
        optim.named_chain(("clip", optim.clip(0.5)), ("ema", optim.ema(0.9))),
        optax.named_chain(("clip", optax.clip(0.5)), ("ema", optax.ema(0.9))),
    ),
    case(
        "masked", optim.masked(optim.ema(0.9), is_matrix), optax.masked(optax.ema(0.9), is_matrix)
    ),
    case(
        "partition",
        optim.partition({"matrix": optim.adam(LR), "rest": optim.sgd(LR, 0.9)}, by_rank),
        optax.partition({"matrix": optax.adam(LR), "rest": optax.sgd(LR, 0.9)}, by_rank),
    ),
    case(
        "apply_if_finite",
        optim.apply_if_finite(optim.adam(LR), 3),
        optax.apply_if_finite(optax.adam(LR), 3),
    ),
    case(
        "accumulate",
        optim.accumulate(optim.sgd(LR, 0.9), 4),
        optax.MultiSteps(optax.sgd(LR, 0.9), 4, accumulator_dtype=None),
    ),
    case(
        "lookahead",
        optim.lookahead(optim.adam(LR), 5, 0.4),
        paired_lookahead(optax.adam(LR), 5, 0.4),
    ),
    case(
        "lookahead",
        optim.lookahead(optim.adam(LR), 5, 0.4, reset_state=True),
        paired_lookahead(optax.adam(LR), 5, 0.4, True),
        id="reset",
    ),
    case("gradient_descent", optim.gradient_descent(LR), optax.scale_by_learning_rate(LR)),
    case("sgd", optim.sgd(LR), optax.sgd(LR)),
    case(
        "sgd", optim.sgd(LR, 0.9, nesterov=True), optax.sgd(LR, 0.9, nesterov=True), id="nesterov"
    ),
    case("sgd", optim.sgd(halving, 0.9), optax.sgd(halving, 0.9), id="schedule"),
    case(
        "momentum", optim.momentum(LR), optax.chain(optax.ema(0.9, debias=False), optax.scale(-LR))
    ),
    case("momentum", optim.momentum(LR, form="heavy_ball"), optax.sgd(LR, 0.9), id="heavy-ball"),
    case(
        "momentum",
        optim.momentum(LR, debias=True),
        optax.chain(optax.ema(0.9), optax.scale(-LR)),
        id="debiased",
    ),
    case(
        "rmsprop",
        optim.rmsprop(LR),
        optax.rmsprop(LR, eps_in_sqrt=False),
        to_reference=rmsprop_state,
    ),
    case(
        "rmsprop",
        optim.rmsprop(LR, eps_in_sqrt=True, momentum=0.9, nesterov=True),
        optax.rmsprop(LR, momentum=0.9, nesterov=True),
        id="optax-form",
        to_reference=rmsprop_state,
    ),
    case("adagrad", optim.adagrad(LR), optax.adagrad(LR)),
    case("adam", optim.adam(LR), optax.adam(LR)),
    case("adam", optim.adam(halving, 0.7, 0.95), optax.adam(halving, 0.7, 0.95), id="schedule"),
    case("adamw", optim.adamw(LR, mask=is_matrix), optax.adamw(LR, mask=is_matrix)),
    case("nadam", optim.nadam(LR), optax.nadam(LR)),
    case("amsgrad", optim.amsgrad(LR), optax.amsgrad(LR)),
    case("lion", optim.lion(LR, weight_decay=0.1), optax.lion(LR, weight_decay=0.1)),
    case(
        "muon",
        optim.muon(LR),
        MUON,
        to_reference=functools.partial(with_coefficients, MUON),
        **SMALL,
    ),
]

# Recipes as functions of the learning rate: what sweeps and the laws run over.
RECIPES = {
    "gradient_descent": optim.gradient_descent,
    "sgd": functools.partial(optim.sgd, momentum=0.9, nesterov=True),
    "momentum": optim.momentum,
    "rmsprop": functools.partial(optim.rmsprop, momentum=0.9),
    "adagrad": optim.adagrad,
    "adam": optim.adam,
    "adamw": optim.adamw,
    "nadam": optim.nadam,
    "amsgrad": optim.amsgrad,
    "lion": optim.lion,
    "muon": optim.muon,
}

# Names whose reference is not a pair of optax's: the test with the sum.
BY_HAND = {
    "EmptyState": "test_chain_composes_in_order",
    "GradientTransformation": "test_extra_arguments_reach_those_that_take_them",
    "HyperparamsState": "test_the_state_shows_the_hyperparameters",
    "Schedule": "test_schedules_equal_optax",
    "apply_updates": "test_apply_updates_keeps_the_dtype_of_the_parameters",
    "average_params": "test_average_of_the_parameters",
    "averaged": "test_average_of_the_parameters",
    "max_norm": "test_max_norm_is_a_projection",
    "proximal_l1": "test_proximal_l1_is_soft_thresholding",
    "set_hyperparams": "test_the_state_shows_the_hyperparameters",
    "with_hyperparams": "test_equals_constant_hyperparameters",
    "inverse_time_decay": "test_the_decays_of_the_notes",
    "inverse_sqrt_decay": "test_the_decays_of_the_notes",
    "sampled_schedule": "test_a_sampled_schedule_reads_its_table",
}

SCHEDULES = {
    "constant_schedule": (0.3,),
    "exponential_decay": (0.3, 10, 0.5, 5),
    "exponential_decay-staircase": (0.3, 10, 0.5, 0, True),
    "exponential_decay-end": (0.3, 10, 0.5, 0, False, 0.1),
    "cosine_decay_schedule": (0.3, 50, 0.1, 2.0),
    "linear_schedule": (0.3, 0.1, 40, 7),
    "warmup_constant_schedule": (0.0, 0.3, 20),
    "warmup_cosine_decay_schedule": (0.0, 0.3, 20, 80, 0.01),
    "piecewise_constant_schedule": (0.3, {10: 0.5, 40: 0.1}),
}
