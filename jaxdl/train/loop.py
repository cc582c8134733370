"""The compiled loop: a step inside an epoch inside a scan, and nothing that is not a pure function.

Randomness is addressed by position: epoch e draws from `fold_in(key, e)` and step s inside it
from `fold_in(_, s)`. A run that is cut into segments, or resumed from a checkpoint, therefore
sees the same batches and the same dropout masks as one that was never interrupted.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdl import optim, tree
from jaxdl.data import batches
from jaxdl.optim import checks
from jaxdl.optim.base import takes_extra
from jaxdl.types import Array, Key, Params, PyTree

NEVER = -1
"""`State.diverged_at` of a run whose every loss was finite."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run does, as functions and fixed numbers: hashable, so it can key a compiled loop.

    Args:
        objective: cost of a batch, `(params, x, y, key, weights) -> scalar`.
        value_and_grad: its value and gradient, same arguments; None for autodiff.
        optimizer: a pair (init, update) in optax's calling convention.
        dev_objective: cost on the dev set, same arguments as `objective`.
        metrics: pairs (name, function of (params, x, y) giving a scalar).
        train_metrics: whether the metrics are also taken on the training data.
        batch_size: examples a step; None for all of them.
        monitor: name of the history entry that decides which epoch was best; None for none.
        maximize: whether a larger monitored value is better.
        patience: epochs without improvement before stopping; None for never.
        min_delta: improvements smaller than this do not count.
        statistics: whether gradient and update norms of each leaf are recorded.
        mesh: devices over whose first axis every batch is split; None for one device.
    """

    objective: Callable[..., Array]
    value_and_grad: Callable[..., tuple[Array, PyTree]] | None
    optimizer: Any
    dev_objective: Callable[..., Array]
    metrics: tuple[tuple[str, Callable[..., Array]], ...] = ()
    train_metrics: bool = True
    batch_size: int | None = None
    monitor: str | None = None
    maximize: bool = False
    patience: int | None = None
    min_delta: float = 0.0
    statistics: bool = False
    mesh: Mesh | None = None


class Data(NamedTuple):
    """The examples of a run; `dev` and `class_weights` are None where there are none."""

    x: Array
    y: Array
    dev: tuple[Array, Array] | None = None
    class_weights: Array | None = None


class Best(NamedTuple):
    """The parameters after the epoch with the best monitored value, and that value."""

    params: Params
    epoch: Array
    value: Array


class State(NamedTuple):
    """Everything that a run carries from epoch to epoch, and all that a checkpoint must hold."""

    params: Params
    opt_state: PyTree
    key: Key
    epoch: Array
    best: Best | None
    stale: Array
    diverged_at: Array


def init(plan: Plan, params: Params, key: Key) -> State:
    """The state before the first epoch."""
    params = jax.tree.map(_strong, params)
    worst = jnp.asarray(-jnp.inf if plan.maximize else jnp.inf, _float_dtype(params))
    best = None if plan.monitor is None else Best(params, jnp.int32(NEVER), worst)
    opt_state = jax.tree.map(_strong, plan.optimizer.init(params))
    return State(params, opt_state, key, jnp.int32(0), best, jnp.int32(0), jnp.int32(NEVER))


def varying(tree: Any, like: Any) -> Any:
    """The tree, said to differ between devices wherever `like` does.

    Inside `jax.shard_map` a loop must begin with what it goes on with, and a run whose key or data
    are a device's own differs from the first batch on.
    """
    axes = frozenset().union(*(_axes(leaf) for leaf in jax.tree.leaves(like)))

    def cast(leaf):
        missing = axes - _axes(leaf)
        return lax.pcast(leaf, tuple(sorted(missing)), to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def _axes(leaf: Any) -> frozenset[str]:
    """Axes of the mesh along which a value differs; JAX 0.9 has another name for it."""
    kind: Any = jax.typeof(leaf)
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma


def epoch(plan: Plan, data: Data, state: State) -> tuple[State, dict[str, Array]]:
    """One pass over the data, then the evaluation; returns the epoch's history entries."""
    key = jax.random.fold_in(state.key, state.epoch)
    if plan.batch_size is None:
        state, records = _full_batch(plan, data, state, key)
    else:
        state, records = _mini_batches(plan, data, state, key)
    entries = _summary(records) | _evaluation(plan, data, state.params)
    state = _note_divergence(state, records["cost"])
    state = _note_best(plan, state, entries)
    return state._replace(epoch=state.epoch + 1), entries


