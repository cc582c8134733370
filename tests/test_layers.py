import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import activations, layers, models
from tests.comparing import FLOAT64, assert_trees_close
from tests.compiling import once

KEY = jax.random.key(0)


def test_dense_by_hand():
    # x = (1, 2), w = ((1, 0), (3, -1)), b = (0, 1): z = (7, -1), a = relu(z) = (7, 0).
    # dy = (1, 1): dz = (1, 0); dw = xᵀ dz = ((1, 0), (2, 0)); db = (1, 0); dx = dz wᵀ = (1, 3).
    layer = layers.dense(2, 2, "relu")
    params = {"w": jnp.array([[1.0, 0.0], [3.0, -1.0]]), "b": jnp.array([0.0, 1.0])}
    y, residuals = layer.forward(params, jnp.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(y, [[7, 0]])
    grads, dx = layer.backward(params, residuals, jnp.ones((1, 2)))
    np.testing.assert_array_equal(grads["w"], [[1, 0], [2, 0]])
    np.testing.assert_array_equal(grads["b"], [1, 0])
    np.testing.assert_array_equal(dx, [[1, 3]])


LAYERS = {
    "dense": layers.dense(3, 4, "tanh"),
    "dense with dropout": layers.dense(3, 4, "sigmoid", keep_prob=0.7),
    "dense with a pair": layers.dense(3, 4, (jnp.sin, jnp.cos), init="glorot"),
    "activation": layers.activation("leaky_relu"),
    "dropout": layers.dropout(0.6),
    "sequential": layers.sequential(
        layers.dense(3, 5), layers.activation("tanh"), layers.dropout(0.5), layers.dense(5, 2)
    ),
    "nested": layers.sequential(layers.sequential(layers.dense(3, 3, "relu")), layers.dropout(0.9)),
}


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", LAYERS)
def test_backward_by_hand_equals_vjp(name, training, x64):
    layer = LAYERS[name]
    params = layer.init(KEY)
    x = np.random.default_rng(1).normal(size=(6, 3))
    key = jax.random.key(2) if training else None

    def by_hand(params, x, dy):
        y, residuals = layer.forward(params, x, key)
        return y, layer.backward(params, residuals, dy)

    def auto(params, x, dy):
        y, vjp = jax.vjp(lambda p, x: layers.apply(layer, p, x, key), params, x)
        return y, vjp(dy)

    dy = np.random.default_rng(3).normal(size=jax.eval_shape(layer.forward, params, x)[0].shape)
    (ours, grads), (theirs, expected) = once(by_hand)(params, x, dy), once(auto)(params, x, dy)
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)
    assert_trees_close(grads, expected, FLOAT64)


def test_residuals_are_arrays_only():
    for layer in LAYERS.values():

        def residuals_of(key, x, layer=layer):
            _, residuals = layer.forward(layer.init(key), x, key)
            # Here, where they are what the layer gives: what leaves a traced function is an array.
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(residuals))

        jax.eval_shape(residuals_of, KEY, jnp.ones((2, 3)))


def test_sequential_hands_each_layer_its_own_key():
    layer = LAYERS["sequential"]
    params = layer.init(KEY)
    assert params[1] == () and params[2] == ()
    alone = layers.dense(5, 2).init(jax.random.fold_in(KEY, 3))
    assert_trees_close(params[3], alone, 0)
    x = jnp.ones((4, 5))
    first, second = layers.sequential(layers.dropout(0.5), layers.dropout(0.5)), layers.dropout(0.5)
    expected = layers.apply(
        second,
        (),
        layers.apply(second, (), x, jax.random.fold_in(KEY, 0)),
        jax.random.fold_in(KEY, 1),
    )
    np.testing.assert_array_equal(layers.apply(first, [(), ()], x, KEY), expected)


