"""Every transformation and recipe equals its reference and keeps the laws; no name is left out."""

import pathlib
import re

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxdl import optim
from jaxdl.optim import testing
from tests import compiling
from tests.optim.cases import BY_HAND, KEY, RECIPES, REFERENCES, SCHEDULES


@pytest.mark.parametrize(("ours", "theirs", "options"), REFERENCES)
@compiling.as_users_do()
def test_equals_the_reference(ours, theirs, options):
    testing.check_against(ours, theirs, **options)


LAWFUL = {
    **RECIPES,
    "average_params": lambda decay: optim.chain(optim.sgd(0.1), optim.average_params(decay)),
    "max_norm": lambda rate: optim.chain(optim.sgd(rate), optim.max_norm(1.5)),
    "proximal_l1": lambda rate: optim.chain(optim.sgd(rate), optim.proximal_l1(rate, 0.1)),
    "with_hyperparams": optim.with_hyperparams(optim.adamw),
    "apply_if_finite": lambda rate: optim.apply_if_finite(optim.adam(rate), 3),
    "accumulate": lambda rate: optim.accumulate(optim.adam(rate), 2),
    "lookahead": lambda rate: optim.lookahead(optim.adam(rate), 2, rate),
}


COVERED = {*LAWFUL, "chain", "named_chain", "nesterov", "add_noise"}
# One variant of each: all of them keep structure and dtypes, or check_against refuses them.
FIRST = {case.id.split("-")[0]: case for case in reversed(REFERENCES)}
OTHERS = [case for name, case in FIRST.items() if name not in COVERED]


@pytest.mark.parametrize("make", LAWFUL.values(), ids=LAWFUL)
def test_keeps_the_laws_for_every_hyperparameter(make):
    testing.check_laws(make)


@pytest.mark.parametrize(("ours", "theirs", "options"), OTHERS)
def test_keeps_the_laws(ours, theirs, options):
    testing.check_laws(ours)


def test_noise_keeps_the_laws():
    testing.check_laws(optim.add_noise(0.1, 0.5, KEY), dtypes=["bfloat16"])


def public_names():
    """What `optim` offers, modules aside."""
    hidden = {"testing"}
    listing = pathlib.Path(optim.__file__).read_text()
    return {name for name in re.findall(r" as (\w+)$", listing, re.M) if name not in hidden}


def test_every_public_name_has_a_case():
    tested = {case.id.split("-")[0] for case in REFERENCES}
    tested |= {name.split("-")[0] for name in SCHEDULES} | set(BY_HAND) | {"join_schedules"}
    assert public_names() - tested == set(), "these names have no case"
    assert tested - public_names() == set(), "these cases have no name"


def test_every_sum_by_hand_exists():
    here = pathlib.Path(__file__).parent
    defined = set(
        re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in here.glob("*.py")), re.M)
    )
    assert set(BY_HAND.values()) <= defined


# The kit must find what is wrong. Each of these is broken in one way.


def stateful(update):
    return optim.GradientTransformation(lambda params: jnp.zeros([], jnp.int32), update)


def grow_state(g, state, params=None):
    return g, state.astype(jnp.float32) + 1


def lose_dtype(g, state, params=None):
    return jax.tree.map(lambda g: g.astype(jnp.float32), g), state


def divide_by_zero(g, state, params=None):
    return jax.tree.map(lambda g: g / g, g), state


def depend_on_python(g, state, params=None):
    depend_on_python.calls += 1
    return jax.tree.map(lambda g: g * depend_on_python.calls, g), state


depend_on_python.calls = 0


def share_buffers(params):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return zeros, zeros


SHARED = optim.GradientTransformation(share_buffers, lambda g, state, params=None: (g, state))

