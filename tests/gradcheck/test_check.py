"""The verdicts of `check`: right gradients pass whatever they look like, wrong ones fail."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import gradcheck

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.4, 0.8, 0.1], [0.9, -0.6, 1.1]], np.float32)
Y = np.array([0.0, 1.0, 1.0, 0.0], np.float32)
W = np.array([0.3, -0.2, 0.5], np.float32)
A = np.array([[4.0, 1.0, 0.3], [0.2, 3.0, -0.5], [0.1, 0.7, 5.0]])
S = A @ A.T


def loss(w, x, y):
    """Logistic regression: L = mean of log(1 + e^z) − y z, z = x w."""
    z = x @ w
    return jnp.mean(jnp.logaddexp(0.0, z) - y * z)


def grad(w, x, y):
    return x.T @ (jax.nn.sigmoid(x @ w) - y) / len(y)


def numpy_loss(w, x, y):
    z = np.dot(x, w)
    return np.mean(np.logaddexp(0.0, z) - y * z)


def numpy_grad(w, x, y):
    return np.dot(np.transpose(x), 1 / (1 + np.exp(-np.dot(x, w))) - y) / len(y)


def verdict(*args, **options):
    return gradcheck.check(*args, **{"diagnose": False, **options}).verdict


def test_worked_example():
    # L(w) = w² x at x = 3: dL/dw = 2 · 0.5 · 3 = 3.
    report = gradcheck.check(lambda w, x: w**2 * x, lambda w, x: 2 * w * x, 0.5, 3.0)
    assert report.verdict == "PASS"
    assert report.leaves[0].size == 3.0 or report.leaves[0].point != "given"


RIGHT = {
    "float32": (loss, grad, W, X, Y),
    "jitted": (jax.jit(loss), jax.jit(grad), W, X, Y),
    "bfloat16": (
        loss,
        lambda w, x, y: x.T @ (jax.nn.sigmoid(x @ w) - y) / jnp.asarray(len(y), y.dtype),
        *(jnp.asarray(a, jnp.bfloat16) for a in (W, X, Y)),
    ),
    "logits beyond 50": (loss, grad, W * 60, X, Y),
    "NumPy gradient": (loss, numpy_grad, W, X, Y),
    "NumPy loss and gradient": (numpy_loss, numpy_grad, W, X, Y),
    "closure over float32": (lambda w: loss(w, X, Y), lambda w: grad(w, X, Y), W),
    "loss 1e12": (lambda *a: 1e12 * loss(*a), lambda *a: 1e12 * grad(*a), W, X, Y),
    "loss 1e-12": (lambda *a: 1e-12 * loss(*a), lambda *a: 1e-12 * grad(*a), W, X, Y),
    "loss with an offset": (lambda *a: 1e6 + loss(*a), grad, W, X, Y),
    "complex": (
        lambda w: jnp.sum(jnp.abs(w) ** 2),
        lambda w: 2 * jnp.conj(w),
        np.array([1 + 2j, 0.3 - 1j], np.complex64),
    ),
    "log determinant of a symmetric matrix": (
        lambda s: jnp.linalg.slogdet(s)[1],
        jnp.linalg.inv,  # right where the matrix is symmetric, and only there
        S,
    ),
    "log determinant by Cholesky": (
        lambda s: 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(s)))),
        jnp.linalg.inv,
        S,
    ),
    "a domain near its edge": (
        lambda p: -jnp.sum(jnp.log(1 - p)),
        lambda p: 1 / (1 - p),
        np.array([0.9, 0.99, 0.999]),
    ),
}


@pytest.mark.parametrize("case", RIGHT, ids=str)
def test_right_gradients_pass(case):
    assert verdict(*RIGHT[case]) == "PASS"


@pytest.mark.parametrize("m", [1, 2, 4])
def test_right_gradients_pass_at_every_batch_size(m):
    report = gradcheck.check(loss, grad, W, X[:m], Y[:m], batch_argnums=(0, 1), diagnose=False)
    assert report.verdict == "PASS"
    assert any(point.startswith("batch 1") for point in report.points)


def test_examples_in_columns():
    def columns(p, x, y):
        return jnp.sum((jnp.tanh(p["w"] @ x) - y) ** 2) / (2 * x.shape[1])

    def by_hand(p, x, y):
        a = jnp.tanh(p["w"] @ x)
        return {"w": (a - y) * (1 - a**2) @ x.T / x.shape[1]}

    params = {"w": np.array([[0.3, -0.2, 0.5], [0.1, 0.7, -0.4]])}
    y = np.ones((2, 4))
    assert verdict(columns, by_hand, params, X.T, y, batch_argnums=(0, 1), batch_axis=1) == "PASS"


class Params(NamedTuple):
    w: np.ndarray
    b: float


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Weights:
    w: np.ndarray
    b: float


@pytest.mark.parametrize("kind", [Params, Weights], ids=["NamedTuple", "dataclass"])
def test_any_pytree(kind):
    def affine(p, x):
        return jnp.sum(jnp.tanh(x @ p.w + p.b))

    def by_hand(p, x):
        d = 1 - jnp.tanh(x @ p.w + p.b) ** 2
        return kind(x.T @ d, d.sum())

    assert verdict(affine, by_hand, kind(W, 0.1), X, batch_argnums=0) == "PASS"


def test_leaves_that_are_not_differentiated_pass_through():
    params = {"w": W, "n": 3, "labels": np.arange(3), "nothing": None}

    def by_hand(p, x, name):
        return {"w": x.sum(0) * p["n"], "n": None, "labels": None, "nothing": None}

    def linear(p, x, name):
        assert name == "kept"
        return jnp.sum(x @ p["w"]) * p["n"]

    assert verdict(linear, by_hand, params, X, "kept") == "PASS"


def test_integer_arrays_among_parameters_beside_a_batch():
    def scaled(p, x, y):
        return loss(p["w"], x, y) * p["n"]

    def by_hand(p, x, y):
        return {"w": grad(p["w"], x, y) * p["n"]}

    params = {"w": W, "n": np.int32(3)}
    assert verdict(scaled, by_hand, params, X, Y, batch_argnums=(0, 1)) == "PASS"


def test_a_typed_key_beside_a_batch():
    def dropped(w, x, y, key):
        return loss(w * jax.random.bernoulli(key, 0.7, w.shape), x, y)

    def by_hand(w, x, y, key):
        mask = jax.random.bernoulli(key, 0.7, w.shape)
        return mask * grad(w * mask, x, y)

    key = jax.random.key(1)
    assert verdict(dropped, by_hand, W, X, Y, key, batch_argnums=(0, 1)) == "PASS"


@pytest.mark.parametrize(
    ("change", "cause"), [(np.conj, "unknown"), (lambda g: -g, "sign"), (lambda g: 3 * g, "scale")]
)
def test_complex_gradients_are_diagnosed_leaf_by_leaf(change, cause):
    z = np.array([1 + 2j, 3 - 1j])
    report = gradcheck.check(
        lambda z: jnp.sum(jnp.abs(z) ** 2), lambda z: change(2 * np.conj(z)), z
    )
    assert [finding.cause for finding in report.findings] == [cause]
    assert ("conjugate" in report.findings[0].explanation) == (cause == "unknown")


def test_programs_are_remembered_in_the_mode_they_were_made_for():
    for on in (False, True, False, True):
        with jax.enable_x64(on):
            assert verdict(loss, grad, W, X, Y) == "PASS"
            assert verdict(loss, grad, jnp.asarray(W, jnp.float32), X, Y) == "PASS"
            assert verdict(loss, grad, W.astype(np.float64), X, Y) == "PASS"


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.PRNGKey(0)], ids=["key", "raw"])
def test_keys(key):
    def mask(key, x):
        return jax.random.bernoulli(key, 0.5, x.shape).astype(x.dtype)

    def dropped(w, x, key):
        return jnp.sum((x * mask(key, x)) @ w)

    assert verdict(dropped, lambda w, x, key: (x * mask(key, x)).sum(0), W, X, key) == "PASS"


class Net:
    """A layer that keeps what its backward pass needs, as course code does."""

    def __init__(self, np):
        self.np = np

    def forward(self, p, x):
        self.x, self.h = x, self.np.tanh(x @ p["w"])
        return self.h

    def backward(self, dh):
        return {"w": self.x.T @ (dh * (1 - self.h**2))}


@pytest.mark.parametrize("library", [np, jnp], ids=["numpy", "jax"])
@pytest.mark.parametrize("runs_forward", [True, False], ids=["forward first", "after the loss"])
def test_layers_with_caches(library, runs_forward):
    net = Net(library)

    def squares(p, x):
        return library.sum(net.forward(p, x) ** 2)

    def by_hand(p, x):
        return net.backward(2 * (net.forward(p, x) if runs_forward else net.h))

    assert verdict(squares, by_hand, {"w": A[:, :2]}, X.astype(np.float64)) == "PASS"


def test_control_flow_in_python():
    def branching(w, x, y):
        value = loss(w, x, y)
        return value * 2 if value > 100 else value

    assert verdict(branching, grad, W, X, Y) == "PASS"


KINKS = {
    "relu'(0) = 1": (lambda w: jnp.sum(jax.nn.relu(w)), lambda w: (w >= 0).astype(w.dtype)),
    "relu'(0) = 1/2": (lambda w: jnp.sum(jax.nn.relu(w)), lambda w: jnp.heaviside(w, 0.5)),
    "sign(0) = 1": (lambda w: jnp.sum(jnp.abs(w)), lambda w: jnp.where(w >= 0, 1.0, -1.0)),
    "first of a tie": (jnp.max, lambda w: jnp.zeros_like(w).at[jnp.argmax(w)].set(1.0)),
}


@pytest.mark.parametrize("case", KINKS, ids=str)
def test_another_choice_at_a_kink_passes(case):
    report = gradcheck.check(*KINKS[case], np.array([0.0, 0.0, -2.0, -1.0]))
    assert report.verdict == "PASS"
    assert any("kink" in note for note in report.notes)


def test_a_bug_beside_a_kink_still_fails():
    def by_hand(w):
        return (w >= 0).astype(w.dtype) * 1.01

    assert verdict(KINKS["relu'(0) = 1"][0], by_hand, np.array([0.0, 0.0, 2.0])) == "FAIL"


def test_norm_at_zero_is_a_kink():
    def by_hand(w):
        return w / jnp.maximum(jnp.sqrt(jnp.sum(w**2)), 1e-300)

    def norm(w):
        return jnp.sqrt(jnp.sum(w**2))

    assert verdict(norm, by_hand, np.zeros(3)) == "PASS"
    assert verdict(norm, lambda w: w / norm(w), np.zeros(3)) == "FAIL"  # not a number


PRECISION = {
    "hard casts": (
        lambda w: loss(w.astype(jnp.float32), X, Y),
        lambda w: grad(w.astype(jnp.float32), X, Y),
    ),
    "bfloat16 arithmetic": (
        lambda w: jnp.sum(jnp.tanh(w.astype(jnp.bfloat16))).astype(jnp.float32),
        lambda w: (1 - jnp.tanh(w.astype(jnp.bfloat16)) ** 2).astype(jnp.float32),
    ),
    "a float32 carry": (
        lambda w: lax.scan(lambda h, _: (h * w, None), jnp.ones(3, jnp.float32), None, 3)[0].sum(),
        lambda w: 3 * w**2,
    ),
    "float32 constants scaled in NumPy": (
        lambda w: jnp.sum(Y[:3] * w**2 / (Y.sum() + np.float32(0.1))),
        lambda w: 2 * w * (Y[:3] / (Y.sum() + np.float32(0.1))),
    ),
    "float32 in NumPy": (
        lambda w: loss(w, X, Y),
        lambda w: np.asarray(numpy_grad(np.asarray(w, np.float32), X, Y), np.float32),
    ),
    "float32 loss in NumPy": (
        lambda w: numpy_loss(np.asarray(w, np.float32), X, Y),
        lambda w: numpy_grad(np.asarray(w, np.float32), X, Y),
    ),
}


@pytest.mark.parametrize("case", PRECISION, ids=str)
def test_code_that_insists_on_a_narrow_dtype_passes(case):
    value, by_hand = PRECISION[case]
    assert verdict(value, by_hand, W) == "PASS"
    assert verdict(value, lambda w: by_hand(w) * np.float32(1.01), W) == "FAIL"


def test_stop_gradient_is_said_aloud():
    report = gradcheck.check(lambda w: jnp.sum(w * lax.stop_gradient(w)), lambda w: w, W)
    assert report.verdict == "PASS"
    assert any("stop_gradient at test_check.py" in note for note in report.notes)


def test_a_shared_surrogate_is_inconclusive():
    @jax.custom_vjp
    def rounded(x):
        return 3 * x

    rounded.defvjp(lambda x: (3 * x, None), lambda _, g: (g,))
    report = gradcheck.check(lambda w: jnp.sum(rounded(w) * W), lambda w: W + 0 * w, W)
    assert report.verdict == "INCONCLUSIVE"
    assert "custom derivative rule" in report.doubts[0]


@pytest.mark.parametrize("where", ["stop_gradient", "custom rule", "NaN behind where"])
def test_faults_of_autodiff_are_blamed_on_autodiff(where):
    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (x**2, x), lambda x, g: (3 * x * g,))
    losses = {
        "stop_gradient": lambda w: jnp.sum(w * lax.stop_gradient(w)),
        "custom rule": lambda w: jnp.sum(square(w)),
        "NaN behind where": lambda w: jnp.sum(jnp.where(w > 5, jnp.sqrt(w - 5), w**2)),
    }
    report = gradcheck.check(losses[where], lambda w: 2 * w, W)
    assert report.verdict == "FAIL"
    assert [finding.cause for finding in report.findings] == ["autodiff_path"]


WRONG = {
    "factor": lambda w, x, y: np.float32(1.001) * grad(w, x, y),
    "sign": lambda w, x, y: -grad(w, x, y),
    "sum for mean": lambda w, x, y: x.T @ (jax.nn.sigmoid(x @ w) - y),
    "one entry, a little": lambda w, x, y: grad(w, x, y).at[1].multiply(1.0001),
    "not a number": lambda w, x, y: grad(w, x, y).at[1].set(jnp.nan),
    "infinite": lambda w, x, y: grad(w, x, y) / jnp.asarray([0.0, 1.0, 0.0], w.dtype),
    "zero": lambda w, x, y: jnp.zeros_like(w),
    "in NumPy": lambda w, x, y: numpy_grad(w, x, y) * 1.001,
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_wrong_gradients_fail(case):
    assert verdict(loss, WRONG[case], W, X, Y) == "FAIL"


def test_wrong_gradients_of_numpy_losses_fail():
    assert verdict(numpy_loss, lambda *a: 1.00001 * numpy_grad(*a), W, X, Y) == "FAIL"
    assert verdict(loss, WRONG["factor"], W, X, Y, oracle="fd") == "FAIL"


@pytest.mark.parametrize(
    ("factor", "cause"),
    [(lambda x: 2.0, ["scale"]), (lambda x: len(x), ["batch_mean_missing"])],
)
def test_several_leaves_of_a_numpy_loss_are_diagnosed(factor, cause):
    def both(p, x, y):
        return numpy_loss(p["w"], x, y) + 0.5 * float(p["c"] ** 2) / len(x)

    def by_hand(p, x, y):
        right = {"w": numpy_grad(p["w"], x, y), "c": p["c"] / len(x)}
        return {name: factor(x) * leaf for name, leaf in right.items()}

    params = {"w": W, "c": np.float32(0.4)}
    report = gradcheck.check(both, by_hand, params, X, Y, batch_argnums=(0, 1), oracle="fd")
    assert [finding.cause for finding in report.findings] == cause
    assert set(report.findings[0].leaves) == {"w", "c"}


def test_a_numpy_loss_too_large_for_every_entry():
    w = np.linspace(-1.0, 1.0, 300)

    def squares(w):
        return np.sum(w**2) / 2

    assert verdict(squares, lambda w: w, w, budget_s=1e-4) == "PASS"
    assert verdict(squares, lambda w: np.where(np.arange(300) == 7, 0, w), w, budget_s=1e-4) == (
        "FAIL"
    )


def test_a_bias_penalty_shows_only_where_biases_are_not_zero():
    params = {"w": W, "b": np.zeros(1, np.float32)}

    def value(p, x):
        return jnp.sum(jnp.tanh(x @ p["w"] + p["b"]))

    def by_hand(p, x):
        d = 1 - jnp.tanh(x @ p["w"] + p["b"]) ** 2
        return {"w": x.T @ d, "b": d.sum(keepdims=True) + 0.1 * p["b"]}

    assert verdict(value, by_hand, params, X) == "FAIL"
    report = gradcheck.check(value, by_hand, params, X, points="given")
    assert report.verdict == "PASS"
    assert any("penalty on b" in line for line in report.adequacy)


def test_a_gradient_that_knows_one_batch_size_fails_at_another():
    def by_hand(w, x, y):
        return grad(w, x, y) * (len(y) / 4)

    assert verdict(loss, by_hand, W, X, Y) == "PASS"
    assert verdict(loss, by_hand, W, X, Y, batch_argnums=(0, 1)) == "FAIL"


def test_overflow_in_the_callers_precision_fails():
    def by_hand(w, x, y):
        e = jnp.exp(x @ w)
        return x.T @ (e / (1 + e) - y) / len(y)

    assert verdict(loss, by_hand, W, X, Y) == "PASS"
    report = gradcheck.check(loss, by_hand, 100 * W, X, Y)
    assert [finding.cause for finding in report.findings] == ["not_a_number"]


def test_lost_digits_are_a_note():
    def value(w):
        return jnp.sum(jnp.logaddexp(0.0, w))

    def cancelling(w):
        return ((w + 1e4) - 1e4) * 0 + (1e4 + jax.nn.sigmoid(w)) - 1e4

    report = gradcheck.check(value, cancelling, W)
    assert report.verdict == "PASS"
    assert any("digits are lost" in note for note in report.notes)


def test_a_changed_global_is_noticed(monkeypatch):
    monkeypatch.setitem(SCALE, "factor", 1.0)
    assert verdict(scaled_loss, scaled_grad, W) == "PASS"
    monkeypatch.setitem(SCALE, "factor", 2.0)
    assert verdict(scaled_loss, scaled_grad, W) == "FAIL"


SCALE = {"factor": 1.0}


def scaled_loss(w):
    return SCALE["factor"] * jnp.sum(w**2)


def scaled_grad(w):
    return 2 * w


def test_nothing_global_is_left_changed_when_the_callers_code_raises():
    before = dict(jax.config.values), jax.numpy.zeros(1).dtype

    def broken(w):
        raise RuntimeError("no luck")

    assert verdict(lambda w: jnp.sum(w), broken, W) == "FAIL"
    with pytest.raises(ValueError, match="no luck"):
        gradcheck.check(broken, lambda w: w, W)
    assert (dict(jax.config.values), jax.numpy.zeros(1).dtype) == before
