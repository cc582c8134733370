"""Windows of an array read at other places on the way back: too far, or at another step.

As in `test_diagnose_names`, a wrong gradient is the true one of a loss with a part replaced.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings

stop = jax.lax.stop_gradient


def as_if(value, other):
    return stop(value) + other - stop(other)


def conv(x, kernel, stride=1, pad=(0, 0), dilation=1, spread=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,), (pad,), lhs_dilation=(spread,), rhs_dilation=(dilation,)
    )


def strided(p, x, y, bug=""):
    """Every third place: windows start at −2, 1, 4 and 7 of 8."""
    a = jnp.tanh(conv(x, p["k"], pad=(1, 1)))
    z = conv(a, p["l"], stride=3, pad=(2, 2))
    kernel, given = p["l"], stop(a)
    if bug == "too far":
        z = as_if(z, conv(a, stop(kernel), 3, (2, 2)) + conv(given, kernel, 3, (1, 3)))
    if bug == "no stride":
        z = as_if(z, conv(a, stop(kernel), 3, (2, 2)) + conv(given, kernel, 1, (2, -4)))
    if bug == "no stride to the input":
        z = as_if(z, conv(a, stop(kernel), 1, (2, -4)) + conv(given, kernel, 3, (2, 2)))
    if bug == "no stride at all":
        z = as_if(z, conv(a, kernel, 1, (2, -4)))
    return jnp.mean((z - y) ** 2)


def dilated(p, x, y, bug=""):
    """Taps three places apart."""
    a = jnp.tanh(conv(x, p["k"], pad=(1, 1)))
    z = conv(a, p["l"], dilation=3, pad=(2, 0))
    return jnp.mean(((as_if(z, conv(a, p["l"], pad=(2, -4))) if bug else z) - y) ** 2)


def spread(p, x, y, bug=""):
    """A transposed convolution: zeros between the entries of its input."""
    a = jnp.tanh(conv(x, p["k"], pad=(0, 0)))
    z = conv(a, p["l"], spread=2, pad=(2, 2))
    return jnp.mean(((as_if(z, conv(a, p["l"], pad=(2, 7))) if bug else z) - y) ** 2)


def causal(p, x, y, bug=""):
    """Taps three places apart, the last at its own place, at every second place."""
    a = jnp.tanh(conv(x, p["k"], pad=(1, 1)))
    z = conv(a, p["l"], 2, (6, 0), dilation=3)
    near, given = conv(a, stop(p["l"]), 2, (2, 0)), conv(stop(a), p["l"], 2, (6, 0), dilation=3)
    if bug == "no dilation to the input":
        z = as_if(z, near + given)
    if bug == "spread to odd places":  # of nine there are four, for five entries
        moved = conv(a, stop(p["l"]), 1, (6, 0), dilation=3)[:, :, 1::2]
        z = as_if(z, jnp.pad(moved, ((0, 0), (0, 0), (0, 1))) + given)
    return jnp.mean((z - y) ** 2)


def taps(p, x, y, bug=""):
    """A filter's taps as slices, three places apart."""

    def filtered(a, k, step, start=0):
        a = jnp.pad(a, ((0, 0), (0, start), (0, 0)))[:, start:]
        return sum(a[:, step * i : step * i + 2] @ k[i] for i in range(3))

    a = jnp.tanh(x @ p["u"])
    z = filtered(a, p["k"], 3)
    if bug == "kernel":
        z = as_if(z, filtered(a, stop(p["k"]), 3) + filtered(stop(a), p["k"], 1))
    if bug == "one off":
        z = as_if(z, filtered(a, stop(p["k"]), 3) + filtered(stop(a), p["k"], 3, start=1))
    if bug == "all":
        z = as_if(z, filtered(a, p["k"], 1))
    return jnp.mean((z - y) ** 2)


def patches(p, x, y, bug=""):
    """A window that moves on by two places, written as slices."""
    a = jnp.tanh(x @ p["u"])

    def seen(a, step):
        rows = [a[:, step * i : step * i + 3].reshape(len(a), -1) for i in range(3)]
        return jnp.stack([row @ p["k"].reshape(6, 2) for row in rows], axis=1)

    z = seen(a, 2)
    return jnp.mean(((as_if(z, seen(a, 1)) if bug else z).sum(axis=2) - y[..., 0]) ** 2)


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


