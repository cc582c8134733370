"""Different transformations for different leaves: `masked` and `partition`."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl import errors, tree
from jaxdl.optim.base import GradientTransformation, takes_extra, transformation
from jaxdl.types import PyTree


class MaskedNode(NamedTuple):
    """Stands where a leaf was left out: a container without children, so maps pass it by."""


class MaskedState(NamedTuple):
    """The state of the inner transformation, for the leaves that it sees."""

    inner_state: PyTree


def masked(
    inner: GradientTransformation, mask: PyTree | Callable[[PyTree], PyTree]
) -> GradientTransformation:
    """Transforms some leaves and passes the others through.

    Args:
        inner: The transformation; its state covers only the leaves marked True. The others may be
            integers too.
        mask: A tree of True and False like the parameters (or a prefix of it), or a function that
            makes one from them.

    Raises:
        ValueError: if the mask does not match, naming the first path that differs.
        TypeError: if it holds something else than True and False.
    """
    pass_extra = takes_extra(inner.update)

    def init(params):
        return MaskedState(inner.init(_keep(_full_mask(mask, params), params)))

    def update(updates, state, params, **extra):
        marks = _full_mask(mask, updates)
        kept_params = None if params is None else _keep(marks, params)
        changed, inner_state = inner.update(
            _keep(marks, updates), state.inner_state, kept_params, **pass_extra(extra)
        )
        leaves = iter(jax.tree.leaves(changed))
        merged = jax.tree.map(lambda m, g: next(leaves) if m else g, marks, updates)
        return merged, MaskedState(inner_state)

    return transformation("masked", MaskedState, init, update, check_leaves=False)


class PartitionState(NamedTuple):
    """For each label, the state of its transformation."""

    inner_states: Mapping[Hashable, PyTree]


def partition(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: PyTree | Callable[[PyTree], PyTree],
) -> GradientTransformation:
    """Each leaf goes through the transformation that its label names.

    Args:
        transforms: From label to transformation.
        param_labels: A tree of labels like the parameters (or a prefix of it), or a function that
            makes one from them.

    Raises:
        ValueError: if the labels do not match the parameters, or one has no transformation.
    """

    def masks(params):
        labels = _full_labels(param_labels, params, transforms)
        return {name: jax.tree.map(name.__eq__, labels) for name in transforms}

    def init(params):
        marks = masks(params)
        states = {n: masked(t, marks[n]).init(params) for n, t in transforms.items()}
        return PartitionState(states)

    def update(updates, state, params, **extra):
        marks, states = masks(updates), {}
        for name, inner in transforms.items():
            updates, states[name] = masked(inner, marks[name]).update(
                updates, state.inner_states[name], params, **extra
            )
        return updates, PartitionState(states)

    return transformation("partition", PartitionState, init, update, check_leaves=False)


def _keep(marks: PyTree, leaves: PyTree) -> PyTree:
    if not jax.tree.leaves(leaves):
        return leaves
    return jax.tree.map(lambda m, leaf: leaf if m else MaskedNode(), marks, leaves)


def _full_mask(mask: Any, params: PyTree) -> PyTree:
    """The mask with one mark for each leaf of the parameters."""
    mask = mask(params) if callable(mask) else mask
    for path, mark in jax.tree.leaves_with_path(mask):
        if not isinstance(mark, bool | np.bool_):
            raise TypeError(
                f"A mask holds True and False, but at {tree.path_string(path)!r} it has {mark!r} "
                f"of type {type(mark).__name__}."
            )
    return _spread(mask, params, "The mask")


def _full_labels(labels: Any, params: PyTree, known: Mapping) -> PyTree:
    """The labels with one for each leaf of the parameters, all of them known."""
    labels = labels(params) if callable(labels) else labels
    for path, label in jax.tree.leaves_with_path(labels):
        if label not in known:
            error = errors.unknown_name("label", label, map(str, known))
            where = tree.path_string(path) or "the whole tree"
            raise ValueError(f"No transformation for the label at {where!r}. {error}")
    return _spread(labels, params, "The tree of labels")


def _spread(prefix: PyTree, params: PyTree, name: str) -> PyTree:
    """A prefix tree, repeated down to the leaves of `params`.

    A tree without leaves (nothing to train, or a stand-in for the parameters) matches any prefix.
    """
    if not jax.tree.leaves(params):
        return params
    if jax.tree.structure(prefix) == jax.tree.structure(params):
        return prefix
    try:
        return jax.tree.map(
            lambda mark, subtree: jax.tree.map(lambda _: mark, subtree), prefix, params
        )
    except (ValueError, TypeError) as mismatch:
        raise ValueError(
            f"{name} must have the structure of the parameters or be a prefix of it, but the "
            f"first path that differs is {_first_uncovered(prefix, params)}: {name.lower()} is "
            f"{jax.tree.structure(prefix)}, the parameters are {jax.tree.structure(params)}."
        ) from mismatch


def _first_uncovered(prefix: PyTree, params: PyTree) -> str:
    """The first path of the parameters that the prefix does not reach, or of the prefix alone."""
    marks, leaves = tree.paths(prefix), tree.paths(params)

    def reaches(mark, leaf):
        return mark in ("", leaf) or leaf.startswith(f"{mark}.")

    lost = [leaf for leaf in leaves if not any(reaches(mark, leaf) for mark in marks)]
    lost += [mark for mark in marks if not any(reaches(mark, leaf) for leaf in leaves)]
    return repr(lost[0]) if lost else "in the type of a container"
