"""Turn the caller's functions into jaxprs in float64, however they are written.

The function is traced again with float64 inputs. Where the code forbids that (strict promotion,
a float32 carry, a convolution with a float32 constant) or computes in float32 all the same, the
jaxpr is rewritten to float64 instead.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend import core

from jaxdl.gradcheck import interpret
from jaxdl.gradcheck.call import Call
from jaxdl.gradcheck.sameness import digest, same_array, same_program

Flat = Callable[[list, list], Any]
"""A function of the differentiated leaves and of the data leaves."""

NOT_TRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.UnexpectedTracerError,
)


@contextlib.contextmanager
def scope(*, x64: bool = True, standard: bool = False) -> Iterator[None]:
    """float64 on or off, and on request JAX's lenient promotion, in this block and thread only."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.debug_nans(False))
        stack.enter_context(np.errstate(all="ignore"))  # what is not finite is reported
        stack.enter_context(jax.enable_x64(x64))
        if standard:
            stack.enter_context(jax.numpy_dtype_promotion("standard"))
            stack.enter_context(jax.numpy_rank_promotion("allow"))
        yield


@dataclass(frozen=True)
class Traced:
    """A function as a jaxpr in float64.

    Attributes:
        closed: takes the differentiated leaves, then the data leaves.
        structure: of what the function returns.
        rounded: where the code computes in a narrow dtype, or uses constants rounded to one
            ("float32 at net.py:12"); empty if nowhere. What it adds can agree only to that
            dtype's rounding.
        lifted: whether the jaxpr was rewritten to float64.
        numbers: what the caller's NumPy arrays in it held when it was traced.
    """

    closed: core.ClosedJaxpr
    structure: Any
    rounded: str = ""
    lifted: bool = False
    numbers: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", digest(self.closed))

    def uses_inputs(self) -> bool:
        """Whether any result depends on any input: False for code that reads a stale cache."""
        found = reached(self.closed.jaxpr, self.closed.jaxpr.invars)
        return any(isinstance(v, core.Var) and v in found for v in self.closed.jaxpr.outvars)

    def same_as(self, other: "Traced") -> bool:
        """Whether both were, when they were traced, one program with equal constants."""
        if self.numbers != other.numbers:
            return False
        pairs = zip(self.closed.consts, other.closed.consts, strict=False)
        return same_program(self.closed, other.closed) and all(same_array(a, b) for a, b in pairs)

    def __call__(self, theta: Sequence, data: Sequence, consts: Sequence | None = None) -> list:
        """The flat results; with `consts` in place of the program's own constants."""
        constants = list(self.closed.consts if consts is None else consts)
        closed = core.ClosedJaxpr(self.closed.jaxpr, constants)
        return core.jaxpr_as_fun(closed)(*theta, *data)


def reached(jaxpr: Any, inputs: Sequence, but: str = "") -> set:
    """The variables that depend on any of these inputs, not through primitives of this name."""
    found = set(inputs)
    for eqn in jaxpr.eqns:
        depends = any(isinstance(v, core.Var) and v in found for v in eqn.invars)
        if depends and eqn.primitive.name != but:
            found.update(eqn.outvars)
    return found


def loss_of(loss: Callable, call: Call) -> Flat:
    """The loss as a function of flat leaves."""

    def flat(theta, data):
        params, args = call.join(theta, data)
        return loss(params, *args)

    return flat


def value_and_grad_of(loss: Callable, call: Call) -> Flat:
    """`jax.value_and_grad` of the loss with respect to the differentiated leaves."""
    flat = loss_of(loss, call)

    def both(theta, data):
        def scalar(theta):
            value = flat(theta, data)
            require_scalar(value)
            return value

        value, gradient = jax.value_and_grad(scalar)(list(theta))
        return [value, *gradient]

    return both


def require_scalar(value: Any) -> None:
    """Raises:
    TypeError, ValueError: if a loss returned anything but one real floating scalar.
    """
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or jax.tree.structure(value) != jax.tree.structure(0.0):
        kind = type(value).__name__
        what = f"a {kind} of {len(leaves)} values" if leaves else f"a {kind}"
        raise ValueError(
            f"Expected loss(params, *args) to return one scalar, got {what}. "
            "If it returns auxiliary values too, pass lambda *a: loss(*a)[0]."
        )
    if np.shape(value) != ():
        raise ValueError(
            f"Expected a scalar loss, got an array of shape {np.shape(value)}. "
            "Reduce it with a sum or a mean over the examples."
        )
    dtype = jnp.result_type(value)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"Expected a real floating-point loss, got dtype {dtype}.")


