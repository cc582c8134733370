"""Programs that run once: most of the suite's time is spent on compiling them."""

import contextlib

import jax

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def once(f, **options):
    """`jax.jit(f)`, compiled in half the time: the optimiser's work is not worth it here.

    Rounding is that of unoptimised code, so not for what is compared bit by bit.
    """
    return jax.jit(f, compiler_options=QUICK, **options)


@contextlib.contextmanager
def quickly():
    """The same for all programs that are compiled in a block, those of the library included."""
    try:
        jax.config.update("jax_disable_most_optimizations", True)
        # A part of the key under which JAX keeps programs (on a CPU of that alone): those that
        # are compiled here and those of other tests stay apart, in whatever order tests run.
        jax.config.update("jax_xla_profile_version", 1)
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
        jax.config.update("jax_xla_profile_version", 0)
