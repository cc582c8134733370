"""Arrays that are moved in one place: a program of them computes again only what that touches.

A parameter enters most losses through a product and a penalty. Where one entry of W is moved by d,

    x (W + d eᵢ eⱼᵀ) = x W + d (x eᵢ) eⱼᵀ        Σ f(W + d eᵢ eⱼᵀ) = Σ f(W) + f(wᵢⱼ + d) − f(wᵢⱼ)

so x W and Σ f(W) are needed once for all entries, and of a function of x W only column j.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxdl.gradcheck import interpret
from jaxdl.gradcheck.replay.rules import elementwise

ELEMENTWISE = frozenset(elementwise.RULES)
"""Primitives that treat every entry alike."""


class Moved(NamedTuple):
    """The array `base`, except that it is `part` at the index `at[axis]` of some axes."""

    base: Any
    at: Mapping[int, Any]
    part: Any

    def change(self) -> Any:
        """What was added to this part of `base`."""
        return self.part - pick(self.base, self.at)

    def dense(self) -> Any:
        """The array itself."""
        full = jnp.expand_dims(self.part, sorted(self.at))
        return jnp.where(_mask(self.at, self.base.shape), full, self.base)


class Added(NamedTuple):
    """The array `base` + `change`, not summed yet: what is added next needs the base alone."""

    base: Any
    change: Any

    def dense(self) -> Any:
        """The array itself."""
        return self.base + self.change


def dense(x: Any) -> Any:
    """An array, whatever is known about it."""
    return x.dense() if isinstance(x, Moved | Added) else x


def pick(x: Any, at: Mapping[int, Any]) -> Any:
    """The part of x at these indices; along axes of length 1, the only one."""
    if not at:
        return x
    zero = next(iter(at.values())) * 0
    start = [at.get(axis, zero) if n > 1 else zero for axis, n in enumerate(x.shape)]
    sizes = [1 if axis in at else n for axis, n in enumerate(x.shape)]
    part = lax.dynamic_slice(x, start, sizes, allow_negative_indices=False)
    return lax.squeeze(part, sorted(at))


def _mask(at: Mapping[int, Any], shape: Sequence[int]) -> Any:
    """True at these indices, in as many axes as `shape`."""
    here = True
    for axis, i in at.items():
        unit = jnp.arange(shape[axis], dtype=i.dtype) == i
        here = here & unit.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return here


def rule(eqn: Any, inputs: list) -> list | None:
    """Rule of `interpret.run` for equations with inputs that are `Moved`."""
    if interpret.is_call(eqn) or not any(isinstance(x, Moved | Added) for x in inputs):
        return None
    if not eqn.outvars:  # it prints, say
        return interpret.usual(eqn, [dense(x) for x in inputs])
    name, shape = eqn.primitive.name, eqn.outvars[0].aval.shape
    if any(isinstance(x, Added) for x in inputs):
        kept = _shifted(eqn, inputs, shape)
        if kept is not None:
            return [kept]
        inputs = [x.dense() if isinstance(x, Added) else x for x in inputs]
    moved = [x for x in inputs if isinstance(x, Moved)]
    if not moved:
        return interpret.usual(eqn, inputs)
    first = moved[0]
    if name in ELEMENTWISE and all(_goes_with(x, first, shape) for x in inputs):
        base = interpret.usual(eqn, [_base(x) for x in inputs])[0]
        part = interpret.usual(eqn, [_part(x, first.at) for x in inputs])[0]
        return [Moved(base, first.at, part)]
    if len(moved) == 1 and name in OPERATIONS:
        return [OPERATIONS[name](eqn, inputs, first)]
    return interpret.usual(eqn, [dense(x) for x in inputs])


def _shifted(eqn: Any, inputs: list, shape: tuple[int, ...]) -> Added | None:
    """(base + change) ± x = (base ± x) + change, for an array x that does not move."""
    if eqn.primitive.name not in ("add", "sub"):
        return None
    one, two = inputs if isinstance(inputs[0], Added) else inputs[::-1]
    swapped = one is not inputs[0]
    if isinstance(two, Moved | Added) or jnp.shape(one.change) != shape:
        return None
    if swapped and eqn.primitive.name == "sub":
        return None
    bases = [two, one.base] if swapped else [one.base, two]
    return Added(interpret.usual(eqn, bases)[0], one.change)


def _goes_with(x: Any, moved: Moved, shape: tuple[int, ...]) -> bool:
    """Whether x moves a result of this shape in no other place than `moved` does."""
    if isinstance(x, Moved):
        repeated = any(x.base.shape[axis] != shape[axis] for axis in x.at)
        return x.at is moved.at and x.base.ndim == len(shape) and not repeated
    return jnp.ndim(x) in (0, len(shape))


def _base(x: Any) -> Any:
    return x.base if isinstance(x, Moved) else x


def _part(x: Any, at: Mapping[int, Any]) -> Any:
    if isinstance(x, Moved):
        return x.part
    return pick(x, at) if jnp.shape(x) else x


def _sum(eqn: Any, inputs: list, moved: Moved) -> Any:
    (base,) = interpret.usual(eqn, [moved.base])
    axes, rank = eqn.params["axes"], moved.base.ndim
    inner = [axis for axis in range(rank) if axis not in moved.at]
    inner_axes = tuple(k for k, axis in enumerate(inner) if axis in axes)
    (change,) = interpret.usual(eqn, [moved.change()], axes=inner_axes)
    left = [axis for axis in range(rank) if axis not in axes]
    return _plus(base, {left.index(a): i for a, i in moved.at.items() if a in left}, change)


def _plus(base: Any, at: Mapping[int, Any], change: Any) -> Any:
    """The base with a change added to one part, or to all of it."""
    return Moved(base, at, pick(base, at) + change) if at else Added(base, change)


def _transposed(eqn: Any, inputs: list, moved: Moved) -> Any:
    order = eqn.params["permutation"]
    inner = [axis for axis in range(len(order)) if axis not in moved.at]
    part = moved.part.transpose([inner.index(axis) for axis in order if axis in inner])
    at = {order.index(axis): i for axis, i in moved.at.items()}
    return Moved(interpret.usual(eqn, [moved.base])[0], at, part)


def _broadcast(eqn: Any, inputs: list, moved: Moved) -> Any:
    """As long as no axis is repeated along which there is a place to speak of."""
    shape, dims = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    if any(shape[dims[axis]] != moved.base.shape[axis] for axis in moved.at):
        return interpret.usual(eqn, [moved.dense()])[0]
    at = {dims[axis]: i for axis, i in moved.at.items()}
    left = [axis for axis in range(len(shape)) if axis not in at]
    inner = [left.index(dims[axis]) for axis in range(len(dims)) if axis not in moved.at]
    part = lax.broadcast_in_dim(moved.part, [shape[axis] for axis in left], inner)
    return Moved(interpret.usual(eqn, [moved.base])[0], at, part)


def _product(eqn: Any, inputs: list, moved: Moved) -> Any:
    """x (W + change) = x W + x change, where the change meets but a part of x."""
    left = inputs[0] is moved
    x = inputs[1 if left else 0]
    (base,) = interpret.usual(eqn, [moved.base, x] if left else [x, moved.base])
    pairs, batches = eqn.params["dimension_numbers"]
    mine, other = (0, 1) if left else (1, 0)
    summed = dict(zip(pairs[mine], pairs[other], strict=True))
    batch = dict(zip(batches[mine], batches[other], strict=True))
    met = {
        both[axis]: i for both in (summed, batch) for axis, i in moved.at.items() if axis in both
    }
    inner = [axis for axis in range(moved.base.ndim) if axis not in moved.at]
    inner_x = [axis for axis in range(x.ndim) if axis not in met]
    ours = [[inner.index(a) for a in both if a in inner] for both in (summed, batch)]
    theirs = [[inner_x.index(both[a]) for a in both if a in inner] for both in (summed, batch)]
    one, two = (ours, theirs) if left else (theirs, ours)
    numbers = ((one[0], two[0]), (one[1], two[1]))
    added, part = moved.change(), pick(x, met)
    first, second = (added, part) if left else (part, added)
    (change,) = interpret.usual(eqn, [first, second], dimension_numbers=numbers)
    free = [axis for axis in range(moved.base.ndim) if axis not in (*summed, *batch)]
    free_x = [axis for axis in range(x.ndim) if axis not in (*summed.values(), *batch.values())]
    result = [*batch, *free] if left else [*batch, *(None for _ in free_x), *free]
    at = {result.index(axis): i for axis, i in moved.at.items() if axis in result}
    return _plus(base, at, change)


OPERATIONS = {
    "reduce_sum": _sum,
    "transpose": _transposed,
    "broadcast_in_dim": _broadcast,
    "dot_general": _product,
}
"""`f(eqn, inputs, the one that is moved)` for the result."""
