"""Where several words would do, `unknown` or the one that most people mean stands first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck.bugs.activations import is_multiple
from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, of, stop
from tests.gradcheck.test_diagnose_powers import sent


@pytest.fixture(autouse=True)
def users_settings():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def layer(p, x, y, act=jnp.tanh):
    return jnp.mean((act(x @ p["w"]) @ p["v"] - y) ** 2)


def ranked(p, x, y, bug=""):
    """The second largest score of every example."""
    scores = jnp.sort(x @ p["w"], axis=1)
    second = scores[:, 2]
    return jnp.mean((as_if(second, scores[:, 3]) if bug else second) * y)


def standardised(p, x, y, bug=""):
    """A layer's gain, whose gradient takes the centred values for the standardised ones."""
    z = x @ p["w"]
    centred = z - z.mean(0)
    scale = 1 / jnp.sqrt(jnp.mean(centred**2, 0) + 1e-5)
    n = centred * scale
    out = n * p["g"]
    if bug:
        out = as_if(out, n * stop(p["g"]) + stop(centred) * p["g"])
    return jnp.mean((jnp.tanh(out) @ p["v"] - y) ** 2)


def sampled(p, x, y, bug=""):
    """A deviation from half of a clipped logarithm of a variance."""
    logs = jnp.clip(x @ p["w"], -9.0, 9.0)
    half = 0.5 * logs
    return jnp.mean((jnp.exp(as_if(half, logs) if bug else half) @ p["v"] - y) ** 2)


def cubed(p, x, y, bug=""):
    """A GELU by tanh, whose cube is derived without the 3."""
    z = x @ p["w"]
    cube = z**3
    cube = as_if(cube, stop(z**2) * z) if bug else cube
    a = 0.5 * z * (1 + jnp.tanh(0.8 * (z + 0.044715 * cube)))
    return jnp.mean((a @ p["v"] - y) ** 2)


def covered(p, x, bug=""):
    """A kernel with noise on its diagonal, which the amplitude's gradient multiplies as well."""
    gaps = jnp.sum((x[:, None] - x[None]) ** 2, -1)
    amplitude = jnp.exp(p["a"] * jnp.ones_like(gaps) - gaps)
    noisy = amplitude + 0.1 * jnp.eye(len(x)) * p["n"]
    if bug:
        noisy = stop(noisy - amplitude) + 0.1 * jnp.eye(len(x)) * p["n"] - stop(
            0.1 * jnp.eye(len(x)) * p["n"]
        ) + as_if(amplitude, stop(noisy) * (p["a"] - gaps))  # fmt: skip
    return jnp.linalg.slogdet(noisy)[1]


def filtered(p, x, y, bug=""):
    """A filter on windows, whose gradient sees every window one place too early."""
    windows = jnp.stack([x[:, t : t + 6] for t in range(3)], axis=-1)
    z = jnp.einsum("mtk,k->mt", windows, p["k"])
    if bug:
        early = jnp.concatenate([jnp.zeros_like(windows[:, :1]), windows[:, :-1]], axis=1)
        z = as_if(z, jnp.einsum("mtk,k->mt", stop(early), p["k"]))
    return jnp.mean((jnp.tanh(z) @ p["v"] - y) ** 2)


def masked(p, x, y, first, second, bug=""):
    """Two layers with a dropout mask each, exchanged on the way back."""
    h = jnp.tanh(x @ p["w"])
    kept = h * first
    kept = as_if(kept, h * second) if bug else kept
    return jnp.mean(((jnp.tanh(kept @ p["u"]) * second) @ p["v"] - y) ** 2)


def pooled(p, x, y, bug=""):
    """One array through three matrices: what comes back through the last is lost."""
    h = jnp.tanh(x @ p["u"])
    outs = [(stop(h) if bug and t == 2 else h) @ p["w"][t] for t in range(3)]
    return jnp.mean((jnp.tanh(outs[0]) * outs[1] + outs[2] - y) ** 2)


def squared(p, x, y, bug=""):
    """A residual, which a quadratic form uses twice."""
    r = y - x @ p["w"] - p["b"]
    r = as_if(r, -r) if bug else r
    return r @ (TWO @ r)


def skipping(p, x, y, bug=""):
    """A recurrence over two steps, of which the way back knows one; it begins with a parameter."""
    before, now = p["s"], p["s"]
    for t in range(x.shape[0]):
        back = stop(before) if bug else before
        before, now = now, jnp.tanh(x[t] @ p["w"] + now @ p["u"] + 0.5 * back)
    return jnp.sum((now - y) ** 2)


