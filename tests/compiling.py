"""How the suite compiles: most of its time is spent on programs that run once.

Without being told, all programs are compiled by `QUICK`, in half the time. Rounding is that of
unoptimised code, so laws that hold bit by bit are tested `as_users_do`.
"""

import contextlib

import jax
from jax._src import compiler

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

_options = compiler.get_compile_options


def once(f, **options):
    """`jax.jit(f)`, compiled in half the time also where the others are compiled in full."""
    return jax.jit(f, compiler_options=QUICK, **options)


def _quick_options(*args, **kwargs):
    options = _options(*args, **kwargs)
    options.env_option_overrides = [*QUICK.items(), *options.env_option_overrides]
    return options


def start():
    """From here on programs are compiled quickly."""
    compiler.get_compile_options = _quick_options
    # A part of the key under which JAX keeps programs (on a CPU of that alone): those that are
    # compiled quickly and the others stay apart, in whatever order tests run.
    jax.config.update("jax_xla_profile_version", 1)


def stop():
    """From here on programs are compiled as those of a user are."""
    compiler.get_compile_options = _options
    jax.config.update("jax_xla_profile_version", 0)


@contextlib.contextmanager
def as_users_do():
    """What is compiled in this block has the bits that a user gets."""
    stop()
    try:
        yield
    finally:
        start()
