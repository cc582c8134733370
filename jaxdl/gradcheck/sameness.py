"""Are two jaxprs the same program?

Tracing a function twice tells whether it is pure (random numbers drawn in Python are constants of
the trace), and whether a program compiled earlier still is the function's.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxdl.gradcheck.interpret import constants


def same_program(a: core.ClosedJaxpr, b: core.ClosedJaxpr) -> bool:
    """Whether two jaxprs are equation for equation the same, whatever their constants hold."""
    return a is b or _same_jaxpr(a.jaxpr, b.jaxpr)


def _same_jaxpr(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if len(a.eqns) != len(b.eqns) or len(a.outvars) != len(b.outvars):
        return False
    known: dict = {}
    if not _same_variables([*a.constvars, *a.invars], [*b.constvars, *b.invars], known, new=True):
        return False
    for x, y in zip(a.eqns, b.eqns, strict=True):
        if x.primitive is not y.primitive or not _same_params(x.primitive.name, x.params, y.params):
            return False
        if not _same_variables(x.invars, y.invars, known, new=False):
            return False
        if not _same_variables(x.outvars, y.outvars, known, new=True):
            return False
    return _same_variables(a.outvars, b.outvars, known, new=False)


def _same_variables(a: Sequence, b: Sequence, known: dict, *, new: bool) -> bool:
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        if isinstance(x, core.Literal) or isinstance(y, core.Literal):
            if type(x) is not type(y) or not _same_value(x.val, y.val) or x.aval != y.aval:
                return False
        elif new:
            known[x] = y
            if x.aval != y.aval:
                return False
        elif known.get(x) is not y:
            return False
    return True


def _same_params(name: str, a: dict, b: dict) -> bool:
    """Equality of an equation's parameters, derivative rules left out.

    These are wrapped anew at every trace, and do not matter to a program that is not
    differentiated again.
    """
    keys = ["call_jaxpr"] if name.startswith(("custom_jvp", "custom_vjp")) else list(a)
    return a.keys() == b.keys() and all(_same_value(a[key], b[key]) for key in keys)


def _same_value(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, core.ClosedJaxpr):
        pairs = zip(a.consts, b.consts, strict=False)
        return same_program(a, b) and all(_same_value(x, y) for x, y in pairs)
    if isinstance(a, core.Jaxpr):
        return _same_jaxpr(a, b)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same_value, a, b))
    if isinstance(a, np.ndarray | np.generic | jax.Array):
        return same_array(a, b)
    if isinstance(a, float):  # as written: −0.0 is not 0.0, and NaN is NaN
        return a.hex() == b.hex()
    return bool(a == b)


def digest(closed: core.ClosedJaxpr) -> bytes:
    """A fingerprint of the NumPy arrays that a program refers to: their owner may change them."""
    found = hashlib.sha1(usedforsecurity=False)
    for value in constants(closed):
        if isinstance(value, np.ndarray):
            found.update(np.ascontiguousarray(value).view(np.uint8).data)
    return found.digest()


def same_array(a: Any, b: Any) -> bool:
    """Whether two arrays (keys included) agree in shape, dtype and every bit."""
    if a is b:
        return True
    a, b = (np.asarray(jax.random.key_data(v) if _is_key(v) else v) for v in (a, b))
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _is_key(value: Any) -> bool:
    return hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
