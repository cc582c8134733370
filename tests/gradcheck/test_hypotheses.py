"""Hypotheses where a loop's lines differ from turn to turn, and families that fail."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl.gradcheck import diagnose
from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, draw, named, of, stop


def attending(p, x, y, bug=""):
    """A recurrence that attends to all of its states, a stack that grows."""
    states = [p["s"]]
    for row in x:
        seen = jnp.stack(states)
        share = jax.nn.softmax(seen @ (p["q"] @ states[-1]))
        if bug == "diagonal":
            z = seen @ (p["q"] @ states[-1])
            share = as_if(share, stop(share * (1 - share)) * z)
        context = share @ (stop(seen) if bug == "values" else seen)
        states.append(jnp.tanh(p["w"] @ row + p["a"] @ context))
    return jnp.sum((states[-1] - y) ** 2)


GIVEN = named("sqwa", (4,), (4, 4), (4, 2), (4, 4)), draw((5, 2), (4,), seed=1)


@pytest.mark.parametrize(
    ("bug", "cause"), [("values", "path_dropped"), ("diagonal", "softmax_jacobian_diagonal")]
)
def test_a_stack_that_grows_is_looked_into(bug, cause):
    found = findings(attending, of(attending, bug), *GIVEN)
    assert [f.cause for f in found] == [cause], found


def test_a_family_that_fails_takes_no_other_names_with_it(monkeypatch):
    def broken(case, node):
        raise IndexError("no such operand")

    families = diagnose.FAMILIES
    monkeypatch.setattr(diagnose, "FAMILIES", families._replace(every=(broken, *families.every)))
    with pytest.warns(RuntimeWarning, match="broken at .* IndexError: no such operand; please"):
        (found,) = findings(attending, of(attending, "values"), *GIVEN)
    assert found.cause == "path_dropped"
