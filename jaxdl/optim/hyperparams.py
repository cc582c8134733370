"""Hyperparameters that live in the state, where they can change without a new compilation."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import errors
from jaxdl.optim import checks, moments
from jaxdl.optim.base import GradientTransformation, takes_extra, transformation
from jaxdl.types import Array, PyTree


class HyperparamsState(NamedTuple):
    """The hyperparameters and the state of the optimizer that they belong to.

    Attributes:
        count: Number of updates so far.
        hyperparams: By name, what the next update uses (a scheduled one: what the last one used).
        remainders: Under "rest of " and the name, a pair (rounded, rest): what rounding took from
            the number given. Scheduled ones have none.
        inner_state: The state of the optimizer.
    """

    count: Array
    hyperparams: dict[str, Array]
    remainders: dict[str, tuple[Array, Array]]
    inner_state: PyTree


@jax.tree_util.register_pytree_node_class
class Rounded:
    """A number x as the nearest float `rounded`, together with the rest x − rounded.

    It acts as `rounded` everywhere but in 1 − x. The difference cancels most digits: for
    x = 0.999 in float32, 1 − rounded misses 0.001 by 110 units in the last place, and
    (1 − rounded) − rest by none.
    """

    def __init__(self, rounded: Array, rest: Array):
        self.rounded, self.rest = rounded, rest

    def tree_flatten(self):
        """As a tree it is its two numbers, so that compiled functions take it."""
        return (self.rounded, self.rest), None

    @classmethod
    def tree_unflatten(cls, _, children):
        """The inverse of `tree_flatten`."""
        return cls(*children)

    def __jax_array__(self):
        return self.rounded

    def __rsub__(self, other):
        return (other - self.rounded) - self.rest

    def __sub__(self, other):
        return self.rounded - other

    def __add__(self, other):
        return self.rounded + other

    def __mul__(self, other):
        return self.rounded * other

    def __truediv__(self, other):
        return self.rounded / other

    def __rtruediv__(self, other):
        return other / self.rounded

    def __pow__(self, other):
        return self.rounded**other

    def __neg__(self):
        return -self.rounded

    __radd__ = __add__
    __rmul__ = __mul__


def with_hyperparams(
    recipe: Callable[..., GradientTransformation],
) -> Callable[..., GradientTransformation]:
    """Keeps a recipe's numbers in its state, so that changing one never recompiles.

        adam = optim.with_hyperparams(optim.adam)(learning_rate=1e-3, b2=0.999)
        state = adam.init(params)
        state = optim.set_hyperparams(state, learning_rate=1e-4)

    Args:
        recipe: A function that makes an optimizer from numbers; of this library or of optax.

    Returns:
        A function with the recipe's arguments. Its floating-point arguments, given or default,
        are kept in `state.hyperparams`; a function of the step may stand for any of them. All
        other arguments (switches, dtypes, counts, masks) stay fixed. A whole number counts as a
        floating-point one where the signature says so (by a default or an annotation).

    Raises:
        TypeError: if `recipe` is no function.

    The updates of a compiled step equal those of the recipe with constant numbers, also where
    1 − b2 needs more digits than float32 has: what rounding takes from a Python float is kept
    beside it. Inside larger programs a compiler may round a sum of two products in another order,
    with constants as with these; where the products cancel (Nadam), that shows in more digits.
    """
    if not callable(recipe):
        raise TypeError(
            f"with_hyperparams expects a recipe such as optim.adam itself, got {recipe!r}. "
            "Numbers come after: optim.with_hyperparams(optim.adam)(1e-3)."
        )
    signature = inspect.signature(recipe)

    @functools.wraps(recipe)
    def make(*args, **kwargs) -> GradientTransformation:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        numbers, schedules, fixed = _sort(bound.arguments, signature)
        recipe(**fixed, **numbers, **{name: s(0) for name, s in schedules.items()})

        def scheduled(count):
            return {name: _split(schedule(count)) for name, schedule in schedules.items()}

        def init(params):
            now, parts = _unzip(scheduled(moments.zero_count()))
            values, remainders = _unzip({name: _split(value) for name, value in numbers.items()})
            inner = recipe(**fixed, **_join(values | now, remainders | parts)).init(params)
            return HyperparamsState(moments.zero_count(), values | now, remainders, inner)

        def update(updates, state, params, **extra):
            now, parts = _unzip(scheduled(state.count))
            values, remainders = state.hyperparams | now, state.remainders
            inner = recipe(**fixed, **_join(values, remainders | parts))
            updates, inner_state = inner.update(
                updates, state.inner_state, params, **takes_extra(inner.update)(extra)
            )
            count = moments.increment(state.count)
            return updates, HyperparamsState(count, values, remainders, inner_state)

        name = f"with_hyperparams({getattr(recipe, '__name__', 'recipe')})"
        return transformation(name, HyperparamsState, init, update)

    return make


def set_hyperparams(state: HyperparamsState, **values: Any) -> HyperparamsState:
    """The same state with other hyperparameters.

    Args:
        state: From an optimizer made by `with_hyperparams`.
        **values: Numbers by name, traced or not; under `vmap`, one per run.

    Returns:
        A new state; shapes and dtypes are unchanged, so a compiled step runs on.

    Raises:
        ValueError: for a name that is not among the hyperparameters or follows a schedule, or a
            value out of range.
    """
    checks.state_of("set_hyperparams", HyperparamsState, state)
    checks.hyperparams(**values)
    for name in values:
        if name not in state.hyperparams:
            raise errors.unknown_name("hyperparameter", name, state.hyperparams)
        if _rest_of(name) not in state.remainders:
            raise ValueError(
                f"{name} follows a schedule, which would overwrite {values[name]} at the next "
                "step. Give with_hyperparams a number for it instead."
            )
    split = {name: _split(value, state.hyperparams[name].dtype) for name, value in values.items()}
    numbers, remainders = _unzip(split)
    return state._replace(
        hyperparams=state.hyperparams | numbers, remainders=state.remainders | remainders
    )


def _sort(arguments: dict, signature: inspect.Signature) -> tuple[dict, dict, dict]:
    """Arguments as numbers, schedules (functions in the place of numbers) and the rest."""
    numbers, schedules, fixed = {}, {}, {}
    for name, value in _flat(arguments, signature):
        number = _takes_number(name, signature.parameters.get(name))
        if callable(value) and number:
            schedules[name] = value
        elif _is_floating(value) or (number and type(value) is int):
            numbers[name] = value
        else:
            fixed[name] = value
    return numbers, schedules, fixed


def _flat(arguments: dict, signature: inspect.Signature) -> list[tuple[str, Any]]:
    """Pairs of name and value, with those that a `**kwargs` caught on the same level."""
    pairs = []
    for name, value in arguments.items():
        caught = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        pairs += value.items() if caught else [(name, value)]
    return pairs


def _takes_number(name: str, parameter: inspect.Parameter | None) -> bool:
    """Whether the recipe says that this argument is a floating-point number."""
    if name.endswith("learning_rate") or parameter is None:
        return name.endswith("learning_rate")
    kinds = get_args(parameter.annotation) or (parameter.annotation,)
    return isinstance(parameter.default, float) or (
        float in kinds and type(parameter.default) is not int
    )


def _is_floating(value: Any) -> bool:
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return bool(jnp.issubdtype(value.dtype, jnp.floating))
    return isinstance(value, float)


def _split(value: Any, dtype: Any = None) -> tuple[Array, Array]:
    """A number as its nearest float and what is left; the rest of an array is zero."""
    if isinstance(value, jax.Array):
        rounded = jnp.array(value, dtype, copy=True)
        return rounded, jnp.zeros_like(rounded)
    dtype = jnp.dtype(dtype or jax.dtypes.canonicalize_dtype(float))
    rounded = np.asarray(value, dtype)
    return jnp.array(rounded), jnp.array(np.float64(value) - np.float64(rounded), dtype)


def _unzip(split: dict) -> tuple[dict, dict]:
    values = {name: rounded for name, (rounded, _) in split.items()}
    return values, {
        _rest_of(n): (jnp.array(rounded, copy=True), rest) for n, (rounded, rest) in split.items()
    }


def _rest_of(name: str) -> str:
    """A key of its own, so that a search in the state finds the hyperparameter alone."""
    return f"rest of {name}"


def _join(values: dict, remainders: dict) -> dict[str, Rounded]:
    """Each value with its rest, if it still is the value that the rest belongs to."""

    def one(value, rounded, rest):
        value = jnp.asarray(value, rounded.dtype)
        return Rounded(value, jnp.where(value == rounded, rest, jnp.zeros_like(rest)))

    return {name: one(value, *remainders[_rest_of(name)]) for name, value in values.items()}
