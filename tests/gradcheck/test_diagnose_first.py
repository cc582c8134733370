"""Of several words that fit a wrong gradient, the one that stands first.

As in `test_diagnose_names`, a wrong gradient is the true one of a loss with a part replaced.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, of, stop


def targets(p, x, target, bug=""):
    """Targets after an affine step: mixed with a constant, or with an ε added."""
    logs = jax.nn.log_softmax(x @ p)
    after = target + 1e-3 if "ε" in bug else 0.8 * target + 0.05
    value = -jnp.sum(after * logs)
    return as_if(value, -jnp.sum(target * logs)) if "before" in bug else value


def with_epsilon(*args):
    return targets(*args, bug="ε")


def heads(p, x, y, bug=""):
    """Heads in the first axis of a parameter."""
    return jnp.mean((jnp.einsum("btd,hde->bhte", x, p) ** 3 - y) ** 2)


def windows(p, x, y, bug=""):
    """A convolution as a product with windows."""
    cut = jnp.stack([x[:, t : t + 3] for t in range(4)], 1)
    return jnp.mean((jnp.einsum("btkc,kcd->btd", cut, p) ** 3 - y) ** 2)


def flipped(loss):
    return lambda *args: jnp.flip(jax.grad(loss)(*args), 0)


def spread(p, x, y, bug=""):
    """Mean and variance of a normal distribution, their biases in one leaf."""
    h = jax.nn.elu(x @ p["w"])
    m = h @ p["m"] + p["b"][0]
    v = jax.nn.softplus(h @ p["v"] + p["b"][1]) + 0.1
    fit = (y - m) ** 2 / (2 * v)
    if bug:  # the derivative of 1/v taken as −1/v
        fit = as_if(fit, (y - m) ** 2 / (2 * stop(v)) - stop((y - m) ** 2 / (2 * v)) * v)
    return jnp.mean(0.5 * jnp.log(v) + fit)


def dropped_out(p, x, y, mask, bug=""):
    z = x @ p["w"]
    kept = jnp.tanh(z) * mask / 0.75
    if bug:  # tanh′ from what dropout left
        kept = as_if(kept, stop((1 - kept**2) * mask / 0.75) * z)
    return jnp.mean((kept @ p["v"] - y) ** 2)


def causal(p, x, bug=""):
    """A causal filter by slices of a padded series."""
    padded = jnp.pad(x, ((0, 0), (2, 0), (0, 0)))
    late = jnp.roll(padded, -1, 1) if bug else padded
    taps = [
        as_if(padded[:, i : i + x.shape[1]] @ p[i], late[:, i : i + x.shape[1]] @ p[i])
        for i in range(3)
    ]
    return jnp.mean((jnp.tanh(sum(taps))[:, :-1] - x[:, 1:]) ** 2)


def exposed(p, x, t, n, bug=""):
    """Counts whose rate has an offset in the exponent."""
    z = x @ p
    rate = jnp.exp(z + jnp.log(t))
    return jnp.mean(as_if(rate, jnp.exp(z) if bug else rate) - n * z)


def quantiles(p, x, y, bug=""):
    """The larger of two arrays that both move."""
    e = y - x @ p
    above, below = 0.2 * e, -0.8 * e
    larger = jnp.maximum(above, below)
    others = {"one": above, "swapped": jnp.minimum(above, below)}
    return jnp.mean(as_if(larger, others.get(bug, larger)))


def hinge(p, x, y, bug=""):
    """A squared hinge, in whose derivative nothing is cut off."""
    gap = 0.2 - y * (x @ p)
    return jnp.mean(as_if(jnp.maximum(gap, 0) ** 2, gap**2) if bug else jnp.maximum(gap, 0) ** 2)


def leaky(p, x, y, bug=""):
    """A leaky ReLU with its slopes exchanged."""
    z = x @ p["w"]
    a = jnp.where(z > 0, z, 0.1 * z)
    a = as_if(a, jnp.where(z > 0, 0.1 * z, z)) if bug else a
    return jnp.mean((a @ p["v"] - y) ** 2)


def noisy(p, x, y, bug=""):
    """A kernel matrix with noise on its diagonal, the noise's gradient summed over everything."""
    eye = jnp.eye(6)
    noise = jnp.exp(p["s"]) * eye
    noise = as_if(noise, jnp.exp(p["s"]) * jnp.ones((6, 6))) if bug else noise
    return jnp.sum(jnp.sin(x @ p["w"] @ x.T + noise) * y)