def test_dropout_is_on_exactly_when_a_key_is_given():
    layer, x = layers.dropout(0.5), jnp.ones((50, 40))
    np.testing.assert_array_equal(layers.apply(layer, (), x), x)
    dropped = layers.apply(layer, (), x, KEY)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped, layers.apply(layer, (), x, KEY))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("keep_prob", [0.01, 0.5, 0.9])
def test_inverted_dropout_keeps_the_expected_activation(keep_prob, dtype):
    dropped = layers.apply(layers.dropout(keep_prob), (), jnp.ones((1000, 1000), dtype), KEY)
    assert dropped.dtype == dtype
    share = float((dropped > 0).mean())
    assert abs(share - keep_prob) <= 4 * np.sqrt(keep_prob * (1 - keep_prob)) / 1000
    # What is kept is divided by keep_prob, to the rounding of the dtype.
    assert float(dropped.max()) == pytest.approx(1 / keep_prob, rel=float(jnp.finfo(dtype).eps))


def test_each_hidden_layer_has_its_own_keep_prob():
    model = models.mlp((3, 200, 300, 2), "sigmoid", keep_prob=[0.9, 0.1])
    params = once(model.init)(KEY)
    _, residuals = once(model.forward)(params, jnp.ones((50, 3)), KEY)
    shares = [float((mask > 0).mean()) for _, _, mask in residuals[:2]]
    assert shares == [pytest.approx(0.9, abs=0.02), pytest.approx(0.1, abs=0.02)]


def test_keep_prob_one_keeps_everything_also_when_traced():
    x = jax.random.normal(KEY, (20, 30))
    traced = jax.jit(lambda p: layers.apply(layers.dropout(p), (), x, KEY))
    np.testing.assert_array_equal(traced(1.0), x)
    grid = jax.vmap(traced)(jnp.array([0.25, 1.0]))
    np.testing.assert_array_equal(grid[1], x)


@pytest.mark.parametrize("keep_prob", [0.0, -0.1, 1.1, float("nan")])
def test_keep_prob_outside_its_range_is_refused(keep_prob):
    for make in (layers.dropout, lambda p: layers.dense(2, 2, keep_prob=p)):
        with pytest.raises(ValueError, match=rf"keep_prob must be in \(0, 1\].*{keep_prob}"):
            make(keep_prob)


BAD_INPUT = [
    (jnp.ones(3), ValueError, r"x must have shape \(m, 3\); got \(3,\)"),
    (jnp.ones((2, 4)), ValueError, r"\(m, 3\); got \(2, 4\)"),
    (jnp.ones((2, 3), int), TypeError, r"int32.*astype"),
]


@pytest.mark.parametrize(("x", "error", "message"), BAD_INPUT)
def test_dense_refuses_input_it_cannot_take(x, error, message):
    layer = layers.dense(3, 4)
    params = layer.init(KEY)
    for call in (layer.forward, jax.jit(layer.forward)):
        with pytest.raises(error, match=message):
            call(params, x)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": jnp.ones((4, 3)), "b": jnp.ones(4)}, r"w must have shape \(3, 4\); got \(4, 3\)"),
        ({"w": jnp.ones((3, 4)), "b": jnp.ones((1, 4))}, r"b must have shape \(4,\); got \(1, 4\)"),
    ],
)
def test_dense_refuses_parameters_of_another_shape(params, message):
    with pytest.raises(ValueError, match=message):
        layers.apply(layers.dense(3, 4), params, jnp.ones((2, 3)))


def test_sequential_refuses_a_list_of_another_length():
    layer = layers.sequential(layers.dense(3, 4), layers.dense(4, 1))
    with pytest.raises(ValueError, match="list of 2 entries; got 1 entries"):
        layers.apply(layer, layer.init(KEY)[:1], jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"list of 2 entries; got .*dict"):
        layers.apply(layer, {"w": 1}, jnp.ones((2, 3)))


