"""Every primitive without a rule of ours: evaluated and differentiated by JAX, one equation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np


def compile_equation(eqn: Any) -> tuple[Callable, Callable]:
    """Value and vector-Jacobian product of one equation, compiled.

    Returns:
        `forward(*ins) -> list of outputs`, and `backward(cts, ins) -> list`, one cotangent per
        input, None where the input is not floating.
    """
    variables = [v for v in eqn.invars if not isinstance(v, jex.Literal)]
    distinct = list(dict.fromkeys(variables))
    jaxpr = jex.Jaxpr((), distinct, eqn.outvars, [eqn], eqn.effects)
    run = jax.jit(jex.jaxpr_as_fun(jex.ClosedJaxpr(jaxpr, ())))
    where = [i for i, v in enumerate(eqn.invars) if not isinstance(v, jex.Literal)]
    first = {v: i for i, v in zip(where, variables, strict=True)}
    slots = [first[v] for v in distinct]
    floating = [i for i in slots if jnp.issubdtype(eqn.invars[i].aval.dtype, np.inexact)]

    def forward(*ins):
        with jax.enable_x64(True):
            return [_host(x) for x in run(*(ins[i] for i in slots))]

    @jax.jit
    def pull(moving, fixed, cts):
        def of(moving):
            values = {**dict(zip(floating, moving, strict=True)), **fixed}
            outs = run(*(values[i] for i in slots))
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