def padded(p, x, y, bug=""):
    """Positions of which some are padding, by a comparison."""
    shown = jnp.tanh(x @ p["w"]) * jnp.where(x[:, :1] > -0.3, 1.0, 0.0)
    shown = as_if(shown, jnp.tanh(x @ p["w"])) if bug else shown
    return jnp.mean((shown @ p["v"] - y) ** 2)


def drawn(p, x, y, key, bug=""):
    """Units that are left out at random."""
    kept = jax.random.bernoulli(key, 0.6, (6, 4)).astype(x.dtype)
    a = jnp.tanh(x @ p["w"])
    shown = as_if(a * kept, a) if bug else a * kept
    return jnp.mean((shown @ p["v"] - y) ** 2)


def scaled(p, x, y, bug=""):
    """A scale by its logarithm."""
    scale = jnp.exp(p["s"])
    scale = as_if(scale, p["s"]) if bug else scale
    return jnp.mean((x @ p["w"] * scale - y) ** 2)


def censored(p, x, y, bug=""):
    """One of two terms for each example, by the data."""
    z = x @ p
    other = as_if(z**2, jnp.zeros_like(z)) if bug else z**2
    return jnp.mean(jnp.where(y > 0, jnp.exp(z) - z, other))


LABELS = np.eye(3)[[0, 2, 1, 1, 0, 2]]
LINEAR = draw((4,))[0], draw((6, 4), (6,), seed=1), (0, 1)
POSITIVE = 0.5 + np.abs(draw((6,), seed=5)[0])
MASK = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]]) * 1.0
SCORES = draw((4, 3))[0], [*draw((6, 4), seed=1), LABELS], (0, 1)
HEADS = draw((3, 2, 2))[0], draw((5, 4, 2), (5, 3, 4, 2), seed=1), (0, 1)
SIGNS = draw((3,))[0], [*draw((7, 3), seed=1), np.array([1, -1, 1, 1, -1, 1, -1.0])], (0, 1)
SLOPES = named("wv", (3, 4), (4,)), draw((6, 3), (6,), seed=1), (0, 1)
KERNEL = {"s": np.asarray(-0.4), "w": 0.3 * np.ones((2, 2))}, draw((6, 2), (6, 6), seed=1), None
SCALES = named("ws", (3,), ()), draw((6, 3), (6,), seed=1), (0, 1)
NORMAL = named("wmvb", (3, 4), (4,), (4,), (2,)), draw((7, 3), (7,), seed=1), (0, 1)
HIDDEN = named("wv", (3, 3), (3,)), [*draw((6, 3), (6,), seed=1), MASK], (0, 1, 2)
COUNTS = draw((3,))[0], [*draw((6, 3), seed=1), POSITIVE, POSITIVE**2], (0, 1, 2)