def gelu(p, x, y, bug=""):
    """z Φ(z), with a density that lacks its constant."""
    z = x @ p["w"]
    share = jax.scipy.special.ndtr(z)
    if bug:
        share = as_if(share, stop(jnp.exp(-(z**2) / 2)) * z)
    return jnp.mean(((z * share) @ p["v"] - y) ** 2)


def dilated(p, x, y, bug=""):
    """Three layers of filters with three taps, as sums over delays."""
    h = x
    for d, k in zip((1, 2, 1), p["k"], strict=True):
        late = [jnp.pad(h, ((0, 0), (d * j, 0), (0, 0)))[:, : x.shape[1]] for j in range(3)]
        z = sum(late[j] @ k[j] for j in range(3))
        if bug:
            z = as_if(z, sum(late[j] @ stop(k[2 - j]) + stop(late[j]) @ k[j] for j in range(3)))
        h = h + jnp.tanh(z)
    return jnp.mean((h.sum(-1) - y) ** 2)


def summed(p, x, y, bug=""):
    """Emissions at every step, then a recurrence: the last step's are left out of the offset."""
    z = x @ p["w"]
    b = jnp.broadcast_to(p["b"], z.shape)
    if bug:
        b = as_if(b, b * (jnp.arange(z.shape[1]) < z.shape[1] - 1)[:, None])
    z, h = z + b, jnp.zeros((len(z), 4))
    for t in range(z.shape[1]):
        h = jnp.tanh(0.5 * h + z[:, t])
    return jnp.mean((h - y) ** 2)


def gated(p, x, y, bug=""):
    """An array that an activation uses twice; all that comes back to it is half too much."""
    z = x @ p["w"] + p["b"]
    z = as_if(z, 1.5 * z) if bug else z
    return jnp.mean(((z * jax.nn.sigmoid(z)) @ p["v"] - y) ** 2)


def delayed(p, x, y, bug=""):
    """A filter of three numbers, whose gradient is stored the wrong way round."""
    k = p["k"]
    k = as_if(k, k[::-1]) if bug else k
    z = sum(k[j] * x[:, j : j + 6] for j in range(3))
    return jnp.mean((jnp.tanh(z) @ p["v"] - y) ** 2)


def masked_twice(p, x, y, bug=""):
    """A tanh whose gradient goes through the mask of a ReLU as well."""
    z = x @ p["w"]
    z = as_if(z, stop((z > 0) * 1.0) * z) if bug else z
    return jnp.mean((jnp.tanh(z) @ p["v"] - y) ** 2)


def counted(p, x, y, bug=""):
    """Counts whose rate is exp z, with the gradient by the rate."""
    z = x @ p["w"]
    z = as_if(z, stop(jnp.exp(-z)) * z) if bug else z
    return jnp.mean(jnp.sum(jnp.exp(z) - y[:, None] ** 2 * z, axis=1))


TWO = np.diag([1.0, 2.0, 1.5, 0.5, 1.0, 3.0])
LAYER = named("wv", (3, 4), (4,)), draw((6, 3), (6,), seed=1), (0, 1)
GAIN = named("wgv", (3, 4), (4,), (4,)), draw((7, 3), (7,), seed=1), (0, 1)
COVER = {"a": np.asarray(0.3), "n": np.asarray(0.7)}, draw((6, 2), seed=1), None
TAPS = named("kv", (3,), (6,)), draw((5, 8), (5,), seed=1), (0, 1)
KEEP = np.random.default_rng(3).integers(0, 2, (2, 6, 4)) / 0.5
MASKS = (
    named("wuv", (3, 4), (4, 4), (4,)),
    [*draw((6, 3), (6,), seed=1), *KEEP],
    (0, 1, 2, 3),
)
PARTS = named("uw", (3, 2), (3, 2, 4)), draw((6, 3), (6, 4), seed=1), (0, 1)

SUM = named("wb", (3,), ()), draw((6, 3), (6,), seed=1), None
CHAIN = named("swu", (4,), (3, 4), (4, 4)), draw((5, 3), (4,), seed=1), None
FILTERS = {"k": draw((3, 2, 2), (3, 2, 2), (3, 2, 2))}, draw((4, 7, 2), (4, 7), seed=1), (0, 1)
EMITTED = named("wb", (3, 4), (4,)), draw((5, 7, 3), (5, 4), seed=1), (0, 1)

