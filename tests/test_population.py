"""Populations: names kept, the numbers of single runs, whatever the chunks, lanes and devices."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import losses, models, optim, population, train
from jaxdl.population import program
from tests.train.problems import classes

MODEL = models.mlp((3, 5, 4), "tanh")
CONFIGS = population.grid(lr=[0.1, 0.01, 1e9], seed=range(3))
DATA = tuple(map(jnp.asarray, classes()))


def fit(config, x, y):
    key = jax.random.key(config["seed"])
    objective = losses.objective(MODEL, "softmax_cross_entropy")
    return train.fit(
        objective, MODEL.init(key), optim.sgd(config["lr"]), (x, y), epochs=4, batch_size=4,
        key=key, dev=(x, y), patience=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone():
    one = jax.jit(fit)
    return [one({n: c[i] for n, c in CONFIGS.items()}, *DATA) for i in range(9)]


@pytest.fixture(scope="module")
def together():
    return population.run(fit, CONFIGS, *DATA, keep_params=True)


def test_grid_is_the_product_in_order_with_names():
    grid = population.grid(lr=[0.1, 0.2], beta=0.9, seed=range(2))
    assert list(grid) == ["lr", "beta", "seed"]
    np.testing.assert_array_equal(grid["lr"], [0.1, 0.1, 0.2, 0.2])
    np.testing.assert_array_equal(grid["seed"], [0, 1, 0, 1])
    np.testing.assert_array_equal(grid["beta"], [0.9] * 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: population.grid(lr=[]), ValueError, "'lr' must be a sequence"),
        (lambda: population.grid(lr=[[1.0]]), ValueError, r"\(1, 1\)"),
        (lambda: population.grid(optimizer=["adam"]), TypeError, "one population each"),
        (lambda: population.run(fit, {}), ValueError, "dict of arrays"),
        (lambda: population.run(fit, {"a": [1.0], "b": [1.0, 2.0]}), ValueError, "'b': 2"),
        (lambda: population.run(fit, CONFIGS, *DATA, lanes=0), ValueError, "lanes"),
        (
            lambda: population.run(lambda c: {"b": c["a"]}, {"a": [1.0]}, memory=10),
            ValueError,
            r"One run on each of 1 devices needs [\d.]+ bytes, but only 10 bytes may",
        ),
        (
            lambda: population.run(fit, CONFIGS | {"cost": CONFIGS["lr"]}, *DATA),
            ValueError,
            "configs has 'cost', but so is a column of results called",
        ),
        (lambda: population.run(lambda c: c, {"a": [1.0]}), ValueError, "configs has 'a'"),
        (lambda: population.run(fit, CONFIGS, *DATA, devices=1), TypeError, "JAX devices.*got 1"),
        (lambda: population.run(fit, CONFIGS, *DATA, devices=[]), TypeError, r"got \[\]"),
    ],
)
def test_wrong_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_run_in_a_population_has_the_numbers_of_the_run_alone(alone, together):
    for i, one in enumerate(alone):
        member = jax.tree.map(lambda a, i=i: a[i], together.outputs)
        for a, b in zip(jax.tree.leaves(member), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{"lanes": 2}, {"lanes": 9}], ids=str)
def test_lanes_do_not_change_the_numbers(options, together):
    other = population.run(fit, CONFIGS, *DATA, **options)
    finite = CONFIGS["lr"] < 1  # rounding decides what an exploding run explodes to
    for name, values in together.outputs.history.items():
        np.testing.assert_allclose(
            other.outputs.history[name][finite], values[finite], rtol=1e-5, atol=1e-6
        )
    assert other.outputs.params == ()


def test_a_memory_limit_makes_smaller_calls_with_the_same_rows():
    def wide(config):
        return jnp.full(10_000, config["a"])

    configs, device = population.grid(a=np.arange(30.0)), jax.devices()[:1]
    mesh = jax.sharding.Mesh(np.asarray(device), ("runs",))
    roomy = program.compiled(wide, configs, (), mesh, None, 1e9)
    limit = program.needed_bytes(roomy.call, mesh) / 4
    tight = program.compiled(wide, configs, (), mesh, None, limit)
    assert roomy.rows == 30 > tight.rows >= 2
    assert program.needed_bytes(tight.call, mesh) <= limit
    result = population.run(wide, configs, devices=device, memory=limit)
    np.testing.assert_array_equal(result.outputs[:, -1], np.arange(30.0))


def test_one_device_may_come_without_a_list():
    found = population.run(lambda c: c["a"], {"a": [1.0, 2.0]}, devices=jax.devices()[0])
    assert found.outputs.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("missing", "expected"), [((), 7.0), (("SC_AVPHYS_PAGES",), 5.0)])
def test_where_free_memory_is_not_known_it_is_half_of_all(missing, expected, monkeypatch):
    pages = {"SC_AVPHYS_PAGES": 7, "SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 1}

    def sysconf(name):
        if name in missing:
            raise ValueError("unrecognized configuration name")
        return pages[name]

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert program.free_host_bytes() == expected
    monkeypatch.delattr(os, "sysconf")
    assert program.free_host_bytes() == 2e9


def test_the_table_is_labelled_and_keeps_diverged_runs(together):
    table = together.table
    assert list(table.columns[:2]) == ["lr", "seed"] and len(table) == 9
    assert set(table.columns[2:]) == {
        "cost", "dev_cost", "best_epoch", "best_value", "epochs", "diverged_at", "diverged",
    }  # fmt: skip
    good = table[table.lr < 1]
    assert not good.diverged.any() and np.isfinite(good.dev_cost).all()
    frame = table.set_index(["lr", "seed"])
    assert frame.loc[(0.01, 2), "epochs"] == together.outputs.epochs[5]


def test_other_outputs_become_columns_too():
    def square(config):
        return {"square": config["a"] ** 2, "nested": {"vector": jnp.ones(3) * config["a"]}}

    result = population.run(square, population.grid(a=[1.0, 2.0, 3.0]))
    assert list(result.table.columns) == ["a", "square"]
    np.testing.assert_array_equal(result.table.square, [1.0, 4.0, 9.0])
    assert result.outputs["nested"]["vector"].shape == (3, 3)


def test_a_diverged_run_is_a_row_and_its_neighbours_do_not_notice():
    def explode(config, x, y):
        def objective(params, x, y, key=None, weights=None):
            return -jnp.exp(config["lr"] * params["t"]) + 0.0 * jnp.sum(x)

        start = {"t": jnp.float32(1)}
        return train.fit(
            objective, start, optim.sgd(1.0), (x, y), epochs=20, key=jax.random.key(0),
            patience=99, monitor="cost",
        )  # fmt: skip

    configs = population.grid(lr=[0.01, 5.0, 0.02])
    for lanes in (1, 3):
        table = population.run(explode, configs, *DATA, lanes=lanes).table
        assert list(table.diverged) == [False, True, False]
        assert list(table.epochs == 20) == [True, False, True]
        assert table.diverged_at[1] >= 0


def test_eight_devices_give_the_numbers_of_one_and_all_are_used(together):
    program = """
        import json
        from jaxdl import devices, population
        from jaxdl.population import running
        devices.use_cpu_devices(8)
        import jax
        from tests import compiling
        compiling.use(quick=True)
        from tests.test_population import CONFIGS, DATA, fit
        used = []
        original = running.to_host
        def spy(array):
            used.append(sorted(s.device.id for s in array.addressable_shards))
            return original(array)
        running.to_host = spy
        result = population.run(fit, CONFIGS, *DATA)
        def spectrum(config):
            return jax.numpy.linalg.eigvalsh(config["a"] * jax.numpy.eye(3))[0]
        try:
            population.run(spectrum, {"a": CONFIGS["lr"]}, lanes=2)
        except ValueError as error:
            assert "can hang on several CPU devices" in str(error)
        else:
            raise AssertionError("batched linear algebra was not refused")
        print(json.dumps({"cost": result.table.cost.tolist(), "used": used[0]}))
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    got = json.loads(out.stdout.splitlines()[-1])
    assert got["used"] == list(range(8))
    finite = CONFIGS["lr"] < 1
    np.testing.assert_allclose(
        np.array(got["cost"])[finite], together.table.cost[finite], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1e300, 1.0], ValueError, "holds 1e\\+300, which float32 cannot"),
        ([1e-50, 1.0], ValueError, "holds 1e-50, which float32 cannot"),
        ([np.nan, 1.0], ValueError, "holds nan"),
        ([2**40, 1], ValueError, "holds 1099511627776, which int32 cannot"),
        ([-1, 2**31], ValueError, "holds 2147483648"),
        (["adam", "sgd"], TypeError, "must hold numbers"),
        (jax.random.split(jax.random.key(0)), TypeError, "made from seeds inside fn"),
    ],
)
def test_configurations_that_would_become_other_numbers_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        population.run(lambda c: c["a"], {"a": values}, progress=False)


