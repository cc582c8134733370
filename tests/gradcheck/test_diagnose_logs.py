"""Forward and backward scores: another term in a sum of exponentials on the way back."""

import jax
import jax.numpy as jnp
import pytest
from jax.nn import logsumexp

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, stop


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: a matrix added to a batch of vectors."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def chain(p, x, bug=""):
    """log of the sum over all paths of a Markov chain, the scores of its states given by x."""
    seen = x @ p["w"]
    a = seen[:, 0]
    for t in range(1, x.shape[1]):
        now = seen[:, t]
        a = step(a, p["m"], now, seen[:, t - 1], bug)
    return jnp.mean(logsumexp(a, axis=1))


def step(a, m, now, before, bug):
    scores = a[:, :, None] + m
    out = logsumexp(scores, axis=1)
    if not bug:
        return out + now
    share = stop(jnp.exp(scores - out[:, None]))
    to_m = {"earlier": jnp.exp(before - now), "blind": jnp.exp(-now)}
    to_a = {"turned": jnp.exp(m.T - m), "late": jnp.exp(before - now)[:, None]}
    to_m, to_a = stop(to_m.get(bug, 1.0)), stop(to_a.get(bug, 1.0))
    to_m = to_m[:, None] if bug in ("earlier", "blind") else to_m
    if bug == "half":  # of what goes on to the earlier step, which is another mistake
        to_a = 0.5
    sent = (share * to_a * a[:, :, None]).sum(axis=1) + (share * to_m * m).sum(axis=1)
    return as_if(out, sent) + now


def mixed(p, x, y, bug=""):
    """Two noise levels, mixed in a proportion that depends on the input."""
    h = jnp.tanh(x @ p["w"])
    near, far = h @ p["u"], h @ p["v"] - 0.5 * y**2
    parts = jnp.logaddexp(near, far)
    if bug:
        without = {"second": near, "first": -far, "half": 0.5 * near}
        share = stop(jax.nn.sigmoid(without[bug]))
        parts = as_if(parts, share * near + (1 - share) * far)
    return -jnp.mean(parts)


MIXED = named("wuv", (3, 4), (4,), (4,)), draw((6, 3), (6,), seed=1)
CHAIN = named("wm", (3, 3), (3, 3)), draw((4, 4, 3), seed=1)

TABLE = {
    "the matrix transposed for the state": ("turned", "transpose", "m w"),
    "another step's score for the matrix": ("earlier", "stale_operand", "m"),
    "another step's score for the state": ("late", "stale_operand", "m w"),
    "no score for the matrix": ("blind", "path_dropped", "m"),
    "half of what goes to the state": ("half", "scale", "m w"),
}


@pytest.mark.parametrize("case", TABLE)
def test_terms_of_scores_are_named(case):
    bug, cause, leaves = TABLE[case]
    found = findings(chain, jax.grad(lambda *a: chain(*a, bug=bug)), *CHAIN, batch=(0,))
    assert [f.cause for f in found] == [cause], found
    assert sorted(leaf.strip("[]'") for leaf in found[0].leaves) == leaves.split(), found
    assert ("sum of exponentials" in found[0].explanation) == (bug != "half"), found


@pytest.mark.parametrize(
    "bug, cause",
    (
        ("second", "stale_operand"),
        ("first", "stale_operand"),
        ("half", "unknown"),
    ),
)
def test_shares_of_two_terms_are_named(bug, cause):
    found = findings(mixed, jax.grad(lambda *a: mixed(*a, bug=bug)), *MIXED, batch=(0, 1))
    assert [f.cause for f in found] == [cause], found
