"""What each primitive does, in NumPy: the forward halves of the rules that replay has, and more.

A primitive is left out, or refused for some parameters, where NumPy and XLA may differ by more
than rounding.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from jax import lax
from scipy import special

from jaxdl.gradcheck.replay.rules import RULES, elementwise
from jaxdl.gradcheck.replay.rules.contractions import gather_index

KINDS = "biufc"
"""Booleans, integers, floats, complex numbers, in this order."""

PER_EQUATION = 2000.0
"""Nanoseconds of calling NumPy once."""


class Unsupported(Exception):
    """There is no rule here for an equation, or for the values that reach it."""


def rule_of(eqn: Any) -> Callable:
    """`f(*values)` for the results of an equation.

    Raises:
        Unsupported: if there is none.
    """
    name = eqn.primitive.name
    if not all(_is_usual(v.aval) for v in (*eqn.invars, *eqn.outvars)):
        raise Unsupported(f"{name} of a dtype that NumPy does not have")
    if name in LIMITS and not LIMITS[name](eqn):
        raise Unsupported(f"{name} with these parameters")
    if name in POLES or (name in elementwise.RULES and not _real(eqn)):
        return _finite(_function(eqn))
    return _function(eqn)


def _function(eqn: Any) -> Callable:
    name = eqn.primitive.name
    if name in PLAIN:
        return PLAIN[name]
    if name in INDEXED:
        return INDEXED[name](eqn)
    if name == "broadcast_in_dim" and eqn.outvars[0].aval.size == eqn.invars[0].aval.size:
        return operator.methodcaller("reshape", eqn.params["shape"])  # faster, and often enough
    if name == "integer_pow" and eqn.params["y"] == 2:
        return np.square
    if name in WITH_PARAMS:
        return functools.partial(WITH_PARAMS[name], eqn.params)
    raise Unsupported(name)


def _finite(function: Callable) -> Callable:
    """The function where its result is finite: at a pole NumPy and XLA may differ.

    So they do where parts of complex numbers are infinite.
    """

    def run(*values: Any) -> Any:
        result = function(*values)
        if not np.all(np.isfinite(result)):
            raise Unsupported("a result that is not finite")
        return result

    return run


def _is_usual(aval: Any) -> bool:
    dtype = getattr(aval, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind in KINDS


def work_of(eqn: Any) -> float:
    """Nanoseconds that an equation takes, roughly."""
    sizes = [math.prod(v.aval.shape) for v in (*eqn.invars, *eqn.outvars)]
    name = eqn.primitive.name
    if name == "dot_general":
        (left, _), _ = eqn.params["dimension_numbers"]
        summed = math.prod(eqn.invars[0].aval.shape[axis] for axis in left)
        return PER_EQUATION + 0.1 * sizes[-1] * summed
    if name == "conv_general_dilated":
        spec = eqn.params["dimension_numbers"].rhs_spec
        kernel = eqn.invars[1].aval.shape
        return 20 * PER_EQUATION + 0.5 * sizes[-1] * math.prod(kernel) / kernel[spec[0]]
    each = (
        20
        if name in ("gather", "scatter", "scatter-add")
        else 2
        if name in elementwise.UNARY
        else 1
    )
    return PER_EQUATION + each * max(sizes)


def _floating(eqn: Any) -> bool:
    return eqn.outvars[0].aval.dtype.kind in "fc"


def _real(eqn: Any) -> bool:
    return eqn.invars[0].aval.dtype.kind != "c"


def _keeps_meaning(eqn: Any) -> bool:
    """Conversions that lose no part of the number: not to integers, not from complex to real."""
    old, new = eqn.invars[0].aval.dtype.kind, eqn.outvars[0].aval.dtype.kind
    return KINDS.index(old) <= KINDS.index(new)


def _half_to_even(eqn: Any) -> bool:
    return eqn.params["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN


def _one_batch_group(eqn: Any) -> bool:
    return eqn.params["batch_group_count"] == 1


def _overwrites(eqn: Any) -> bool:
    """Not `x.at[i].apply(f)`, which is a scatter with a function of its own."""
    return eqn.params["update_jaxpr"] is None


class Places:
    """Where a gather reads, or a scatter writes, in the flat operand.

    Indices are mostly labels: the same at every run, so what was found last is kept.
    """

    def __init__(self, numbers: Any, shape: tuple[int, ...], sizes: Sequence[int]):
        self.read = {"dimension_numbers": numbers, "slice_sizes": tuple(sizes)}
        self.shape, self.last = shape, None
        starts = numbers.start_index_map
        self.most = np.array([shape[axis] - sizes[axis] for axis in starts])

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Positions for these indices.

        Raises:
            Unsupported: where what JAX does outside of an array would matter.
        """
        last = self.last
        if last is None or not np.array_equal(last[0], indices):
            if indices.size and not np.all((indices >= 0) & (indices <= self.most)):
                raise Unsupported("an index out of range")
            last = self.last = np.array(indices), gather_index(self.read, self.shape, indices)
        return last[1]


