"""Bugs that show only in some styles of code: helpers, slices, loops, siblings, matrix functions.

As in `test_diagnose_architectures`, a wrong gradient is a true one of a loss with a path cut or a
part replaced; bugs of the finished gradient are applied to it by hand.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.compiling import once
from tests.gradcheck.diagnosis import derivative, findings

stop = jax.lax.stop_gradient


def as_if(value, other):
    return stop(value) + other - stop(other)


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: `x @ w + b`, NumPy arrays beside JAX arrays."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def siamese(w, anchor, positive, negative, bug=""):
    def encode(q, lost=False):
        return jnp.tanh(q @ (stop(w) if lost else w))

    lost = bug == "anchor"
    near = (encode(anchor, lost) - encode(positive)) ** 2
    far = (encode(anchor, lost) - encode(negative)) ** 2
    return jnp.mean(jnp.sum(near - 0.1 * far, axis=1))


def taps(p, x, y):
    t = x.shape[1] - 2
    z = sum(x[:, i : i + t] * p["k"][i] for i in range(3))
    return jnp.mean((jnp.tanh(z) @ p["w"] - y) ** 2)


def groups(p, x, y):
    parts = jnp.split(x, 3, axis=1)
    z = jnp.concatenate([part @ k for part, k in zip(parts, p["k"], strict=True)], axis=1)
    return jnp.mean((jnp.tanh(z).sum(axis=1) - y) ** 2)


def unrolled(theta, x, y, bug=""):
    first, second = theta[:6].reshape(3, 2), theta[6:].reshape(2, 2)
    out = jnp.tanh(x @ first) @ second
    first = stop(first) if bug == "penalty" else first
    penalty = jnp.sum(first[1:] ** 2) + jnp.sum(second[1:] ** 2)
    return jnp.mean(jnp.sum((out - y) ** 2, axis=1)) + 0.4 * penalty


def columns(p, x, y, bug=""):
    h = jnp.zeros((3, 1))
    for t in range(x.shape[0]):
        z = p["u"] @ x[t][:, None] + p["w"] @ h
        h = jnp.tanh(z + (stop(p["b"]) if bug == "bias" else p["b"]))
        h = h + p["b"] - stop(p["b"]) if bug == "bias" else h
    return jnp.sum((h[:, 0] - y) ** 2)


def read_out(p, x, y, bug=""):
    """A state that is read at every step: what one of both uses sends goes past its tanh."""

    def step(h, row):
        z = row @ p["u"] + h @ p["w"]
        h = jnp.tanh(z)
        past = as_if(h, z)
        now, later = past if bug == "now" else h, past if bug == "later" else h
        later = as_if(h, 0.5 * h) if bug == "half" else later
        return later, now @ p["v"]

    rows = jax.lax.scan(step, jnp.zeros((len(y), 3)), x)[1]
    return jnp.mean((rows.sum(axis=0) - y) ** 2)


def policy(p, x, y, bug=""):
    """Scores weighted by returns, and a bonus for entropy."""
    logits = jnp.tanh(x @ p["w"]) @ p["v"]
    s = jax.nn.log_softmax(logits)
    free = as_if(s, logits) if bug == "entropy" else as_if(s, 0.5 * s) if bug == "half" else s
    entropy = -jnp.sum(jnp.exp(free) * free, axis=1)
    return -jnp.mean(s[:, 0] * y + 0.3 * entropy)


def short(p, x, y, bug=""):
    """Rows no longer than 0.15."""
    z = x @ p["w"]
    length = jnp.sqrt(jnp.sum(z**2, axis=1, keepdims=True))
    factor = jnp.minimum(1.0, 0.15 / length)
    a = z * (stop(factor) if bug == "factor" else factor)
    a = as_if(a, z) if bug == "limit" else a
    return jnp.mean((jnp.tanh(a) @ p["v"] - y) ** 2)


def bias_before_tanh(p, x, y):
    """The columns' gradient, the bias's taken from the gradient behind every tanh."""
    states = [np.zeros((3, 1))]
    for row in x:
        states.append(np.tanh(p["u"] @ row[:, None] + p["w"] @ states[-1] + p["b"]))
    gradient = {k: np.zeros_like(v) for k, v in p.items()}
    dh = 2 * (states[-1] - y[:, None])
    for t in reversed(range(len(x))):
        dz = dh * (1 - states[t + 1] ** 2)
        gradient["b"] += dh
        gradient["u"] += dz @ x[t][None]
        gradient["w"] += dz @ states[t].T
        dh = p["w"].T @ dz
    return gradient


def gated(p, x, y, bug=""):
    def helper(h, w):
        past = jnp.pad(h, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        return (stop(past) if bug == "helper" else past) @ w[0] + h @ w[1]

    h = jnp.tanh(x @ p["i"])
    h = h + jnp.tanh(helper(h, p["f"])) * jax.nn.sigmoid(helper(h, p["g"]))
    return jnp.mean((h.sum(axis=2) - y) ** 2)


def cells(p, x, y, bug=""):
    h = c = jnp.zeros((x.shape[0], 2))
    for t in range(4):
        i, f, g, o = jnp.split(x[:, t] @ p["u"] + h @ p["w"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        h, c = (stop(h), stop(c)) if bug == "window" and t == 1 else (h, c)
    return jnp.mean((h.sum(axis=1) - y) ** 2)


def one_by_one(p, x, y, bug=""):
    """A recurrence, one example after the other."""
    total = 0.0
    for i in range(len(x)):
        h = jnp.zeros(3)
        for t in range(4):
            seen = stop(p["u"]) if (bug, t) == ("use", 3) else p["u"]
            h = stop(h) if (bug, t) == ("window", 2) else h
            h = jnp.tanh(x[i, t] @ seen + h @ p["w"])
        total = total + jnp.sum((h - y[i]) ** 2)
    return total / len(x)


def evidence(p, x, y, bug=""):
    mu, log_variance = x @ p["m"], x @ p["v"]
    data = jnp.sum((mu + jnp.exp(0.5 * log_variance) * y) ** 2)
    kl = 0.5 * jnp.sum(mu**2 + jnp.exp(log_variance) - log_variance)
    half = 0.5 * jnp.sum(jnp.exp(log_variance) - log_variance)
    return (data + kl - 2 * (half - stop(half)) if bug == "sign" else data + kl) / x.shape[0]


def system(p, y):
    return jnp.sum((jnp.linalg.solve(p["A"], p["b"]) - y) ** 2)


def system_gradient(p, y):
    """With A in place of its transpose."""
    x = np.linalg.solve(p["A"], p["b"])
    adjoint = np.linalg.solve(p["A"], 2 * (x - y))
    return {"A": -np.outer(adjoint, x), "b": adjoint}


def spectrum(a, c):
    return jnp.sum(c * jnp.tanh(jnp.linalg.eigvalsh(a + a.T)))


def spectrum_gradient(a, c):
    """With the eigenvectors in rows."""
    values, v = np.linalg.eigh(a + a.T)
    return 2 * v.T @ np.diag(c * (1 - np.tanh(values) ** 2)) @ v


def student(p, x, y):
    z = (y - x @ p["w"]) / jnp.exp(p["s"])
    return jnp.mean(jnp.log1p(z**2)) + p["s"]


def without_normaliser(p, x, y):
    gradient = jax.tree.map(np.asarray, derivative(student)(p, x, y))
    return gradient | {"s": gradient["s"] - 1.0}


def tied(w, x, bug=""):
    """A code and what is decoded of it with the same matrix; a row of zeros has a code of 0."""
    code = x @ (stop(w) if bug == "encoder" else w)
    rest = jnp.tanh(x - code @ (stop(w) if bug == "decoder" else w).T)
    return jnp.mean(jnp.sum(rest**2, axis=1) + 0.3 * jnp.sum(jnp.abs(code), axis=1))


def gate(p, x, bug=""):
    """A gate that is shut at the first points: what comes through it does not show there."""
    f = jnp.tanh(x @ p["w"])
    mean = f.mean(axis=1)
    mean = as_if(mean, f.sum(axis=1)) if bug == "mean" else mean
    f = f * jax.nn.sigmoid(jax.nn.relu(mean @ p["g"] - 0.4))[:, None]
    return jnp.mean(jnp.sum(f**2, axis=(1, 2)))


def pooled(p, x, y, bug=""):
    """Max-pooling and a ReLU, with an exact 0 between them at the given point."""
    z = (x @ p["w"] + p["b"]).reshape(len(x), 2, -1).max(axis=2)
    return jnp.mean((jax.nn.relu(z) @ p["v"] - y) ** 2)


def masked_by_gradient(p, x, y):
    z = (x @ p["w"] + p["b"]).reshape(len(x), 2, -1)
    top = z.max(axis=2)
    r = 2 * (np.maximum(top, 0) @ p["v"] - y) / len(x)
    da = np.outer(r, p["v"])
    winners = z == top[:, :, None]
    dz = (da * (da > 0))[:, :, None] * winners / winners.sum(axis=2, keepdims=True)
    dz = dz.reshape(len(x), -1)
    return {"w": x.T @ dz, "b": dz.sum(axis=0), "v": np.maximum(top, 0).T @ r}


def of(loss, bug):
    """The gradient of the loss with this bug."""
    return once(jax.grad(lambda *args: loss(*args, bug)))


def altered(loss, change):
    """The right gradient, changed."""
    return lambda *args: change(jax.tree.map(np.array, derivative(loss)(*args)))


def rolled(gradient):
    return gradient | {"k": np.roll(gradient["k"], 1, axis=0)}


def flipped(gradient):
    return gradient | {"k": gradient["k"][::-1]}


def only_first(gradient):
    gradient["k"][1:] = 0
    return gradient


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


def named(names, *shapes, seed=0):
    return dict(zip(names, draw(*shapes, seed=seed), strict=True))


def with_zeros(x):
    """With a first row of zeros."""
    x[0] = 0
    return x


BUGS = {
    "both uses of one input left out": (
        siamese, of(siamese, "anchor"), draw((4, 3))[0], draw((6, 4), (6, 4), (6, 4), seed=1),
        (0, 1, 2), "shared_weight_missed",
    ),
    "taps of a filter in reverse": (
        taps, altered(taps, flipped), named("kw", (3, 2), (2, 2)), draw((5, 7, 2), (5, 5, 2)),
        (0, 1), "conv_flip",
    ),
    "taps of a filter moved on by one": (
        taps, altered(taps, rolled), named("kw", (3, 2), (2, 2)), draw((5, 7, 2), (5, 5, 2)),
        (0, 1), "padding_or_stride_shift",
    ),
    "groups that carry each other's gradient": (
        groups, altered(groups, rolled), named("k", (3, 2, 2)), draw((5, 6), (5,)),
        (0, 1), "stale_operand",
    ),
    "only the first group gets a gradient": (
        groups, altered(groups, only_first), named("k", (3, 2, 2)), draw((5, 6), (5,)),
        (0, 1), "path_dropped",
    ),
    "no penalty on one part of a vector": (
        unrolled, of(unrolled, "penalty"), draw((10,))[0], draw((5, 3), (5, 2)),
        (0, 1), "l2_missing",
    ),
    "the bias of a recurrence before its tanh": (
        columns, bias_before_tanh, named("uwb", (3, 2), (3, 3), (3, 1)), draw((4, 2), (3,)),
        None, "activation_derivative_missing",
    ),
    "no tanh′ for what the next step sends": (
        read_out, of(read_out, "later"), named("uwv", (2, 3), (3, 3), (3,)),
        draw((4, 5, 2), (5,)), None, "activation_derivative_missing",
    ),
    "no tanh′ for what the output sends": (
        read_out, of(read_out, "now"), named("uwv", (2, 3), (3, 3), (3,)),
        draw((4, 5, 2), (5,)), None, "activation_derivative_missing",
    ),
    "half of what the next step sends": (
        read_out, of(read_out, "half"), named("uwv", (2, 3), (3, 3), (3,)),
        draw((4, 5, 2), (5,)), None, "scale",
    ),
    "an entropy without its normaliser": (
        policy, of(policy, "entropy"), named("wv", (3, 4), (4, 3)), draw((6, 3), (6,), seed=1),
        (0, 1), "path_dropped",
    ),
    "half of an entropy": (
        policy, of(policy, "half"), named("wv", (3, 4), (4, 3)), draw((6, 3), (6,), seed=1),
        (0, 1), "scale",
    ),
    "a limit to the length ignored": (
        short, of(short, "limit"), named("wv", (3, 2), (2,)), draw((6, 3), (6,), seed=1),
        (0, 1), "clip_or_eps_ignored",
    ),
    "a limit to the length taken for a constant": (
        short, of(short, "factor"), named("wv", (3, 2), (2,)), draw((6, 3), (6,), seed=1),
        (0, 1), "path_dropped",
    ),
    "a path left out in a helper, at every call": (
        gated, of(gated, "helper"), named("ifg", (2, 2), (2, 2, 2), (2, 2, 2)),
        draw((5, 6, 2), (5, 6)), (0, 1), "path_dropped",
    ),
    "a state of two parts cut between two steps": (
        cells, of(cells, "window"), named("uw", (3, 8), (2, 8)), draw((5, 4, 3), (5,)),
        (0, 1), "timesteps_truncated",
    ),
    "a state cut between two steps, one example after the other": (
        one_by_one, of(one_by_one, "window"), named("uw", (2, 3), (3, 3)),
        draw((5, 4, 2), (5, 3)), (0, 1), "timesteps_truncated",
    ),
    "the last step's use of a weight, one example after the other": (
        one_by_one, of(one_by_one, "use"), named("uw", (2, 3), (3, 3)),
        draw((5, 4, 2), (5, 3)), (0, 1), "timesteps_truncated",
    ),
    "two of three uses with the wrong sign": (
        evidence, of(evidence, "sign"), named("mv", (3, 2), (3, 2)), draw((5, 3), (5, 2)),
        (0, 1), "sign",
    ),
    "one use of a tied matrix, where a code is exactly 0": (
        tied, of(tied, "decoder"), draw((4, 2))[0], (with_zeros(draw((6, 4), seed=1)[0]),),
        (0,), "shared_weight_missed",
    ),
    "what does not show at the first points": (
        gate, of(gate, "mean"), named("wg", (2, 3), (3, 3)), draw((5, 4, 2)), (0,), "scale",
    ),
    "a mask from the gradient, where a unit is exactly 0": (
        pooled, masked_by_gradient, {**named("wv", (3, 4), (2,)), "b": np.zeros(4)},
        (with_zeros(draw((6, 3), seed=1)[0]), draw((6,), seed=2)[0]), (0, 1), "relu_mask_wrong",
    ),
    "an adjoint system not transposed": (
        system, system_gradient, named("Ab", (4, 4), (4,)), draw((4,), seed=1), None, "transpose",
    ),
    "eigenvectors in rows": (
        spectrum, spectrum_gradient, draw((4, 4))[0], draw((4,), seed=1), None, "transpose",
    ),
    "a normaliser of one number is no penalty": (
        student, without_normaliser, named("ws", (3,), ()), draw((6, 3), (6,)),
        (0, 1), "path_dropped",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_bugs_in_other_styles_are_named(case):
    loss, grad, params, args, batch, cause = BUGS[case]
    found = findings(loss, grad, params, args, batch=batch)
    assert [finding.cause for finding in found] == [cause], found