def named(names, *shapes, seed=0):
    return dict(zip(names, draw(*shapes, seed=seed), strict=True))


KERNELS = named("kl", (2, 1, 3), (2, 2, 3))
IMAGES = KERNELS, draw((5, 1, 8), (5, 2, 4), seed=1)
CAUSAL = KERNELS, draw((5, 1, 9), (5, 2, 5), seed=1)
TAPS = named("uk", (1, 2), (3, 2, 2)), draw((5, 8, 1), (5, 2, 2), seed=1)
PATCHES = TAPS[0], draw((5, 8, 1), (5, 3, 1), seed=1)

BUGS = {
    "windows one place too far": (strided, "too far", *IMAGES, "l"),
    "a stride forgotten for the kernel": (strided, "no stride", *IMAGES, "l"),
    "a stride forgotten for the input": (strided, "no stride to the input", *IMAGES, "k"),
    "a stride forgotten": (strided, "no stride at all", *IMAGES, "k l"),
    "a dilation forgotten": (dilated, "yes", *IMAGES, "k l"),
    "a spread forgotten": (spread, "yes", KERNELS, draw((5, 1, 8), (5, 2, 13), seed=1), "k l"),
    "a dilation of slices forgotten for the taps": (taps, "kernel", *TAPS, "k"),
    "no dilation to the input, the last tap in place": (
        causal,
        "no dilation to the input",
        *CAUSAL,
        "k",
    ),
    "a gradient spread to the odd places": (causal, "spread to odd places", *CAUSAL, "k"),
    "windows of slices one place too far": (taps, "one off", *TAPS, "k"),
    "a dilation of slices forgotten": (taps, "all", *TAPS, "k u"),
    "a stride of slices forgotten": (patches, "all", *PATCHES, "k u"),
}


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_windows_at_other_places_are_named(case):
    loss, bug, params, args, leaves = BUGS[case]
    grad = jax.grad(lambda *args: loss(*args, bug=bug))
    found = findings(loss, grad, params, args, batch=(0, 1))
    assert [finding.cause for finding in found] == ["padding_or_stride_shift"], found
    assert sorted(leaf.strip("[]'") for leaf in found[0].leaves) == leaves.split(), found


def filtered(p, x, y):
    """A filter of three words over looked-up rows, its windows joined."""
    e = x @ p["e"]
    n = x.shape[1] - p["k"].shape[0] + 1
    windows = jnp.concatenate([e[:, t : t + n] for t in range(p["k"].shape[0])], axis=2)
    return jnp.mean((jnp.tanh(windows @ p["k"].reshape(-1)).sum(1) - y) ** 2)


def filtered_by_hand(p, x, y, flip):
    e, taps, de = x @ p["e"], len(p["k"]), 0.0
    n = x.shape[1] - taps + 1
    windows = np.concatenate([e[:, t : t + n] for t in range(taps)], axis=2)
    a = np.tanh(windows @ p["k"].reshape(-1))
    da = (2 * (a.sum(1) - y) / len(y))[:, None] * (1 - a**2)
    for t in range(taps):
        part = np.zeros(e.shape)
        part[:, t : t + n] = da[..., None] * p["k"][taps - 1 - t if flip else t]
        de = de + part
    dk = np.einsum("mn,mnk->k", da, windows).reshape(p["k"].shape)
    return {"e": np.einsum("mti,mtj->ij", x, de), "k": dk}


@pytest.mark.parametrize("taps", [3, 4])
def test_windows_joined_in_reverse_are_a_flipped_filter(taps):
    p = named("ek", (3, 2), (taps, 2))
    args = draw((4, 7, 3), (4,), seed=2)
    (found,) = findings(filtered, lambda *a: filtered_by_hand(*a, flip=True), p, args, batch=(0, 1))
    assert found.cause == "conv_flip", found
    assert not findings(
        filtered, lambda *a: filtered_by_hand(*a, flip=False), p, args, batch=(0, 1)
    )


