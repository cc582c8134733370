"""How the suite compiles: most of its time is spent on programs that run once.

Without being told, all programs are compiled by `QUICK`, in half the time. Rounding is that of
unoptimised code, so laws that hold bit by bit are tested `as_users_do`.
"""

import contextlib
import threading

import jax
from jax._src import compiler
from jax._src.interpreters import mlir

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}

_in_full = compiler.get_compile_options


def once(f, **options):
    """`jax.jit(f)`, compiled in half the time also where other programs are compiled in full."""
    return jax.jit(f, compiler_options=QUICK, **options)


def _quick(*args, **kwargs):
    options = _in_full(*args, **kwargs)
    options.env_option_overrides = [*QUICK.items(), *options.env_option_overrides]
    return options


# A program is written in an MLIR context, and making one takes as long as writing a small program.
# A context keeps the constants of its programs, so that a new one is due from time to time.
PROGRAMS_OF_A_CONTEXT = 100
_make_context, _kept = mlir.make_ir_context, threading.local()


def _shared_context():
    """The context of this thread, new for every hundredth program."""
    if not hasattr(_kept, "context") or next(_kept.left, None) is None:
        _kept.context, _kept.left = _make_context(), iter(range(PROGRAMS_OF_A_CONTEXT))
    return _kept.context


mlir.make_ir_context = _shared_context


def use(quick: bool) -> bool:
    """From here on programs are compiled quickly, or in full; returns how it was before."""
    before = compiler.get_compile_options is _quick
    compiler.get_compile_options = _quick if quick else _in_full
    # A part of the key under which JAX keeps programs (on a CPU of that alone): those that are
    # compiled quickly and the others stay apart, in whatever order tests run.
    jax.config.update("jax_xla_profile_version", int(quick))
    return before


@contextlib.contextmanager
def _using(quick):
    before = use(quick)
    try:
        yield
    finally:
        use(before)


def as_users_do():
    """What is compiled in a block or a decorated function has the bits that a user gets."""
    return _using(quick=False)


def quickly():
    """The same for what is compiled quickly, where a module does `as_users_do`."""
    return _using(quick=True)
