"""A name asserts no more than what matched: another step, other rows, factors of data, masks.

As in `test_diagnose_architectures`, a wrong gradient is the true one of a loss with a part
replaced: `as_if(value, other)` has the value of the first and the gradient of the second.
"""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.compiling import once
from tests.gradcheck.diagnosis import derivative, findings

stop = jax.lax.stop_gradient


def as_if(value, other):
    return stop(value) + other - stop(other)


def recurrent(p, x, y, bug=""):
    states = [jnp.zeros((x.shape[0], 3))] * 2
    for t in range(x.shape[1]):
        seen, state = x[:, t] @ p["u"], states[-1]
        z = seen + state @ p["w"]
        if bug == "state":  # dW takes h one step too early, nothing before the start
            z = as_if(z, seen + state @ stop(p["w"]) + stop(states[-2]) @ p["w"])
        if bug == "input":  # dU takes the first input at every step
            z = as_if(z, x[:, 0] @ p["u"] + state @ p["w"])
        states.append(jnp.tanh(z))
    return jnp.mean(jnp.sum((states[-1] - y) ** 2, axis=1))


def joined(p, x, y, bug=""):
    """Input and state side by side, the weights above each other."""
    state = jnp.zeros((x.shape[0], 3))
    for t in range(x.shape[1]):
        weights = jnp.concatenate([p["u"], p["w"]])
        z = jnp.concatenate([x[:, t], state], axis=1) @ weights
        if bug == "new":  # the weights' gradient takes the state that is made here
            new = jnp.concatenate([x[:, t], stop(jnp.tanh(z))], axis=1)
            z = as_if(z, jnp.concatenate([x[:, t], state], axis=1) @ stop(weights) + new @ weights)
        if bug == "turned":  # the state's gradient takes w for its transpose
            z = as_if(z, stop(jnp.concatenate([x[:, t], state], axis=1)) @ weights
                      + state @ stop(p["w"].T))  # fmt: skip
        state = jnp.tanh(z)
    return jnp.mean(jnp.sum((state - y) ** 2, axis=1))


def drawn(p, x, y, draws, bug=""):
    """Dropout by comparing draws that are given, and a penalty inside the mean over examples."""
    hidden = jnp.tanh(x @ p["w"])
    kept = (draws < 0.7).astype(x.dtype)
    dropped = {"mask": hidden / 0.7, "scale": hidden * kept}.get(bug, hidden * kept / 0.7)
    out = as_if(hidden * kept / 0.7, dropped) @ p["v"]
    decay = 0.1 * jnp.sum(p["v"] ** 2)
    return jnp.mean((out - y) ** 2 + (stop(decay) if bug == "decay" else decay))


def pushed(p, x, y, bug=""):
    """A squared hinge; the sign of what it pushes apart is lost on the way back."""
    apart = jnp.sum((x @ p) ** 2, axis=1)
    short = jnp.maximum(0.0, 3.0 - (stop(2 * apart) - apart if bug == "sign" else apart))
    return jnp.mean(short**2)


def average(a, x, y, bug=""):
    """An exponential average: states are single numbers."""
    state, total = x[0], 0.0
    for t in range(1, len(x)):
        new = a * state + (1 - a) * x[t]
        if bug == "new":  # da takes the state that it makes
            new = as_if(new, stop(a) * state + a * stop(new) - a * x[t])
        state = new
        total = total + (state - y[t]) ** 2
    return total / len(x)


