"""Limits and conditions of which the points show one side alone are named as blind spots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck

RNG = np.random.default_rng(0)
W, X, Y = 0.3 * RNG.normal(size=4), RNG.normal(size=(7, 4)), RNG.normal(size=7)


def clipped(bound):
    def loss(w, x, y):
        ratio = jnp.exp(x @ w)
        return -jnp.mean(jnp.minimum(ratio * y, jnp.clip(ratio, 1 / bound, bound) * y))

    return loss


def huber(delta):
    def loss(w, x, y):
        e = x @ w - y
        far = delta * (jnp.abs(e) - delta / 2)
        return jnp.mean(jnp.where(jnp.abs(e) <= delta, e**2 / 2, far))

    return loss


def rectified(shift):
    return lambda w, x, y: jnp.mean((jax.nn.relu(x @ w + shift) - y) ** 2)


def floored(floor):
    return lambda w, x, y: jnp.mean((x @ w - y) ** 2) + jnp.log(jnp.maximum(jnp.sum(w**2), floor))


def in_a_helper(shift):
    @jax.jit
    def unit(z):
        return jnp.maximum(z, 0)

    return lambda w, x, y: jnp.mean((unit(x @ w + shift) - y) ** 2)


IDLE = {  # loss, with its limit out of reach and within reach, what is said
    "clip": (clipped, 100.0, 1.1, "A limit at test_limits.py:17"),
    "Huber": (huber, 50.0, 0.5, "One side of the condition at test_limits.py:26"),
    "ReLU": (rectified, 50.0, 0.0, "A limit at test_limits.py:32"),
    "floor": (floored, 1e-8, None, "A limit at test_limits.py:36"),
    "helper": (in_a_helper, 50.0, 0.0, "A limit at test_limits.py:42"),
}


@pytest.fixture(autouse=True)
def users_settings():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def blind_spots(loss):
    report = gradcheck.check(loss, jax.grad(loss), W, X, Y, batch_argnums=(0, 1))
    assert report.verdict == "PASS"
    return report.adequacy


@pytest.mark.parametrize("case", IDLE)
def test_a_limit_out_of_reach_is_a_blind_spot(case):
    make, far, near, said = IDLE[case]
    assert any(sentence.startswith(said) for sentence in blind_spots(make(far)))
    if near is not None:
        assert not blind_spots(make(near))


def test_data_and_numerical_conditions_are_none():
    """What selects by data, or guards against NaN, concerns no gradient."""

    def loss(w, x, y):
        seen = jnp.where(x > 100, 0.0, jnp.clip(x, -90, 90))
        return jnp.mean(jax.nn.softplus(seen @ w)) + jax.nn.logsumexp(w) + jnp.linalg.norm(w)

    assert not blind_spots(loss)


def test_what_sits_in_a_loop_is_not_asked():
    def loss(w, x, y):
        def step(total, row):
            return total + jnp.clip(row @ w, -90, 90) ** 2, None

        return jax.lax.scan(step, 0.0, x)[0]

    assert not blind_spots(loss)


def test_the_sides_of_several_points_add_up():
    """At the given point every unit is active; perturbed points have some that are not."""

    def loss(w, x, y):
        return jnp.mean((jax.nn.relu(w) - y[:4]) ** 2)

    w = np.array([1.0, 2.0, 3.0, 4.0])
    once = gradcheck.check(loss, jax.grad(loss), w, X, Y, points=("given",))
    assert any("A limit" in sentence for sentence in once.adequacy)
    w[0] = -1.0
    assert not any("A limit" in s for s in gradcheck.check(loss, jax.grad(loss), w, X, Y).adequacy)


def helper_reached_once(w, x, y):
    @jax.jit
    def limited(z):
        return jnp.clip(z, -1, 1)

    return jnp.mean(limited(1e-3 * (x @ w)) * limited(100 * (x @ w)))


def batched_loop(w, x, y):
    """JAX batches a loop whose number of turns differs: it cannot be rebuilt from its parts."""
    sizes = jax.lax.stop_gradient(x)

    def doubled(row):
        return jax.lax.while_loop(lambda c: c < row @ row, lambda c: 2 * c, 1.0)

    return jnp.mean(jax.vmap(doubled)(sizes) * jax.nn.relu(x @ w))


def best(w, x, y):
    """Indexing with a computed index compares it with 0, which is none of the caller's."""
    z = x @ w
    return z[jnp.argmax(z)] ** 2 + jnp.sum(z[jnp.argsort(z)][:2]) + jnp.interp(z[0], y, y)


def printed(w, x, y):
    jax.debug.callback(SEEN.append, w[0])
    return jnp.mean(jnp.clip(x @ w, -90, 90) ** 2)


@jax.custom_jvp
def with_a_rule(z):
    return 2 * jax.nn.relu(z) + z


with_a_rule.defjvps(lambda t, out, z: t * (2 * (z > 0) + 1))


def ruled(w, x, y):
    """A function with a derivative of its own is the caller's matter, whatever it is made of."""
    return jnp.mean((with_a_rule(x @ w + 50) - y) ** 2)


SEEN: list = []


@pytest.mark.parametrize("loss", [helper_reached_once, batched_loop, best, printed, ruled])
def test_nothing_is_said_without_cause(loss):
    assert not blind_spots(loss)


def test_no_tracer_is_kept():
    with jax.checking_leaks():
        assert blind_spots(floored(1e-8))


def test_a_constant_in_float32_keeps_the_line():
    bound = jnp.array(99.0, jnp.float32)

    def loss(w, x, y):
        return jnp.mean(jnp.clip(x @ w, -bound, bound) ** 2)

    line = loss.__code__.co_firstlineno + 1
    assert any(f"A limit at test_limits.py:{line}:" in said for said in blind_spots(loss))
