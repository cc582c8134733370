"""Families of problems: quadratics, and small networks on generated and real data."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import data as datasets
from jaxdl import errors, losses, models, optim
from jaxdl.lab.study import Draw, Family
from jaxdl.types import Array, Key


def choice(*values: float) -> Draw:
    """One of the values, all equally likely."""
    return lambda rng: values[rng.integers(len(values))]


def uniform(low: float, high: float) -> Draw:
    """Between low and high."""
    return lambda rng: rng.uniform(low, high)


def log_uniform(low: float, high: float) -> Draw:
    """Between low and high, its logarithm uniform."""
    return lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))


def checkpoints(last: int, count: int = 24) -> np.ndarray:
    """0, 1 and whole numbers up to `last`, about evenly spaced in the logarithm."""
    return np.unique(np.r_[0, np.rint(np.geomspace(1, last, count))]).astype(int)


def one_of(which: Array, *optimizers: optim.GradientTransformation) -> optim.GradientTransformation:
    """The optimizer of that number, which may be traced: one program then serves several arms.

    Args:
        which: 0, 1, ..., the place among the optimizers.
        optimizers: each keeps a state of its own.
    """
    place = jnp.asarray(which).astype(jnp.int32)

    def update(updates, state, params=None):
        def branch(i):
            new, own = optimizers[i].update(updates, state[i], params)
            return new, (*state[:i], own, *state[i + 1 :])

        branches = [functools.partial(branch, i) for i in range(len(optimizers))]
        return lax.switch(place, branches)

    return optim.GradientTransformation(lambda p: tuple(o.init(p) for o in optimizers), update)


def quadratics(dim: int = 20, steps: int = 400, **draws: Draw) -> Family:
    """J(θ) = ½ (θ − θ*)ᵀ H (θ − θ*) with a gradient that may be noisy.

    The eigenvalues of H run from 1/kappa to 1, evenly in the logarithm, along axes that are
    rotated at random; every gradient carries normal noise whose norm is `noise` times that of the
    first gradient. Ingredient of a trial: `optimizer`, which may be a function of the steps in an
    epoch (there are ten here).

    Args:
        dim: of θ.
        steps: of every run.
        draws: of `kappa` (default log-uniform, 1 to 10⁴), `noise` (default 0, 0.1 or 1),
            `rotated` (0 or 1, default 1) and `budget` (share of the steps that are taken; default
            1). Curves then have their values at that share of the checkpoints.
    """
    at = checkpoints(steps)
    known = {
        "kappa": log_uniform(1, 1e4),
        "noise": choice(0.0, 0.1, 1.0),
        "rotated": choice(1.0),
        "budget": choice(1.0),
    }
    return Family("quadratic", _drawn(known, draws), functools.partial(_descend_bowl, dim, at), at)


def _descend_bowl(dim, at, problem, keys, data, *, optimizer):
    del data
    optimizer = _made(optimizer, 10)
    basis_key, start_key = jax.random.split(keys.problem)
    basis = jnp.where(problem["rotated"] > 0, _rotation(basis_key, dim), jnp.eye(dim))
    curvature = problem["kappa"] ** -jnp.linspace(0.0, 1.0, dim)
    theta = jax.random.normal(start_key, (dim,))
    spread = problem["noise"] * jnp.linalg.norm(curvature * (basis.T @ theta)) / dim**0.5

    def cost(theta):
        return 0.5 * jnp.sum(curvature * (basis.T @ theta) ** 2)

    def step(i, carry):
        theta, state = carry
        noise = spread * jax.random.normal(jax.random.fold_in(keys.run, i), (dim,))
        gradient = basis @ (curvature * (basis.T @ theta)) + noise
        updates, state = optimizer.update(gradient, state, theta)
        return theta + updates, state

    ends = jnp.ceil(jnp.asarray(at, jnp.float32) * problem["budget"])
    return record(ends, step, (theta, optimizer.init(theta)), lambda c: {"cost": cost(c[0])})


def _made(optimizer: Any, steps_per_epoch: Any) -> Any:
    return optimizer(steps_per_epoch) if callable(optimizer) else optimizer


def _rotation(key: Key, dim: int) -> Array:
    """A random orthogonal matrix: the product of `dim` reflections (Householder)."""
    normals = jax.random.normal(key, (dim, dim))
    unit = normals / jnp.linalg.norm(normals, axis=1, keepdims=True)
    return lax.scan(lambda q, u: (q - 2 * jnp.outer(q @ u, u), None), jnp.eye(dim), unit)[0]


def record(
    at: Array | np.ndarray,
    step: Callable[[Array, Any], Any],
    carry: Any,
    evaluate: Callable[[Any], dict[str, Array]],
) -> dict[str, Array]:
    """Run `step(i, carry)` for i = 0, 1, ... and evaluate after every number of steps in `at`.

    Args:
        at: rising whole numbers from 0 on, which may be traced.
        step: the next carry.
        carry: the first.
        evaluate: named numbers of a carry.

    Returns:
        The numbers, stacked over `at`.
    """

    def segment(carry, ends):
        carry = lax.fori_loop(ends[0], ends[1], step, carry)
        return carry, evaluate(carry)

    at = jnp.asarray(at, jnp.int32)
    return lax.scan(segment, carry, (jnp.concatenate([at[:1], at[:-1]]), at))[1]


def networks(
    source: str,
    hidden: Sequence[int] = (16, 16),
    epochs: int = 30,
    examples: int = 256,
    most_batch: int = 64,
    train_share: float = 0.5,
    **draws: Draw,
) -> Family:
    """A small network that learns to classify.

    Ingredients of a trial: `optimizer` (or a function of the steps in an epoch that makes one)
    and, where an arm wants it otherwise, `hidden`, `activation`, `init`, `start(params)` (what
    becomes of the first weights), `keep_prob`, `l2`, `batch` (None is all examples),
    `prepare(x, dev_x)`, `augment(key, x)`. Curves: `cost` and `train_error` on the training part
    without dropout and penalty, `dev_cost` and `dev_error` on the rest, `first_half_error` and
    `second_half_error` on its halves.

    Args:
        source: moons, circles, spirals or blobs (drawn anew for every problem), or the name of a
            real data set (a new sample of its rows for every problem; features standardised by
            the whole set's mean and deviation).
        hidden: units of the hidden layers.
        epochs: of every run.
        examples: drawn for a problem, at most those of the data set.
        most_batch: the largest batch that may be drawn.
        train_share: of the examples.
        draws: of `batch` (default 16 or 64), `noise` (of generated data; default 0.1 to 0.5),
            `flipped` (share of wrong training labels, default 0), `spread` (every feature is
            multiplied by 10^u, u uniform in ±spread; default 0) and `budget` (share of the epochs
            that are run; default 1). Curves then have their values at that share of the
            checkpoints.
    """
    at = checkpoints(epochs, 20)
    make, classes = errors.lookup("source", source, _GENERATED | _REAL)
    table = tuple if source in _GENERATED else functools.partial(_standardised, source)
    known = {
        "batch": choice(16, 64),
        "noise": uniform(0.1, 0.5),
        "flipped": choice(0.0),
        "spread": choice(0.0),
        "budget": choice(1.0),
    }
    task = _Task(make, classes, tuple(hidden), examples, most_batch, train_share)
    trial = functools.partial(_learn, task, at)
    return Family(source, _drawn(known, draws), trial, at, "epochs", table)


class _Task(NamedTuple):
    make: Callable[..., tuple[Array, Array]]
    classes: int
    hidden: tuple[int, ...]
    examples: int
    most_batch: int
    train_share: float


def _learn(
    task, at, problem, keys, data, *, optimizer, hidden=None, activation="relu", init="he",
    start=None, keep_prob=1.0, l2=0.0, batch="drawn", prepare=None, augment=None,
):  # fmt: skip
    x, labels, dev_x, dev_y = _examples(task, problem, keys.problem, data)
    if prepare is not None:
        x, dev_x = prepare(x, dev_x)
    rows = x.shape[0]
    size = {"drawn": problem["batch"], None: rows}.get(batch, batch)
    most = min(task.most_batch if batch == "drawn" else size, rows)
    size = jnp.asarray(size).astype(jnp.int32)
    optimizer = _made(optimizer, rows / size.astype(jnp.float32))
    init_key, order_key, step_key = jax.random.split(keys.run, 3)
    sizes = (x.shape[1], *(task.hidden if hidden is None else hidden), task.classes)
    model = models.mlp(sizes, activation, init, keep_prob)
    objective = losses.objective(model, "softmax_cross_entropy", l2=l2)
    order = _order(order_key, rows, int(at[-1]) * rows + most)
    lane = jnp.arange(most)

    def step(i, carry):
        params, state = carry
        chosen = order[i * size + lane]
        weights = (lane < size).astype(x.dtype)
        key = jax.random.fold_in(step_key, i)
        part = x[chosen] if augment is None else augment(jax.random.fold_in(key, 1), x[chosen])
        gradient = jax.grad(objective)(params, part, labels[chosen], key, weights)
        updates, state = optimizer.update(gradient, state, params)
        return optim.apply_updates(params, updates), state

    def evaluate(carry):
        outputs, dev_outputs = (model.forward(carry[0], a)[0] for a in (x, dev_x))
        half = dev_y.shape[0] // 2
        return {
            "cost": _cost(outputs, labels),
            "train_error": _error(outputs, labels),
            "dev_cost": _cost(dev_outputs, dev_y),
            "dev_error": _error(dev_outputs, dev_y),
            "first_half_error": _error(dev_outputs[:half], dev_y[:half]),
            "second_half_error": _error(dev_outputs[half:], dev_y[half:]),
        }

    params = model.init(init_key) if start is None else start(model.init(init_key))
    epochs = jnp.asarray(at, jnp.float32) * problem["budget"]
    steps = jnp.ceil(epochs * rows / size.astype(jnp.float32))
    return record(steps, step, (params, optimizer.init(params)), evaluate)


def _examples(task, problem, key, data):
    """Training part and the rest of a problem's examples; wrong labels are in the first only."""
    data_key, flip_key, spread_key = jax.random.split(key, 3)
    x, y = task.make(data_key, task.examples, problem["noise"], data)
    power = jax.random.uniform(spread_key, x.shape[1:], minval=-1.0)
    x = x * 10.0 ** (problem["spread"] * power[None])
    rows = int(x.shape[0] * task.train_share)
    labels = _flip(flip_key, y[:rows], problem["flipped"], task.classes)
    return x[:rows], labels, x[rows:], y[rows:]


def _cost(outputs, y):
    return losses.LOSSES["softmax_cross_entropy"].value(outputs, y).mean()


def _error(outputs, y):
    wrong = (jnp.argmax(outputs, axis=1) != y).mean()
    return jnp.where(jnp.isfinite(outputs).all(), wrong, jnp.nan)


def _order(key: Key, rows: int, length: int) -> Array:
    """Row numbers, epoch after epoch, each epoch a new order of all rows."""
    keys = jax.random.split(key, -(-length // rows))
    return jax.vmap(lambda k: jax.random.permutation(k, rows))(keys).reshape(-1)


def _flip(key, y, share, classes):
    """A share of the labels moved to another class."""
    which, where = jax.random.split(key)
    other = (y + jax.random.randint(where, y.shape, 1, classes)) % classes
    return jnp.where(jax.random.uniform(which, y.shape) < share, other, y)


def _standardised(name):
    data = datasets.load(name)
    scaler = datasets.standardize.fit(data.x)
    return np.asarray(datasets.standardize.apply(scaler, data.x), np.float32), np.asarray(data.y)


def _sample(key, count, noise, data):
    """A sample of the rows of a real data set, without replacement."""
    del noise
    x, y = data
    rows = jax.random.permutation(key, x.shape[0])[:count]
    return x[rows], y[rows].astype(jnp.int32)


def _plane(key, count, noise, shape):
    """Noisy points of two curves `shape(t, class)` in the plane, classes alternating."""
    t_key, noise_key = jax.random.split(key)
    y = jnp.arange(count) % 2
    t = jax.random.uniform(t_key, (count,))
    x = jnp.stack(shape(t, y.astype(t.dtype)), axis=1)
    return x + noise * jax.random.normal(noise_key, x.shape), y


def _moons(key, count, noise, data):
    del data

    def shape(t, y):
        angle = jnp.pi * t
        return jnp.cos(angle) * (1 - 2 * y) + y, jnp.sin(angle) * (1 - 2 * y) + y / 2

    return _plane(key, count, noise, shape)


def _circles(key, count, noise, data):
    del data

    def shape(t, y):
        angle, radius = 2 * jnp.pi * t, 1 + y
        return radius * jnp.cos(angle), radius * jnp.sin(angle)

    return _plane(key, count, noise / 2, shape)


def _spirals(key, count, noise, data):
    del data

    def shape(t, y):
        angle = 2 * jnp.pi * t + jnp.pi * y
        return 2 * t * jnp.cos(angle), 2 * t * jnp.sin(angle)

    return _plane(key, count, noise / 4, shape)


def _blobs(key, count, noise, data):
    """Four normal clouds of 10 features around random centres."""
    del data
    centre_key, noise_key = jax.random.split(key)
    y = jnp.arange(count) % 4
    centres = jax.random.normal(centre_key, (4, 10))
    return centres[y] + 4 * noise * jax.random.normal(noise_key, (count, 10)), y


_GENERATED = {
    "moons": (_moons, 2),
    "circles": (_circles, 2),
    "spirals": (_spirals, 2),
    "blobs": (_blobs, 4),
}
_REAL = {
    name: (_sample, classes)
    for name, classes in {"digits": 10, "breast_cancer": 2, "wine": 3, "iris": 3}.items()
}


def _drawn(known, given):
    for name in given:
        if name not in known:
            raise errors.unknown_name("draw", name, list(known))
    return known | given