def forced(p, x, bug=""):
    """The next input from this one, all steps at once."""
    h = jnp.tanh(x[:, :-1] @ p["u"])
    out = h @ p["v"]
    if bug:  # dV takes h one step too early
        early = jnp.pad(h, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        out = as_if(out, h @ stop(p["v"]) + stop(early) @ p["v"])
    return jnp.mean((out - x[:, 1:]) ** 2)


def bag(p, ids, y, bug=""):
    """The penalty counts a row of the table as often as it is looked up."""
    rows = p["table"][ids]
    penalty, whole = 0.2 * jnp.sum(rows**2), 0.2 * jnp.sum(p["table"] ** 2)
    others = {"left out": stop(penalty), "doubled": 2 * penalty, "whole": whole}
    out = jnp.tanh(rows.mean(axis=1)) @ p["w"]
    return jnp.mean((out - y) ** 2) + as_if(penalty, others.get(bug, penalty)) / len(y)


def table(p, ids, y, bug=""):
    """The penalty is on the whole table."""
    penalty = jnp.sum(p["table"] ** 2)
    if bug == "seen":
        seen = jnp.zeros(len(p["table"])).at[ids.ravel()].set(1.0)
        penalty = as_if(penalty, jnp.sum(seen[:, None] * p["table"] ** 2))
    return jnp.mean((p["table"][ids].sum(axis=(1, 2)) - y) ** 2) + 0.2 * penalty


def ridge(p, x, y, strengths, bug=""):
    """A penalty whose strengths are data, one for each row of the weight."""
    penalty = 0.5 * jnp.sum(strengths[:, None] * p**2)
    others = {"left out": stop(penalty), "averaged": penalty / len(x)}
    penalty = as_if(penalty, others.get(bug, penalty))
    return jnp.mean(jnp.sum((x @ p - y) ** 2, axis=1)) + penalty


def scaled_product(p, x, y, bug=""):
    """A penalty written as the product of the weights with their multiple."""
    penalty = 0.5 * 0.1 * p @ p
    others = {"left out": stop(penalty), "doubled": 2 * penalty}
    return jnp.mean((x @ p - y) ** 2) + as_if(penalty, others.get(bug, penalty))


def weighted(p, x, y, w, bug=""):
    """A weight for each example, in a loop over the examples."""
    total = 0.0
    for i in range(len(y)):
        error = 0.5 * w[i] * (x[i] @ p - y[i]) ** 2
        others = {"left out": error / w[i], "halved": error * 2 / w[i], "twice": error * w[i]}
        total = total + as_if(error, others.get(bug, error))
    return total / len(y)


def balanced(p, x, y, w, bug=""):
    """A weight for each class, looked up by label."""
    z = x @ p
    losses = jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0]
    powers = {"left out": 0, "twice": 2}
    return jnp.mean(as_if(w[y] * losses, w[y] ** powers.get(bug, 1) * losses))


def propensity(p, x, w, bug=""):
    """A factor of data behind exp, once too often."""
    ratio = jnp.exp(x @ p) / w
    return jnp.mean(as_if(ratio, ratio / w) if bug else ratio)


def survival(p, x, t, event, bug=""):
    """Exponential times, some of them censored."""
    z = x @ p
    return jnp.mean(jnp.exp(z) * t - as_if(event * z, z if bug else event * z))


def intervals(p, x, event, bug=""):
    """The event decides between two terms, both of which move."""
    z = x @ p
    terms = jnp.where(event == 1, jax.nn.softplus(-z), jax.nn.softplus(z))
    others = {
        "ignored": jax.nn.softplus(-z),
        "censored": jnp.where(event == 1, jax.nn.softplus(-z), stop(z)),
    }
    return jnp.mean(as_if(terms, others.get(bug, terms)))


def dropped_out(p, x, y, mask, bug=""):
    """A hidden layer under a dropout mask."""
    h = jnp.tanh(x @ p["w"])
    kept = as_if(h * mask, h) if bug else h * mask
    return jnp.mean((kept @ p["v"] - y) ** 2)


def text(p, x, y, bug=""):
    """A gated convolution of windows, and its largest value over time."""
    windows = [x[:, t : t + 2].reshape(len(x), -1) @ p["k"] for t in range(x.shape[1] - 1)]
    a, b = jnp.split(jnp.stack(windows, axis=1), 2, axis=2)
    gate = jax.nn.sigmoid(b)
    h = a * (as_if(gate, b) if bug == "slope" else gate)
    largest = h.max(axis=1)
    if bug == "winner":  # where a itself is largest
        largest = as_if(largest, jnp.take_along_axis(h, jnp.argmax(stop(a), 1)[:, None], 1)[:, 0])
    return jnp.mean((largest @ p["v"] - y) ** 2)


