"""The caller's own derivative rules in a traced program: its gradient depends on them.

The jaxpr of a function does not show them, so two equal programs may have other gradients.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxdl.gradcheck import interpret
from jaxdl.gradcheck.tracing import Traced, scope

MOST_RULES = 8
"""Custom derivative rules in a program above which tracing them one by one takes too long."""


OF_JAX = tuple(
    os.path.join(os.path.dirname(jax.__file__), "_src", place)
    for place in ("nn" + os.sep, "numpy" + os.sep, "scipy" + os.sep, os.path.join("lax", "other"))
)
"""Where functions with derivative rules are that depend on nothing of the caller's."""


def rules_in(traced: Traced) -> list[Traced] | None:
    """Every derivative rule of the caller's in a program, traced; None if many, or one fails."""
    equations = interpret.equations(traced.closed)
    found = [e for e in equations if e.primitive.name in interpret.CUSTOM and not _is_of_jax(e)]
    if len(found) > MOST_RULES:
        return None
    try:
        with scope():
            return [_pulled_back(interpret.program_of(eqn)) for eqn in found]
    except Exception:  # the rule is the caller's
        return None


def _is_of_jax(eqn: Any) -> bool:
    """Whether the function was written there, as far as JAX tells."""
    body = getattr(eqn.params.get("call_jaxpr"), "jaxpr", None)
    place = getattr(getattr(body, "debug_info", None), "func_src_info", None)
    return (place or "").partition(" at ")[2].startswith(OF_JAX)


def _pulled_back(closed: core.ClosedJaxpr) -> Traced:
    """The vector-Jacobian product of a program of few equations."""
    values = [np.zeros(aval.shape, aval.dtype) for aval in closed.in_avals]
    moving = [i for i, value in enumerate(values) if value.dtype.kind in "fc"]

    def pull(values, cts):
        def of(moved):
            full = dict(enumerate(values)) | dict(zip(moving, moved, strict=True))
            outs = core.jaxpr_as_fun(closed)(*(full[i] for i in range(len(values))))
            return [y for y in outs if jnp.issubdtype(y.dtype, jnp.inexact)]

        return jax.vjp(of, [values[i] for i in moving])[1](cts)

    cts = [np.zeros(a.shape, a.dtype) for a in closed.out_avals if a.dtype.kind in "fc"]
    return Traced(jax.make_jaxpr(pull)(values, cts), None)


def same_rules(a: list[Traced] | None, b: list[Traced] | None) -> bool:
    """Whether two lists of derivative rules are known to be the same."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(x.same_as(y) for x, y in zip(a, b, strict=True))
