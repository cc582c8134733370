"""What a caller can get wrong, said in one sentence before anything is compiled.

Value checks need concrete arrays; under a trace (jit, vmap) only shapes and dtypes are checked.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdl import data, errors, tree
from jaxdl.data import batches
from jaxdl.train.loop import Data, Plan
from jaxdl.types import Array, Key, Params

RESERVED = ("cost", "mass")
PREFIXES = ("dev_", "gradient_norm/", "update_norm/")


def params_arrays(params: Params) -> Params:
    """`params` with NumPy arrays and Python floats turned into JAX arrays.

    Raises:
        ValueError: if there are none, or one is NaN or infinite.
        TypeError: if a leaf is not made of floats.
    """
    leaves = dict(zip(tree.paths(params), jax.tree.leaves(params), strict=True))
    if not leaves:
        raise ValueError("params must hold at least one array to train, got an empty tree.")
    for path, leaf in leaves.items():
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"params must hold floats, got {jnp.result_type(leaf)} at {path!r}: "
                "convert it, for instance with w.astype(jnp.float32)."
            )
        data.check_finite(jnp.asarray(leaf), (), f"params at {path!r}")
    return jax.tree.map(jnp.asarray, params)


def examples(pair: Any, name: str) -> tuple[Array, Array]:
    """The arrays of a pair (x, y) or of a Dataset, through `data.check`.

    Raises:
        ValueError: if it is no pair, is empty, has unequal lengths, or holds NaN or infinities,
            also those that appear when float64 becomes float32.
        TypeError: if x or y is not made of numbers.
    """
    names = getattr(pair, "feature_names", ())
    x, y = data.check(*_unpack(pair, name), feature_names=names, name=name)
    with np.errstate(over="ignore"):  # said below, in a sentence
        arrays = _on_device(x), _on_device(y)
    for part, given, array in zip(("features", "targets"), (x, y), arrays, strict=True):
        if array.dtype != given.dtype:
            data.check_finite(array, names, f"the {part} of {name} as {array.dtype}")
    return arrays


def class_weights(weights: Any, y: Array) -> Array | None:
    """Weights per class as an array, one for every class found in y.

    Raises:
        ValueError: if they are not positive and finite, or a class in y has none.
    """
    if weights is None:
        return None
    if isinstance(weights, (str, Mapping)):
        raise ValueError(
            "class_weights must be one positive number for each class from 0 on, as an array of "
            f"shape (K,), got {weights!r}."
        )
    weights = jnp.asarray(weights)
    if jnp.issubdtype(weights.dtype, jnp.integer):
        weights = weights.astype(jnp.result_type(float))
    if weights.ndim != 1 or not jnp.issubdtype(weights.dtype, jnp.floating):
        raise ValueError(
            "class_weights must be one positive float for each class, shape (K,), got "
            f"{weights.dtype} of shape {weights.shape}."
        )
    if errors.is_concrete(weights) and not bool(jnp.all((weights > 0) & jnp.isfinite(weights))):
        raise ValueError(f"class_weights must be positive and finite, got {np.asarray(weights)}.")
    if errors.is_concrete(y) and not (int(jnp.min(y)) >= 0 and int(jnp.max(y)) < weights.shape[0]):
        raise ValueError(
            f"class_weights has {weights.shape[0]} entries, but the labels run from "
            f"{int(jnp.min(y))} to {int(jnp.max(y))}: give one weight for each class from 0 on."
        )
    return weights


def check_key(key: Key) -> None:
    """Refuses what is not a random key.

    Raises:
        TypeError: if it is not.
    """
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    raw = dtype == np.uint32 and np.shape(key) in ((2,), (4,))
    if not (typed and np.shape(key) == ()) and not raw:
        raise TypeError(
            f"key must be one random key, as jax.random.key(0) makes it, got {_describe(key)}."
        )


def check_optimizer(optimizer: Any) -> None:
    """Refuses what is not a pair of functions (init, update).

    Raises:
        TypeError: if it is not.
    """
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        called = getattr(optimizer, "__name__", "optim.adam")
        raise TypeError(
            "optimizer must have the functions init and update, as optim.adam(1e-3) has, got "
            f"{_describe(optimizer)}."
            + (f" Call it: {called}(...)." if callable(optimizer) else "")
        )
    _check_takes(
        optimizer.update, ("updates", "state", "params"), "the optimizer's update",
        ("value", "grad", "value_fn"),
    )  # fmt: skip


def one_axis(mesh: Any) -> Mesh | None:
    """The mesh with axes of the kind that the compiler shards by itself (`jax.make_mesh` has not).

    Raises:
        TypeError: if it is no mesh.
    """
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(
            "mesh must be a jax.sharding.Mesh, as devices.row_of('batch') or "
            f"devices.row_of('batch', devices) makes it, got {_describe(mesh)}."
        )
    return None if mesh is None else Mesh(mesh.devices, mesh.axis_names)


def check_metrics(metrics: Mapping[str, Callable]) -> None:
    """Refuses metrics that cannot be called or whose names the history uses itself.

    Raises:
        ValueError: for a name that is taken.
        TypeError: for a metric that is not a function, or what is no dict of metrics.
    """
    if not isinstance(metrics, Mapping) or not all(isinstance(name, str) for name in metrics):
        raise TypeError(
            "metrics must be a dict of names and functions, as {'accuracy': metrics.of(model, "
            f"metrics.accuracy)}}, got {_describe(metrics)}."
        )
    for name, metric in metrics.items():
        if name in RESERVED or name.startswith(PREFIXES):
            raise ValueError(
                f"metric name {name!r} is taken: the history itself has 'cost' and puts 'dev_' "
                "before the values on the dev set, 'gradient_norm/' and 'update_norm/' before "
                "statistics. Choose another name."
            )
        if not callable(metric):
            raise TypeError(
                f"metric {name!r} must be a function of (params, x, y), got {_describe(metric)}."
            )


def check_plan(plan: Plan, arrays: Data, epochs: int) -> None:
    """Refuses numbers out of range and a monitor that is not recorded.

    Raises:
        ValueError: quoting the argument, its value and what it must be.
    """
    _require_count("epochs", epochs)
    if plan.batch_size is not None:
        _require_count("batch_size", plan.batch_size)
        batches.check_batch_size(arrays.x.shape[0], plan.batch_size)
    if plan.patience is not None:
        _require_count("patience", plan.patience)
    if not plan.min_delta >= 0:
        raise ValueError(f"min_delta must not be negative, got {plan.min_delta}.")
    names = history_names(plan, arrays)
    if plan.patience is not None and plan.monitor is None:
        raise ValueError(
            "patience needs something to watch: give dev=(x, y), or monitor= one of "
            f"{', '.join(names)}."
        )
    if plan.monitor is not None and plan.monitor not in names:
        raise errors.unknown_name("monitor", plan.monitor, names)


def check_objective(plan: Plan, arrays: Data, params: Params, key: Key) -> None:
    """Runs the cost on shapes alone, so that what does not fit is said before compilation.

    The labels stay concrete while everything else is abstract: losses can look at them.

    Raises:
        ValueError: if the cost is no scalar, and whatever the objective itself refuses.
        TypeError: if it is no function, or one of other arguments.
    """
    if not callable(plan.objective):
        raise TypeError(
            "objective must be a function of (params, x, y, key, weights), as "
            f"losses.objective(model, loss) makes it, got {_describe(plan.objective)}."
        )
    _check_takes(plan.objective, ("params", "x", "y", "key", "weights"), "objective")
    costs = [
        jax.eval_shape(
            lambda p, x, k: plan.objective(p, x, arrays.y, k, None), params, arrays.x, key
        )
    ]
    if arrays.dev:
        _check_takes(plan.dev_objective, ("params", "x", "y"), "dev_objective")
        x, y = arrays.dev
        costs.append(jax.eval_shape(lambda p, x: plan.dev_objective(p, x, y), params, x))
    for out in costs:
        if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.floating):
            raise ValueError(
                "the objective must return one real number, the cost of the batch, got "
                f"{_describe(out)}: take the mean over the examples, as losses.objective does."
            )


def check_value_and_grad(plan: Plan, arrays: Data, params: Params, key: Key) -> None:
    """Runs the given gradient on shapes alone; it must return (cost, tree like the parameters).

    Raises:
        ValueError: quoting what it returns instead.
        TypeError: if it is no function, or one of other arguments.
    """
    value_and_grad = plan.value_and_grad
    if value_and_grad is None:
        return
    _check_takes(value_and_grad, ("params", "x", "y", "key", "weights"), "value_and_grad")
    weights = jax.ShapeDtypeStruct(arrays.x.shape[:1], jnp.result_type(float))
    out = jax.eval_shape(
        lambda p, x, k, w: value_and_grad(p, x, arrays.y, k, w), params, arrays.x, key, weights
    )
    like = jax.eval_shape(lambda p: p, params)
    pair = isinstance(out, tuple) and len(out) == 2 and getattr(out[0], "shape", None) == ()
    if not pair or jax.tree.structure(out[1]) != jax.tree.structure(like):
        raise ValueError(
            "value_and_grad must return (cost, gradients), the gradients in a tree like the "
            f"parameters {jax.tree.structure(like)}, got {jax.tree.structure(out)}. "
            "backprop.value_and_grad and jax.value_and_grad make such functions."
        )
    if not jnp.issubdtype(out[0].dtype, jnp.floating):
        raise ValueError(
            f"value_and_grad must return a real cost of floats, got dtype {out[0].dtype}."
        )
    leaves = zip(jax.tree.leaves(like), jax.tree.leaves(out[1]), strict=True)
    for path, (p, g) in zip(tree.paths(like), leaves, strict=True):
        kinds = [jnp.issubdtype(a.dtype, jnp.complexfloating) for a in (p, g)]
        if p.shape != g.shape or not jnp.issubdtype(g.dtype, jnp.inexact) or kinds[1] > kinds[0]:
            raise ValueError(
                f"value_and_grad must return gradients like the parameters, but at {path!r} the "
                f"parameter is {p.dtype} of shape {p.shape}, its gradient {g.dtype} of shape "
                f"{g.shape}."
            )


def check_metrics_run(plan: Plan, arrays: Data, params: Params) -> None:
    """Runs every metric on shapes alone; each must give one number from (params, x, y).

    Raises:
        ValueError: naming the metric, and what it raised or returned.
    """
    advice = "A metric of (outputs, y) is used as metrics.of(model, metric)."
    x, y = arrays.dev or (arrays.x, arrays.y)
    for name, metric in plan.metrics:
        try:
            out = jax.eval_shape(lambda p, x, f=metric: f(p, x, y), params, x)
        except Exception as error:  # whatever a metric raises, the caller needs to know which one
            said = f"{type(error).__name__}: {error}".split("\n")[0]
            raise ValueError(
                f"metric {name!r} cannot be evaluated on (params, x, y) in a compiled loop: {said} "
                + advice
            ) from error
        if getattr(out, "shape", None) != () or jnp.issubdtype(out.dtype, jnp.complexfloating):
            raise ValueError(
                f"metric {name!r} must return one real number, got {_describe(out)}. {advice}"
            )


def history_names(plan: Plan, arrays: Data) -> list[str]:
    """The entries of the history that can be monitored."""
    metrics = [name for name, _ in plan.metrics]
    names = ["cost", *(metrics if plan.train_metrics else [])]
    if arrays.dev is not None:
        names += ["dev_cost", *(f"dev_{name}" for name in metrics)]
    return names


def _check_takes(function, names, what, keywords=()):
    """Refuses a function that cannot be called with these arguments, by position."""
    if not callable(function):
        raise TypeError(f"{what} must be a function of ({', '.join(names)}), got {function!r}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: nothing is known of it
        return
    required = {
        p.name for p in signature.parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    }  # fmt: skip
    try:
        signature.bind(*names, **dict.fromkeys(required & set(keywords)))
    except TypeError as error:
        raise TypeError(
            f"{what} is called with ({', '.join(names)}), but takes {signature}: {error}. Give "
            "arguments that are not needed the default None."
        ) from None


def _unpack(pair, name):
    if hasattr(pair, "x") and hasattr(pair, "y"):
        return pair.x, pair.y
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (x, y) or a Dataset, got {_describe(pair)}.")
    return pair


def _on_device(array):
    """As `jnp.asarray`, whose copy of a NumPy array takes several times as long as NumPy's.

    The copy is ours, because what `device_put` gets may share its memory.
    """
    if isinstance(array, np.ndarray):
        return jax.device_put(array.copy())
    return jnp.asarray(array)


def _require_count(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _describe(value):
    shape = f" of shape {np.shape(value)}" if hasattr(value, "shape") else ""
    shape = f"{shape} and dtype {value.dtype}" if shape and hasattr(value, "dtype") else shape
    text = "" if shape else f" {value!r}"
    return f"{type(value).__name__}{shape}{text if len(text) < 60 else ''}"
