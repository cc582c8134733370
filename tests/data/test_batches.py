"""An epoch visits every example once; padding weighs nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import data
from jaxdl.data import batches


@pytest.mark.parametrize("m, batch_size", [(1, 1), (7, 1), (7, 3), (8, 4), (300, 64), (5, 5)])
def test_every_example_exactly_once(m, batch_size):
    indices, weights = data.epoch_indices(jax.random.key(0), m, batch_size)
    assert indices.shape == weights.shape == (data.n_batches(m, batch_size), batch_size)
    assert sorted(np.asarray(indices)[np.asarray(weights) == 1].tolist()) == list(range(m))
    assert weights.sum() == m and set(np.unique(weights)) <= {0, 1}
    assert ((indices >= 0) & (indices < m)).all()


def test_only_the_last_batch_is_padded():
    _, weights = data.epoch_indices(jax.random.key(0), 7, 3)
    np.testing.assert_array_equal(weights, [[1, 1, 1], [1, 1, 1], [1, 0, 0]])


def test_jit_vmap_and_keys():
    draw = jax.jit(lambda key: data.epoch_indices(key, 10, 4))
    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.vmap(draw)(keys)
    for i, key in enumerate(keys):
        alone = data.epoch_indices(key, 10, 4)
        np.testing.assert_array_equal(together[0][i], alone[0])
    assert not np.array_equal(together[0][0], together[0][1])


def test_one_full_batch_keeps_the_order():
    indices, weights = data.epoch_indices(jax.random.key(0), 6)
    np.testing.assert_array_equal(indices, [np.arange(6)])
    np.testing.assert_array_equal(weights, np.ones((1, 6)))


def test_every_order_is_equally_likely():
    """Six orders of three examples over 3,000 keys: χ² with 5 degrees of freedom, p > 0.001."""
    keys = jax.random.split(jax.random.key(0), 3000)
    order = jax.vmap(lambda key: data.epoch_indices(key, 3, 2)[0].reshape(-1)[:3])(keys)
    counts = np.bincount(np.asarray(order @ jnp.array([9, 3, 1])))
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5


def test_weights_in_the_running_precision(x64):
    assert data.epoch_indices(jax.random.key(0), 4, 2)[1].dtype == jnp.float64
    assert data.epoch_indices(jax.random.key(0), 4, 2, dtype=jnp.float32)[1].dtype == jnp.float32


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_batch_size_outside_the_data(batch_size):
    with pytest.raises(ValueError, match=rf"between 1 and the 10 examples, got {batch_size}"):
        data.epoch_indices(jax.random.key(0), 10, batch_size)


def test_empty_data():
    with pytest.raises(ValueError, match="empty"):
        data.epoch_indices(jax.random.key(0), 0, 1)


@pytest.mark.parametrize("m", [1, 2, 1625, 1626, 9000])  # one sort up to 1625, then two
def test_a_permutation_is_that_of_jax_bit_for_bit(m):
    keys = jax.random.split(jax.random.key(2), 3)
    ours = jax.jit(jax.vmap(lambda key: batches.permutation(key, m)))(keys)
    theirs = jax.vmap(lambda key: jax.random.permutation(key, m))(keys)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_equal_random_bits_keep_their_order_as_in_a_stable_sort():
    bits = jnp.array([2**32 - 1, 5, 0, 5, 2**32 - 1, 5], jnp.uint32)
    np.testing.assert_array_equal(batches._sorted_positions(bits), [2, 1, 3, 5, 0, 4])


def test_permutations_under_x64():
    with jax.enable_x64(True):
        ours, theirs = (
            f(jax.random.key(3), 50) for f in (batches.permutation, jax.random.permutation)
        )
        assert ours.dtype == theirs.dtype == jnp.int64
        np.testing.assert_array_equal(ours, theirs)
