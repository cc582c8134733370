"""Programs run in NumPy against the same programs compiled, and entries moved one at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl.gradcheck import entries, host, interpret, numerical
from jaxdl.gradcheck.hostrules import Unsupported
from jaxdl.gradcheck.programs import Prepared
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.tracing import Traced
from tests.compiling import once

pytestmark = pytest.mark.usefixtures("users_settings")


@pytest.fixture
def users_settings():
    """float64, and gradients as people write them."""
    settings = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    with jax.enable_x64(True), settings[0], settings[1]:
        yield


RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5))
W = RNG.normal(size=(5, 4))
B = RNG.normal(size=4)
LABELS = RNG.integers(0, 4, 6)
IMAGES = RNG.normal(size=(2, 6, 6, 3))
KERNEL = RNG.normal(size=(3, 3, 3, 2))


def cross_entropy(w, b):
    scores = jnp.tanh(X @ w + b)
    picked = jnp.take_along_axis(scores, LABELS[:, None], 1)
    return jnp.mean(jax.nn.logsumexp(scores, 1) - picked[:, 0]) + 0.1 * jnp.sum(w**2)


def attention(w, b):
    keys = jnp.einsum("ij,jk->ik", X, w) + b
    weights = jax.nn.softmax(keys @ keys.T, axis=-1)
    return jnp.sum(jnp.einsum("ij,jk->ik", weights, keys) ** 3)


def recurrent(w, b):
    def step(state, x):
        state = jnp.tanh(x @ w + state * b)
        return state, jnp.sum(state)

    last, sums = lax.scan(step, jnp.zeros(4), X)
    return jnp.sum(last**2) + jnp.sum(sums * jnp.arange(6.0))


def backwards(w, b):
    def step(state, x):
        return state * 0.5 + x @ w, state * b

    last, states = lax.scan(step, jnp.zeros(4), X, reverse=True)
    return jnp.sum(last) + jnp.sum(states**2)


def convolution(w, b):
    y = lax.conv_general_dilated(
        IMAGES, w, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.sum(jnp.sin(y + b[:2]))


def pieces(w, b):
    left, right = jnp.split(X @ w, [1], axis=1)
    table = jnp.zeros((8, 4)).at[LABELS].add(jnp.concatenate([left, right], 1))
    return (
        jnp.sum(jnp.cumsum(table, 0) ** 2)
        + jnp.sum(jnp.flip(w)[::2] * b)
        + w[2, 1] * jnp.sum(jnp.stack([w[0], b], 1)[1] ** 2)
    )


def elementwise(w, b):
    z = X @ w + b
    parts = [
        jnp.clip(z, -0.5, 1), jnp.where(z > 0, z, 0.1 * z), jnp.log1p(jnp.exp(z)), abs(z),
        jnp.round(z), z ** -2, jnp.sign(z) * z, jnp.maximum(z, 0.3), jax.nn.relu(z),
        jnp.sqrt(z * z), jax.nn.gelu(z), jax.nn.sigmoid(z), jnp.arctan2(z, b),
        lax.rsqrt(1 + z**2), lax.rem(z, 0.7),
    ]  # fmt: skip
    return sum(jnp.sum(part * (i + 1)) for i, part in enumerate(parts))


def branch(w, b):
    return lax.cond(b[0] > 0, lambda w: jnp.sum(w**2), lambda w: jnp.sum(w**3), w)


def several(w, b):
    top = jnp.max(X @ w, axis=0) * jnp.prod(b) + jnp.min(w, axis=0)
    where = jnp.argmax(X @ w, axis=1)
    chosen = jax.nn.one_hot(where, 4) * (X @ w)
    stacked = jnp.stack([X @ w, chosen], 1)
    top, bordered = jnp.sum(top), jnp.sum(jnp.pad(w, 1) ** 2)
    return top + bordered + jnp.sum(stacked**2) + jnp.sum(chosen) + jnp.var(X @ w)


def imaginary(w, b):
    z = lax.complex(X @ w, jnp.cos(X @ w)) * jnp.conj(lax.complex(b, 2 * b))
    return jnp.sum(jnp.real(z) ** 2 + jnp.imag(z)) + jnp.sum(jnp.abs(z))


FUNCTIONS = {
    f.__name__: f
    for f in (
        cross_entropy, attention, recurrent, backwards, pieces, elementwise, branch, several,
        imaginary,
    )
}  # fmt: skip
POINTS = dict.fromkeys(FUNCTIONS, (W, B)) | {"convolution": (KERNEL, B)}
FUNCTIONS["convolution"] = convolution


def test_a_branch_is_taken_by_value():
    program = host.Program(jax.make_jaxpr(branch)(W, B))
    for b in (B, -B):
        assert program([W, b])[0] == pytest.approx(float(branch(W, b)), rel=1e-12)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - {"branch"}))
def test_values_and_gradients_are_those_of_the_compiled_program(name):
    function = jax.value_and_grad(FUNCTIONS[name], argnums=(0, 1))
    closed = jax.make_jaxpr(function)(*POINTS[name])
    expected = jax.tree.leaves(jax.jit(function)(*POINTS[name]))
    program = host.Program(closed)
    for _ in range(2):  # the first run looks at shapes, too
        found = program(POINTS[name])
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_reshape_that_moves_axes_first():
    def f(x):
        return jnp.sum(lax.reshape(x, (10, 3), (1, 0)) ** 2 * jnp.arange(30.0).reshape(10, 3))

    forward, backward = RULES["reshape"]
    closed = jax.make_jaxpr(lambda x: lax.reshape(x, (10, 3), (1, 0)))(X)
    params = closed.jaxpr.eqns[0].params
    np.testing.assert_array_equal(forward(params, X), lax.reshape(X, (10, 3), (1, 0)))
    (back,) = backward(params, 2 * forward(params, X) * np.arange(30.0).reshape(10, 3), (X,), None)
    np.testing.assert_allclose(back, jax.grad(f)(X))


def test_only_what_is_wanted_is_computed():
    closed = jax.make_jaxpr(jax.value_and_grad(cross_entropy, argnums=(0, 1)))(W, B)
    everything, value = host.Program(closed), host.Program(closed, [0])
    assert value.work < 0.6 * everything.work
    assert value((W, B))[0] == everything((W, B))[0]


def test_what_is_given_is_computed_once():
    closed = jax.make_jaxpr(lambda x, w, b: jnp.sum(jnp.exp(x @ x.T)) + jnp.sum(w) * b)(X, W, B)
    program = host.Program(closed, given=[X, W])
    assert len(program.steps) == 2
    expected = np.sum(np.exp(X @ X.T)) + np.sum(W) * B
    np.testing.assert_allclose(program([B])[0], expected, rtol=1e-12)


def test_equal_equations_are_one_step():
    program = host.Program(jax.make_jaxpr(lambda x: jnp.sin(x) * jnp.sin(x) + 2.0 * x + 2.0)(X))
    assert len(program.steps) == 5
    np.testing.assert_allclose(program([X])[0], np.sin(X) ** 2 + 2 * X + 2)


LARGE = RNG.normal(size=(80, 80))

REUSING = {
    "a chain": (lambda x: jnp.exp(jnp.sin(x + 1) * 2), 3),
    "a value needed again": (lambda x: jnp.sin(x) - jnp.cos(jnp.sin(x)) * jnp.sin(x), 2),
    "a view of it": (lambda x: ((y := x + 1).T, y * 2), 0),
    "a view that is done with": (lambda x: jnp.sum((y := x + 1).T @ x) + jnp.tanh(y), 1),
    "a result": (lambda x: ((y := x + 1), y * 2), 0),
    "an operand": (lambda x: jnp.sin(x) * x, 1),
    "another dtype": (lambda x: ((x + 1) > 0) & (x < 1), 0),
    "a loop": (lambda x: lax.scan(lambda h, _: ((h + x) * h, h * 2), x, None, 3), 0),
}


@pytest.mark.parametrize("name", REUSING)
def test_memory_is_reused_where_nothing_sees_it(name):
    f, reused = REUSING[name]
    program = host.Program(jax.make_jaxpr(f)(LARGE))
    given = LARGE.copy()
    first = [np.copy(x) for x in program([given])]
    for a, b, c in zip(program([given]), first, jax.tree.leaves(f(LARGE)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(given, LARGE)
    assert sum(step.into is not None for step in program.steps) == reused


@pytest.mark.parametrize(
    "f",
    [
        lambda x: lax.while_loop(lambda s: s < 3, lambda s: s + 1, x),
        lambda x: jnp.sort(jnp.stack([x, 1 - x])),
        lambda x: x * jax.random.normal(jax.random.key(0)),
        lambda x: x.astype(jnp.bfloat16) * 2,
        lambda x: x.astype(int),
        lambda x: lax.round(x),
        lambda x: jnp.linalg.inv(jnp.eye(2) * x),
        lambda x: x * lax.rem(jnp.arange(3), jnp.arange(3)),
        lambda x: (x + jnp.zeros(3)).at[jnp.array([0, 2])].apply(jnp.sin),
        lambda x: lax.sqrt(lax.complex(-x, -0.0)),
        lambda x: lax.max(lax.complex(x, jnp.nan), lax.complex(x + 1, 1.0)),
    ],
)
def test_what_numpy_may_do_otherwise_is_compiled(f):
    traced = Traced(jax.make_jaxpr(f)(2.5), None)
    with pytest.raises(Unsupported):
        host.Program(traced.closed)
    prepared = Prepared([traced])
    assert prepared.quick is None
    np.testing.assert_array_equal(prepared([2.5], [])[0][0], jax.jit(f)(2.5))


ODD = np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 1e-5, 30, -30, np.inf, -np.inf, np.nan])
PAIRS = np.repeat(ODD, len(ODD)), np.tile(ODD, len(ODD))


@pytest.mark.parametrize(
    "f",
    [
        lax.max, lax.min, lax.pow, lax.rem, lax.atan2, lax.div, lax.nextafter, lax.le,
        lambda x, y: lax.digamma(x) + y, lambda x, y: lax.lgamma(x) * y,
        lambda x, y: lax.clamp(x, jnp.flip(y), y), lambda x, y: lax.erf_inv(x) - lax.rsqrt(y),
        lambda x, y: lax.real(lax.complex(x, y)), lambda x, y: lax.integer_pow(x, -2) + y,
        lambda x, y: lax.atan2(lax.imag(lax.complex(x, -y)), lax.real(lax.complex(x, y))),
        lambda x, y: lax.abs(lax.complex(x, y)), lambda x, y: lax.real(1 / lax.complex(x, y)),
        lambda x, y: jnp.argmax(x * y, keepdims=True), lambda x, y: jnp.sum(jnp.round(x)) + y,
        lambda x, y: lax.select_n(jnp.arange(x.size, dtype=np.int32) - 9, x, y),
    ],
)  # fmt: skip
def test_odd_numbers_are_treated_as_jax_does(f):
    traced = Traced(jax.make_jaxpr(f)(*PAIRS), None)
    expected = once(f)(*PAIRS)
    with np.errstate(all="ignore"):
        ((found,),) = Prepared([traced])(list(PAIRS), [])
        (given,) = _given(traced.closed) or [expected]
    for value in (found, given):
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=0)


def _given(closed):
    """The results of a program whose inputs are known beforehand; None if there is no rule."""
    try:
        return host.Program(closed, given=PAIRS)([])
    except Unsupported:
        return None


def test_an_index_out_of_range_is_left_to_jax():
    def f(x, i):
        return jnp.take(x, i, mode="fill", fill_value=7.0)

    prepared = Prepared([Traced(jax.make_jaxpr(f)(B, 0), None)])
    assert prepared.quick is not None
    for i in (1, 9, 1):
        assert prepared([B], [i])[0][0] == (B[i] if i < 4 else 7.0)


def test_a_large_program_is_compiled():
    x = np.ones((1000, 1000))
    traced = Traced(jax.make_jaxpr(lambda x: jnp.sum(jnp.tanh(x @ x @ x)))(x), None)
    assert Prepared([traced]).quick is None


def penalised(w, b):
    """Every way in which a moved entry may go on."""
    z = jnp.tanh(X @ w + b)
    both = jnp.einsum("ij,ik->jk", X @ w, z)
    return (
        jnp.sum(z**2) + jnp.sum(both * w[:4]) + 0.3 * jnp.sum(w**2) + jnp.sum(abs(w).sum(0) ** 2)
        + jnp.sum(w @ w.T) + jnp.sum(w.T @ X.T * 0.1) + jnp.sum(w.reshape(-1) ** 3) + jnp.prod(b)
        + jnp.sum(jnp.max(w, axis=1)) + jnp.sum((w * b) @ b) + jnp.sum(w.sum(1) * X[0])
    )  # fmt: skip


def batched(w, b):
    stacked = RNG_STACK @ w[None] + jnp.einsum("bij,bjk->bik", RNG_STACK, w[None] * ONES)
    return jnp.sum(stacked**2 * b) + jnp.sum(jnp.einsum("ijk,il->jkl", w[None], ONES[:1, 0]) ** 2)


def counted(w, b):
    """Integers and reductions by a function of one's own on the way of a moved entry."""
    positive = lax.reduce_sum((w > 0).astype(np.int32), axes=(0,)) + np.int32(1)
    signs = lax.dot(
        (w > 0).astype(np.int8), np.full((4, 3), 50, np.int8), preferred_element_type=np.int32
    )
    largest = lax.reduce(abs(w), 0.0, lambda x, y: jnp.where(x > y, x, y), (1,))
    return (
        jnp.sum(w * positive.astype(w.dtype)) + jnp.sum(w[:, :3] * signs) + jnp.sum(largest) + b[0]
    )