def attended(p, x, y, bug=""):
    """Causal attention: what must not be seen is set to −∞."""
    q, k = x @ p["q"], x @ p["k"]
    s = q @ jnp.swapaxes(k, 1, 2)
    a = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones(s.shape[1:])) == 1, s, -jnp.inf), axis=-1)
    a = as_if(a, stop(a * (1 - a)) * s if bug else a)
    return jnp.mean((a @ x - y) ** 2)


def normalised(w, x, y, bug=""):
    return jnp.mean(jnp.logaddexp(0.0, -y * (x @ w)))


def of(loss, bug):
    return once(jax.grad(lambda *args: loss(*args, bug=bug)))


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


def named(names, *shapes, seed=0):
    return dict(zip(names, draw(*shapes, seed=seed), strict=True))


IDS = np.array([[0, 1], [1, 2], [2, 2], [4, 0], [1, 3]])
EVENTS = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
MASK = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]]) * 1.0
POSITIVE = 0.5 + np.abs(draw((6,), seed=5)[0])
LABELS = np.array([0, 1, 2, 1, 0, 2])

SEQUENCES = named("uw", (2, 3), (3, 3)), draw((5, 4, 2), (5, 3), seed=1), (0, 1)
SERIES = np.asarray(0.6), draw((6,), (6,), seed=1), None
FORCED = named("uv", (2, 3), (3, 2)), draw((4, 6, 2), seed=1), (0,)
ROWS = (
    dict(zip(("table", "w"), draw((6, 3), (3,)), strict=True)),
    [IDS, *draw((5,), seed=1)],
    (0, 1),
)
LINEAR = draw((3,))[0], [*draw((6, 3), (6,), seed=1), POSITIVE], (0, 1, 2)
CLASSES = draw((3, 3))[0], [*draw((6, 3), seed=1), LABELS, np.array([0.5, 1.7, 2.9])], (0, 1)
RATIOS = draw((3,))[0], [*draw((6, 3), seed=1), POSITIVE], (0, 1)
TIMES = draw((3,))[0], [*draw((6, 3), seed=1), POSITIVE, EVENTS], (0, 1, 2)
CHOICES = draw((3,))[0], [*draw((6, 3), seed=1), EVENTS], (0, 1)
DRAWS = (
    named("wv", (3, 4), (4,)),
    [*draw((6, 3), (6,), seed=1), np.random.default_rng(4).random((6, 4))],
    (0, 1, 2),
)
PAIRS = draw((3, 2))[0], draw((6, 3), (6,), seed=1), (0, 1)
PLAIN = draw((3,))[0], draw((6, 3), (6,), seed=1), (0, 1)
RIDGE = draw((3, 2))[0], [*draw((6, 3), (6, 2), seed=1), POSITIVE[:3]], (0, 1)
HIDDEN = named("wv", (3, 3), (3,)), [*draw((6, 3), (6,), seed=1), MASK], (0, 1, 2)
SEEN = named("qk", (2, 2), (2, 2)), draw((5, 4, 2), (5, 4, 2), seed=1), (0, 1)
TEXTS = named("kv", (4, 4), (2,)), draw((5, 5, 2), (5,), seed=1), (0, 1)