def _gather(eqn: Any) -> Callable:
    params, (operand, _) = eqn.params, eqn.invars
    places = Places(params["dimension_numbers"], operand.aval.shape, params["slice_sizes"])
    return lambda x, indices: x.reshape(-1)[places(indices)]


def _scatter(eqn: Any) -> Callable:
    """Each update goes where the gather with the same numbers would read."""
    d, (operand, _, new) = eqn.params["dimension_numbers"], eqn.invars
    shape, rank = operand.aval.shape, len(operand.aval.shape)
    dropped = {*d.inserted_window_dims, *d.operand_batching_dims}
    windows = iter(new.aval.shape[axis] for axis in d.update_window_dims)
    sizes = [1 if axis in dropped else next(windows) for axis in range(rank)]
    numbers = SimpleNamespace(
        offset_dims=d.update_window_dims,
        collapsed_slice_dims=d.inserted_window_dims,
        operand_batching_dims=d.operand_batching_dims,
        start_indices_batching_dims=d.scatter_indices_batching_dims,
        start_index_map=d.scatter_dims_to_operand_dims,
    )
    places, adds = Places(numbers, shape, sizes), eqn.primitive.name == "scatter-add"

    def run(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        flat = np.array(x).reshape(-1)
        at = np.broadcast_to(places(indices), updates.shape)
        if adds:
            np.add.at(flat, at, updates)
        else:
            flat[at] = updates
        return flat.reshape(shape)

    return run


INDEXED = {"gather": _gather, "scatter": _scatter, "scatter-add": _scatter}
"""`f(eqn) -> f(*values)` of primitives that look up places."""


def _cumsum(params: dict, x: np.ndarray) -> np.ndarray:
    return RULES["cumsum"][0](params, x).astype(x.dtype, copy=False)


def _select(params: dict, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    if which.dtype == bool:
        return np.where(which, cases[1], cases[0])
    return np.choose(which, cases, mode="clip")


def _split(params: dict, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(params["sizes"])[:-1], params["axis"])


def _complex(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), np.result_type(x, np.complex64))
    z.real, z.imag = x, y  # x + 1j * y is NaN where y is infinite
    return z


PLAIN: dict[str, Callable] = {
    **{name: f for name, (f, _) in elementwise.UNARY.items()},
    **{name: f for name, (f, *_) in elementwise.BINARY.items()},
    **elementwise.COMPARISONS,
    "logistic": special.expit,
    "not": np.invert,
    "xor": np.bitwise_xor,
    "rem": np.fmod,
    "nextafter": np.nextafter,
    "real": np.real,
    "imag": np.imag,
    "complex": _complex,
}
"""Primitives that need no parameters."""

WITH_PARAMS: dict[str, Callable] = {
    **{
        name: RULES[name][0]
        for name in (
            "argmax",
            "argmin",
            "broadcast_in_dim",
            "clamp",
            "concatenate",
            "conv_general_dilated",
            "dot_general",
            "dynamic_slice",
            "dynamic_update_slice",
            "integer_pow",
            "iota",
            "pad",
            "reduce_and",
            "reduce_max",
            "reduce_min",
            "reduce_or",
            "reduce_prod",
            "reduce_window_sum",
            "reshape",
            "rev",
            "round",
            "slice",
            "squeeze",
            "stack",
            "transpose",
        )
    },
    "conj": lambda params, x: np.conj(x),
    "convert_element_type": lambda params, x: x.astype(params["new_dtype"], copy=False),
    "cumsum": _cumsum,
    "reduce_sum": lambda params, x: np.add.reduce(x, axis=params["axes"], dtype=x.dtype),
    "select_n": _select,
    "split": _split,
    "unstack": lambda params, x: list(np.moveaxis(x, params["axis"], 0)),
}
"""Primitives with parameters: `f(params, *values)`."""

BRANCHES = ("acos", "acosh", "asin", "asinh", "atan", "atanh", "pow", "rsqrt", "sqrt")
"""Functions of complex numbers for which the sign of a zero may choose the branch."""

ORDERED = ("argmax", "argmin", "clamp", "max", "min", "reduce_max", "reduce_min")
"""What asks which number is larger: of complex numbers that are not finite, none."""

POLES = ("digamma", "lgamma")
"""Real functions with poles at which NumPy and XLA differ."""

LIMITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys((*BRANCHES, *ORDERED), _real),
    "conv_general_dilated": _one_batch_group,
    "convert_element_type": _keeps_meaning,
    "div": _floating,
    "pow": lambda eqn: _floating(eqn) and _real(eqn),
    "rem": _floating,
    "round": _half_to_even,
    "scatter": _overwrites,
}
"""Of these primitives, the equations that there is a rule for."""
