"""Problems drawn from real tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.lab import instances


def test_tables_are_padded_and_scaled():
    given = instances.tables(features=8)
    assert given.x.shape == (4, 600, 8) and given.m.tolist() == [150, 178, 569, 600]
    assert np.all(given.x[0, :, 4:] == 0) and np.all(given.x[1, 178:] == 0)
    # The components of iris: all four of its columns, 4/4 of their variance.
    np.testing.assert_allclose((given.x[0, :150, :4] ** 2).mean(), 1)


def test_a_draw_has_different_rows_of_one_table():
    given = instances.tables(features=4)
    x, y = jax.jit(instances.draw, static_argnames="n")(given, 1, jax.random.key(0), n=178)
    assert len(np.unique(x, axis=0)) == len(np.unique(given.x[1, :178], axis=0))
    assert np.bincount(y).tolist() == np.bincount(given.y[1, :178]).tolist()
    again, _ = instances.draw(given, 1, jax.random.key(1), n=178)
    assert not np.array_equal(x, again)


def test_entropy_by_hand():
    # Shares ½, ¼, ¼ and 0: ½ log 2 + ½ log 4 = 1.5 log 2.
    assert instances.entropy(jnp.array([0, 0, 1, 2]), 4) == pytest.approx(1.5 * np.log(2))