@pytest.mark.parametrize("keep_prob", [None, "0.5", 1j])
def test_a_keep_prob_that_is_no_number_is_refused(keep_prob):
    with pytest.raises(TypeError, match="keep_prob must be a"):
        layers.dropout(keep_prob)


def test_dense_refuses_params_that_are_not_its_own():
    layer = layers.dense(3, 4)
    with pytest.raises(ValueError, match=r"\"w\" and \"b\"; got keys \['w'\]"):
        layers.apply(layer, {"w": jnp.ones((3, 4))}, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="got <class 'tuple'>"):
        layers.apply(layer, (jnp.ones((3, 4)), jnp.ones(4)), jnp.ones((2, 3)))


def test_what_is_not_a_layer_is_refused():
    with pytest.raises(TypeError, match="takes Layers"):
        layers.sequential([layers.dense(3, 4)])
    with pytest.raises(TypeError, match="int32"):
        layers.apply(layers.dropout(0.5), (), jnp.ones((2, 3), int), KEY)


@pytest.mark.parametrize("sizes", [(0, 3), (3, -1), (3, 2.5)])
def test_dense_refuses_sizes_that_are_no_sizes(sizes):
    with pytest.raises(ValueError, match="positive integer"):
        layers.dense(*sizes)


def test_mlp_params_are_what_anyone_can_build():
    model = models.mlp((3, 5, 5, 2), keep_prob=[0.9, 0.8])
    shapes = jax.tree.map(jnp.shape, model.init(KEY), is_leaf=lambda a: hasattr(a, "shape"))
    assert shapes == [
        {"w": (3, 5), "b": (5,)},
        {"w": (5, 5), "b": (5,)},
        {"w": (5, 2), "b": (2,)},
    ]
    arrays = [{"w": np.ones(s["w"], np.float32), "b": np.zeros(s["b"], np.float32)} for s in shapes]
    # Ones everywhere: 3, then 15, then 75.
    np.testing.assert_array_equal(
        layers.apply(model, arrays, np.ones((1, 3), np.float32)), [[75, 75]]
    )


def test_mlp_gives_logits_without_dropout_on_the_output():
    model = models.mlp((3, 2), keep_prob=0.5)
    params, x = model.init(KEY), jnp.ones((4, 3))
    np.testing.assert_array_equal(
        layers.apply(model, params, x, KEY), layers.apply(model, params, x)
    )


def test_logistic_regression_is_the_mlp_of_one_block(x64):
    model = models.logistic_regression(4)
    params = model.init(KEY)
    assert [sorted(p) for p in params] == [["b", "w"]]
    w, b = jnp.array([[1.0], [2.0], [0.0], [-1.0]]), jnp.array([0.5])
    x = jax.random.normal(KEY, (5, 4))
    np.testing.assert_allclose(
        layers.apply(model, [{"w": w, "b": b}], x), x @ w + 0.5, rtol=1e-15, atol=1e-15
    )


@pytest.mark.parametrize(
    ("sizes", "keep_prob", "message"),
    [
        ((3,), 1.0, r"at least.*\(3,\)"),
        (64, 1.0, "at least.*64"),
        ((3, 4, 2), [0.5, 0.5], "one per hidden layer.*got 2"),
        ((3, 4, 2), 1.5, "keep_prob"),
    ],
)
def test_mlp_refuses(sizes, keep_prob, message):
    with pytest.raises(ValueError, match=message):
        models.mlp(sizes, keep_prob=keep_prob)


def test_saturated_and_dead_units_stay_finite():
    for name in activations.ACTIVATIONS:
        model = models.mlp((2, 3, 1), name)
        params = jax.tree.map(lambda w: np.full_like(w, 1e4), model.init(KEY))

        def gradients(params, x, model=model):
            y, residuals = model.forward(params, x)
            return model.backward(params, residuals, jnp.ones_like(y))[0]

        compiled = once(gradients)
        for sign in (-1.0, 1.0):
            grads = compiled(params, jnp.full((2, 2), sign))
            assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))