RNG_STACK, ONES = RNG.normal(size=(3, 6, 5)), np.ones((3, 1, 1))
MOVED = {**FUNCTIONS, "penalised": penalised, "batched": batched, "counted": counted}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", sorted({*MOVED} - {"elementwise", "imaginary", "several"}))
def test_every_entry_moved_in_turn(name, compiled, monkeypatch):
    if compiled:
        monkeypatch.setattr(entries, "MOST_WORK", 0)
    params = POINTS.get(name, (W, B))
    found = numerical.gradient(lambda p: MOVED[name](*p), params, order=4, chunk=7)
    exact = jax.jit(jax.grad(lambda p: MOVED[name](*p)))(params)
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seen", ["a number", "a parameter"])
def test_a_loss_that_prints_has_differences(seen, capfd):
    def printed(w):
        jax.debug.print("{}", 3.0 if seen == "a number" else w[0, 0])
        return jnp.sum((X @ w) ** 2 + 1.0 - (X @ w))

    found = numerical.gradient(printed, W)
    np.testing.assert_allclose(found, 2 * X.T @ X @ W - X.T @ np.ones((6, 4)), rtol=1e-7)
    jax.effects_barrier()
    assert capfd.readouterr().out


def test_both_ways_to_move_entries_agree_on_values(monkeypatch):
    @jax.jit
    def f(leaves):
        return several(*leaves) + elementwise(*leaves)

    closed = jax.make_jaxpr(f)([W, B])
    moves = [0.3 * RNG.normal(size=(leaf.size, 2)) for leaf in (W, B)]
    in_numpy = entries.values(closed, [W, B], moves, 8)
    monkeypatch.setattr(entries, "MOST_WORK", 0)
    compiled = entries.values(closed, [W, B], moves, 8)
    for k in range(2):
        direct = np.empty_like(moves[k])
        for i, j in np.ndindex(*moves[k].shape):
            moved = [W.copy(), B.copy()]
            moved[k].reshape(-1)[i] += moves[k][i, j]
            direct[i, j] = f(moved)
        np.testing.assert_allclose(in_numpy[k], direct, rtol=1e-10)
        np.testing.assert_allclose(compiled[k], direct, rtol=1e-10)


