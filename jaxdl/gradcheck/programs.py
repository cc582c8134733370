"""Traced functions made ready to run: in NumPy where they are small, else compiled together."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxdl.gradcheck import host, interpret
from jaxdl.gradcheck.tracing import Traced, scope

QUICK = {"xla_backend_optimization_level": 0}
"""Compile fast: a program that runs a hundred times for a fraction of a millisecond each."""

APART = {"xla_disable_hlo_passes": "fusion"}
"""Compute every array once: see `compares`."""

COMPARISONS = ("eq", "ne", "ge", "gt", "le", "lt")

SMALL = 100_000
"""Numbers going in below which compiling costs more than running."""

MOST_WORK = 5e6
"""Nanoseconds, roughly, of one run in NumPy: above, compiling pays within one check."""


class Prepared:
    """Traced functions of the same leaves; called with them, it gives the results of each."""

    def __init__(self, parts: Sequence[Traced]):
        self.parts = list(parts)
        self.quick = _in_numpy(self.parts)
        self.first: host.Program | None = None
        self.compiled: Callable | None = None
        self.rounded: Callable | None = None  # with random rounding errors; see `noise`
        self.watch: Any = None  # what is asked of limits and conditions; see `adequacy`

    def __call__(self, theta: Sequence, data: Sequence) -> list[list]:
        """The flat results of each function."""
        if self.quick is not None:
            try:
                return [program([*theta, *data]) for program in self.quick]
            except Exception:  # values that NumPy treats in another way
                self.quick = None
        if self.compiled is None:
            self.compiled = compiled_program(self.parts)
        return self.compiled(theta, data)

    def by_operation(self, theta: Sequence, data: Sequence) -> list[list]:
        """The same without a compiler that sees more than one operation."""
        leaves = [*theta, *data]
        return [interpret.run(part.closed, lambda eqn, inputs: None, leaves) for part in self.parts]

    def value(self, theta: Sequence, data: Sequence) -> float:
        """The first result of the first function."""
        if self.quick is not None:
            try:
                with np.errstate(all="ignore"):
                    if self.first is None:
                        self.first = host.Program(self.parts[0].closed, [0])
                    return float(self.first([*theta, *data])[0])
            except Exception:  # as above
                self.quick = None
        with scope():
            return float(self(theta, data)[0][0])


def _in_numpy(parts: Sequence[Traced]) -> list[host.Program] | None:
    try:
        programs = [host.Program(part.closed) for part in parts]
    except Exception:  # whatever NumPy cannot do, JAX can
        return None
    return programs if sum(program.work for program in programs) <= MOST_WORK else None


def compiled_program(parts: Sequence[Traced]) -> Callable:
    """`(theta, data) -> [flat results of each part]`, compiled together.

    The programs' constants are arguments, so that large ones are not folded into the code.
    """
    consts = [list(part.closed.consts) for part in parts]

    @functools.partial(jax.jit, compiler_options=quick_options(*parts))
    def program(theta, data, consts):
        return [part(theta, data, const) for part, const in zip(parts, consts, strict=True)]

    return lambda theta, data: program(list(theta), list(data), consts)


def quick_options(*parts: Traced) -> dict | None:
    """Compiler options for programs so small that compiling takes longer than running."""
    size = sum(math.prod(aval.shape) for part in parts for aval in part.closed.in_avals)
    small = size <= SMALL and jax.default_backend() == "cpu"
    apart = apart_options(*(part.closed for part in parts))
    return {**(QUICK if small else {}), **(apart or {})} or None


def apart_options(*programs: core.ClosedJaxpr) -> dict | None:
    """Compiler options for programs whose results may depend on what is fused."""
    needed = jax.default_backend() == "cpu" and any(map(compares, programs))
    return APART if needed else None


def compares(closed: core.ClosedJaxpr) -> bool:
    """Whether a program compares two computed arrays, as the gradient of a maximum does.

    Where XLA fuses, it may compute an array once for its maximum and again for the comparison,
    rounded otherwise: then no entry equals the maximum, and the gradient is 0/0 or lost.
    """
    return any(map(_compares, interpret.equations(closed)))


def _compares(eqn: Any) -> bool:
    return eqn.primitive.name in COMPARISONS and all(
        isinstance(atom, core.Var) and jnp.issubdtype(jnp.result_type(atom.aval), jnp.inexact)
        for atom in eqn.invars
    )
