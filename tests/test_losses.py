import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdl import backprop, losses, models
from tests.comparing import FLOAT64, assert_trees_close


def targets(name, m, k, key):
    if name == "softmax_cross_entropy":
        return jax.random.randint(key, (m,), 0, k)
    if name == "binary_cross_entropy":
        return jax.random.bernoulli(key, 0.5, (m, k)).astype(float)
    return jax.random.normal(key, (m, k))


CASES = [("softmax_cross_entropy", 4), ("binary_cross_entropy", 1), ("squared_error", 3)]


def test_every_loss_has_a_case():
    assert {name for name, _ in CASES} == set(losses.LOSSES)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize(("name", "k"), CASES)
def test_gradient_by_hand_equals_autodiff_and_is_finite(name, k, scale, x64):
    value, grad = losses.get(name)
    z = scale * jax.random.normal(jax.random.key(0), (13, k))
    y = targets(name, 13, k, jax.random.key(1))
    auto = jax.grad(lambda z: value(z, y).sum())(z)
    assert_trees_close(grad(z, y), auto, FLOAT64)
    assert value(z, y).shape == (13,)
    assert np.all(np.isfinite(value(z, y))) and np.all(np.isfinite(grad(z, y)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_ten_thousand_give_the_exact_loss(dtype):
    with jax.enable_x64(dtype == "float64"):
        z = jnp.array([[1e4], [-1e4], [1e4], [-1e4]], dtype)
        y = jnp.array([[1.0], [0.0], [0.0], [1.0]], dtype)
        np.testing.assert_array_equal(losses.binary_cross_entropy(z, y), [0, 0, 1e4, 1e4])
        np.testing.assert_array_equal(losses.binary_cross_entropy_grad(z, y)[:, 0], [0, 0, 1, -1])
        z = jnp.array([[1e4, -1e4], [1e4, -1e4]], dtype)
        np.testing.assert_array_equal(losses.softmax_cross_entropy(z, jnp.array([0, 1])), [0, 2e4])
        np.testing.assert_array_equal(
            losses.softmax_cross_entropy_grad(z, jnp.array([0, 1])), [[0, 0], [1, -1]]
        )


@given(st.floats(-700, 700))
def test_binary_loss_keeps_its_relative_accuracy(z):
    with jax.enable_x64(True):
        right = losses.binary_cross_entropy(jnp.array([[z]]), jnp.array([[1.0]]))
        assert float(right[0]) == pytest.approx(np.logaddexp(0, -z), rel=1e-13)


def test_the_notes_example_by_hand(x64):
    # y = 1, ŷ = σ(log 3) = 3/4: L = −log(3/4); dz = a − y = −1/4.
    z, y = jnp.log(jnp.array([[3.0]])), jnp.array([[1.0]])
    assert float(losses.binary_cross_entropy(z, y)[0]) == pytest.approx(-np.log(0.75), rel=1e-15)
    assert float(losses.binary_cross_entropy_grad(z, y)[0, 0]) == pytest.approx(-0.25, rel=1e-15)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_label_smoothing_is_the_cross_entropy_against_a_softer_target(epsilon, x64):
    value, grad = losses.label_smoothing(epsilon)
    z = 5 * jax.random.normal(jax.random.key(0), (11, 4))
    y = jnp.arange(11) % 4
    target = (1 - epsilon) * jax.nn.one_hot(y, 4) + epsilon / 4
    expected = -(target * jax.nn.log_softmax(z)).sum(axis=1)
    np.testing.assert_allclose(value(z, y), expected, rtol=1e-13)
    assert_trees_close(grad(z, y), jax.grad(lambda z: value(z, y).sum())(z), FLOAT64)


def test_label_smoothing_refuses_what_is_no_share():
    with pytest.raises(ValueError, match=r"epsilon must be in \[0, 1\); got 1.5"):
        losses.label_smoothing(1.5)


def test_two_class_softmax_is_the_binary_loss(x64):
    z = jax.random.normal(jax.random.key(0), (20, 1))
    y = jnp.arange(20) % 2
    both = jnp.concatenate([jnp.zeros_like(z), z], axis=1)
    np.testing.assert_allclose(
        losses.softmax_cross_entropy(both, y),
        losses.binary_cross_entropy(z, y[:, None]),
        rtol=1e-13,
    )


def linear(params, x, key):
    del key
    return x @ params["w"]


def test_objective_by_hand(x64):
    # Two examples, one weight: outputs 2 and 6, targets 1 and 2, losses ½·1 and ½·16.
    # Unweighted (0.5 + 8)/2 = 4.25; weights (3, 1): (1.5 + 8)/4 = 2.375.
    # Penalties on w = 2: λ₂/(2m)·4 and λ₁/m·2, with m = 2 or M = 4.
    params, x, y = {"w": jnp.array([[2.0]])}, jnp.array([[1.0], [3.0]]), jnp.array([[1.0], [2.0]])
    weights = jnp.array([3.0, 1.0])
    cost = losses.objective(linear, "squared_error")
    assert float(cost(params, x, y)) == 4.25
    assert float(cost(params, x, y, weights=weights)) == 2.375
    cost = losses.objective(linear, "squared_error", l2=0.5, l1=0.25)
    assert float(cost(params, x, y)) == 4.25 + 0.5 + 0.25
    assert float(cost(params, x, y, weights=weights)) == 2.375 + 0.25 + 0.125


def test_weights_are_repetition(x64):
    """An example of weight 3 counts as three copies; one of weight 0 as none."""
    model = models.mlp((3, 4, 2), "tanh")
    params = model.init(jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (4, 3)), jnp.array([0, 1, 1, 0])
    cost = losses.objective(model, "softmax_cross_entropy", l2=0.1, l1=0.2)
    repeat = np.array([0, 0, 0, 1, 3, 3])
    weighted = cost(params, x, y, weights=jnp.array([3.0, 1.0, 0.0, 2.0]))
    np.testing.assert_allclose(weighted, cost(params, x[repeat], y[repeat]), rtol=1e-14)


def test_penalties_spare_biases_unless_told_otherwise():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    assert losses.weight_leaves([params]) == [{"w": True, "b": False}]
    assert float(losses.penalty(params, 1.0, l2=2.0)) == 4.0
    assert float(losses.penalty(params, 1.0, l2=2.0, penalize={"w": False, "b": True})) == 2.0
    everything = lambda p: jax.tree.map(lambda _: True, p)  # noqa: E731
    assert float(losses.penalty(params, 1.0, l1=1.0, penalize=everything)) == 6.0
    with pytest.raises(ValueError, match="structure"):
        losses.penalty(params, 1.0, l2=2.0, penalize={"w": True})


def test_traced_penalties_need_no_recompilation():
    model = models.logistic_regression(3)
    params, x = model.init(jax.random.key(0)), jnp.ones((4, 3))
    params[0]["w"] += 1.0
    cost = jax.jit(
        lambda l2: losses.objective(model, "binary_cross_entropy", l2=l2)(
            params, x, jnp.ones((4, 1))
        )
    )
    costs = jax.vmap(cost)(jnp.array([0.0, 8.0]))
    assert float(costs[1] - costs[0]) == pytest.approx(8 / 8 * 3, rel=1e-6)


def test_frobenius_norm_by_hand():
    assert float(losses.frobenius_norm(jnp.array([[3.0, 0.0], [0.0, 4.0]]))) == 5.0


def broadcast_value(outputs, y):
    return jnp.square(outputs - y)


def test_a_loss_that_is_not_one_number_per_example_is_refused():
    pair = (broadcast_value, lambda outputs, y: 2 * (outputs - y))
    model = models.mlp((2, 1))
    params, x, y = model.init(jax.random.key(0)), jnp.ones((3, 2)), jnp.ones((3, 1))
    for f in (losses.objective(model, pair), backprop.value_and_grad(model, pair)):
        with pytest.raises(ValueError, match=r"loss value must have shape \(3,\); got \(3, 1\)"):
            f(params, x, y)
    flat = (
        lambda outputs, y: broadcast_value(outputs, y)[:, 0],
        lambda outputs, y: (outputs - y)[:, 0],
    )
    with pytest.raises(ValueError, match=r"loss gradient must have shape \(3, 1\); got \(3,\)"):
        backprop.value_and_grad(model, flat)(params, x, y)


def test_traced_labels_outside_are_seen_by_value_and_both_gradients(x64):
    z = jax.random.normal(jax.random.key(0), (4, 3))
    y = jnp.array([0, 3, -1, 2])
    value = jax.jit(losses.softmax_cross_entropy)(z, y)
    by_hand = jax.jit(losses.softmax_cross_entropy_grad)(z, y)
    auto = jax.jit(jax.grad(lambda z, y: losses.softmax_cross_entropy(z, y).sum()))(z, y)
    outside = np.array([False, True, True, False])
    for found in (value, by_hand[:, 0], auto[:, 0]):
        np.testing.assert_array_equal(np.isnan(found), outside)
    np.testing.assert_allclose(by_hand, auto, rtol=1e-14, atol=1e-15)


def test_an_infinitely_sure_answer_costs_nothing_or_everything():
    z = jnp.array([[jnp.inf], [-jnp.inf], [jnp.inf], [-jnp.inf]])
    y = jnp.array([[1.0], [0.0], [0.0], [1.0]])
    np.testing.assert_array_equal(losses.binary_cross_entropy(z, y), [0, 0, np.inf, np.inf])


def test_a_penalty_that_shrinks_nothing_is_refused():
    cost = losses.objective(lambda p, x, key: x @ p["kernel"], "squared_error", l2=1.0)
    with pytest.raises(ValueError, match=r'l2=1.0.*none of kernel is called "w".*penalize'):
        cost({"kernel": jnp.ones((2, 1))}, jnp.ones((3, 2)), jnp.ones((3, 1)))


def test_frobenius_norm_can_be_differentiated_at_zero():
    np.testing.assert_array_equal(jax.grad(losses.frobenius_norm)(jnp.zeros((2, 2))), 0)


LOGITS, BINARY = jnp.zeros((4, 3)), jnp.zeros((4, 1))
BAD = [
    ("binary_cross_entropy", BINARY, jnp.zeros(4), ValueError, r"\(4, 1\); got \(4,\).*column"),
    ("binary_cross_entropy", jnp.zeros(4), jnp.zeros(4), ValueError, r"\(4,\)"),
    ("binary_cross_entropy", BINARY, jnp.zeros((5, 1)), ValueError, r"\(4, 1\); got \(5, 1\)"),
    ("binary_cross_entropy", BINARY, jnp.full((4, 1), 2.0), ValueError, "between 0 and 1"),
    ("binary_cross_entropy", BINARY, jnp.full((4, 1), jnp.nan), ValueError, "between 0 and 1"),
    ("binary_cross_entropy", jnp.zeros((4, 1), int), BINARY, TypeError, "logits.*int32"),
    ("softmax_cross_entropy", LOGITS, jnp.zeros((4, 1), int), ValueError, r"\(4,\); got \(4, 1\)"),
    ("softmax_cross_entropy", LOGITS, jnp.zeros(5, int), ValueError, r"\(4,\); got \(5,\)"),
    ("softmax_cross_entropy", LOGITS, jnp.array([0, 1, 2, 3]), ValueError, r"0 to 3"),
    ("softmax_cross_entropy", LOGITS, jnp.array([0, 1, 2, -1]), ValueError, r"\[0, 3\)"),
    ("softmax_cross_entropy", LOGITS, jnp.zeros(4), TypeError, "float32.*astype"),
    ("softmax_cross_entropy", LOGITS.astype(int), jnp.zeros(4, int), TypeError, "logits.*int32"),
    ("squared_error", LOGITS, jnp.zeros(4), ValueError, r"\(4, 3\); got \(4,\)"),
    ("softmax_cross_entropy", BINARY, jnp.zeros(4, int), ValueError, "two classes.*binary_cross"),
    ("softmax_cross_entropy", LOGITS, jnp.zeros((4, 3)), ValueError, "argmax"),
    ("squared_error", BINARY, jnp.full((4, 1), jnp.nan), ValueError, "targets must be finite"),
    ("squared_error", LOGITS.astype(int), LOGITS, TypeError, "outputs.*int32"),
]


@pytest.mark.parametrize(("name", "outputs", "y", "error", "message"), BAD)
def test_wrong_input_gets_one_clear_message(name, outputs, y, error, message):
    for f in losses.get(name):
        with pytest.raises(error, match=message):
            f(outputs, y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l2": -1.0}, "l2.*-1.0"),
        ({"l1": float("nan")}, "l1.*nan"),
        ({"l2": jnp.ones(2)}, r"l2 must be one number; got shape \(2,\)"),
        ({"l2": "0.1"}, "l2 must be a number; got '0.1'"),
        ({"l1": None}, "l1 must be a number; got None"),
        ({"loss": "cross_entropy"}, "Did you mean 'softmax_cross_entropy'"),
        ({"loss": "MSE"}, "Did you mean 'squared_error'"),
    ],
)
def test_objective_refuses_at_once(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        losses.objective(linear, **{"loss": "squared_error", **arguments})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (jnp.ones(3), r"\(2,\); got \(3,\)"),
        (jnp.array([1.0, -1.0]), "≥ 0"),
        (jnp.zeros(2), "not all zero"),
        (jnp.array([1.0, jnp.nan]), "finite"),
    ],
)
def test_objective_refuses_weights_it_cannot_use(weights, message):
    cost = losses.objective(linear, "squared_error")
    with pytest.raises(ValueError, match=message):
        cost({"w": jnp.ones((1, 1))}, jnp.ones((2, 1)), jnp.ones((2, 1)), weights=weights)


def test_objective_refuses_empty_data_and_models_that_are_none():
    cost = losses.objective(linear, "squared_error")
    with pytest.raises(ValueError, match="empty"):
        cost({"w": jnp.ones((1, 1))}, jnp.ones((0, 1)), jnp.ones((0, 1)))
    with pytest.raises(TypeError, match="Layer or a function"):
        losses.objective("mlp", "squared_error")
    with pytest.raises(TypeError, match="name or a pair"):
        losses.get(None)