def test_what_numpy_warns_of_stays_inside():
    def f(w):
        return jnp.sum(jnp.where(w > 0, jnp.log(w), 0.0) + lax.stop_gradient(w) * 0)

    traced = Traced(jax.make_jaxpr(f)(W), None)
    with np.errstate(all="raise"):
        prepared = Prepared([traced])
        value = prepared.value([W], [])
        gradient = numerical.gradient(f, W, order=4)
        assert np.geterr()["divide"] == "raise"
    assert prepared.compiled is None
    np.testing.assert_allclose(value, np.sum(np.log(W[W > 0])))
    np.testing.assert_allclose(gradient, np.where(W > 0, 1 / W, 0), rtol=1e-7)


@pytest.mark.parametrize(
    ("f", "params", "error"),
    [
        (lambda w: w**2, W, "scalar"),
        (lambda w: (jnp.sum(w), w), W, "scalar"),
        (lambda w: jnp.sum(w), np.arange(3), "floating"),
        (lambda w: jnp.sum(w), B + 0j, "floating"),
    ],
)
def test_differences_of_scalars_by_real_numbers_only(f, params, error):
    with pytest.raises((TypeError, ValueError), match=error):
        numerical.gradient(f, params)


@pytest.mark.parametrize("general", [lax.reduce, lax.reduce_window])
def test_reductions_of_ones_own_in_float64(general):
    def f(x):
        where = ((0,),) if general is lax.reduce else ((2, 1), (1, 1), "VALID")
        return general(
            x, np.zeros((), x.dtype), lambda a, b: jnp.where(abs(a) > abs(b), a, b), *where
        )

    x = X + 1e-12
    closed = jax.make_jaxpr(f)(X.astype(np.float32))
    (found,) = interpret.run(closed, interpret.lift, [x])
    np.testing.assert_array_equal(found, f(x))
    (rounded,) = interpret.run(closed, interpret.jitter(np.uint32(1)), [X.astype(np.float32)])
    np.testing.assert_allclose(rounded, f(x), rtol=1e-6)
