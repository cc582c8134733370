"""Every primitive without a rule of ours: evaluated and differentiated by JAX, one equation."""

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck.interpret import equations, program_of
from jaxdl.gradcheck.sameness import digest, same_program

Compiled = tuple[Callable, Callable]

_KNOWN: deque[tuple[jex.ClosedJaxpr, bytes, Compiled]] = deque(maxlen=64)
"""Equations compiled lately: those of a loss come again at every point."""


def compiled(eqn: Any) -> Compiled:
    """`compile_equation`, or what it gave for an equal equation before."""
    program = program_of(eqn)
    if any(e.primitive.name.startswith(("custom_jvp", "custom_vjp")) for e in equations(program)):
        return compile_equation(eqn)  # its derivative rule cannot be compared
    numbers = digest(program)
    for other, held, made in tuple(_KNOWN):  # other threads may append
        if held == numbers and same_program(program, other):
            return made
    made = compile_equation(eqn)
    _KNOWN.appendleft((program, numbers, made))
    return made


def compile_equation(eqn: Any) -> Compiled:
    """Value and vector-Jacobian product of one equation, compiled.

    Returns:
        `forward(*ins) -> list of outputs`, and `backward(cts, ins) -> list`, one cotangent per
        input, None where the input is not floating.
    """
    variables = [v for v in eqn.invars if not isinstance(v, jex.Literal)]
    distinct = list(dict.fromkeys(variables))
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    function = jex.jaxpr_as_fun(program_of(eqn))
    run = jax.jit(function, compiler_options=options)
    where = [i for i, v in enumerate(eqn.invars) if not isinstance(v, jex.Literal)]
    first = {v: i for i, v in zip(where, variables, strict=True)}
    slots = [first[v] for v in distinct]
    floating = [i for i in slots if jnp.issubdtype(eqn.invars[i].aval.dtype, np.inexact)]

    def forward(*ins):
        with jax.enable_x64(True):
            return [_host(x) for x in run(*(ins[i] for i in slots))]

    @functools.partial(jax.jit, compiler_options=options)
    def pull(moving, fixed, cts):
        def of(moving):
            values = {**dict(zip(floating, moving, strict=True)), **fixed}
            outs = function(*(values[i] for i in slots))
            return [y for y in outs if jnp.issubdtype(y.dtype, np.inexact)]

        return jax.vjp(of, moving)[1](cts)[0]

    def backward(cts, ins):
        with jax.enable_x64(True):
            moving = [ins[i] for i in floating]
            fixed = {i: ins[i] for i in slots if i not in floating}
            back = dict(zip(floating, pull(moving, fixed, list(cts)), strict=True))
        return [np.asarray(back[i]) if i in back else None for i in range(len(eqn.invars))]

    return forward, backward


def _host(x):
    """A NumPy array, or the JAX array itself where NumPy has no such dtype (keys)."""
    return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else np.asarray(x)