def once(plan: Plan) -> Callable[[Data, State], tuple[State, dict[str, Array]]]:
    """`epoch` of this plan as a function that is traced once, however many programs it goes into.

    Inlined, it leaves no trace in them: they are what they would be with `epoch` itself.
    """
    return jax.jit(functools.partial(epoch, plan), inline=True)


def scan(plan: Plan, data: Data, state: State, epochs: int) -> tuple[State, dict[str, Array]]:
    """`epochs` epochs as one `lax.scan`: can be differentiated, never stops early."""
    return lax.scan(lambda s, _: epoch(plan, data, s), state, None, length=epochs)


def advance(
    plan: Plan,
    one: Callable[[Data, State], tuple[State, dict[str, Array]]],
    data: Data,
    state: State,
    history: Mapping[str, Array | np.ndarray],
    until: Array | int,
) -> tuple[State, dict[str, Array]]:
    """Epochs up to number `until`, or until the run stops, as one `lax.while_loop`.

    `until` may be traced: segments of any length share one compiled program. `one` is `once(plan)`.
    The entries are written into `history`, arrays of one value per epoch that `empty_history`
    made, by the same `one`.
    """

    def more(carry):
        return (carry[0].epoch < until) & ~stopped(plan, carry[0])

    def body(carry):
        before, history = carry
        after, entries = one(data, before)
        return after, {name: history[name].at[before.epoch].set(entries[name]) for name in history}

    rows = {name: jnp.asarray(values) for name, values in history.items()}
    return lax.while_loop(more, body, (state, rows))


def stopped(plan: Plan, state: State) -> Array:
    """Whether the run is over before its last epoch: out of patience, or diverged."""
    done = state.diverged_at != NEVER
    return done if plan.patience is None else done | (state.stale >= plan.patience)


def empty_history(
    one: Callable[[Data, State], tuple[State, dict[str, Array]]],
    data: Data,
    state: State,
    epochs: int,
) -> dict[str, np.ndarray]:
    """Arrays of `epochs` NaN, one for every history entry of `one`, which is `once(plan)`."""
    entries = jax.eval_shape(one, data, state)[1]
    return {name: np.full((epochs, *e.shape), np.nan, e.dtype) for name, e in entries.items()}


def _mini_batches(plan, data, state, key):
    order_key, step_key = jax.random.split(key)
    indices, weights = batches.epoch_indices(order_key, data.x.shape[0], plan.batch_size)
    weights = weights.astype(_float_dtype(state.params))
    indices, weights = (_pad(plan, a, axis=1) for a in (indices, weights))
    steps = indices.shape[0]

    def body(carry, batch):
        (params, opt_state), (i, index, weight) = carry, batch
        # Indices come from a permutation, so no gather needs a bounds check.
        x, y = (a.at[index].get(mode="promise_in_bounds") for a in (data.x, data.y))
        if data.class_weights is not None:
            weight = weight * _of_class(data.class_weights, y)
        return _step(plan, params, opt_state, x, y, jax.random.fold_in(step_key, i), weight)

    carry = (state.params, state.opt_state)
    (params, opt_state), records = lax.scan(body, carry, (jnp.arange(steps), indices, weights))
    return state._replace(params=params, opt_state=opt_state), records


def _full_batch(plan, data, state, key):
    weights = None if data.class_weights is None else _of_class(data.class_weights, data.y)
    if plan.mesh is not None and weights is None:
        weights = jnp.ones(data.x.shape[:1], _float_dtype(state.params))
    x, y, weights = (a if a is None else _pad(plan, a) for a in (data.x, data.y, weights))
    (params, opt_state), record = _step(plan, state.params, state.opt_state, x, y, key, weights)
    records = jax.tree.map(lambda r: r[None], record)
    return state._replace(params=params, opt_state=opt_state), records


def _pad(plan, array, axis=0):
    """Zeros at the end of an axis until the devices can share it equally; their weight is 0."""
    extra = -array.shape[axis] % (1 if plan.mesh is None else plan.mesh.shape_tuple[0][1])
    widths = [(0, extra if i == axis else 0) for i in range(array.ndim)]
    return jnp.pad(array, widths) if extra else array


def _split(plan, array):
    """The array with its rows split over the devices: the compiler does the rest."""
    if plan.mesh is None or array is None:
        return array
    rows = PartitionSpec(plan.mesh.axis_names[0])
    return lax.with_sharding_constraint(array, NamedSharding(plan.mesh, rows))


