"""What can be refused before any work is done: hyperparameters, trees, states.

Value checks run on concrete numbers; under tracing they are skipped, as the number is not known.
"""

import math
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import tree
from jaxdl.types import PyTree

_DECAYS = {"b1", "b2", "decay", "beta", "momentum", "adam_b1", "adam_b2"}
_FRACTIONS = {"slow_step_size", "alpha"}
_FINITE = {"step_size", "smooth"}
_COUNTS = {"k", "sync_period", "ns_steps", "decay_steps", "transition_steps", "steps_per_epoch"}

_RULES = {
    "decay": ("in [0, 1)", lambda v: 0 <= v < 1),
    "fraction": ("in [0, 1]", lambda v: 0 <= v <= 1),
    "finite": ("finite", math.isfinite),
    "count": ("a whole number, at least 1", lambda v: v >= 1 and v == int(v)),
    "nonnegative": ("finite and not negative", lambda v: 0 <= v < math.inf),
}


def _rule(name: str) -> str:
    kinds = {"decay": _DECAYS, "fraction": _FRACTIONS, "finite": _FINITE, "count": _COUNTS}
    return next((kind for kind, names in kinds.items() if name in names), "nonnegative")


def hyperparams(**values: Any) -> None:
    """Refuses hyperparameters outside their range: a β outside [0, 1), a negative ε or rate.

    The rule follows from the name. Traced numbers pass.

    Raises:
        ValueError: naming the hyperparameter, its range and the value that arrived.
        TypeError: if it is not a number.
    """
    for name, value in values.items():
        if _is_traced(value):
            continue
        expected, holds = _RULES[_rule(name)]
        if not holds(_scalar(name, value)):
            raise ValueError(f"{name} must be {expected}, got {value}.")


def _is_traced(value: Any) -> bool:
    return isinstance(getattr(value, "rounded", value), jax.core.Tracer)


def _scalar(name: str, value: Any) -> float:
    if callable(value):
        raise TypeError(
            f"{name} must be a number here, got a function. Schedules stand for a learning_rate, "
            "and in optim.with_hyperparams(recipe)(...) for other floating-point numbers too."
        )
    array = np.asarray(getattr(value, "rounded", value))
    if array.dtype.kind not in "iuf" and array.dtype != jnp.bfloat16:
        raise TypeError(f"{name} must be a real number, got {value!r}.")
    if array.ndim:
        raise ValueError(
            f"{name} must be one number, got an array of shape {array.shape}. "
            "To sweep over several, use jax.vmap over a function that builds the optimizer."
        )
    return float(array)


def scheduled(value: Any) -> Any:
    """What a schedule returned, if that is one real number (a traced one too).

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is an array with axes.
    """
    if value is None or jnp.ndim(value):
        got = "None" if value is None else f"an array of shape {jnp.shape(value)}"
        error = TypeError if value is None else ValueError
        raise error(f"A schedule must return one number for each step, got {got}.")
    return value


def floating(name: str, params: PyTree, what: str = "parameters") -> None:
    """Refuses leaves that are neither real nor complex floating-point numbers.

    Raises:
        TypeError: naming the first such leaf and its dtype.
    """
    for path, leaf in jax.tree.leaves_with_path(params):
        dtype = jnp.dtype(getattr(leaf, "dtype", None) or jnp.result_type(leaf))
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{name} expects floating-point {what}, but {_at(path)} is {dtype}. "
                "Convert it, keep it outside the parameters, or leave it out with optim.masked."
            )


def params_given(name: str, updates: PyTree, params: PyTree) -> None:
    """Refuses an update without parameters, or with those of another tree.

    Raises:
        ValueError: if `params` is None or differs from `updates` in structure or shapes.
    """
    if params is None:
        raise ValueError(
            f"{name} needs the current parameters, got None. "
            "Call update(updates, state, params) with all three arguments."
        )
    same_tree(updates, params, "the updates", "the parameters")


def state_of(name: str, expected: type, state: Any) -> None:
    """Refuses a state that another transformation made.

    A state counts as ours if its type has the same name and fields, so that states restored from
    a file, or made by a library with the same conventions, are welcome.

    Raises:
        ValueError: naming both types.
    """
    fields = getattr(type(state), "_fields", None)
    same_name = type(state).__name__ == expected.__name__
    if not same_name or fields != getattr(expected, "_fields", None):
        raise ValueError(
            f"{name} expected its own state, {expected.__name__}, got {type(state).__name__}. "
            "Pass the state that init or update of the same optimizer returned."
        )


def same_tree(a: PyTree, b: PyTree, a_name: str, b_name: str) -> None:
    """Refuses two trees that differ in structure or in the shape of a leaf.

    Raises:
        ValueError: naming the first path that differs, and what stands there in both.
    """
    if jax.tree.structure(a) != jax.tree.structure(b):
        path = first_difference(a, b)
        where = f"first at {path}" if path else "in the type of a container"
        raise ValueError(
            f"{a_name} and {b_name} must have one structure, but they differ {where}: "
            f"{a_name} have {jax.tree.structure(a)}, {b_name} {jax.tree.structure(b)}."
        )
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        if jnp.shape(x) != jnp.shape(y):
            raise ValueError(
                f"{a_name} and {b_name} must have the same shapes, but at {_at(path)} "
                f"{a_name} have {jnp.shape(x)} and {b_name} {jnp.shape(y)}."
            )


def first_difference(a: PyTree, b: PyTree) -> str:
    """The first leaf path that one of two trees has and the other has not ("" if none)."""
    a_paths, b_paths = tree.paths(a), tree.paths(b)
    for path in a_paths:
        if path not in b_paths:
            return repr(path)
    return next((repr(path) for path in b_paths if path not in a_paths), "")


def _at(path: tuple) -> str:
    return repr(tree.path_string(path)) if path else "the only leaf"
