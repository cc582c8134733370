"""What a gradient transformation is, and how several make one.

An optimizer is a pair of pure functions. `init(params)` makes its state; `update(updates, state,
params)` turns gradients into what is to be added to the parameters, and returns the next state.
The calling convention is optax's, so either library's transformations go into either's `chain`.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.optim import checks
from jaxdl.types import Params, PyTree


class GradientTransformation(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: `params -> state`.
        update: `(updates, state, params=None, **extra) -> (updates, state)`.
    """

    init: Callable[[Params], PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing."""


def transformation(
    name: str,
    state_type: type,
    init: Callable[[Params], PyTree],
    update: Callable[..., tuple[PyTree, PyTree]],
    needs_params: bool = False,
    check_leaves: bool = True,
) -> GradientTransformation:
    """A GradientTransformation that refuses bad input with a sentence.

    Integer parameters and gradients (with `check_leaves`), the state of another transformation and
    (with `needs_params`) missing parameters are errors; keyword arguments that `update` does not
    take are dropped.
    """
    pass_extra = takes_extra(update)

    def checked_init(params):
        if check_leaves:
            checks.floating(name, params)
        return init(params)

    def checked_update(updates, state, params=None, **extra):
        checks.state_of(name, state_type, state)
        if check_leaves:
            checks.floating(name, updates, "gradients")
        updates = jax.tree.map(jnp.asarray, updates)
        if needs_params:
            checks.params_given(name, updates, params)
        return update(updates, state, params, **pass_extra(extra))

    return GradientTransformation(checked_init, checked_update)


def stateless(
    name: str, f: Callable[..., PyTree], needs_params: bool = False
) -> GradientTransformation:
    """A transformation without a state, from `f(updates, params) -> updates`."""

    def init(params):
        del params
        return EmptyState()

    def update(updates, state, params):
        return f(updates, params), state

    return transformation(name, EmptyState, init, update, needs_params)


def takes_extra(update: Callable) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A filter that keeps those keyword arguments that `update` accepts."""
    parameters = inspect.signature(update).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return lambda extra: extra
    return lambda extra: {name: value for name, value in extra.items() if name in parameters}


def identity() -> GradientTransformation:
    """Leaves the updates as they are: u = g."""
    return stateless("identity", lambda updates, params: updates)


def chain(*transforms: GradientTransformation) -> GradientTransformation:
    """One transformation that applies several in order: u = fₙ(… f₂(f₁(g))).

    Args:
        *transforms: Transformations of this library or of optax.

    Returns:
        The composition. Its state is the tuple of the links' states. Extra keyword arguments
        reach those links that take them.

    Raises:
        TypeError: if a link is no transformation.
        ValueError: from `update`, if the state has another number of links.
    """
    for transform in transforms:
        if not (hasattr(transform, "init") and hasattr(transform, "update")):
            raise TypeError(
                f"chain expects transformations, one argument each, got {transform!r}. "
                "A recipe is called first, as in chain(optim.clip(1.0), optim.adam(1e-3))."
            )
    filters = [takes_extra(t.update) for t in transforms]

    def init(params):
        return tuple(t.init(params) for t in transforms)

    def update(updates, state, params=None, **extra):
        if hasattr(state, "_fields") or not isinstance(state, tuple) or len(state) != len(filters):
            raise ValueError(
                f"chain expected a tuple of {len(transforms)} states, one per link, got "
                f"{_describe(state)}. Pass the state that init of the same chain returned."
            )
        states = []
        for link, keep, link_state in zip(transforms, filters, state, strict=True):
            updates, link_state = link.update(updates, link_state, params, **keep(extra))
            states.append(link_state)
        return updates, tuple(states)

    return GradientTransformation(init, update)


def named_chain(*named: tuple[str, GradientTransformation]) -> GradientTransformation:
    """`chain` whose state is a dict: the state of a link is found under the link's name.

    Args:
        *named: Pairs `(name, transformation)`.

    Raises:
        TypeError: if an argument is no such pair.
        ValueError: if two links have one name, or `update` gets a state with other names.
    """
    for pair in named:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise TypeError(f"named_chain expects pairs (name, transformation), got {pair!r}.")
    names = [name for name, _ in named]
    if len(set(names)) != len(names):
        raise ValueError(f"named_chain needs a different name for each link, got {names}.")
    inner = chain(*(transform for _, transform in named))

    def init(params):
        return dict(zip(names, inner.init(params), strict=True))

    def update(updates, state, params=None, **extra):
        if not isinstance(state, dict) or set(state) != set(names):
            raise ValueError(
                f"named_chain expected a dict of states named {names}, got {_describe(state)}. "
                "Pass the state that init of the same chain returned."
            )
        updates, states = inner.update(
            updates, tuple(state[name] for name in names), params, **extra
        )
        return updates, dict(zip(names, states, strict=True))

    return GradientTransformation(init, update)


def apply_updates(params: Params, updates: PyTree) -> Params:
    """The step itself: w := w + u, in the dtype of w.

    Args:
        params: A tree of arrays w.
        updates: A tree of the same structure and shapes.

    Returns:
        The new parameters. The sum is taken in the wider of the two dtypes.

    Raises:
        ValueError: if structure or shapes differ, naming the first path.
        TypeError: for complex updates of real parameters.
    """
    checks.same_tree(params, updates, "the parameters", "the updates")

    def add(p, u):
        p, u = jnp.asarray(p), jnp.asarray(u)
        if p.dtype == u.dtype:
            return p + u
        dtype = wider(p.dtype, u.dtype)
        if jnp.iscomplexobj(u) and not jnp.iscomplexobj(p):
            raise TypeError(f"Updates of {u.dtype} have no place in parameters of {p.dtype}.")
        return (p.astype(dtype) + u.astype(dtype)).astype(p.dtype)

    return jax.tree.map(add, params, updates)


def wider(*dtypes) -> jnp.dtype:
    """The dtype that holds the values of all given ones, also where promotion is strict."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*dtypes)


def _describe(state: PyTree) -> str:
    if type(state) is tuple:
        return f"a tuple of {len(state)}"
    if isinstance(state, dict):
        return f"a dict with {sorted(map(str, state))}"
    return type(state).__name__