BROKEN = [
    pytest.param(stateful(grow_state), "In the state, .* became float32", id="state-dtype"),
    pytest.param(stateful(lose_dtype), "In the updates, .* became float32", id="updates-dtype"),
    pytest.param(stateful(divide_by_zero), "zero gradients give finite updates", id="nan"),
    pytest.param(stateful(depend_on_python), "jit with donated buffers = eager", id="impure"),
    pytest.param(SHARED, "donate the same buffer twice", id="shared-buffers"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN)
def test_the_laws_find_what_is_broken(broken, message):
    with pytest.raises((AssertionError, jax.errors.JaxRuntimeError), match=message):
        testing.check_laws(broken)


def test_the_message_names_step_leaf_and_index():
    late = optim.adam(optim.piecewise_constant_schedule(1e-3, {3: 1.5}))
    with pytest.raises(AssertionError, match=r"step 4, leaf '\S+', index \(.*ulp apart"):
        testing.check_against(
            late, optax.adam(optax.constant_schedule(1e-3)), scales=(1.0,), steps=9
        )


# Adam as people write it, with a bug. Each is found, and the message says where to look.


def hand_written(bug=""):
    """Adam with one of the bugs; without, it is right."""

    def init(params):
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)  # noqa: E731
        count = 0 if bug == "python number" else jnp.zeros([], jnp.int32)
        return {"count": count, "mu": zeros(), "nu": zeros()}

    def update(g, state, params=None):
        t = state["count"] + (0 if bug == "count from 0" else 1)
        square = jnp.abs if bug == "no square" else jnp.square
        b1 = 0.1 if bug == "weights swapped" else 0.9
        b2 = jnp.asarray(0.999) if bug == "1 - b2 in float32" else 0.999
        m = jax.tree.map(lambda g, m: (1 - b1) * g + b1 * m, g, state["mu"])
        s = jax.tree.map(
            lambda g, s: jnp.asarray(1 - b2, s.dtype) * square(g) + jnp.asarray(b2, s.dtype) * s,
            g,
            state["nu"],
        )
        after = {"count": t, "mu": m, "nu": state["nu"] if bug == "state not kept" else s}
        if bug == "python if" and state["count"] > 5:
            return g, after

        def direction(m, s):
            v = m / (1 - jnp.asarray(0.9, m.dtype) ** t.astype(m.dtype))
            s = s if bug == "not debiased" else s / (1 - jnp.asarray(0.999, s.dtype) ** t)
            rate = jnp.where(t > 9, 1.01e-3, 1e-3) if bug == "from step 10 on" else 1e-3
            root = jnp.sqrt(s + 1e-8) if bug == "epsilon inside" else jnp.sqrt(s) + 1e-8
            return (1 if bug == "sign" else -1) * jnp.asarray(rate, m.dtype) * v / root

        updates = jax.tree.map(direction, m, s)
        if bug == "one leaf":
            updates = {**updates, "w": 1.0001 * updates["w"]}
        if bug == "a leaf is lost":
            updates = {"rest": updates["rest"]}
        return updates, after

    return optim.GradientTransformation(init, update)


WHERE = r"differ first at step {}, leaf '\S+', index \(.*got \S+, expected \S+ .* ulp apart"
BUGS = {
    "count from 0": WHERE.format(1),
    "no square": WHERE.format(1),
    "weights swapped": WHERE.format(1),
    "state not kept": WHERE.format(2),
    "not debiased": WHERE.format(1),
    "from step 10 on": WHERE.format(10),
    "epsilon inside": WHERE.format(1),
    "sign": WHERE.format(1),
    "one leaf": r"leaf 'w', index \(0, 0\).* 1 of 3 leaves",
    "1 - b2 in float32": WHERE.format(1) + ".* 1 - b2 taken in float32",
    "a leaf is lost": "structure of the updates became",
    "python number": "At 'count' it holds 0",
    "python if": r"use jnp\.where or jax\.lax\.cond",
}


@pytest.mark.parametrize("bug", BUGS)
def test_bugs_are_found_where_they_are(bug):
    with jax.numpy_dtype_promotion("standard"), pytest.raises(AssertionError, match=BUGS[bug]):
        testing.check_against(hand_written(bug), optax.adam(1e-3), scales=(1.0,), steps=12)


def test_without_a_bug_it_passes():
    with jax.numpy_dtype_promotion("standard"):
        testing.check_against(hand_written(), optax.adam(1e-3), scales=(1.0,))


def test_other_states_are_refused_with_advice():
    with pytest.raises(ValueError, match="Pass to_reference"):
        testing.check_against(optim.scale_by_rms(), optax.scale_by_rms(eps_in_sqrt=False), steps=9)