BUGS = {
    "the state two steps back": (recurrent, "state", *SEQUENCES, "stale_operand"),
    "the first input at every step": (recurrent, "input", *SEQUENCES, "stale_operand"),
    "the new state beside the input": (joined, "new", *SEQUENCES, "stale_operand"),
    "one of the joined weights": (joined, "turned", *SEQUENCES, "transpose"),
    "the new state for the old, single numbers": (average, "new", *SERIES, "stale_operand"),
    "the state one step back, all steps at once": (forced, "h", *FORCED, "stale_operand"),
    "no penalty on looked-up rows": (bag, "left out", *ROWS, "l2_missing"),
    "twice the penalty on looked-up rows": (bag, "doubled", *ROWS, "l2_scaled"),
    "the whole table for the looked-up rows": (bag, "whole", *ROWS, "l2_scaled"),
    "looked-up rows for the whole table": (table, "seen", *ROWS, "l2_missing"),
    "a mask of draws that are given": (drawn, "mask", *DRAWS, "dropout_mask_missing"),
    "the factor beside it": (drawn, "scale", *DRAWS, "dropout_scale_missing"),
    "no penalty inside a mean": (drawn, "decay", *DRAWS, "l2_missing"),
    "no penalty of a product": (scaled_product, "left out", *PLAIN, "l2_missing"),
    "twice the penalty of a product": (scaled_product, "doubled", *PLAIN, "l2_scaled"),
    "no penalty whose strengths are data": (ridge, "left out", *RIDGE, "l2_missing"),
    "a penalty with strengths, averaged": (ridge, "averaged", *RIDGE, "l2_scaled"),
    "what a squared hinge pushes apart": (pushed, "sign", *PAIRS, "sign"),
    "an example's weight": (weighted, "left out", *LINEAR, "unknown"),
    "an example's weight and the half": (weighted, "halved", *LINEAR, "unknown"),
    "an example's weight, twice": (weighted, "twice", *LINEAR, "unknown"),
    "a class's weight": (balanced, "left out", *CLASSES, "unknown"),
    "a class's weight, twice": (balanced, "twice", *CLASSES, "unknown"),
    "a propensity, twice": (propensity, "twice", *RATIOS, "unknown"),
    "events are no dropout mask": (survival, "all", *TIMES, "unknown"),
    "one of two terms whatever the event": (intervals, "ignored", *CHOICES, "unknown"),
    "a dropout mask": (dropped_out, "mask", *HIDDEN, "dropout_mask_missing"),
    "the slope of a gate": (text, "slope", *TEXTS, "activation_derivative_missing"),
    "the diagonal of a softmax beside −∞": (
        attended, "diagonal", *SEEN, "softmax_jacobian_diagonal",
    ),
    "the winners of another array": (text, "winner", *TEXTS, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("case", BUGS, ids=str)
def test_names_assert_what_matched(case):
    loss, bug, params, args, batch, cause = BUGS[case]
    found = findings(loss, of(loss, bug), params, args, batch=batch)
    assert [finding.cause for finding in found] == [cause], found


def test_a_path_that_data_choose_is_dropped_rather_than_its_examples():
    params, args, batch = CHOICES
    found = findings(intervals, of(intervals, "censored"), params, args, batch=batch)
    words = [found[0].cause, *found[0].equivalent]
    assert words[0] != "examples_dropped" and {"path_dropped", "examples_dropped"} < {*words}


CHANGES = {
    "unit norm": lambda g: g / np.sqrt(np.sum(g**2)),
    "clipped by its norm": lambda g: g * min(1.0, 0.1 / np.sqrt(np.sum(g**2))),
    "sign": np.sign,
    "over its largest entry": lambda g: g / np.max(np.abs(g)),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_gradients_divided_by_themselves_have_no_name(change):
    (x, y), w = draw((6, 3), (6,)), draw((3,), seed=1)[0]

    def by_hand(*args):
        return CHANGES[change](np.asarray(derivative(normalised)(*args)))

    found = findings(normalised, by_hand, w, (x, np.sign(y)), batch=(0, 1))
    assert [finding.cause for finding in found] == ["unknown"], found


def test_equal_code_of_two_files_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "import jax.numpy as jnp\n\n\ndef loss(w, x):\n    return jnp.sum(jnp.tanh(x @ w))\n"
    for name in ("one_loss", "other_loss"):
        (tmp_path / f"{name}.py").write_text(text)
        loss = importlib.import_module(name).loss
        (found,) = findings(loss, lambda w, x: jnp.sum(x, 0), draw((3,))[0], draw((6, 3), seed=1))
        assert f"{name}.py:5" in found.explanation
