"""Early stopping and divergence, inside the compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import optim, train
from tests import compiling
from tests.train.problems import assert_close, classes

KEY = jax.random.key(0)
# One parameter t that grows by 1 a step: the dev cost is whatever a table says at t.
TABLE = jnp.array([9.0, 5.0, 3.0, 4.0, 2.0, 6.0, 7.0, 8.0, 1.0, 0.0])


def count(params, x, y, key=None, weights=None):
    return -params["t"] + 0.0 * jnp.sum(x)


def table(params, x, y, key=None, weights=None):
    return TABLE[params["t"].astype(int)] + 0.0 * jnp.sum(x)


def climb(epochs=9, start=0.0, **options):
    return train.fit(
        count, {"t": jnp.float32(start)}, optim.sgd(1.0), classes(), epochs=epochs, key=KEY,
        dev=classes(), dev_objective=table, **options,
    )  # fmt: skip


# After epoch e (from 0) t = e + 1, so the dev costs are 5 3 4 2 6 7 8 1 0.
@pytest.mark.parametrize(
    ("options", "epochs", "best_epoch", "best"),
    [
        ({"patience": 1}, 3, 1, 3.0),
        ({"patience": 2}, 6, 3, 2.0),
        ({"patience": 3}, 7, 3, 2.0),
        ({"patience": 4}, 9, 8, 0.0),
        ({}, 9, 8, 0.0),
        ({"patience": 2, "min_delta": 1.5}, 4, 1, 3.0),
        ({"patience": 2, "maximize": True}, 3, 0, 5.0),
    ],
    ids=str,
)
def test_stops_when_patience_runs_out_and_keeps_the_best(options, epochs, best_epoch, best):
    result = climb(**options)
    assert int(result.epochs) == epochs == len(result.history["dev_cost"])
    assert int(result.best.epoch) == best_epoch
    assert float(result.best.value) == best
    assert float(result.best.params["t"]) == best_epoch + 1
    assert float(result.params["t"]) == epochs


@compiling.as_users_do()
def test_in_a_population_each_run_stops_on_its_own():
    def run(start):
        return climb(start=start, patience=2)._replace(opt_state=())

    starts = jnp.arange(4.0)
    together = jax.vmap(run)(starts)
    for i, start in enumerate(starts):
        alone = jax.jit(run)(start)
        np.testing.assert_array_equal(together.history["dev_cost"][i], alone.history["dev_cost"])
        assert_close(jax.tree.map(lambda a, i=i: a[i], together.best), alone.best, 0)
    np.testing.assert_array_equal(together.epochs, [6, 5, 4, 3])
    assert np.isnan(together.history["cost"][3, 3:]).all()


@pytest.mark.parametrize("patience", [None, 5])
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_the_step_of_the_first_non_finite_cost_is_recorded(bad, patience):
    # 10 examples in batches of 4: three steps an epoch, t = step before each step.
    def objective(params, x, y, key=None, weights=None):
        return jnp.where(params["t"] == 7, bad, 0.0) - params["t"] + 0.0 * jnp.sum(x)

    result = train.fit(
        objective, {"t": jnp.float32(0)}, optim.sgd(1.0), classes(), epochs=5, batch_size=4,
        key=KEY, patience=patience, monitor="cost" if patience else None,
    )  # fmt: skip
    assert int(result.diverged_at) == 7
    assert int(result.epochs) == (5 if patience is None else 3)


def test_parameters_broken_by_the_very_last_update_are_seen():
    # t₀ = 0 costs 0; the only update, −1e30 · 1e30, is no float32.
    def objective(params, x, y, key=None, weights=None):
        return 1e30 * params["t"] + 0.0 * jnp.sum(x)

    result = train.fit(
        objective, {"t": jnp.float32(0)}, optim.sgd(1e30), classes(), epochs=1, key=KEY
    )
    assert np.isfinite(result.history["cost"]).all() and not np.isfinite(result.params["t"])
    assert int(result.diverged_at) == 0


def test_runs_that_differ_only_in_what_their_functions_close_over_stop_each_for_itself():
    def epochs(rate):
        return train.fit(
            count, {"t": jnp.float32(0)}, optim.sgd(rate), classes(), epochs=6, key=KEY,
            dev=classes(), dev_objective=table, patience=1,
        ).epochs  # fmt: skip

    # t = 1, 2, 3: costs 5 3 4. With a rate of 2 t = 2, 4, 6: costs 3 2 7.
    rates = jnp.array([1.0, 2.0, 3.0])  # t = 3, 6: costs 4 7
    np.testing.assert_array_equal(jax.vmap(epochs)(rates), [3, 3, 2])