BUGS = {
    "an index off by one": (ranked, *LAYER, "unknown", "wrong_entry"),
    "centred for standardised": (standardised, *GAIN, "stale_operand", "path_dropped"),
    "a half, under a clip": (sampled, *LAYER, "scale", "activation_derivative_missing"),
    "an exponent not brought down": (cubed, *LAYER, "activation_derivative_wrong", "scale"),
    "an amplitude with the noise": (
        covered, *COVER, "stale_operand", "activation_derivative_wrong",
    ),
    "windows one place early": (filtered, *TAPS, "padding_or_stride_shift", "stale_operand"),
    "masks exchanged": (masked, *MASKS, "stale_operand", "dropout_mask_missing"),
    "by the rate, not its logarithm": (
        counted, named("w", (3, 4)), draw((6, 3), (6,), seed=1), (0, 1),
        "activation_derivative_missing", "path_dropped",
    ),
    "a factor on all uses of a sum": (
        gated, named("wbv", (3, 4), (4,), (4,)), draw((6, 3), (6,), seed=1), None,
        "scale", None,
    ),
    "a filter of numbers, stored in reverse": (
        delayed, named("kv", (3,), (6,)), draw((5, 8), (5,), seed=1), (0, 1), "conv_flip", None,
    ),
    "one ReLU mask too many": (
        masked_twice, *LAYER, "relu_mask_wrong", "activation_derivative_wrong",
    ),
    "the sign of all uses of a sum": (squared, *SUM, "sign", "scale"),
    "a skip over two steps": (skipping, *CHAIN, "path_dropped", "stale_operand"),
    "a density without its constant": (gelu, *LAYER, "activation_derivative_wrong", "scale"),
    "taps of three filters in reverse": (dilated, *FILTERS, "conv_flip", "stale_operand"),
    "an offset without the last step": (
        summed, *EMITTED, "timesteps_truncated", "shared_weight_missed",
    ),
    "the last of three uses": (pooled, *PARTS, "path_dropped", "timesteps_truncated"),
}  # fmt: skip


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_the_first_word_is_the_one_that_is_meant(case):
    loss, params, args, batch, cause, other = BUGS[case]
    (found,) = findings(loss, of(loss, "wrong"), params, args, batch=batch)
    assert found.cause == cause, found
    assert other in found.equivalent if other else "wrong" not in str(found.equivalent), found


def size(z):
    return jnp.sqrt(1 + jnp.exp(z))


SLOPES = {
    "times the function's argument": (jnp.tanh, lambda z: z * (1 - jnp.tanh(z) ** 2), "unknown"),
    "times the function": (
        jnp.tanh, lambda z: jnp.tanh(z) * (1 - jnp.tanh(z) ** 2), "unknown",
    ),
    "a step left out": (size, lambda z: 0.5 / jnp.sqrt(jnp.abs(1 + z)), "unknown"),
    "a straight side": (jnp.abs, lambda z: jnp.where(z > 0, 1.0, -1.6), "scale"),
    "a leak": (
        jax.nn.leaky_relu, lambda z: jnp.where(z > 0, 1.0, 0.2), "activation_derivative_wrong",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOPES, ids=str)
def test_a_derivative_is_called_wrong_where_it_is_an_activations(case):
    act, slope, cause = SLOPES[case]
    by_hand = jax.grad(lambda *a: layer(*a, act=lambda z: sent(z, act, slope)))
    params, args, batch = LAYER
    found = findings(lambda *a: layer(*a, act=act), by_hand, params, args, batch=batch)
    assert [f.cause for f in found] == [cause], found
    assert cause == "activation_derivative_wrong" or "activation_derivative_wrong" in (
        found[0].equivalent
    )


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        (2.0, [1.0, 1.0], True),
        ([2.0, 4.0, 0.0], [1.0, 2.0, 0.0], True),
        ([2.0, 4.0, 1.0], [1.0, 2.0, 0.0], False),
        ([1.0, 2.0], [2.0, 2.0], False),
        ([1.0, 1.0], [0.0, 0.0], False),
    ],
)
def test_multiples_of_a_derivative(one, other, is_one):
    assert is_multiple(np.asarray(one), np.asarray(other)) is is_one
