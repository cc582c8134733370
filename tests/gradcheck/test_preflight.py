"""What cannot be checked is said in one sentence; what is wrong with the gradient is a finding."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck

W = np.array([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.9]], np.float32)
B = np.zeros(2, np.float32)
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.4, 0.8, 0.1], [0.9, -0.6, 1.1]], np.float32)
PARAMS = {"w": W, "b": B}


def loss(p, x):
    return jnp.sum((x @ p["w"] + p["b"][None, :]) ** 2) / 2


def parts(p, x):
    return x, x @ p["w"] + p["b"][None, :]


def grad(p, x):
    x, d = parts(p, x)
    return {"w": x.T @ d, "b": d.sum(0)}


def vector(p, x):
    return x @ p["w"]


def broken(p, x):
    raise RuntimeError("no luck\nand a second line")


BAD_CALLS = {
    "vector loss": (vector, grad, PARAMS, ValueError, r"scalar loss, got an array of shape \(4, 2"),
    "auxiliary values": (
        lambda *a: (loss(*a), 1),
        grad,
        PARAMS,
        ValueError,
        r"one scalar, got a tuple of 2",
    ),
    "complex loss": (
        lambda *a: jax.lax.complex(loss(*a), loss(*a)),
        grad,
        PARAMS,
        TypeError,
        "real floating-point loss",
    ),
    "loss raises": (broken, grad, PARAMS, ValueError, r"loss raises RuntimeError.*no luck$"),
    "strings in params": (
        loss,
        grad,
        PARAMS | {"activation": "relu"},
        TypeError,
        "activation is a str",
    ),
    "integer params": (
        loss,
        grad,
        {"w": np.arange(3)},
        TypeError,
        r"at least one floating-point leaf.*int64",
    ),
    "no params": (loss, grad, {}, TypeError, "no leaves at all"),
    "a result in place of the gradient function": (
        loss,
        PARAMS,
        PARAMS,
        TypeError,
        "grad to be a function of .*, got a dict: pass the function itself",
    ),
    "NaN in params": (
        loss,
        grad,
        PARAMS | {"b": B * np.nan},
        ValueError,
        "finite parameters, but b holds NaN",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS, ids=str)
def test_bad_calls_raise_one_sentence(case):
    value, by_hand, params, kind, message = BAD_CALLS[case]
    with pytest.raises(kind, match=message):
        gradcheck.check(value, by_hand, params, X)


def test_nan_in_the_data():
    with pytest.raises(ValueError, match="argument 0 after params holds NaN"):
        gradcheck.check(loss, grad, PARAMS, X * np.nan)


def test_a_loss_that_is_infinite_is_inconclusive():
    report = gradcheck.check(lambda w: jnp.sum(jnp.log(w)), lambda w: 1 / w, np.zeros(3))
    assert report.verdict == "INCONCLUSIVE"
    assert "-inf at the given point" in report.doubts[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_argnums": 1}, "index the 1 arguments after params, got 1"),
        ({"points": "elsewhere"}, "Unknown point 'elsewhere'"),
        ({"oracle": "sympy"}, "Unknown oracle 'sympy'"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        gradcheck.check(loss, grad, PARAMS, X, **options)


def test_no_examples():
    with pytest.raises(ValueError, match="at least one example, got arrays of length 0 along axis"):
        gradcheck.check(loss, grad, PARAMS, X[:0], batch_argnums=0)


@pytest.mark.parametrize(("index", "name"), [(0, "b"), (1, "argument 0 after params")])
def test_arrays_that_are_being_traced(index, name):
    def traced(*call):
        gradcheck.check(loss, grad, *call)

    with pytest.raises(TypeError, match=f"{name} is being traced.*outside of jax.jit"):
        args = [PARAMS, X]
        jax.jit(lambda v: traced(*(v if i == index else a for i, a in enumerate(args))))(
            args[index]
        )


def test_parameters_without_a_number_are_inconclusive():
    report = gradcheck.check(jnp.sum, jnp.ones_like, np.zeros((0, 4)))
    assert report.verdict == "INCONCLUSIVE"
    assert "nothing to compare" in report.doubts[0]


def test_arguments_of_different_batch_sizes():
    with pytest.raises(ValueError, match=r"argument 0: \[4\], argument 1: \[3\]"):
        gradcheck.check(loss, grad, PARAMS, X, X[:3], batch_argnums=(0, 1))


def transposed(p, x):
    return {k: v.T for k, v in grad(p, x).items()}


BAD_GRADIENTS = {
    "raises": (broken, "raises", "raises RuntimeError: no luck"),
    "missing leaf": (lambda *a: {"w": grad(*a)["w"]}, "structure", r"Missing: \[b\]"),
    "None for a leaf": (lambda *a: grad(*a) | {"b": None}, "structure", r"Missing: \[b\]"),
    "leaf too many": (lambda *a: grad(*a) | {"c": 0.0}, "structure", r"Not a parameter: \[c\]"),
    "value and gradient": (lambda *a: (loss(*a), grad(*a)), "structure", r"grad\(\*a\)\[1\]"),
    "a string": (lambda *a: grad(*a) | {"b": "zero"}, "structure", "another kind of object at b"),
    "transposed": (transposed, "transpose", r"shape \(3, 2\), .* shape \(2, 3\): it is the right"),
    "kept dimension": (
        lambda *a: grad(*a) | {"b": parts(*a)[1].sum(0, keepdims=True)},
        "shape",
        "the numbers are right",
    ),
    "bias not summed": (
        lambda *a: grad(*a) | {"b": parts(*a)[1]},
        "bias_reduction_wrong",
        "its sum over axis 0 is right",
    ),
    "bias summed to a number": (
        lambda *a: grad(*a) | {"b": parts(*a)[1].sum()},
        "bias_reduction_wrong",
        "one number",
    ),
    "random": (
        lambda *a: jax.tree.map(lambda g: g * np.random.uniform(0.5, 1.5), grad(*a)),
        "nondeterministic",
        "differ by",
    ),
}


@pytest.mark.parametrize("case", BAD_GRADIENTS, ids=str)
def test_faults_of_the_gradient_function_are_findings(case):
    by_hand, cause, message = BAD_GRADIENTS[case]
    report = gradcheck.check(loss, by_hand, PARAMS, X)
    assert report.verdict == "FAIL"
    assert report.findings[0].cause == cause
    assert re.search(message, report.findings[0].explanation)


def test_a_gradient_that_writes_into_its_arguments():
    def by_hand(p, x):
        result = {k: np.asarray(v) for k, v in grad(p, x).items()}
        p["w"] *= 2
        return result

    params = {k: v.copy() for k, v in PARAMS.items()}
    report = gradcheck.check(loss, by_hand, params, X)
    assert [finding.cause for finding in report.findings] == ["input_mutated"]
    np.testing.assert_array_equal(params["w"], W)  # and the caller's own arrays are safe


@pytest.mark.parametrize("wrap", [lambda f: f, functools.partial, jax.jit])
def test_code_that_traces_and_writes_into_its_arguments(wrap):
    def by_hand(w):
        w *= 2
        return w

    report = gradcheck.check(lambda w: jnp.sum(w**2), wrap(by_hand), W.copy())
    assert report.verdict == ("PASS" if wrap is jax.jit else "FAIL")  # compiled code gets copies
    assert [finding.cause for finding in report.findings] in ([], ["input_mutated"])


def test_a_loss_that_is_not_deterministic_is_inconclusive():
    def noisy(p, x):
        return loss(p, x) * np.random.uniform(0.5, 1.5)

    report = gradcheck.check(noisy, grad, PARAMS, X, diagnose=False)
    assert report.verdict in ("INCONCLUSIVE", "FAIL")  # whichever draw comes first


def test_containers_of_another_kind_are_no_fault():
    def by_hand(p, x):
        x, d = parts({"w": p[0], "b": p[1]}, x)
        return (x.T @ d, d.sum(0))

    def value(p, x):
        return loss({"w": p[0], "b": p[1]}, x)

    assert gradcheck.check(value, by_hand, [W, B], X).verdict == "PASS"
