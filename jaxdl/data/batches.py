"""Mini-batches: one shuffled pass over the data, every example exactly once."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.types import Array, Key


def epoch_indices(
    key: Key, m: int, batch_size: int | None = None, dtype=None
) -> tuple[Array, Array]:
    """Indices and weights of one epoch's mini-batches, drawn without replacement.

    The notes' X^{t}: the m examples are shuffled and dealt into ⌈m / batch_size⌉ batches.
    The last one is padded to full length with a valid index of weight 0, so every step has
    one shape and padding never counts. One batch of all m keeps the given order: it is
    gradient descent on the whole set. Pure and jittable; m and batch_size are Python ints.

    Args:
        key: random key of this epoch.
        m: number of examples.
        batch_size: examples a batch, 1 ≤ batch_size ≤ m; None means m.
        dtype: of the weights; the default float of the running precision if None.

    Returns:
        `(indices, weights)`, each `(n_batches, batch_size)`; the weights sum to m.

    Raises:
        ValueError: if batch_size is not in [1, m].

    Source: notes, "Mini-batch gradient descent" and "Understanding mini-batch gradient descent".
    """
    batch_size = check_batch_size(m, batch_size)
    order = jnp.arange(m) if batch_size == m else permutation(key, m)
    padding = -m % batch_size
    indices = jnp.pad(order, (0, padding), mode="wrap")
    weights = jnp.pad(jnp.ones(m, dtype), (0, padding))
    return indices.reshape(-1, batch_size), weights.reshape(-1, batch_size)


def permutation(key: Key, m: int) -> Array:
    """The numbers 0 to m − 1 in random order: those of `jax.random.permutation(key, m)`, sooner.

    JAX sorts the numbers by 32 random bits each, so often that equal bits cannot matter. On CPUs
    XLA sorts pairs ten times as slowly as single numbers; here each pair is one number of 64 bits,
    the random ones above those of the position, which keeps equals in their order.

    Args:
        key: random key.
        m: how many numbers, a Python int of at least 1.

    Returns:
        (m,) int32; int64 under x64.
    """
    order = jnp.arange(m)
    for _ in range(math.ceil(3 * math.log(m) / math.log(2**32 - 1))):
        key, now = jax.random.split(key)
        bits = jax.random.bits(now, (m,), jnp.uint32)
        order = order[_sorted_positions(bits)]
    return order


def _sorted_positions(bits: Array) -> Array:
    """Where the smallest of the numbers stands, the second smallest, and so on; (m,) uint32."""
    pairs = jnp.stack([jnp.arange(len(bits), dtype=jnp.uint32), bits], axis=1)
    with jax.enable_x64(True):  # for the type alone: no number is made here
        both = lax.sort(lax.bitcast_convert_type(pairs, jnp.uint64))
        pairs = lax.bitcast_convert_type(both, jnp.uint32)
    return pairs[:, 0]


def n_batches(m: int, batch_size: int | None = None) -> int:
    """⌈m / batch_size⌉: the steps in an epoch."""
    return -(-m // check_batch_size(m, batch_size))


def check_batch_size(m: int, batch_size: int | None) -> int:
    """`batch_size`, or m for None.

    Raises:
        ValueError: if there are no examples, or batch_size is not in [1, m].
    """
    if m < 1:
        raise ValueError(f"Expected at least one example, got m={m}: the data is empty.")
    if batch_size is None:
        return m
    if not 1 <= batch_size <= m:
        raise ValueError(
            f"Expected a batch size between 1 and the {m} examples, got {batch_size}. "
            f"Use batch_size={m} for one full batch."
        )
    return int(batch_size)
