"""A training run under observation: what every layer does, epoch by epoch."""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import errors, losses, optim, tree
from jaxdl.data import Dataset, as_dataset, check
from jaxdl.diagnose import checks, depth
from jaxdl.diagnose.depth import LayerStatistics
from jaxdl.layers import Layer
from jaxdl.losses import Loss
from jaxdl.train import door, fit, loop
from jaxdl.train.fit import prepare
from jaxdl.types import Array, Key, Params

PROBE = 256
"""Examples on which the layers are measured: enough for shares of units to a few per cent."""

KINDS = ("classes", "binary", "numbers")


class Run(NamedTuple):
    """What was trained, and what was seen: the input of `report`.

    Args:
        model, loss, l2, optimizer, train, dev, epochs, batch_size, key: as given to `observe`.
        kind: "classes" (y (m,) integers), "binary" (y (m, 1) of 0 and 1) or "numbers".
        start: parameters before training.
        end: parameters after it.
        history: one value an epoch: `cost`, `dev_cost`, and `gradient_norm/<leaf>`,
            `update_norm/<leaf>`, `weight_norm/<leaf>` (at the epoch's end).
        layers: `LayerStatistics`, values (epochs + 1, L), before the first and after each epoch.
        first_cost: over the training examples before training; `last_cost` after it.
        blind_cost: that of outputs 0, which know nothing: ln K, ln 2, or half the mean square.
        constant_cost: that of the best constant outputs.
        diverged_at: step of the first non-finite cost, −1 if there was none.
    """

    model: Any
    loss: Loss
    optimizer: Any
    train: Dataset
    dev: Dataset | None
    kind: str
    start: Params
    end: Params
    history: dict[str, np.ndarray]
    layers: LayerStatistics
    first_cost: float
    last_cost: float
    blind_cost: float
    constant_cost: float
    diverged_at: int
    epochs: int
    batch_size: int
    l2: float
    key: Key