def trace(make: Flat, call: Call, theta: list, data: list) -> Traced:
    """Trace with float64 leaves; on failure with standard promotion; on failure natively.

    Raises:
        Whatever the function raises in every one of these ways (the first of them).
    """
    try:
        return _trace_wide(make, theta, data, standard=False)
    except NOT_TRACEABLE:
        raise
    except Exception as error:
        first = error
    for attempt in (_trace_standard, _trace_native):
        with contextlib.suppress(Exception):
            return attempt(make, call, theta, data)
    raise first


def _trace_standard(make: Flat, call: Call, theta: list, data: list) -> Traced:
    del call
    return _trace_wide(make, theta, data, standard=True)


def _trace_wide(make: Flat, theta: list, data: list, *, standard: bool) -> Traced:
    with scope(standard=standard):
        closed, structure = _jaxpr(make, theta, data)
    return _lifted(closed, structure, theta, data) if _narrow(closed) else Traced(closed, structure)


def _trace_native(make: Flat, call: Call, theta: list, data: list) -> Traced:
    with scope(x64=call.x64):
        native = [narrowed(new, old) for new, old in zip(theta, call.pick("theta"), strict=True)]
        native_data = [narrowed(new, old) for new, old in zip(data, call.pick("data"), strict=True)]
        closed, structure = _jaxpr(make, native, native_data)
    traced = _lifted(closed, structure, theta, data)
    return Traced(traced.closed, structure, traced.rounded or "float32 constants", lifted=True)


def narrowed(new: Any, old: Any) -> Any:
    """A float64 leaf in the dtype of the caller's own leaf."""
    dtype = getattr(old, "dtype", None)
    if dtype is None:
        return jnp.asarray(new)
    if dtype == getattr(new, "dtype", None) or jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return new
    return np.asarray(new).astype(dtype)


def as_written(make: Flat, theta: list, data: list) -> Traced:
    """Trace with the leaves and the settings in force, nothing widened."""
    closed, structure = _jaxpr(make, [_strong(leaf) for leaf in theta], data)
    consts = [_in_force(const) for const in closed.consts]
    return Traced(core.ClosedJaxpr(closed.jaxpr, consts), structure)


def _in_force(const: Any) -> Any:
    """A NumPy constant in the dtype that JAX has for it under the settings in force.

    JAX remembers what it made of an array while float64 was on, and gives that again.
    """
    if not isinstance(const, np.ndarray):
        return const
    return np.asarray(const).astype(jax.dtypes.canonicalize_dtype(const.dtype), copy=False)


def _strong(leaf: Any) -> Any:
    return leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)


def _jaxpr(make: Flat, theta: list, data: list) -> tuple[core.ClosedJaxpr, Any]:
    box = []

    def flat(theta, data):
        leaves, structure = jax.tree.flatten(make(theta, data))
        box.append(structure)
        return leaves

    closed = jax.make_jaxpr(flat)(theta, data)
    if any(isinstance(const, Tracer) for const in interpret.constants(closed)):
        raise ValueError("The function uses a value that belongs to a trace that is over.")
    return closed, box[0]


def _lifted(closed: core.ClosedJaxpr, structure: Any, theta: list, data: list) -> Traced:
    rounded = _narrow(closed)
    with scope(standard=True):
        consts = [interpret.widen(const) for const in closed.consts]
        wide = jax.make_jaxpr(lambda *args: interpret.run(closed, interpret.lift, args, consts))(
            *theta, *data
        )
    return Traced(wide, structure, rounded, lifted=True)


NARROW = frozenset(jnp.dtype(name) for name in interpret.WIDE)
"""Floating dtypes of fewer than 64 bits (128 if complex)."""


def _narrow(closed: core.ClosedJaxpr) -> str:
    """The first equation that computes in a narrow floating dtype, or ""."""
    for eqn in interpret.equations(closed):
        dtypes = [getattr(out.aval, "dtype", None) for out in eqn.outvars]
        narrow = next((dtype for dtype in dtypes if dtype in NARROW), None)
        if narrow and eqn.primitive.name not in ("jit", "random_bits", "random_wrap"):
            return f"{narrow} ({eqn.primitive.name}{_where(eqn)})"
    return ""


def _where(eqn: Any) -> str:
    """ ", file.py:12" for the caller's line that made the equation, as far as JAX tells."""
    with contextlib.suppress(Exception):
        from jax._src import source_info_util

        frame = source_info_util.user_frame(eqn.source_info.traceback)
        if frame is not None:
            return f", {frame.file_name.rsplit('/', 1)[-1]}:{frame.start_line}"
    return ""


def place(eqn: Any) -> str:
    """ "file.py:12" for the caller's line that made the equation, or ""."""
    return _where(eqn).removeprefix(", ")


def has_narrow_constants(traced: Traced) -> bool:
    """Whether any constant of the program was rounded to a narrow floating dtype."""
    return any(str(getattr(const, "dtype", "")) in interpret.WIDE for const in traced.closed.consts)
