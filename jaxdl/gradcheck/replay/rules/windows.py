"""Convolution and pooling: sums and maxima over sliding windows."""

from typing import Any, NamedTuple

import numpy as np

from jaxdl.gradcheck.replay.rules.structural import pad, padded_shape, unpad

Params = dict[str, Any]


class Geometry(NamedTuple):
    """How a window slides over the padded input (spatial axes only)."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    config: tuple[tuple[int, int, int], ...]  # (low, high, interior) padding per axis


def offsets(g: Geometry, out: tuple[int, ...], first_axis: int):
    """For every place in the window: its index, and the slices of the padded input it sees."""
    for place in np.ndindex(*g.size):
        starts = [i * d for i, d in zip(place, g.dilation, strict=True)]
        spans = zip(starts, out, g.strides, strict=True)
        where = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in spans)
        yield place, (slice(None),) * first_axis + where


def out_shape(g: Geometry, padded: tuple[int, ...]) -> tuple[int, ...]:
    """How many positions the window takes along each spatial axis."""
    spans = zip(padded, g.size, g.dilation, g.strides, strict=True)
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, d, s in spans)


def conv_geometry(params: Params, kernel_size: tuple[int, ...]) -> Geometry:
    """Geometry of a `conv_general_dilated`."""
    pairs = zip(params["padding"], params["lhs_dilation"], strict=True)
    config = tuple((low, high, gap - 1) for (low, high), gap in pairs)
    return Geometry(kernel_size, params["window_strides"], params["rhs_dilation"], config)


def canonical(params: Params, x, kernel):
    """Operands as (batch, channel, space...) and (out, in, space...)."""
    d = params["dimension_numbers"]
    return np.transpose(x, d.lhs_spec), np.transpose(kernel, d.rhs_spec)


def _full_config(g: Geometry):
    return ((0, 0, 0), (0, 0, 0), *g.config)


def patches(g: Geometry, x: np.ndarray) -> np.ndarray:
    """(batch, channel, window..., out...): what each place of the window sees."""
    padded = pad(_full_config(g), x, 0)
    out = out_shape(g, padded.shape[2:])
    seen = np.stack([padded[where] for _, where in offsets(g, out, 2)], axis=2)
    return seen.reshape(*x.shape[:2], *g.size, *out)


def conv(params: Params, x, kernel) -> np.ndarray:
    """`conv_general_dilated` with feature groups."""
    spec = params["dimension_numbers"]
    x, kernel = canonical(params, x, kernel)
    g = conv_geometry(params, kernel.shape[2:])
    groups, n = params["feature_group_count"], len(g.size)
    seen = patches(g, x)
    inputs, outputs = np.split(seen, groups, 1), np.split(kernel, groups, 0)
    axes = (range(1, n + 2), range(1, n + 2))
    pairs = zip(inputs, outputs, strict=True)
    parts = [np.moveaxis(np.tensordot(p, k, axes), -1, 1) for p, k in pairs]
    return np.transpose(np.concatenate(parts, 1), np.argsort(spec.out_spec))


def conv_back_input(params: Params, ct, x, kernel) -> np.ndarray:
    """Cotangent of a convolution's input: linear in ct and in the kernel."""
    spec = params["dimension_numbers"]
    ct = np.transpose(ct, spec.out_spec)
    x, kernel = canonical(params, x, kernel)
    g = conv_geometry(params, kernel.shape[2:])
    groups = params["feature_group_count"]
    config = _full_config(g)
    dtype = np.result_type(ct, kernel)
    padded = np.zeros(padded_shape(config, x.shape), dtype)
    slabs = np.split(padded, groups, 1)
    for place, where in offsets(g, ct.shape[2:], 2):
        taps = np.split(kernel[(slice(None), slice(None), *place)], groups, 0)
        for slab, c, k in zip(slabs, np.split(ct, groups, 1), taps, strict=True):
            slab[where] += np.moveaxis(np.tensordot(c, k, ((1,), (0,))), -1, 1)
    return np.transpose(unpad(config, np.concatenate(slabs, 1), x.shape), np.argsort(spec.lhs_spec))


def conv_back_kernel(params: Params, ct, x, kernel) -> np.ndarray:
    """Cotangent of a convolution's kernel: linear in ct and in the input."""
    spec = params["dimension_numbers"]
    ct = np.transpose(ct, spec.out_spec)
    x, kernel = canonical(params, x, kernel)
    g = conv_geometry(params, kernel.shape[2:])
    groups, n = params["feature_group_count"], len(g.size)
    seen = np.split(patches(g, x), groups, 1)
    out_axes = (0, *range(2, n + 2))
    seen_axes = (0, *range(n + 2, 2 * n + 2))
    pairs = zip(np.split(ct, groups, 1), seen, strict=True)
    parts = [np.tensordot(c, p, (out_axes, seen_axes)) for c, p in pairs]
    return np.transpose(np.concatenate(parts, 0), np.argsort(spec.rhs_spec))


def _conv_back(params, ct, ins, out):
    return conv_back_input(params, ct, *ins), conv_back_kernel(params, ct, *ins)


def pool_geometry(params: Params) -> Geometry:
    """Geometry of a `reduce_window_*`, over all axes."""
    pairs = zip(params["padding"], params["base_dilation"], strict=True)
    config = tuple((low, high, gap - 1) for (low, high), gap in pairs)
    return Geometry(
        params["window_dimensions"], params["window_strides"], params["window_dilation"], config
    )


def _pool(fill, reduce):
    def forward(params, x):
        g = pool_geometry(params)
        padded = pad(g.config, x, fill)
        out = out_shape(g, padded.shape)
        return reduce(np.stack([padded[where] for _, where in offsets(g, out, 0)]), axis=0)

    return forward


def pool_spread(params: Params, ct, x, shares) -> np.ndarray:
    """Send each pooled cotangent back to its window in the given shares.

    Args:
        params: of the primitive.
        ct: cotangent of the pooled output.
        x: the input.
        shares: (windows places, *out) weight of every place.
    """
    g = pool_geometry(params)
    back = np.zeros(padded_shape(g.config, x.shape), np.result_type(ct, float))
    for share, (_, where) in zip(shares, offsets(g, ct.shape, 0), strict=True):
        back[where] += share * ct
    return unpad(g.config, back, x.shape)


def pool_places(params: Params, x, fill) -> np.ndarray:
    """(window places, *out): the values that compete in each window."""
    g = pool_geometry(params)
    padded = pad(g.config, x, fill)
    out = out_shape(g, padded.shape)
    return np.stack([padded[where] for _, where in offsets(g, out, 0)])


def _max_pool_back(params, ct, ins, out):
    places = pool_places(params, ins[0], -np.inf)
    winner = np.argmax(places, axis=0)
    shares = np.arange(len(places)).reshape(-1, *(1,) * winner.ndim) == winner
    return (pool_spread(params, ct, ins[0], shares),)


def _sum_pool_back(params, ct, ins, out):
    count = int(np.prod(params["window_dimensions"]))
    return (pool_spread(params, ct, ins[0], np.ones(count)),)


PARTS = {"conv_general_dilated": (conv_back_input, conv_back_kernel)}
"""Backward rules of expensive products, one operand at a time."""

RULES = {
    "conv_general_dilated": (conv, _conv_back),
    "reduce_window_max": (_pool(-np.inf, np.max), _max_pool_back),
    "reduce_window_sum": (_pool(0.0, np.sum), _sum_pool_back),
}
