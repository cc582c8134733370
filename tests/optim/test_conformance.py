"""Every transformation and recipe equals its reference and keeps the laws; no name is left out."""

import pathlib
import re

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxdl import optim
from jaxdl.optim import testing
from tests.optim.cases import BY_HAND, RECIPES, REFERENCES, SCHEDULES


@pytest.mark.parametrize(("ours", "theirs", "options"), REFERENCES)
def test_equals_the_reference(ours, theirs, options):
    testing.check_against(ours, theirs, **options)


LAWFUL = {
    **RECIPES,
    "average_params": lambda decay: optim.chain(optim.sgd(0.1), optim.average_params(decay)),
    "proximal_l1": lambda rate: optim.chain(optim.sgd(rate), optim.proximal_l1(rate, 0.1)),
    "with_hyperparams": optim.with_hyperparams(optim.adamw),
    "apply_if_finite": lambda rate: optim.apply_if_finite(optim.adam(rate), 3),
    "accumulate": lambda rate: optim.accumulate(optim.adam(rate), 2),
    "lookahead": lambda rate: optim.lookahead(optim.adam(rate), 2, rate),
}


COVERED = {*LAWFUL, "chain", "named_chain", "nesterov", "add_noise"}
OTHERS = [case for case in REFERENCES if case.id.split("-")[0] not in COVERED]


@pytest.mark.parametrize("make", LAWFUL.values(), ids=LAWFUL)
def test_keeps_the_laws_for_every_hyperparameter(make):
    testing.check_laws(make)


@pytest.mark.parametrize(("ours", "theirs", "options"), OTHERS)
def test_keeps_the_laws(ours, theirs, options):
    testing.check_laws(ours)


def test_noise_keeps_the_laws():
    key = jax.random.key(3)
    testing.check_laws(optim.add_noise(0.1, 0.5, key), dtypes=["bfloat16"])


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
    with pytest.raises(AssertionError, match=r"step 4 .* leaf '\S+', index \(.*ulp apart"):
        testing.check_against(
            late, optax.adam(optax.constant_schedule(1e-3)), scales=(1.0,), steps=9
        )


def test_an_epsilon_in_another_place_is_found():
    with pytest.raises(AssertionError, match="the reference has"):
        testing.check_against(optim.adam(1e-3, eps=0.0, eps_root=1e-8), optax.adam(1e-3), steps=9)


def test_other_states_are_refused_with_advice():
    with pytest.raises(ValueError, match="Pass to_reference"):
        testing.check_against(optim.scale_by_rms(), optax.scale_by_rms(eps_in_sqrt=False), steps=9)
