"""Statistics of layers against sums by hand and against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import diagnose, layers, losses, models, optim

KEY = jax.random.key(0)


def test_by_hand():
    # One ReLU block of two units and a linear one: x = 1, 2; z = x·(1, −1); a = (1, 0), (2, 0).
    # Outputs 3·a₁ = 3, 6 against targets 3, 4: dz₂ = 0, 2; dz₁ = dz₂·3 = 0, 6 on unit 1, 0 on 2.
    model = models.mlp((1, 2, 1))
    params = [
        {"w": jnp.array([[1.0, -1.0]]), "b": jnp.zeros(2)},
        {"w": jnp.array([[3.0], [4.0]]), "b": jnp.zeros(1)},
    ]
    x, y = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])
    found = diagnose.layer_statistics(model, "squared_error", params, x, y)
    assert [(b.path, b.activation) for b in found.blocks] == [("0", "relu"), ("1", "identity")]
    expected = {
        "input_rms": [2.5**0.5, 1.25**0.5],
        "z_rms": [2.5**0.5, 22.5**0.5],
        "activation_rms": [1.25**0.5, 22.5**0.5],
        "delta_rms": [9**0.5, 2**0.5],
        "gain": [1.0, 25**0.5],  # √n_in · rms: √1 · 1, √2 · √12.5
        "dead": [0.5, 0.0],
        "saturated": [0.0, 0.0],
        "twins": [0.0, 0.0],
        "zero": [0.0, 0.0],
    }
    assert set(found.values) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found.values[name], values, rtol=1e-6, err_msg=name)


NETS = {
    "mlp": models.mlp((5, 4, 3), "tanh"),
    "nested": layers.sequential(
        layers.sequential(layers.dense(5, 4, "sigmoid"), layers.dropout(0.5)), layers.dense(4, 3)
    ),
    "apart": layers.sequential(
        layers.dense(5, 4), layers.activation("leaky_relu"), layers.dense(4, 3)
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_gradient_of_a_block_is_that_of_autodiff(name):
    """dz by a nudge ε added to z: in a dense block that is a nudge of its biases, by example."""
    model = NETS[name]
    params = model.init(KEY)
    x, y = jax.random.normal(KEY, (6, 5)), jnp.arange(6) % 3
    found = diagnose.layer_statistics(model, "softmax_cross_entropy", params, x, y)
    value = losses.get("softmax_cross_entropy").value

    def one(x, y):
        grads = jax.grad(lambda p: value(layers.apply(model, p, x[None]), y[None])[0])(params)
        return [g for path, g in jax.tree.leaves_with_path(grads) if path[-1].key == "b"]

    deltas = jax.jit(jax.vmap(one))(x, y)
    expected = [np.sqrt(np.square(d).mean()) for d in deltas]
    np.testing.assert_allclose(found.values["delta_rms"], expected, rtol=1e-5)
    names = {"mlp": "tanh", "nested": "sigmoid", "apart": "leaky_relu"}
    # A block whose activation is a layer of its own counts together with it.
    assert found.blocks[0].activation == names[name]
    assert [b.path for b in found.blocks] == {
        "mlp": ["0", "1"], "nested": ["0.0", "1"], "apart": ["0", "2"]
    }[name]  # fmt: skip


def test_saturated_zero_and_twin_units():
    model = models.mlp((3, 4, 2), "tanh")
    x, y = jax.random.normal(KEY, (50, 3)), jnp.arange(50) % 2
    start = model.init(KEY)

    def look(params):
        return diagnose.layer_statistics(model, "softmax_cross_entropy", params, x, y).values

    large = jax.tree.map(lambda p: 1000 * p, start)
    assert look(large)["saturated"][0] > 0.95 and look(start)["saturated"][0] < 0.3
    assert look(jax.tree.map(jnp.zeros_like, start))["zero"].tolist() == [1, 1]
    same = jax.tree.map(jnp.ones_like, start)
    assert look(same)["twins"].tolist() == [1, 0] and look(start)["twins"].tolist() == [0, 0]


def run(**options):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    return diagnose.observe(
        models.mlp((3, 4, 2)), "softmax_cross_entropy", optim.adam(0.01), (x, y), (x, y),
        **{"key": KEY, "epochs": 3, "batch_size": 8, **options},
    )  # fmt: skip


def test_observing_changes_nothing():
    """The run is that of `train.fit`, and the statistics those of its parameters."""
    from jaxdl import train

    seen = run()
    start_key, run_key = jax.random.split(KEY)
    model, x, y = seen.model, seen.train.x, seen.train.y
    same = train.fit(
        losses.objective(model, "softmax_cross_entropy"), model.init(start_key),
        optim.adam(0.01), (x, y), dev=(x, y), epochs=3, batch_size=8, key=run_key,
    )  # fmt: skip
    np.testing.assert_allclose(seen.history["cost"], same.history["cost"], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), seen.end, same.params
    )
    last = diagnose.layer_statistics(model, "softmax_cross_entropy", seen.end, x, y).values
    for name, values in seen.layers.values.items():
        assert values.shape == (4, 2)
        np.testing.assert_allclose(values[-1], last[name], rtol=1e-4, atol=1e-6)
    assert seen.kind == "classes" and seen.blind_cost == pytest.approx(np.log(2))


def test_a_plain_function_can_be_observed_too():
    def linear(params, x, key):
        return x @ params["w"] + params["b"][None]

    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    y = x @ np.ones((3, 1), np.float32)
    params = {"w": jnp.zeros((3, 1)), "b": jnp.zeros(1)}
    seen = diagnose.observe(
        linear, "squared_error", optim.sgd(0.1), (x, y), params=params, epochs=25, key=KEY
    )
    assert seen.layers.blocks == () and seen.kind == "numbers"
    assert seen.last_cost < 0.1 * seen.first_cost
    with pytest.raises(TypeError, match="give params="):
        diagnose.observe(linear, "squared_error", optim.sgd(0.1), (x, y), key=KEY)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"params": [{"w": jnp.full((3, 4), jnp.nan), "b": jnp.zeros(4)}]}, "finite"),
    ],
)
def test_wrong_input_is_refused_at_the_door(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_a_seed_is_no_key():
    with pytest.raises(TypeError, match="key must be one random key"):
        run(key=0)
