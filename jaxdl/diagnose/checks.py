"""Three checks before a long training: the first loss, one batch learnt by heart, which rate."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import errors, losses, optim
from jaxdl.data import check
from jaxdl.losses import Loss
from jaxdl.types import Array, Key, Params

FIRST_LOSS = 5.0
"""A first loss above 5 times that of knowing nothing (squared errors: 5², as they grow with the
square of the outputs) is too sure of itself. He's weights give about 1.5 times ln K, 1.4 times
ln 2, and 3 to 10 times half the variance."""

BY_HEART = 0.25
"""A batch is learnt by heart when its loss falls below a quarter of that of the best constant. What
is broken stays near 1; small ReLU networks on two inputs are slow, but get there."""


class FirstLoss(NamedTuple):
    """The loss before training, that of knowing nothing, and whether they belong together."""

    value: float
    expected: float
    ok: bool
    sentence: str


def initial_loss(model: Any, loss: str | Loss, params: Params, x: Any, y: Any) -> FirstLoss:
    """Is the first loss about that of outputs 0: ln K for K classes, ln 2 for yes or no?

    A network that has seen nothing should be sure of nothing. A first loss far above says that
    the outputs are large before there is a reason: large weights, unscaled inputs, targets far
    from 0 (½ mean y² is what outputs 0 cost).

    Args:
        model: a Layer or a function (params, x, key).
        loss: a name or a pair.
        params: before training.
        x: (m, n) examples.
        y: targets.
    """
    apply, pair = losses.apply_function(model), losses.get(loss)
    x, y = (jnp.asarray(a) for a in check(x, y))
    outputs = apply(params, x, None)
    value = float(pair.value(outputs, y).mean())
    expected = float(pair.value(jnp.zeros_like(outputs), y).mean())
    return judge_first_loss(pair, value, expected)


def judge_first_loss(loss: Loss, value: float, expected: float) -> FirstLoss:
    """The same for losses that are known already."""
    most = FIRST_LOSS ** (2 if loss == losses.get("squared_error") else 1) * expected
    ok = bool(np.isfinite(value)) and value <= most + 1e-6
    said = f"The first loss is {value:.3g}; outputs that know nothing (0) have {expected:.3g}" + (
        ": as it should be." if ok else ": the network is sure of itself before training."
    )
    return FirstLoss(value, expected, ok, said)


class ByHeart(NamedTuple):
    """Losses (steps,) of one small batch trained on alone, and whether it was learnt by heart."""

    losses: np.ndarray
    n: int
    constant: float
    ok: bool
    sentence: str


def overfit_one_batch(
    model: Any,
    loss: str | Loss,
    params: Params,
    x: Any,
    y: Any,
    *,
    n: int = 8,
    steps: int = 1000,
    learning_rate: float = 0.01,
) -> ByHeart:
    """Can the model learn n examples by heart? If not, something is wrong with model or loss.

    Adam, without dropout or penalty, on one fixed batch: the examples are the first n that differ
    in x and that show more than one target where they can. Learnt means that the loss falls below
    a quarter of that of the best constant answer to these examples; where they all have one target
    there is nothing to learn, and that counts as learnt.

    Args:
        model: a Layer or a function (params, x, key). Without a hidden layer it can learn about
            as many examples as it has inputs; choose n by that.
        loss: a name or a pair.
        params: where to start.
        x: (m, k) examples.
        y: targets.
        n: size of the batch.
        steps: of Adam.
        learning_rate: of Adam.

    Raises:
        ValueError: for n or steps below 1.
    """
    for name, count in (("n", n), ("steps", steps)):
        errors.within(name, count, isinstance(count, int) and count >= 1, "a positive integer")
    pair = losses.get(loss)
    x, y = check(x, y)
    rows = _varied(np.asarray(x), np.asarray(y), n)
    x, y = jnp.asarray(x)[rows], jnp.asarray(y)[rows]
    seen = _learn(model, pair, steps, learning_rate)(jax.tree.map(jnp.asarray, params), x, y)
    costs = np.asarray(seen)
    constant = constant_cost(pair, y, n_outputs(model, params, x))
    last = float(costs[-1])
    nothing = constant <= 1e-6
    ok = bool(np.isfinite(last)) and (nothing or last <= BY_HEART * constant + 1e-6)
    text = (
        f"{len(rows)} examples alone, {steps} steps of Adam: the loss goes from {costs[0]:.3g} to "
        f"{last:.3g} (the best constant has {constant:.3g}): "
        + ("one target, nothing to learn." if nothing else "learnt." if ok else "not learnt.")
    )
    return ByHeart(costs, len(rows), constant, ok, text)


@lru_cache(maxsize=32)
def _learn(model: Any, loss: Loss, steps: int, learning_rate: float):
    cost, optimizer = losses.objective(model, loss), optim.adam(learning_rate)

    def learn(params: Params, x: Array, y: Array) -> Array:
        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(cost)(params, x, y)
            updates, state = optimizer.update(grads, state, params)
            return (optim.apply_updates(params, updates), state), value

        carry = (params, optimizer.init(params))
        return lax.scan(step, carry, None, length=steps)[1]

    return jax.jit(learn)


def n_outputs(model: Any, params: Params, x: Array) -> int:
    """How many outputs the model gives for each example."""
    return jax.eval_shape(losses.apply_function(model), params, x, None).shape[1]


def _varied(x: np.ndarray, y: np.ndarray, n: int) -> np.ndarray:
    """Up to n rows, no x twice: classes in turn, numbers evenly from the lowest to the highest."""
    flat = x.reshape(len(x), -1)[: 50 * n]
    _, first = np.unique(flat, axis=0, return_index=True)
    first = np.sort(first)
    targets = y[first].reshape(len(first), -1)[:, 0]
    if y.dtype.kind == "f" and len(np.unique(targets)) > n:
        spread = np.argsort(targets, kind="stable")[np.linspace(0, len(first) - 1, n).astype(int)]
        return first[np.unique(spread)]
    turn = np.zeros(len(first), int)
    for t in np.unique(targets):
        turn[targets == t] = np.arange((targets == t).sum())
    return first[np.argsort(turn, kind="stable")[:n]]


def constant_cost(loss: Loss, y: Any, n_outputs: int) -> float:
    """Mean loss of the best constant outputs: the log shares of the classes, or the mean target."""
    y = np.asarray(y)
    if y.ndim == 1:
        best = np.log(np.maximum(np.bincount(y, minlength=n_outputs) / len(y), 1e-9))
    elif loss == losses.get("binary_cross_entropy"):
        share = np.clip(y.mean(axis=0), 1e-7, 1 - 1e-7)
        best = np.log(share / (1 - share))
    else:
        best = y.mean(axis=0)
    return mean_loss(loss, best, y)


def mean_loss(loss: Loss, outputs: np.ndarray, y: Any) -> float:
    """Mean loss of the same outputs (k,) for every example."""
    rows = np.broadcast_to(outputs.astype(np.float32), (len(y), len(outputs)))
    return float(np.mean(jax.jit(loss.value)(rows, y)))


class RateRange(NamedTuple):
    """Rates (steps,), the cost at each, and two of them.

    `suggested` is a tenth of the rate with the lowest (smoothed) cost, None if no rate lowered it;
    `diverges_at` is the first at which the cost is 4 times its lowest or not finite, or None.
    """

    rates: np.ndarray
    costs: np.ndarray
    suggested: float | None
    diverges_at: float | None


def learning_rate_range(
    objective: Callable[..., Array],
    params: Params,
    data: Any,
    make: Callable[[Any], Any] = optim.sgd,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    batch_size: int = 32,
    key: Key,
) -> RateRange:
    """Learning-rate range test: one short run in which the rate grows from step to step.

        αₜ = low · (high / low)^(t / (steps − 1))

    Where the cost first falls the rate is large enough; where it shoots up, too large. After
    Smith (2017), "Cyclical Learning Rates", whose rate grows linearly. Costs are smoothed by an
    average over the last 5 % of the steps before they are compared.

    Args:
        objective: `J(params, x, y, key, weights)`.
        params: where to start.
        data: `(x, y)`.
        make: rate → optimizer; the rate is a schedule, as ours and optax's take it.
        low: first rate.
        high: last rate.
        steps: how many.
        batch_size: examples a step, drawn with replacement.
        key: of the batches and dropout.

    Raises:
        ValueError: unless 0 < low < high, and steps ≥ 10.
    """
    errors.within("low, high", (low, high), 0 < low < high < np.inf, "0 < low < high")
    errors.within("steps", steps, isinstance(steps, int) and steps >= 10, "at least 10")
    x, y = (jnp.asarray(a) for a in check(*data[:2]))
    rates = low * (high / low) ** (np.arange(steps) / (steps - 1))
    optimizer = make(optim.sampled_schedule(jnp.asarray(rates, jnp.float32)))

    @jax.jit
    def sweep(params: Params, key: Key) -> Array:
        def step(carry, key):
            params, state = carry
            rows = jax.random.randint(key, (batch_size,), 0, len(y))
            value, grads = jax.value_and_grad(objective)(params, x[rows], y[rows], key)
            updates, state = optimizer.update(grads, state, params)
            return (optim.apply_updates(params, updates), state), value

        carry = (params, optimizer.init(params))
        return lax.scan(step, carry, jax.random.split(key, steps))[1]

    costs = np.asarray(sweep(jax.tree.map(jnp.asarray, params), key), np.float64)
    return RateRange(rates, costs, *_read_range(rates, costs))


def _read_range(rates: np.ndarray, costs: np.ndarray) -> tuple[float | None, float | None]:
    width = max(1, len(costs) // 20)
    finite = np.isfinite(costs)
    end = len(costs) if finite.all() else int(np.argmin(finite))
    if end <= width:
        return None, float(rates[max(end - 1, 0)])
    smooth = np.convolve(costs[:end], np.ones(width) / width, mode="valid")  # ends at width − 1 + i
    best = int(smooth.argmin())
    shoots = np.flatnonzero(smooth[best:] > 4 * smooth[best])
    diverges = rates[width - 1 + best + shoots[0]] if len(shoots) else None
    if diverges is None and end < len(costs):
        diverges = rates[end]
    suggested = rates[width - 1 + best] / 10 if smooth[best] < 0.95 * smooth[0] else None
    return _number(suggested), _number(diverges)


def _number(rate: Any) -> float | None:
    return None if rate is None else float(rate)
