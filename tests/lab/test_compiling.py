import jax
import jax.numpy as jnp

from jaxdl.lab import compiling


def test_compiling_is_timed_and_running_is_not():
    x = jnp.ones(3)
    with compiling.watched() as seconds:
        assert seconds() == 0
        program = jax.jit(lambda x: jnp.sin(x) + 1)
        program(x)
        once = seconds()
        program(x)
        assert seconds() == once > 0
    jax.jit(lambda x: jnp.cos(x) + 1)(x)
    assert seconds() == once
