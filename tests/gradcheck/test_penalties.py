"""A penalty's slope at other numbers than the leaf's that it is on."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck.bugs.penalties import family, slopes_at
from jaxdl.gradcheck.hypotheses import Case
from jaxdl.gradcheck.replay.backward import sweep
from jaxdl.gradcheck.replay.structure import penalty_nodes
from jaxdl.gradcheck.replay.trace import trace
from tests.gradcheck.diagnosis import derivative, findings
from tests.gradcheck.test_diagnose_names import of

RNG = np.random.default_rng(0)
P = {"b": RNG.normal(size=5), "w": RNG.normal(size=(4, 2))}
X = RNG.normal(size=(6, 4))
STRENGTHS = np.arange(1.0, 9.0).reshape(4, 2)

PENALTIES = {
    "elastic": (
        lambda w: 0.15 * jnp.sum(w**2) + 0.2 * jnp.sum(jnp.abs(w)),
        lambda x: 0.3 * x + 0.2 * np.sign(x),
    ),
    "smooth": (
        lambda w: 0.4 * jnp.sum(jnp.sqrt(w**2 + 0.01)),
        lambda x: 0.4 * x / np.sqrt(x**2 + 0.01),
    ),
    "fourth powers": (lambda w: jnp.mean(w**4), lambda x: x**3 / 2),
    "squares": (lambda w: 0.15 * jnp.sum(w**2), lambda x: 0.3 * x),
    "a strength for each": (lambda w: jnp.sum(STRENGTHS * w**2), None),
}  # fmt: skip


def loss(p, x, y, added, bug=""):
    return jnp.mean((jnp.tanh(x @ p["w"]) @ p["b"][:2] + p["b"][2] - y) ** 2) + added(p["w"])


@pytest.mark.parametrize("case", PENALTIES)
def test_the_slope_at_other_numbers(case):
    added, right = PENALTIES[case]
    tape = trace(lambda p, x, y: loss(p, x, y, added), P, (X, X[:, 0]))
    given = Case("given", tape, sweep(tape), [P["b"], P["w"]], [1e-9] * 2, None)
    for theta in (P["b"], P["w"], RNG.normal(size=(3, 5)), np.asarray(0.7)):
        slopes = slopes_at(given, 1, theta)
        if right is None:
            assert slopes is None
        else:
            np.testing.assert_allclose(slopes, right(theta), rtol=1e-12)
    told = family(given, tape.nodes[0])
    assert len(told) == (case not in ("squares", "a strength for each"))
    assert not family(given, tape.nodes[1])  # it has one of its own


NORMS = {
    "roots": lambda w: jnp.sum(jnp.sqrt(w**2 + 0.01)),
    "log cosh": lambda w: jnp.sum(jnp.log(jnp.cosh(w))),
    "Huber": lambda w: jnp.sum(jnp.where(jnp.abs(w) < 0.5, w**2, jnp.abs(w) - 0.25)),
}
NO_NORMS = {
    "log squares": lambda w: jnp.sum(jnp.log(w**2)),
    "log squares and an ε": lambda w: jnp.sum(jnp.log(w**2 + 0.1)),
    "log1p": lambda w: jnp.sum(jnp.log1p(w**2)),
    "steps between neighbours": lambda w: jnp.sum((w[1:] - w[:-1]) ** 4),
    "smallest away from 0": lambda w: jnp.sum((w**2 - 0.2) ** 2),
    "odd": lambda w: jnp.sum(w**3),
}


@pytest.mark.parametrize("case", [*NORMS, *NO_NORMS])
def test_what_counts_as_a_penalty(case):
    added = (NORMS | NO_NORMS)[case]
    tape = trace(lambda p, x, y: loss(p, x, y, added), P, (X, X[:, 0]))
    assert bool(penalty_nodes(tape)) == (case in NORMS)


def test_two_numbers_have_a_smooth_penalty_too():
    def short(p, x):
        return (
            jnp.mean(jnp.tanh(x @ p["w"])) + jnp.sum(jnp.sqrt(p["s"] ** 2 + 0.01)) * 0.1 + p["s"][0]
        )

    p = {"w": P["w"], "s": P["b"][:2]}
    assert penalty_nodes(trace(short, p, (X,)))


def test_a_penalty_of_two_leaves_is_on_none():
    def coupled(p, x):
        return jnp.mean(x @ p["u"]) + jnp.sum((p["u"] * p["v"]) ** 2)

    p = {"u": P["b"][:4], "v": 2 * P["b"][:4] + 0.01}
    assert not penalty_nodes(trace(coupled, p, (X,)))

    def product(p, x):
        return jnp.mean(x @ p["u"]) + p["u"] @ p["v"]

    assert not penalty_nodes(trace(product, p, (X,)))


def test_a_piecewise_penalty_at_other_numbers_is_on_the_right_piece():
    added = NORMS["Huber"]
    tape = trace(lambda p, x, y: loss(p, x, y, added), P, (X, X[:, 0]))
    given = Case("given", tape, sweep(tape), [P["b"], P["w"]], [1e-9] * 2, None)
    theta = np.array([-2.0, -0.3, 0.1, 0.7, 3.0])
    np.testing.assert_allclose(slopes_at(given, 1, theta), [-1.0, -0.6, 0.2, 1.0, 1.0])


@pytest.mark.parametrize("case", ["elastic", "smooth"])
def test_a_penalty_on_one_number_more_is_named(case):
    added, slope = PENALTIES[case]

    def line(p, x, y):
        return jnp.mean((x @ p["w"] @ jnp.ones(2) + p["b"] - y) ** 2) + added(p["w"])

    def by_hand(p, x, y):
        true = derivative(line)(p, x, y)
        return true | {"b": true["b"] + slope(np.asarray(p["b"]))}

    given = P | {"b": np.asarray(0.3)}
    found = findings(line, by_hand, given, (X, X[:, 0]), batch=(0, 1))
    assert [f.cause for f in found] == ["l2_on_bias"], found


@pytest.mark.parametrize("case", ["elastic", "smooth"])
def test_a_penalty_on_one_leaf_more_is_named(case):
    added, slope = PENALTIES[case]

    def by_hand(p, x, y):
        true = of(lambda *args, bug: loss(*args, added), "none")(p, x, y)
        return true | {"b": true["b"] + slope(np.asarray(p["b"]))}

    found = findings(lambda *args: loss(*args, added), by_hand, P, (X, X[:, 0]), batch=(0, 1))
    assert [f.cause for f in found] == ["l2_on_bias"], found
    assert "puts on the parameter w is put on this leaf as well" in found[0].explanation
