"""The three checks before training, on problems whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import diagnose, losses, models, optim

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "loss, y, k, expected",
    [
        ("softmax_cross_entropy", np.arange(60) % 3, 3, np.log(3)),
        ("binary_cross_entropy", (np.arange(60) % 2)[:, None].astype(float), 1, np.log(2)),
        ("squared_error", np.full((60, 1), 2.0), 1, 2.0),  # ½ · 2²
    ],
)
def test_the_first_loss_of_a_network_that_knows_nothing(loss, y, k, expected):
    model = models.mlp((4, 8, k), "tanh", init="xavier")
    nothing = jax.tree.map(jnp.zeros_like, model.init(KEY))
    first = diagnose.initial_loss(model, loss, nothing, X, y)
    assert first.ok and first.value == pytest.approx(expected) == pytest.approx(first.expected)
    usual = diagnose.initial_loss(model, loss, model.init(KEY), X, y)
    assert usual.ok and usual.value != first.value
    sure = jax.tree.map(lambda p: 100 * p, model.init(KEY))
    assert not diagnose.initial_loss(model, loss, sure, X, y).ok


def test_a_network_learns_a_batch_by_heart_and_a_broken_one_does_not():
    model, y = models.mlp((4, 16, 3)), np.arange(60) % 3
    good = diagnose.overfit_one_batch(model, "softmax_cross_entropy", model.init(KEY), X, y)
    assert good.ok and good.n == 8 and good.losses.shape == (1000,)
    assert good.constant == pytest.approx(-(6 * np.log(3 / 8) + 2 * np.log(2 / 8)) / 8)

    def forgets(params, x, key):  # the inputs never reach the outputs
        return model.forward(params, 0 * x)[0]

    bad = diagnose.overfit_one_batch(forgets, "softmax_cross_entropy", model.init(KEY), X, y)
    assert not bad.ok and "not learnt" in bad.sentence


def test_one_target_is_nothing_to_learn_by_heart():
    model = models.mlp((4, 8, 3))
    found = diagnose.overfit_one_batch(
        model, "softmax_cross_entropy", model.init(KEY), X, np.zeros(60, int), steps=1
    )
    assert found.ok and "nothing to learn" in found.sentence


def test_a_batch_of_numbers_has_different_targets():
    model, y = models.mlp((4, 16, 1), "tanh"), np.repeat([[0.0], [1.0]], 30, axis=0)
    numbers = y + 1e-3 * np.arange(60)[:, None]
    for targets in (y, numbers):
        found = diagnose.overfit_one_batch(model, "squared_error", model.init(KEY), X, targets)
        assert found.ok and found.constant > 0.05


def test_the_range_test_finds_where_gradient_descent_diverges():
    """½ Σ h θ² diverges for rates above 2 / max h = 0.2; the batch does not matter."""
    h = jnp.array([1.0, 10.0])

    def cost(theta, x, y, key=None, weights=None):
        return 0.5 * (h * theta**2).sum()

    found = diagnose.learning_rate_range(
        cost, jnp.ones(2), (X, X[:, 0]), low=1e-4, high=10.0, steps=400, key=KEY
    )
    assert found.rates[0] == pytest.approx(1e-4) and found.rates[-1] == pytest.approx(10)
    assert found.suggested is not None and 1e-3 < found.suggested < 0.2
    assert found.diverges_at is not None and 0.2 < found.diverges_at < 1.0


def test_the_range_test_takes_any_optimizer():
    model, y = models.mlp((4, 8, 2)), (X[:, 0] > 0).astype(int)
    cost = losses.objective(model, "softmax_cross_entropy")
    found = diagnose.learning_rate_range(
        cost, model.init(KEY), (X, y), optim.adam, high=1.0, key=KEY
    )
    assert found.suggested is not None and 1e-5 < found.suggested <= 0.1


@pytest.mark.parametrize(
    "options, message", [({"low": 1.0, "high": 0.1}, "low, high"), ({"steps": 3}, "steps")]
)
def test_wrong_ranges(options, message):
    with pytest.raises(ValueError, match=message):
        diagnose.learning_rate_range(lambda *_: 0.0, jnp.ones(2), (X, X[:, 0]), key=KEY, **options)


def test_a_batch_of_nothing():
    with pytest.raises(ValueError, match="n must be a positive integer; got 0"):
        diagnose.overfit_one_batch(models.mlp((4, 3)), "softmax_cross_entropy", [], X, X, n=0)