def observe(
    model: Any,
    loss: str | Loss,
    optimizer: Any,
    train: Any,
    dev: Any = None,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    l2: float = 0.0,
    params: Params | None = None,
    key: Key,
) -> Run:
    """Train as `train.fit` does, and record what the layers do before and after every epoch.

    Args:
        model: a Layer; a plain function (params, x, key) needs `params`, and its layers are not
            seen.
        loss: a name or a pair.
        optimizer: a pair (init, update), the one under suspicion.
        train: `(x, y)` or a Dataset, exactly as the network is to see it: scaled or not.
        dev: likewise, or None.
        epochs: passes over the data.
        batch_size: examples a step, at most m.
        l2: the penalty of `losses.objective`.
        params: where to start; None is `model.init`.
        key: of the start, the order of the examples and dropout.

    Raises:
        ValueError, TypeError: as `train.fit`, before anything is compiled.
    """
    pair = losses.get(loss)
    door.check_key(key)
    errors.within("batch_size", batch_size, batch_size > 0, "a number of examples, at least 1")
    start_key, run_key = jax.random.split(key)
    if params is None:
        if not isinstance(model, Layer):
            raise TypeError("A plain function has no init: give params=, where to start.")
        params = model.init(start_key)
    examples, dev_set = as_dataset(train), None if dev is None else as_dataset(dev)
    plan, arrays, params = prepare(
        _objective(model, pair, l2),
        params,
        optimizer,
        examples,
        epochs=epochs,
        batch_size=min(batch_size, max(len(examples.y), 1)),
        key=run_key,
        dev=dev_set,
        statistics=True,
        train_metrics=False,
    )
    found = depth.blocks(model, params, arrays.x.shape[1:])
    program = _program(plan, model, pair, found, epochs)
    state, history, stats, costs = jax.device_get(program(params, arrays, run_key))
    blind, constant = _ignorance(model, pair, params, arrays)
    return Run(
        model, pair, optimizer, examples, dev_set, _kind(arrays.y, loss), params, state.params,
        history, LayerStatistics(found, stats), float(costs[0]), float(costs[1]), blind, constant,
        int(state.diverged_at), epochs, plan.batch_size or len(examples.y), l2, key,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _objective(model: Any, loss: Loss, l2: float):
    return losses.objective(model, loss, l2=l2)


@lru_cache(maxsize=32)
def _program(plan: loop.Plan, model: Any, loss: Loss, found: tuple, epochs: int):
    """(params, data, key) → last state, history, layer statistics (T + 1, L), first and last cost.

    The loop's own epoch, with a look at the layers before each.
    """

    def program(params: Params, arrays: loop.Data, key: Key):
        probe = (arrays.x[:PROBE], arrays.y[:PROBE])

        def look(params):
            return depth.statistics(model, loss, found, params, *probe)

        def body(state, _):
            seen = look(state.params)
            state, entries = loop.epoch(plan, arrays, state)
            return state, (seen, entries | _weight_norms(state.params))

        state, (seen, history) = lax.scan(body, loop.init(plan, params, key), None, length=epochs)
        stats = {
            name: jnp.concatenate([seen[name], last[None]])
            for name, last in look(state.params).items()
        }
        costs = [plan.dev_objective(p, arrays.x, arrays.y) for p in (params, state.params)]
        return state._replace(opt_state=()), history, stats, costs

    return jax.jit(program)


def _weight_norms(params: Params) -> dict[str, Array]:
    leaves = zip(tree.paths(params), jax.tree.leaves(params), strict=True)
    return {f"weight_norm/{path}": tree.norm(leaf) for path, leaf in leaves}


def _kind(y: Array, loss: str | Loss) -> str:
    if y.ndim == 1:
        return "classes"
    zeros_and_ones = bool(((y == 0) | (y == 1)).all()) and y.shape[1] == 1
    return "binary" if zeros_and_ones and loss != "squared_error" else "numbers"


def _ignorance(model: Any, loss: Loss, params: Params, arrays: loop.Data) -> tuple[float, float]:
    """The mean loss of outputs 0, and of the constant outputs that fit the targets best."""
    k = checks.n_outputs(model, params, arrays.x[:1])
    blind = checks.mean_loss(loss, np.zeros(k), arrays.y)
    return blind, min(blind, checks.constant_cost(loss, arrays.y, k))


FACTORS = (1.0, 0.1, 0.01, 1e-3, 1e-4)


def with_smaller_steps(run: Run) -> dict[float, float]:
    """Train again from the same start with every update times 1, 0.1, ..., 10⁻⁴, as one program.

    Returns the last cost on the training examples for each factor, infinite where it diverged: if
    a factor below 1 does far better, the steps were too large, whatever the optimizer is.
    """
    x, y = check(run.train.x, run.train.y)
    arrays = loop.Data(jnp.asarray(x, jnp.float32), jnp.asarray(y))
    objective = _objective(run.model, run.loss, run.l2)
    program = _slower(objective, run.optimizer, run.batch_size, run.epochs)
    costs = np.asarray(program(jnp.asarray(FACTORS, jnp.float32), run.start, arrays, run.key))
    return {factor: float(cost) for factor, cost in zip(FACTORS, costs, strict=True)}


@lru_cache(maxsize=32)
def _slower(objective: Any, optimizer: Any, batch_size: int, epochs: int):
    def last_cost(factor: Array, params: Params, arrays: loop.Data, key: Key) -> Array:
        scaled = optim.chain(optimizer, optim.scale(factor))
        result = fit(objective, params, scaled, arrays[:2],
                     epochs=epochs, batch_size=batch_size, key=key)  # fmt: skip
        cost = objective(result.params, *arrays[:2])
        return jnp.where(jnp.isfinite(cost) & (result.diverged_at < 0), cost, jnp.inf)

    def program(factors: Array, *rest: Any) -> Array:
        return lax.map(lambda factor: last_cost(factor, *rest), factors)

    return jax.jit(program)


def example_errors(run: Run, part: Dataset) -> np.ndarray:
    """Errors of the trained model, one per example: 0 or 1, or squared; NaN if it diverged.

    Raises:
        ValueError: for examples that the model cannot take.
    """
    errors.within("part", part, isinstance(part, Dataset), "a Dataset, as run.train is")
    y = np.asarray(part.y)
    apply = jax.jit(losses.apply_function(run.model), static_argnums=2)
    outputs = np.asarray(apply(run.end, jnp.asarray(part.x, jnp.float32), None), np.float64)
    if not np.isfinite(outputs).all():
        return np.full(len(y), np.nan)
    if run.kind == "numbers":
        return np.square(outputs - y.reshape(outputs.shape)).sum(axis=1)
    guess = outputs.argmax(axis=1) if run.kind == "classes" else outputs[:, 0] > 0
    return (guess != y.reshape(-1)).astype(float)
