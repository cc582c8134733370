"""`fit`: train once, as a pure function of parameters, data and key."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxdl import devices, errors
from jaxdl.train import door, loop
from jaxdl.train.loop import Best, Data, Plan
from jaxdl.types import Array, Key, Params, PyTree


class Result(NamedTuple):
    """What training gives back.

    Args:
        params: the parameters after the last epoch.
        opt_state: the optimizer's state, for training on.
        history: arrays with one value per epoch: `cost`, the metrics, `dev_cost`, `dev_*`.
        best: parameters, epoch (from 0) and value of the best epoch; None when none is watched.
        diverged_at: step (from 0) of the first non-finite cost, or the last step of the epoch
            that left a parameter non-finite; −1 if there was none.
        epochs: how many epochs were run: fewer than asked for if the run stopped early.
    """

    params: Params
    opt_state: PyTree
    history: dict[str, Array]
    best: Best | None
    diverged_at: Array
    epochs: Array


def fit(
    objective: Callable[..., Array],
    params: Params,
    optimizer: Any,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = None,
    key: Key,
    value_and_grad: Callable[..., tuple[Array, PyTree]] | None = None,
    dev: Any = None,
    dev_objective: Callable[..., Array] | None = None,
    metrics: Mapping[str, Callable[..., Array]] | None = None,
    train_metrics: bool = True,
    class_weights: Any = None,
    monitor: str | None = None,
    maximize: bool = False,
    patience: int | None = None,
    min_delta: float = 0.0,
    statistics: bool = False,
    mesh: Mesh | None = None,
) -> Result:
    """Mini-batch gradient descent with any optimizer, compiled as one program.

        for each epoch: shuffle, then for each batch: θ ← θ + update(∇J(θ; batch))

    Pure: works under `jit`, and under `vmap` over keys, parameters, data and hyperparameters,
    also those that `objective` or `optimizer` close over (learning rate, l2, keep_prob). Without
    `patience` it is a `lax.scan` and can itself be differentiated. Called with concrete arrays
    it compiles itself, and calling it again with the same functions reuses that program; nothing
    else is remembered.

    Differentiated through Adam, RMSprop and others that divide by a root, the derivative is NaN
    as soon as one entry of a gradient is zero in every step so far (a unit that is off, a pixel
    that is always black), because √v has an infinite slope at v = 0. Give such an optimizer an ε
    inside the root: `optim.adam(lr, eps_root=1e-8)`, `optim.rmsprop(lr, eps_in_sqrt=True)`.

    Args:
        objective: `J(params, x, y, key, weights)`, the cost of a batch, as `losses.objective`
            makes it. Training passes a key (dropout is on), evaluation passes none.
        params: where to start; a tree of float arrays.
        optimizer: a pair (init, update), ours or optax's. An update that takes them also gets
            `value`, `grad` and `value_fn`, the cost of this batch as a function of the parameters:
            `optax.lbfgs` and the like (with batch_size=None) work.
        data: `(x, y)` or a Dataset; x `(m, ...)` floats, y `(m,)` or `(m, k)`.
        epochs: passes over the data.
        batch_size: examples a step; the short last batch is padded and weighted, not dropped.
            None takes all m examples in every step, in their own order.
        key: decides the order of the examples and the dropout masks, nothing else does.
        value_and_grad: `(params, x, y, key, weights) -> (cost, grads)`, for instance
            `backprop.value_and_grad(model, loss)`; default `jax.value_and_grad(objective)`.
        dev: `(x, y)` to evaluate on after every epoch.
        dev_objective: the cost reported as `dev_cost`; default `objective`, penalties included.
        metrics: name → function of `(params, x, y)` giving a scalar (`metrics.of` makes one);
            on `dev` as `dev_<name>`.
        train_metrics: take the metrics on the training data too, which costs a forward pass
            over all of it in every epoch.
        class_weights: `(K,)`, multiplies the weight of each example by that of its class.
        monitor: the history entry by which epochs are compared; default `dev_cost` with `dev`.
        maximize: whether larger is better, as for an accuracy.
        patience: stop after this many epochs in a row without improvement, or on divergence.
        min_delta: an improvement must be larger than this.
        statistics: record `gradient_norm/<leaf>` and `update_norm/<leaf>`, means over the epoch.
        mesh: devices that share every batch, as `devices.row_of("batch")` makes it, also of
            several processes; each holds all parameters and data, and the compiler sums the
            gradients. Same numbers as on one device, to float32 rounding.

    Returns:
        A `Result`. After an early stop the history ends at the last epoch that was run; under
        `jit` or `vmap`, where lengths are fixed, it is filled up with NaN.

    Raises:
        ValueError: for shapes and values out of range, naming the argument and both values.
        TypeError: for dtypes, a key that is none, an optimizer that was not called.

    Source: notes, "Mini-batch gradient descent" and "Other regularization methods".
    """
    plan, arrays, params = prepare(
        objective,
        params,
        optimizer,
        data,
        epochs=epochs,
        batch_size=batch_size,
        key=key,
        value_and_grad=value_and_grad,
        dev=dev,
        dev_objective=dev_objective,
        metrics=metrics,
        train_metrics=train_metrics,
        class_weights=class_weights,
        monitor=monitor,
        maximize=maximize,
        patience=patience,
        min_delta=min_delta,
        statistics=statistics,
        mesh=mesh,
    )
    if not all(map(errors.is_concrete, jax.tree.leaves((params, arrays, key)))):
        return _fit(plan, epochs, params, arrays, key)
    program = _compiled(plan, epochs) if hashable(plan) else _jitted(plan, epochs)
    result = program(*devices.everywhere(plan.mesh, (params, arrays, key)))
    if plan.patience is None or not errors.is_concrete(result.epochs):  # of a traced rate, say
        return result
    ran = int(result.epochs)
    return result._replace(history={name: h[:ran] for name, h in result.history.items()})


def prepare(
    objective: Callable[..., Array],
    params: Params,
    optimizer: Any,
    data: Any,
    *,
    epochs: int,
    key: Key,
    value_and_grad: Callable[..., tuple[Array, PyTree]] | None = None,
    dev: Any = None,
    dev_objective: Callable[..., Array] | None = None,
    metrics: Mapping[str, Callable[..., Array]] | None = None,
    class_weights: Any = None,
    monitor: str | None = None,
    mesh: Mesh | None = None,
    **settings: Any,
) -> tuple[Plan, Data, Params]:
    """The arguments of `fit`, checked and sorted into what is done, to which arrays, from where."""
    metrics = {} if metrics is None else metrics
    door.check_key(key)
    door.check_optimizer(optimizer)
    door.check_metrics(metrics)
    params = door.params_arrays(params)
    x, y = door.examples(data, "the training data")
    dev = None if dev is None else door.examples(dev, "the dev data")
    arrays = Data(x, y, dev, door.class_weights(class_weights, y))
    plan = Plan(
        objective=objective,
        value_and_grad=value_and_grad,
        optimizer=optimizer,
        dev_objective=dev_objective or objective,
        metrics=tuple(metrics.items()),
        monitor="dev_cost" if monitor is None and dev is not None else monitor,
        mesh=door.one_axis(mesh),
        **settings,
    )
    door.check_plan(plan, arrays, epochs)
    door.check_objective(plan, arrays, params, key)
    door.check_value_and_grad(plan, arrays, params, key)
    door.check_metrics_run(plan, arrays, params)
    return plan, arrays, params


def _fit(plan, epochs, params, arrays, key):
    given = (params, arrays, key)
    state = loop.varying(loop.init(plan, params, key), given)
    if plan.patience is None:
        state, history = loop.scan(plan, arrays, state, epochs)
    else:
        one = loop.once(plan)
        rows = jax.tree.map(jnp.asarray, loop.empty_history(one, arrays, state, epochs))
        history = loop.varying(rows, given)
        state, history = loop.advance(plan, one, arrays, state, history, epochs)
    return Result(
        state.params, state.opt_state, history, state.best, state.diverged_at, state.epoch
    )


def _jitted(plan, epochs):
    return jax.jit(functools.partial(_fit, plan, epochs))


_compiled = functools.lru_cache(maxsize=32)(_jitted)
"""One jitted program for each plan; equal plans hold the same functions."""


def hashable(plan: Plan) -> bool:
    """Whether the plan can key a cache: an optimizer, say, may be an unhashable object."""
    try:
        hash(plan)
    except TypeError:
        return False
    return True