def late_tap(p, x, y):
    """Two taps, the second one two steps late, after a layer."""
    h = jnp.tanh(x @ p["w"])
    late = jnp.pad(h, ((0, 0), (2, 0), (0, 0)))[:, :-2]
    return jnp.mean((jnp.tanh(h @ p["u"] + late @ p["v"]) - y) ** 2)


def late_tap_by_hand(p, x, y, back):
    h = np.tanh(x @ p["w"])
    late = np.pad(h, ((0, 0), (2, 0), (0, 0)))[:, :-2]
    a = np.tanh(h @ p["u"] + late @ p["v"])
    da = 2 * (a - y) / y.size * (1 - a**2)
    through = da @ p["v"].T
    moved = {
        "right": np.pad(through, ((0, 0), (0, 2), (0, 0)))[:, 2:],
        "the same way": np.pad(through, ((0, 0), (2, 0), (0, 0)))[:, :-2],
        "not at all": through,
    }[back]
    dh = (da @ p["u"].T + moved) * (1 - h**2)
    own, delayed = (np.einsum("nti,nto->io", array, da) for array in (h, late))
    return {"w": np.einsum("nti,nto->io", x, dh), "u": own, "v": delayed}


@pytest.mark.parametrize("back", ["the same way", "not at all"])
def test_a_move_along_an_axis_that_does_not_run_back_is_named(back):
    p = named("wuv", (3, 4), (4, 2), (4, 2))
    args = draw((3, 6, 3), (3, 6, 2), seed=3)
    (found,) = findings(late_tap, lambda *a: late_tap_by_hand(*a, back), p, args, batch=(0, 1))
    assert found.cause == "padding_or_stride_shift" and "moved" in found.explanation, found
    right = findings(late_tap, lambda *a: late_tap_by_hand(*a, "right"), p, args, batch=(0, 1))
    assert not right


def put_together(p, x, y, how):
    """Parts of one array joined in another way than a filter's windows."""
    h = jnp.tanh(x @ p["w"])
    joined = {
        "halves": lambda: jnp.concatenate([h[:, 2:], h[:, :2]], axis=1),
        "border": lambda: jnp.pad(h[:, 1:-1], ((0, 0), (1, 1))),
    }[how]()
    return jnp.mean((joined @ p["v"] - y) ** 2)


def left_as_it_is(p, x, y, how):
    """The gradient without a way back from what is joined to its parts."""
    h = jnp.tanh(x @ p["w"])
    g = jax.grad(put_together)(p, x, y, how)
    halves = jnp.concatenate([h[:, 2:], h[:, :2]], axis=1)
    joined = halves if how == "halves" else jnp.pad(h[:, 1:-1], ((0, 0), (1, 1)))
    dj = jnp.outer(2 * (joined @ p["v"] - y) / len(y), p["v"])
    return {"w": x.T @ (dj * (1 - h**2)), "v": g["v"]}


@pytest.mark.parametrize("how", ["halves", "border"])
def test_parts_that_do_not_overlap_are_no_filter_and_a_border_does_not_move(how):
    p, args = named("wv", (3, 4), (4,)), draw((6, 3), (6,), seed=5)
    found = findings(lambda *a: put_together(*a, how), lambda *a: left_as_it_is(*a, how), p, args)
    assert found and found[0].cause not in ("conv_flip", "padding_or_stride_shift"), found


def two_layers(p, x, y, bug=""):
    """Two square layers in a loop; on the way back each takes the other's weights."""
    h = x
    for i in range(2):
        z = h @ p["w"][i]
        h = jnp.tanh(as_if(z, h @ stop(p["w"][1 - i]) + stop(h) @ p["w"][i]) if bug else z)
    return jnp.mean((h.sum(1) - y) ** 2)


def test_the_weights_of_two_layers_are_no_taps():
    p, args = named("w", (2, 3, 3)), draw((5, 3), (5,), seed=6)
    found = findings(two_layers, jax.grad(lambda *a: two_layers(*a, bug="w")), p, args)
    assert found and "conv_flip" not in (found[0].cause, *found[0].equivalent), found