def test_a_seed_of_32_bits_stays_what_it_is():
    seeds = [2**32 - 1, 2**24 + 1, 0]
    found = population.run(lambda c: c["seed"], {"seed": seeds}, progress=False)
    assert found.table.seed.tolist() == seeds and found.outputs.tolist() == seeds


def test_what_fn_may_not_return_and_a_program_for_other_configurations():
    with pytest.raises(ValueError, match="fn returns nothing"):
        population.run(lambda c: None, {"a": [1.0]})
    with pytest.raises(TypeError, match="key_data"):
        population.run(lambda c: jax.random.key(1), {"a": [1.0]})
    again = population.prepare(lambda c: c["a"], {"a": [1.0]}, progress=False)
    with pytest.raises(ValueError, match=r"prepared for configs \{'a': 'float32'\}, got .*int32"):
        again({"a": [1, 2]})


def test_a_call_may_be_the_last_and_leaves_whole_runs():
    go = population.prepare(lambda c: c["a"] ** 2, {"a": np.arange(9.0)}, progress=False)
    asked = []
    some = go(enough=lambda done: asked.append(done) or True)
    assert asked == [len(some.outputs)] and 0 < len(some.outputs) < 9
    np.testing.assert_array_equal(some.outputs, np.arange(9.0)[: asked[0]] ** 2)
    np.testing.assert_array_equal(some.configs["a"], np.arange(9.0)[: asked[0]])
    assert len(go().outputs) == len(go(enough=lambda done: False).outputs) == 9
