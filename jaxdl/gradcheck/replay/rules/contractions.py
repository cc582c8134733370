"""Products that sum over an axis: `dot_general`, and gathers of rows by index."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

Params = dict[str, Any]


class Letters(NamedTuple):
    """An einsum signature: one integer label per axis of the two operands and the result."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    out: tuple[int, ...]


class Plan(NamedTuple):
    """A contraction as transpositions around one batched matrix product."""

    order_a: tuple[int, ...]
    shape_a: tuple[int, ...]
    order_b: tuple[int, ...]
    shape_b: tuple[int, ...]
    shape_out: tuple[int, ...]
    order_out: tuple[int, ...]


@lru_cache(maxsize=4096)
def plan(la, lb, lo, shape_a, shape_b) -> Plan:
    """How to contract operands with these labels and shapes."""
    batch = [c for c in la if c in lb and c in lo]
    summed = [c for c in la if c in lb and c not in lo]
    rows = [c for c in la if c not in lb]
    columns = [c for c in lb if c not in la]
    size = {**dict(zip(la, shape_a, strict=True)), **dict(zip(lb, shape_b, strict=True))}

    def arrangement(labels, *groups):
        order = tuple(labels.index(c) for group in groups for c in group)
        return order, tuple(math.prod(size[c] for c in group) for group in groups)

    order = batch + rows + columns
    return Plan(
        *arrangement(la, batch, rows, summed),
        *arrangement(lb, batch, summed, columns),
        tuple(size[c] for c in order),
        tuple(order.index(c) for c in lo),
    )


def contract(a, la, b, lb, lo) -> np.ndarray:
    """einsum of two operands by one batched matrix product.

    Args:
        a: first operand, its axes labelled `la`.
        la: labels.
        b: second operand, its axes labelled `lb`.
        lb: labels.
        lo: labels of the result; labels in both operands and not here are summed.
    """
    p = plan(la, lb, lo, a.shape, b.shape)
    left = a.transpose(p.order_a).reshape(p.shape_a)
    right = b.transpose(p.order_b).reshape(p.shape_b)
    product = left * right if p.shape_a[-1] == 1 else left @ right  # nothing is summed
    return product.reshape(p.shape_out).transpose(p.order_out)


def dot_letters(params: Params, left_rank: int, right_rank: int) -> Letters:
    """The einsum signature of a `dot_general`."""
    return _letters(_frozen(params["dimension_numbers"]), left_rank, right_rank)


def _frozen(numbers) -> tuple:
    return tuple(tuple(tuple(axes) for axes in pair) for pair in numbers)


@lru_cache(maxsize=1024)
def _letters(numbers: tuple, left_rank: int, right_rank: int) -> Letters:
    (contract_l, contract_r), (batch_l, batch_r) = numbers
    left = list(range(left_rank))
    right = [left_rank + i for i in range(right_rank)]
    for i, j in zip((*contract_l, *batch_l), (*contract_r, *batch_r), strict=True):
        right[j] = left[i]
    batch = [left[i] for i in batch_l]
    used = {*contract_l, *batch_l}
    free_l = [left[i] for i in range(left_rank) if i not in used]
    used = {*contract_r, *batch_r}
    free_r = [right[i] for i in range(right_rank) if i not in used]
    return Letters(tuple(left), tuple(right), (*batch, *free_l, *free_r))


def _dot(params, x, y):
    left, right, out = dot_letters(params, x.ndim, y.ndim)
    return contract(x, left, y, right, out)


def _dot_back(params, ct, ins, out):
    return tuple(back(params, ct, *ins) for back in PARTS["dot_general"])


def dot_back_left(params, ct, x, y) -> np.ndarray:
    """Cotangent of the left operand of a `dot_general`: linear in ct and in y."""
    left, right, out = dot_letters(params, x.ndim, y.ndim)
    return contract(ct, out, y, right, left)


def dot_back_right(params, ct, x, y) -> np.ndarray:
    """Cotangent of the right operand of a `dot_general`: linear in ct and in x."""
    left, right, out = dot_letters(params, x.ndim, y.ndim)
    return contract(x, left, ct, out, right)


def gather_index(params: Params, shape: tuple[int, ...], indices: np.ndarray) -> np.ndarray:
    """For each entry of a gather's result, the flat position in the operand (clipped)."""
    d = params["dimension_numbers"]
    sizes = params["slice_sizes"]
    batch_shape = indices.shape[:-1]
    dropped = {*d.collapsed_slice_dims, *d.operand_batching_dims}
    windows = [i for i in range(len(shape)) if i not in dropped]
    rank = len(batch_shape) + len(windows)
    batch_axes = [i for i in range(rank) if i not in d.offset_dims]
    flat = np.zeros((1,) * rank, int)
    strides = np.cumprod([1, *shape[:0:-1]])[::-1].astype(int)
    for axis, full in enumerate(shape):
        position = np.zeros((1,) * rank, int)
        if axis in d.start_index_map:
            start = indices[..., d.start_index_map.index(axis)]
            start = np.clip(start.astype(int), 0, full - sizes[axis])
            position = position + _place(start, batch_axes, rank)
        if axis in d.operand_batching_dims:
            which = d.start_indices_batching_dims[d.operand_batching_dims.index(axis)]
            steps = np.arange(full).reshape(
                [-1 if i == which else 1 for i in range(len(batch_shape))]
            )
            position = position + _place(np.broadcast_to(steps, batch_shape), batch_axes, rank)
        if axis in windows:
            offset = np.arange(sizes[axis])
            position = position + _place(offset, [d.offset_dims[windows.index(axis)]], rank)
        flat = flat + position * strides[axis]
    return flat


def _place(x: np.ndarray, axes: list[int], rank: int) -> np.ndarray:
    """x with its axes moved to these of `rank` axes, the others of length 1."""
    shape = [1] * rank
    for axis, size in zip(axes, x.shape, strict=True):
        shape[axis] = size
    return x.reshape(shape)


def _gather(params, x, indices):
    return np.ravel(x)[gather_index(params, np.shape(x), indices)]


def _gather_back(params, ct, ins, out):
    index = np.broadcast_to(gather_index(params, np.shape(ins[0]), ins[1]), np.shape(ct))
    flat = np.zeros(np.size(ins[0]), ct.dtype)
    np.add.at(flat, index.ravel(), ct.ravel())
    return (flat.reshape(np.shape(ins[0])), None)


PARTS = {"dot_general": (dot_back_left, dot_back_right)}
"""Backward rules of expensive products, one operand at a time."""

RULES = {"dot_general": (_dot, _dot_back), "gather": (_gather, _gather_back)}
