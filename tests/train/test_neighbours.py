"""`train.fit` with what other libraries make: flax's parameters, optax's line searches, meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from jaxdl import devices, losses, optim, train
from tests.train.problems import assert_close, classes, network

KEY = jax.random.key(7)
MODEL, OBJECTIVE, PARAMS = network()


def fit(objective=OBJECTIVE, params=PARAMS, optimizer=None, **options):
    options = {"epochs": 3, "batch_size": 4, "key": KEY} | options
    return train.fit(objective, params, optimizer or optim.adam(0.01), classes(), **options)


@pytest.mark.parametrize("frozen", [True, False])
def test_parameters_of_flax_train_like_ours(frozen):
    linen = pytest.importorskip("flax.linen")

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            hidden = linen.tanh(linen.Dense(5)(x))
            return linen.Dense(4)(hidden)

    dense = {f"Dense_{i}": {"kernel": p["w"], "bias": p["b"]} for i, p in enumerate(PARAMS)}
    params = {"params": dense}
    params = linen.FrozenDict(params) if frozen else params
    objective = losses.objective(
        lambda params, x, key=None: Network().apply(params, x), "softmax_cross_entropy"
    )
    # flax adds (5,) to (m, 5), and Python numbers to integers.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        result = fit(objective, params, optax.adam(0.01), statistics=True)
    expected = fit()
    assert type(result.params) is type(params)
    assert_close(result.history["cost"], expected.history["cost"], 1e-6)
    assert_close(result.params["params"]["Dense_1"]["kernel"], expected.params[1]["w"], 1e-6)
    assert "gradient_norm/params.Dense_1.kernel" in result.history


@pytest.mark.parametrize("patience", [None, 9])
def test_inside_shard_map_every_device_trains_its_own(patience):
    mesh, (x, y) = devices.row_of("runs"), classes()
    data = jnp.asarray(x, jnp.float32), jnp.asarray(y)

    def one(key, x, y):
        options = {"epochs": 3, "batch_size": 4, "patience": patience, "monitor": "cost"}
        return train.fit(OBJECTIVE, PARAMS, optim.adam(0.01), (x, y), key=key, **options).history

    def own(keys, x, y):
        return jax.tree.map(lambda h: h[None], one(keys[0], x, y))

    spread = jax.shard_map(own, mesh=mesh, in_specs=(P("runs"), P(), P()), out_specs=P("runs"))
    keys = jax.random.split(KEY, mesh.size)
    alone = jax.jit(one)(keys[0], *data)["cost"]
    assert_close(jax.jit(spread)(keys, *data)["cost"][0], alone, 1e-6)
    # The data are a device's own and the key is all devices'.
    theirs = jax.shard_map(
        lambda key, x, y: jax.tree.map(lambda h: h[None], one(key, x[0], y[0])),
        mesh=mesh, in_specs=(P(), P("runs"), P("runs")), out_specs=P("runs"),
    )  # fmt: skip
    copies = [jnp.stack([a] * mesh.size) for a in data]
    assert_close(jax.jit(theirs)(keys[0], *copies)["cost"][0], alone, 1e-6)


def test_a_mesh_of_make_mesh_is_one_of_ours():
    ours = fit(mesh=devices.row_of("batch", jax.devices()[:1]))
    theirs = fit(mesh=jax.make_mesh((1,), ("batch",), devices=jax.devices()[:1]))
    assert_close(theirs.params, ours.params, 0)


def test_line_searches_get_the_cost_as_a_function():
    with jax.numpy_dtype_promotion("standard"):
        result = fit(optimizer=optim.chain(optax.lbfgs()), epochs=20, batch_size=None)
    # The same by optax's own recipe.
    x, y = (jnp.asarray(a) for a in classes())
    x = x.astype(jnp.float32)

    def cost(params):
        return OBJECTIVE(params, x, y)

    optimizer, params, costs = optax.lbfgs(), PARAMS, []
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(cost)(params)
        more = {"value": value, "grad": grad, "value_fn": cost}
        updates, state = optimizer.update(grad, state, params, **more)
        return optax.apply_updates(params, updates), state, value

    with jax.numpy_dtype_promotion("standard"):
        for _ in range(5):
            params, state, value = step(params, state)
            costs.append(float(value))
    np.testing.assert_allclose(result.history["cost"][:5], costs, rtol=1e-4)
    assert result.history["cost"][-1] < 0.1 * result.history["cost"][0]


# The second feature is zero in every example, so its weight never has a gradient: v = 0 for ever.
BLACK = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), np.array([[1.0], [2.0], [2.0]])


def final_cost(make, lr):
    def objective(params, x, y, key=None, weights=None):
        return jnp.mean((x @ params["w"] - y) ** 2)

    params = {"w": jnp.full((2, 1), 0.5, jnp.result_type(float))}
    result = train.fit(objective, params, make(lr), BLACK, epochs=4, key=KEY)
    return objective(result.params, *map(jnp.asarray, BLACK))


@pytest.mark.parametrize(
    ("harmed", "mended"),
    [
        (optim.adam, lambda lr: optim.adam(lr, eps_root=1e-8)),
        (optim.rmsprop, lambda lr: optim.rmsprop(lr, eps_in_sqrt=True)),
    ],
    ids=["adam", "rmsprop"],
)
def test_the_derivative_through_a_root_at_zero_is_mended_by_an_epsilon_inside(x64, harmed, mended):
    lr, h = jnp.float64(0.1), 1e-5
    assert np.isnan(jax.grad(lambda lr: final_cost(harmed, lr))(lr))

    def cost(lr):
        return final_cost(mended, lr)

    expected = (cost(lr + h) - cost(lr - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(cost)(lr), expected, rtol=1e-4)
