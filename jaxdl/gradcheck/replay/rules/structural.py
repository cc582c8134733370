"""Primitives that move, repeat or sum numbers: all linear, except max, min and product."""

from typing import Any

import numpy as np

Params = dict[str, Any]


def _broadcast(params, x, *_):
    shape, dims = params["shape"], params["broadcast_dimensions"]
    expanded = [1] * len(shape)
    for axis, size in zip(dims, np.shape(x), strict=True):
        expanded[axis] = size
    return np.broadcast_to(np.reshape(x, expanded), shape)


def broadcast_axes(params: Params, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Axes of the output along which `broadcast_in_dim` repeats an input of this shape."""
    out, dims = params["shape"], params["broadcast_dimensions"]
    kept = {axis for axis, size in zip(dims, shape, strict=True) if size == out[axis]}
    return tuple(axis for axis in range(len(out)) if axis not in kept)


def _broadcast_back(params, ct, ins, out):
    shape = np.shape(ins[0])
    return (np.sum(ct, axis=broadcast_axes(params, shape)).reshape(shape), *(None,) * len(ins[1:]))


def _reshape(params, x, *_):
    order = params.get("dimensions")  # of the axes before
    return np.reshape(x if order is None else np.transpose(x, order), params["new_sizes"])


def _reshape_back(params, ct, ins, out):
    shape, order = np.shape(ins[0]), params.get("dimensions")
    if order is None:
        return (np.reshape(ct, shape),)
    return (np.transpose(np.reshape(ct, [shape[i] for i in order]), np.argsort(order)),)


def _like_input(params, ct, ins, out):
    return (np.reshape(ct, np.shape(ins[0])),)


def _transpose(params, x):
    return np.transpose(x, params["permutation"])


def _transpose_back(params, ct, ins, out):
    return (np.transpose(ct, np.argsort(params["permutation"])),)


def _squeeze(params, x):
    return np.squeeze(x, axis=tuple(params["dimensions"]))


def _index(params, x):
    return x[params["position"]]


def _index_back(params, ct, ins, out):
    full = np.zeros(np.shape(ins[0]), ct.dtype)
    full[params["position"]] = ct
    return (full,)


def _stack(params, *xs):
    return np.stack(xs, params["axis"])


def _stack_back(params, ct, ins, out):
    return tuple(np.moveaxis(ct, params["axis"], 0))


def _outputs(params, *xs):
    return np.stack(xs) if xs else np.zeros(params["shape"])


def _outputs_back(params, ct, ins, out):
    return tuple(ct)


def _concatenate(params, *xs):
    return np.concatenate(xs, axis=params["dimension"])


def _concatenate_back(params, ct, ins, out):
    axis = params["dimension"]
    ends = np.cumsum([np.shape(x)[axis] for x in ins])[:-1]
    return tuple(np.split(ct, ends, axis=axis))


def slices(params: Params) -> tuple[slice, ...]:
    """What `slice` takes of its operand."""
    strides = params["strides"] or (1,) * len(params["start_indices"])
    starts, limits = params["start_indices"], params["limit_indices"]
    return tuple(slice(*bounds) for bounds in zip(starts, limits, strides, strict=True))


def _slice(params, x):
    return x[slices(params)]


def _slice_back(params, ct, ins, out):
    full = np.zeros(np.shape(ins[0]), ct.dtype)
    full[slices(params)] = ct
    return (full,)


def starts(shape, sizes, indices) -> tuple[slice, ...]:
    """Where `dynamic_slice` reads: each start moved so that the window lies inside."""
    pairs = zip(shape, sizes, indices, strict=True)
    return tuple(
        slice(start, start + size)
        for full, size, index in pairs
        for start in [int(np.clip(int(index), 0, full - size))]
    )


def _dynamic_slice(params, x, *indices):
    return x[starts(np.shape(x), params["slice_sizes"], indices)]


def _dynamic_slice_back(params, ct, ins, out):
    full = np.zeros(np.shape(ins[0]), ct.dtype)
    full[starts(full.shape, params["slice_sizes"], ins[1:])] = ct
    return (full, *(None,) * len(ins[1:]))


def _update(params, x, new, *indices):
    out = np.array(x)
    out[starts(out.shape, np.shape(new), indices)] = new
    return out


def _update_back(params, ct, ins, out):
    where = starts(np.shape(ct), np.shape(ins[1]), ins[2:])
    rest = np.array(ct)
    rest[where] = 0
    return (rest, ct[where], *(None,) * len(ins[2:]))


def _pad_slices(config, shape):
    """Where an operand lies in its padded form, and which part of it survives (crops)."""
    inside, kept = [], []
    for (low, high, interior), size in zip(config, shape, strict=True):
        step = interior + 1
        total = low + max((size - 1) * step + 1, 0) + high
        first = max(0, -(low // step))
        last = min(size - 1, (total - 1 - low) // step)
        kept.append(slice(first, last + 1))
        inside.append(slice(low + first * step, low + last * step + 1, step))
    return tuple(inside), tuple(kept)


def padded_shape(config, shape) -> tuple[int, ...]:
    """Shape after `pad` with (low, high, interior) for each axis."""
    pairs = zip(config, shape, strict=True)
    return tuple(low + max((n - 1) * (gap + 1) + 1, 0) + high for (low, high, gap), n in pairs)


def pad(config, x, value):
    """x with `value` around and between its entries; negative amounts crop."""
    out = np.full(padded_shape(config, np.shape(x)), value, x.dtype)
    inside, kept = _pad_slices(config, np.shape(x))
    out[inside] = x[kept]
    return out


def unpad(config, ct, shape):
    """Transpose of `pad` for an operand of this shape."""
    inside, kept = _pad_slices(config, shape)
    out = np.zeros(shape, ct.dtype)
    out[kept] = ct[inside]
    return out


def _pad_back(params, ct, ins, out):
    back = unpad(params["padding_config"], ct, np.shape(ins[0]))
    return (back, np.sum(ct) - np.sum(back))


def _rev(params, x):
    return np.flip(x, params["dimensions"])


def _rev_back(params, ct, ins, out):
    return (np.flip(ct, params["dimensions"]),)


def _iota(params, *_):
    shape, axis = params["shape"], params["dimension"]
    column = np.arange(shape[axis], dtype=params["dtype"])
    return np.broadcast_to(
        column.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    )


def _reduce_sum(params, x):
    return np.sum(x, axis=tuple(params["axes"]), dtype=x.dtype)


def keep_axes(x: np.ndarray, axes) -> np.ndarray:
    """Insert axes of length 1 where a reduction removed them."""
    return np.expand_dims(x, tuple(axes))


def _reduce_sum_back(params, ct, ins, out):
    return (np.broadcast_to(keep_axes(ct, params["axes"]), np.shape(ins[0])),)


def _reduction(f):
    return lambda params, x: f(x, axis=tuple(params["axes"]))


def _extremum_back(params, ct, ins, out):
    winners = ins[0] == keep_axes(out, params["axes"])
    share = winners / np.sum(winners, axis=tuple(params["axes"]), keepdims=True)
    return (keep_axes(ct, params["axes"]) * share,)


def _product_back(params, ct, ins, out):
    x, axes = ins[0], tuple(params["axes"])
    moved = np.moveaxis(x, axes, range(len(axes)))
    rows = moved.reshape(-1, *moved.shape[len(axes) :])
    others = np.stack([np.prod(np.delete(rows, i, 0), axis=0) for i in range(len(rows))])
    return (np.moveaxis((others * ct).reshape(moved.shape), range(len(axes)), axes),)


def _argument(f):
    def forward(params, x):
        return f(x, axis=params["axes"][0]).astype(params["index_dtype"])

    return forward


def _cumsum(params, x):
    return _running(x, params["axis"], params["reverse"])


def _running(x, axis, reverse):
    return np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis)


def _cumsum_back(params, ct, ins, out):
    return (_running(ct, params["axis"], not params["reverse"]),)


RULES = {
    "broadcast_in_dim": (_broadcast, _broadcast_back),
    "reshape": (_reshape, _reshape_back),
    "transpose": (_transpose, _transpose_back),
    "squeeze": (_squeeze, _like_input),
    "index": (_index, _index_back),
    "stack": (_stack, _stack_back),
    "scan_outputs": (_outputs, _outputs_back),
    "concatenate": (_concatenate, _concatenate_back),
    "slice": (_slice, _slice_back),
    "dynamic_slice": (_dynamic_slice, _dynamic_slice_back),
    "dynamic_update_slice": (_update, _update_back),
    "pad": (lambda params, x, value: pad(params["padding_config"], x, value), _pad_back),
    "rev": (_rev, _rev_back),
    "iota": (_iota, None),
    "reduce_sum": (_reduce_sum, _reduce_sum_back),
    "reduce_max": (_reduction(np.max), _extremum_back),
    "reduce_min": (_reduction(np.min), _extremum_back),
    "reduce_prod": (_reduction(np.prod), _product_back),
    "reduce_and": (_reduction(np.all), None),
    "reduce_or": (_reduction(np.any), None),
    "argmax": (_argument(np.argmax), None),
    "argmin": (_argument(np.argmin), None),
    "cumsum": (_cumsum, _cumsum_back),
}

PLUMBING = frozenset(
    {
        "broadcast_in_dim",
        "reshape",
        "transpose",
        "squeeze",
        "index",
        "slice",
        "copy",
        "convert_element_type",
        "rev",
    }
)
"""Primitives that carry one operand on without arithmetic."""