BUGS = {
    "smoothing is no ε": (targets, of(targets, "before"), *SCORES, "unknown"),
    "an ε is one": (with_epsilon, of(targets, "ε, before"), *SCORES, "clip_or_eps_ignored"),
    "heads in reverse are no filter": (heads, flipped(heads), *HEADS, "unknown"),
    "a filter on windows in reverse": (
        windows, flipped(windows), draw((3, 2, 2))[0], draw((5, 6, 2), (5, 4, 2), seed=1),
        (0, 1), "conv_flip",
    ),
    "one wrong entry beside leaves unexplained": (spread, of(spread, "v"), *NORMAL, "unknown"),
    "a derivative from what dropout left": (
        dropped_out, of(dropped_out, "kept"), *HIDDEN, "activation_derivative_wrong",
    ),
    "a slice of a padded array one step late": (
        causal, of(causal, "late"), draw((3, 2, 2))[0], draw((4, 7, 2), seed=1),
        (0,), "padding_or_stride_shift",
    ),
    "an offset in an exponent": (exposed, of(exposed, "offset"), *COUNTS, "path_dropped"),
    "one side of a maximum": (quantiles, of(quantiles, "one"), *LINEAR, "relu_mask_wrong"),
    "the smaller for the larger": (
        quantiles, of(quantiles, "swapped"), *LINEAR, "relu_mask_wrong",
    ),
    "a hinge that cuts nothing off": (hinge, of(hinge, "uncut"), *SIGNS, "relu_mask_wrong"),
    "slopes exchanged": (leaky, of(leaky, "other"), *SLOPES, "activation_derivative_wrong"),
    "padding is no dropout": (padded, of(padded, "all"), *SLOPES, "unknown"),
    "units drawn at random are": (
        drawn, of(drawn, "all"), SLOPES[0], [*SLOPES[1], jax.random.key(0)], None,
        "dropout_mask_missing",
    ),
    "a diagonal is no dropout": (noisy, of(noisy, "all"), *KERNEL, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_the_first_word_asserts_no_more_than_what_matched(case):
    loss, by_hand, params, args, batch, cause = BUGS[case]
    found = findings(loss, by_hand, params, args, batch=batch)
    assert found and found[0].cause == cause, found


OTHERS = {
    "exp left out, or a factor": (scaled, of(scaled, "s"), *SCALES, "stale_operand"),
    "examples or a path": (censored, of(censored, "z"), *LINEAR, "examples_dropped"),
}


@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_what_gives_the_same_gradient_is_named_beside_it(case):
    loss, by_hand, params, args, batch, cause = OTHERS[case]
    (found,) = findings(loss, by_hand, params, args, batch=batch)
    assert cause in found.equivalent, found


@pytest.mark.parametrize(
    ("leaves", "words"),
    [("q", ("wrong_entry", "unknown")), ("qk", ("unknown", "wrong_entry"))],
)
def test_the_same_row_of_several_leaves_is_no_slip_of_one_place(leaves, words):
    def loss(p, x, y):
        return jnp.mean((jnp.tanh(x @ p["q"].T) * (x @ p["k"].T) - y) ** 2)

    def by_hand(p, x, y):
        true = jax.grad(loss)(p, x, y)
        return {k: g.at[1].set(jnp.cos(5 * g[1]) + p["q"][1]) if k in leaves else g
                for k, g in true.items()}  # fmt: skip

    found = findings(
        loss, by_hand, named("qk", (2, 3), (2, 3)), draw((6, 3), (6, 2), seed=1), batch=(0, 1)
    )
    assert found and {(f.cause, *f.equivalent) for f in found} == {words}


def test_a_selection_by_data_is_no_activation():
    def loss(p, x, y):
        return jnp.mean(jnp.where(y > 0, x @ p["a"], (x @ p["b"]) ** 2))

    def by_hand(p, x, y):
        return {**jax.grad(loss)(p, x, y), "a": jnp.mean(x, 0)}

    (found,) = findings(
        loss, by_hand, named("ab", (4,), (4,)), draw((7, 4), (7,), seed=1), batch=(0, 1)
    )
    assert found.cause == "unknown" and "path_dropped" in found.equivalent, found


def test_one_added_to_every_entry_is_no_penalty():
    def loss(p, x):
        return jnp.mean(jnp.cos(x @ p))

    params, (x,) = np.array([0.5, 0.9, 0.7]), draw((6, 3), seed=1)
    (found,) = findings(loss, lambda p, x: jax.grad(loss)(p, x) + 1, params, (x,))
    assert found.cause == "unknown", found


def test_a_tap_of_a_filter_is_no_slip_of_one_place():
    def loss(p, x, y):
        return jnp.mean((jnp.tanh(x[:, 1:] @ p[0] + x[:, :-1] @ p[1]) - y) ** 2)

    def by_hand(p, x, y):
        return jax.grad(loss)(p, x, y).at[1].set(jnp.cos(5 * p[1]))

    (found,) = findings(
        loss, by_hand, draw((2, 3))[0], draw((6, 5, 3), (6, 4), seed=1), batch=(0, 1)
    )
    assert (found.cause, *found.equivalent) == ("unknown", "wrong_entry"), found
