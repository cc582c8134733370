"""What has no twin in optax: sums by hand, schedules of the notes, masks, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import averages, optim
from tests.optim.cases import SCHEDULES, is_matrix

PARAMS = {"layer": {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}, "scale": jnp.float32(2)}


def test_proximal_l1_is_soft_thresholding():
    # Rate 0.5, λ = 0.4: threshold 0.2. z = w + u = [1.0, 0.15, −0.6] → [0.8, 0, −0.4].
    proximal = optim.proximal_l1(0.5, 0.4)
    w, u = jnp.array([0.9, 0.3, -0.5]), jnp.array([0.1, -0.15, -0.1])
    updates, _ = proximal.update(u, proximal.init(w), w)
    moved = optim.apply_updates(w, updates)
    np.testing.assert_allclose(moved, [0.8, 0.0, -0.4], rtol=1e-6)
    assert float(moved[1]) == 0.0


def test_proximal_l1_finds_the_exact_zeros_of_a_lasso():
    # min ½‖w − c‖² + λ‖w‖₁ has w = sign(c) max(|c| − λ, 0).
    c, strength = jnp.array([2.0, 0.3, -0.05, -1.0]), 0.5
    ista = optim.chain(optim.gradient_descent(0.3), optim.proximal_l1(0.3, strength))

    def step(carry, _):
        w, state = carry
        updates, state = ista.update(w - c, state, w)
        return (optim.apply_updates(w, updates), state), None

    w = jax.lax.scan(step, (jnp.zeros(4), ista.init(jnp.zeros(4))), length=100)[0][0]
    np.testing.assert_allclose(w, [1.5, 0.0, 0.0, -0.5], atol=1e-6)
    assert int((w == 0).sum()) == 2


def test_proximal_l1_follows_a_schedule():
    proximal = optim.proximal_l1(lambda count: jnp.where(count < 1, 0.0, 1.0), 0.25)
    w, state = jnp.ones(1), proximal.init(jnp.ones(1))
    first, state = proximal.update(jnp.zeros(1), state, w)
    second, _ = proximal.update(jnp.zeros(1), state, w)
    np.testing.assert_allclose([first[0], second[0]], [0.0, -0.25])


def test_max_norm_is_a_projection():
    # z = w + u has columns (3, 4) and (0.3, 0.4): norms 5 and 0.5. With c = 1 the first becomes
    # (0.6, 0.8), the second keeps its update to the last bit, and so does the bias.
    w = {"w": jnp.array([[1.0, 0.1], [1.0, 0.1]]), "b": jnp.array([7.0, 7.0])}
    u = {"w": jnp.array([[2.0, 0.2], [3.0, 0.3]]), "b": jnp.array([1.0, 1.0])}
    project = optim.max_norm(1.0)
    updates, state = project.update(u, project.init(w), w)
    moved = optim.apply_updates(w, updates)
    np.testing.assert_allclose(moved["w"], [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)
    np.testing.assert_array_equal(updates["w"][:, 1], u["w"][:, 1])
    np.testing.assert_array_equal(updates["b"], u["b"])
    still, _ = project.update(jax.tree.map(jnp.zeros_like, u), state, moved)
    np.testing.assert_allclose(still["w"], 0, atol=1e-7)  # projecting twice is projecting once
    rows, _ = optim.max_norm(1.0, output_axis=0).update(u, state, w)
    norms = jnp.linalg.norm(w["w"] + rows["w"], axis=1)
    np.testing.assert_allclose(norms, [1.0, 1.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"limit must be above 0.*got 0"):
        optim.max_norm(0)
    with pytest.raises(ValueError, match=r"No axis 2 in an update of shape \(2, 2\)"):
        optim.max_norm(1.0, output_axis=2).update(u, state, w)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_average_of_the_parameters(decay):
    optimizer = optim.chain(optim.sgd(0.1), optim.average_params(decay))
    w, state, seen = jnp.array([1.0, -2.0]), optimizer.init(jnp.ones(2)), []
    for _ in range(6):
        updates, state = optimizer.update(w, state, w)
        w = optim.apply_updates(w, updates)
        seen.append(w)
    seen = jnp.stack(seen)
    expected = jnp.mean(seen, 0) if decay is None else averages.ewa(seen, decay)[-1]
    np.testing.assert_allclose(optim.averaged(state), expected, rtol=1e-6)


def test_averaged_needs_one_average():
    with pytest.raises(ValueError, match=r"Expected one average_params .* found 0"):
        optim.averaged(optim.adam(0.1).init(PARAMS))


def test_centralize_takes_the_mean_over_the_inputs_of_each_unit():
    # (n_in, n_out) = (2, 3): each column has mean zero afterwards; biases stay.
    g = {"w": jnp.array([[1.0, 2.0, 3.0], [3.0, 6.0, 9.0]]), "b": jnp.ones(3)}
    updates, _ = optim.centralize().update(g, optim.EmptyState())
    np.testing.assert_allclose(updates["w"], [[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(updates["b"], g["b"])


def test_clip_by_global_norm_survives_large_and_small_numbers():
    # 3-4-5 triangle: the norm of (3e25, 4e25) is 5e25, whose square is no float32.
    clip = optim.clip_by_global_norm(1.0)
    for size in (1e-30, 1.0, 1e25):
        updates, _ = clip.update(jnp.array([3.0, 4.0]) * size, optim.EmptyState())
        expected = np.array([0.6, 0.8]) if size >= 1 else np.array([3e-30, 4e-30])
        np.testing.assert_allclose(updates, expected, rtol=1e-6)


def test_clip_treats_the_parts_of_complex_numbers_alike():
    updates, _ = optim.clip(1.0).update(jnp.array([3.0 - 0.5j]), optim.EmptyState())
    np.testing.assert_allclose(updates, [1.0 - 0.5j])


def test_adagrad_with_epsilon_outside_the_root():
    # S = 0 + 4, u = 2/(√4 + 0.5) = 0.8.
    adagrad = optim.scale_by_adagrad(0.0, 0.5, eps_in_sqrt=False)
    updates, _ = adagrad.update(jnp.array([2.0]), adagrad.init(jnp.ones(1)))
    np.testing.assert_allclose(updates, [0.8])


def test_muon_makes_singular_values_equal():
    g = jnp.diag(jnp.array([5.0, 1.0, 0.3, 0.1]))[:, :3]
    muon = optim.scale_by_muon()
    updates, _ = muon.update(g, muon.init(g))
    sizes = np.linalg.svd(updates, compute_uv=False)
    assert sizes.max() < 1.3
    assert sizes.min() > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: optim.scale_by_muon().init({"b": jnp.ones(3)}),
            r"'b' has shape \(3,\).*optim\.muon",
        ),
        (lambda: optim.scale_by_muon(ns_coeffs=(1.0, 2.0)), r"got shape \(2,\)"),
        (
            lambda: optim.accumulate(optim.sgd(0.1), 0),
            "k must be a whole number, at least 1, got 0",
        ),
        (lambda: optim.lookahead(optim.sgd(0.1), 5, 1.5), r"slow_step_size must be in \[0, 1\]"),
        (lambda: optim.clip(-1.0), "max_delta must be"),
        (lambda: optim.add_decayed_weights(-1.0), "weight_decay must be"),
        (lambda: optim.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10), "must exceed warmup_steps"),
        (lambda: optim.join_schedules([], []), "got 0 schedules"),
        (lambda: optim.join_schedules([float, float, float], [5, 3]), r"boundaries \[5, 3\]"),
        (lambda: optim.sampled_schedule([]), r"got shape \(0,\)"),
        (lambda: optim.sampled_schedule([0.1, -0.1]), r"values\[1\] must be"),
        (lambda: optim.exponential_decay(0.1, 0, 0.5), "transition_steps must be"),
        (lambda: optim.inverse_time_decay(-0.1, 0.5), "init_value must be"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Skipping, accumulating.


def test_apply_if_finite_skips_and_gives_up():
    protected = optim.apply_if_finite(optim.sgd(1.0, momentum=0.5), 2)
    w = jnp.ones(2)
    bad, state = jnp.array([1.0, jnp.nan]), protected.init(w)
    update = jax.jit(protected.update)
    for _ in range(2):
        updates, state = update(bad, state)
        np.testing.assert_array_equal(updates, 0)
    assert int(state.notfinite_count) == int(state.total_notfinite) == 2
    updates, state = update(jnp.ones(2), state)
    np.testing.assert_array_equal(updates, -1)
    assert int(state.notfinite_count) == 0
    for _ in range(3):
        updates, state = update(bad, state)
    assert np.isnan(np.asarray(updates)).any()


def test_accumulating_k_gradients_is_one_step_on_their_mean():
    slow, fast = optim.accumulate(optim.adam(0.1), 3), optim.adam(0.1)
    gradients = jnp.array([[1.0, -2.0], [4.0, 0.0], [1.0, 5.0]])
    state = slow.init(gradients[0])
    for g in gradients:
        updates, state = slow.update(g, state)
    expected, _ = fast.update(gradients.mean(0), fast.init(gradients[0]))
    np.testing.assert_allclose(updates, expected, rtol=1e-6)
    assert (int(state.mini_step), int(state.gradient_step)) == (0, 1)


# Masks and labels.

PREFIXES = {
    "full": {"layer": {"w": True, "b": False}, "scale": False},
    "prefix": {"layer": True, "scale": False},
    "everything": True,
    "function": is_matrix,
}


@pytest.mark.parametrize("mask", PREFIXES.values(), ids=PREFIXES)
def test_masks_equal_optax(mask):
    ours, theirs = optim.masked(optim.scale(3.0), mask), optax.masked(optax.scale(3.0), mask)
    got, _ = ours.update(PARAMS, ours.init(PARAMS))
    want, _ = theirs.update(PARAMS, theirs.init(PARAMS))
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_a_mask_keeps_integers_out():
    params = {"w": jnp.ones(2), "step": jnp.int32(3)}
    only_w = optim.masked(optim.adam(0.1), {"w": True, "step": False})
    updates, _ = only_w.update(params, only_w.init(params))
    assert int(updates["step"]) == 3


WRONG = [
    ({"layer": {"w": True}, "scale": False}, ValueError, r"first path that differs is 'layer\.b'"),
    ({"layer": True}, ValueError, "first path that differs is 'scale'"),
    ({"layer": 1, "scale": False}, TypeError, "at 'layer' it has 1 of type int"),
]


@pytest.mark.parametrize(("mask", "error", "message"), WRONG)
def test_a_mask_of_another_tree_is_refused(mask, error, message):
    with pytest.raises(error, match=message):
        optim.adamw(0.1, mask=mask).init(PARAMS)


def test_labels_of_another_tree_are_refused():
    parts = {"adam": optim.adam(0.1), "sgd": optim.sgd(0.1)}
    with pytest.raises(ValueError, match=r"label at 'layer'.*'adm'.*Did you mean 'adam'"):
        optim.partition(parts, {"layer": "adm", "scale": "sgd"}).init(PARAMS)
    with pytest.raises(ValueError, match=r"first path that differs is 'layer\.b'"):
        optim.partition(parts, {"layer": {"w": "adam"}, "scale": "sgd"}).init(PARAMS)


# Schedules.

STEPS = jnp.arange(0, 120, 3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_optax(name, x64):
    function, arguments = name.split("-")[0], SCHEDULES[name]
    ours = getattr(optim, function)(*arguments)
    theirs = getattr(optax, function)(*arguments)
    with jax.numpy_dtype_promotion("standard"):
        expected = [theirs(int(t)) for t in STEPS]
    np.testing.assert_allclose([ours(int(t)) for t in STEPS], expected, rtol=1e-13, atol=1e-16)
    traced = jax.jit(jax.vmap(ours))(STEPS) if function != "constant_schedule" else ours(STEPS)
    np.testing.assert_allclose(
        jnp.broadcast_to(traced, STEPS.shape), expected, rtol=1e-12, atol=1e-15
    )


def test_joined_schedules_equal_optax():
    parts = [optim.linear_schedule(0.0, 0.3, 10), optim.constant_schedule(0.2)]
    ours, theirs = (module.join_schedules(parts, [12]) for module in (optim, optax))
    np.testing.assert_array_equal([ours(t) for t in range(20)], [theirs(t) for t in range(20)])


def test_the_decays_of_the_notes(x64):
    # α₀ = 0.2, r = 1 (the course's example): 0.2, 0.1, 0.067, 0.05 in epochs 0, 1, 2, 3.
    per_epoch = optim.inverse_time_decay(0.2, 1.0, steps_per_epoch=5)
    np.testing.assert_allclose([per_epoch(5 * e) for e in range(4)], [0.2, 0.1, 0.2 / 3, 0.05])
    assert per_epoch(4) == per_epoch(0)
    np.testing.assert_allclose(optim.inverse_time_decay(0.2, 1.0)(3), 0.05)
    # k α₀/√e with the first epoch as e = 1.
    root = optim.inverse_sqrt_decay(0.2, k=0.5, steps_per_epoch=5)
    np.testing.assert_allclose(
        [root(0), root(4), root(5), root(15)], [0.1, 0.1, 0.1 / 2**0.5, 0.05]
    )
    assert np.isfinite(optim.inverse_sqrt_decay(0.2)(0))


def test_a_sampled_schedule_reads_its_table():
    table = optim.sampled_schedule([0.3, 0.2, 0.1])
    np.testing.assert_allclose([table(0), table(2), table(9)], [0.3, 0.1, 0.1], rtol=1e-6)


def test_schedules_take_traced_numbers():
    rates = jnp.array([0.1, 0.2])
    swept = jax.vmap(lambda r: optim.inverse_time_decay(1.0, r)(10))(rates)
    np.testing.assert_allclose(swept, [1 / 2, 1 / 3], rtol=1e-6)
    swept = jax.vmap(lambda r: optim.exponential_decay(1.0, 10, r, end_value=0.15)(10))(rates)
    np.testing.assert_allclose(swept, [0.15, 0.2], rtol=1e-6)
