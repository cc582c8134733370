"""Which nodes end a move along an axis: padding and a slice, and nothing after it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck.bugs.straight import moved
from jaxdl.gradcheck.replay.trace import trace

X = np.arange(1.0, 7.0).reshape(2, 3)


def later(x, steps=1):
    return jnp.pad(x, ((0, 0), (steps, 0)))[:, : x.shape[1]]


def twice(p):
    return later(later(p))


def used_twice(p):
    padded = jnp.pad(p, ((0, 0), (1, 0)))
    return padded[:, :3] + jnp.sin(padded[:, 1:])


def cut_and_filled(p):
    return jnp.pad(p[:, 1:], ((0, 0), (1, 0)))  # every place stays where it is


@pytest.mark.parametrize(
    ("made", "moves"), [(later, 1), (twice, 1), (used_twice, 0), (cut_and_filled, 0), (jnp.sin, 0)]
)
def test_a_move_is_told_once_at_its_end(made, moves):
    tape = trace(lambda p: jnp.sum(jnp.cos(made(p)) * 2.0), X, ())
    ends = [found for node in tape.nodes if (found := moved(tape, node)) is not None]
    assert len(ends) == moves
    for source, again in ends:
        assert tape.shape(source) == X.shape
        np.testing.assert_array_equal(again(X), np.asarray(made(X)))