def _step(plan, params, opt_state, x, y, key, weights):
    """θ ← θ + update(∇J(θ; batch)): the whole of training."""
    value_and_grad = plan.value_and_grad or jax.value_and_grad(plan.objective)
    x, y, weights = (_split(plan, a) for a in (x, y, weights))
    cost, grads = value_and_grad(params, x, y, key, weights)
    updates, opt_state = _update(plan, (x, y, key, weights), cost, grads, opt_state, params)
    record = {
        "cost": cost,
        "mass": jnp.sum(weights) if weights is not None else jnp.ones_like(cost),
    }
    if plan.statistics:
        record |= _norms("gradient_norm", grads) | _norms("update_norm", updates)
    return (optim.apply_updates(params, updates), opt_state), record


def _update(plan, batch, cost, grads, opt_state, params):
    """The optimizer's update; one that searches along a line also gets the cost as a function."""
    more = {"value": cost, "grad": grads, "value_fn": lambda p: plan.objective(p, *batch)}
    update = plan.optimizer.update
    out = update(grads, opt_state, params, **takes_extra(update)(more))
    if not isinstance(out, tuple) or len(out) != 2:
        raise ValueError(
            f"the optimizer's update must return (updates, state), got {jax.tree.structure(out)}."
        )
    _check_state(opt_state, out[1])
    return out


def _check_state(before, after):
    """What a loop carries must keep its form; known while it is traced, before it is compiled."""
    checks.same_tree(before, after, "the optimizer's state", "what its update made of it")
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    for path, (a, b) in zip(tree.paths(before), leaves, strict=True):
        if jnp.result_type(a) != jnp.result_type(b):
            raise TypeError(
                "the optimizer's update must keep the dtypes of its state, but at "
                f"{path or 'its only leaf'!r} {jnp.result_type(a)} became {jnp.result_type(b)}."
            )


def _norms(name, values):
    leaves = zip(tree.paths(values), jax.tree.leaves(values), strict=True)
    return {f"{name}/{path}": tree.norm(leaf) for path, leaf in leaves}


def _of_class(class_weights, y):
    """The weight of each example's class."""
    return class_weights[y[:, 0].astype(jnp.int32) if y.ndim == 2 else y]


def _summary(records):
    """The epoch's mean cost per unit of weight, and the mean over its steps of everything else."""
    mass = records.pop("mass")
    cost = jnp.sum(records["cost"] * mass) / jnp.sum(mass)
    return {name: jnp.mean(record) for name, record in records.items()} | {"cost": cost}


def _evaluation(plan, data, params):
    dtype = _float_dtype(params)
    entries = {}
    if plan.train_metrics:
        entries = {name: metric(params, data.x, data.y) for name, metric in plan.metrics}
    if data.dev is not None:
        entries |= {f"dev_{name}": metric(params, *data.dev) for name, metric in plan.metrics}
        entries |= {"dev_cost": plan.dev_objective(params, *data.dev)}
    return {name: jnp.asarray(value).astype(dtype) for name, value in entries.items()}


def _note_divergence(state, costs):
    broken = functools.reduce(
        jnp.logical_or, [~jnp.isfinite(p).all() for p in jax.tree.leaves(state.params)]
    )
    # An update that breaks the parameters after the last cost shows in no cost of this epoch.
    bad = ~jnp.isfinite(costs)
    bad = bad.at[-1].set(bad[-1] | broken)
    first = state.epoch * costs.shape[0] + jnp.argmax(bad).astype(jnp.int32)
    new = jnp.any(bad) & (state.diverged_at == NEVER)
    return state._replace(diverged_at=jnp.where(new, first, state.diverged_at))


def _note_best(plan, state, entries):
    if plan.monitor is None:
        return state
    value = entries[plan.monitor].astype(state.best.value.dtype)
    gain = value - state.best.value if plan.maximize else state.best.value - value
    better = gain > plan.min_delta  # False for NaN
    new = Best(state.params, state.epoch, value)
    best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, state.best)
    return state._replace(best=best, stale=jnp.where(better, 0, state.stale + 1))


def _strong(leaf):
    """The leaf without JAX's weak type, which would change after the first step."""
    return jnp.asarray(leaf, leaf.dtype) if getattr(leaf, "weak_type", False) else leaf


def _float_dtype(params):
    widest = max((leaf.dtype for leaf in jax.tree.leaves(params)), key=lambda d: d.itemsize)
    return jnp.finfo(widest).dtype  # of a complex dtype, that of its parts
