"""Many runs as one program, spread over devices: hyperparameters and seeds are arrays."""

import contextlib
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl import train, tree
from jaxdl.devices import everywhere, is_key, place, row_of, to_host
from jaxdl.types import PyTree

if TYPE_CHECKING:
    import pandas as pd

CALL_SECONDS = 0.5
MOST_ROWS = 256
"""At most this many runs lie on one device at a time, however small they are."""


class Population(NamedTuple):
    """The configurations and what each run returned, stacked on axis 0, as NumPy arrays."""

    configs: dict[str, np.ndarray]
    outputs: PyTree

    @property
    def table(self) -> "pd.DataFrame":
        """One row a run: its configuration, then every output that is one number.

        Of a `train.Result`: the last value of each history entry, `best_epoch`, `best_value`,
        `epochs`, `diverged_at` and `diverged`. Runs that diverged are rows like any other.
        """
        import pandas as pd

        return pd.DataFrame({**_scalars(self.configs), **_columns(self.outputs)})


def grid(**axes: Any) -> dict[str, np.ndarray]:
    """Every combination of the values given, the last axis varying fastest.

        grid(lr=[0.1, 0.01], seed=range(3)) → {"lr": (6,), "seed": (6,)}

    Args:
        axes: numbers: a scalar, a sequence or a one-dimensional array under each name.

    Returns:
        A dict of arrays of one length, in the order of the arguments: what `run` takes.

    Raises:
        ValueError: for an axis without values or with more than one dimension.
        TypeError: for an axis that does not hold numbers.
    """
    columns = {name: _axis(name, values) for name, values in axes.items()}
    rows = list(itertools.product(*(range(len(c)) for c in columns.values())))
    places = np.array(rows, dtype=int).reshape(len(rows), len(columns)).T
    return {name: c[i] for (name, c), i in zip(columns.items(), places, strict=True)}


def run(
    fn: Callable[..., PyTree],
    configs: Mapping[str, Any],
    *shared: PyTree,
    keep_params: bool = False,
    lanes: int | None = None,
    devices: Any = None,
    memory: float | None = None,
    progress: bool | None = None,
) -> Population:
    """`fn(config, *shared)` for every configuration, as one compiled program over all devices.

    Each device runs through its share of the configurations, `lanes` at a time side by side
    (`vmap`). A run that stops early leaves its place to the next one, or, among several lanes,
    stands still until its neighbours stop. The numbers are those of `jax.jit(fn)(config)`: on
    one lane to the last bits, however the runs are cut into calls and on however many devices;
    on several lanes to float32 rounding (1e-5 relative over a few hundred steps; training
    amplifies rounding, so the longer the run the less its last digits mean).

    Args:
        fn: traceable; returns any pytree, for instance the `train.Result` of `train.fit`.
        configs: name → array with one entry per run, as `grid` makes it; `fn` sees a dict of
            scalars under the same names.
        shared: what every run needs, such as the data; one copy lies on each device.
        keep_params: whether `params`, `opt_state` and `best.params` of a `Result` come back.
        lanes: runs side by side on a device; default 1 on CPU, as many as fit on accelerators.
        devices: default `jax.devices()`, those of other processes included.
        memory: bytes that one call may use on all devices; default half of what is free.
        progress: show a bar on the terminal; default when standard error is one.

    Returns:
        A `Population`; `.table` is the labelled table.

    Raises:
        ValueError: for no runs, columns of unequal length or called like a result, lanes < 1, one
            run that needs more than `memory`, or batched linear algebra on several CPU devices,
            which can hang.
    """
    return prepare(
        fn,
        configs,
        *shared,
        keep_params=keep_params,
        lanes=lanes,
        devices=devices,
        memory=memory,
        progress=progress,
    )()


def prepare(
    fn: Callable[..., PyTree],
    configs: Mapping[str, Any],
    *shared: PyTree,
    keep_params: bool = False,
    lanes: int | None = None,
    devices: Any = None,
    memory: float | None = None,
    progress: bool | None = None,
) -> Callable[..., Population]:
    """`run`, compiled but not yet run: the function `go(configs, enough)` may be called repeatedly.

    It takes other configurations of the same names and dtypes, any number of them. `enough(done)`
    is asked between calls, which last about half a second or one run a device: once it says so,
    what comes back are the first `done` runs, whole as they are.
    """
    first = configs = _check_configs(configs)
    if lanes is not None and (not isinstance(lanes, int) or lanes < 1):
        raise ValueError(f"lanes must be a whole number of at least 1, got {lanes}.")
    mesh = row_of("runs", devices)
    shared = everywhere(mesh, shared)
    _check_outputs(fn, configs, shared)
    slim = fn if keep_params else _without_params(fn)
    program = _compile(slim, configs, shared, mesh, lanes, memory or _free_bytes(mesh) / 2)

    def go(
        configs: Mapping[str, Any] = first, enough: Callable[[int], bool] | None = None
    ) -> Population:
        configs = _check_configs(configs)
        kinds = [
            {name: str(jax.dtypes.canonicalize_dtype(c.dtype)) for name, c in columns.items()}
            for columns in (first, configs)
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(f"This program was prepared for configs {kinds[0]}, got {kinds[1]}.")
        pieces = _run_all(program, configs, shared, mesh, progress, enough or _never)
        outputs = jax.tree.map(lambda *a: np.concatenate(a), *pieces)
        done = len(jax.tree.leaves(outputs)[0])
        return Population({name: c[:done] for name, c in configs.items()}, outputs)

    return go


def _never(done: int) -> bool:
    del done
    return False


class _Program(NamedTuple):
    call: Callable[..., PyTree]
    rows: int  # on each device
    lanes: int


def _compile(fn, configs, shared, mesh, lanes, memory):
    """The program for as many rows a device as `memory` holds, by XLA's own account."""
    total = -(-len(next(iter(configs.values()))) // mesh.size)
    rows = min(total, MOST_ROWS)
    cpu = mesh.devices.flat[0].platform == "cpu"
    while True:
        side = min(lanes or (1 if cpu else rows), rows)
        rows = -(-rows // side) * side
        lowered = _lower(fn, configs, shared, mesh, rows, side)
        if cpu and mesh.size > 1:
            _refuse_batched_lapack(lowered.as_text())
        call = lowered.compile()
        if (needed := _bytes(call, mesh)) <= memory:
            return _Program(call, rows, side)
        if rows == side == 1:
            raise ValueError(
                f"One run on each of {mesh.size} devices needs {_size(needed)}, but only "
                f"{_size(memory)} may be used: make the run smaller, or use fewer devices."
            )
        fitting = max(1, int(rows * min(memory / needed, 0.5)))  # nearly proportional
        rows, lanes = fitting, min(side, fitting)


def _check_outputs(fn, configs, shared):
    """Runs `fn` on shapes alone: it has to return arrays, not called like a configuration."""
    one = {
        n: jax.ShapeDtypeStruct(c.shape[1:], jax.dtypes.canonicalize_dtype(c.dtype))
        for n, c in configs.items()
    }
    out = jax.eval_shape(fn, one, *shared)
    leaves = jax.tree.leaves(out)
    if not leaves:
        raise ValueError("fn returns nothing: it must return the result of one run, as arrays.")
    if any(map(is_key, leaves)):
        raise TypeError("fn returns a random key: return jax.random.key_data(key) instead.")
    stacked = jax.tree.map(lambda s: np.broadcast_to(np.zeros((), s.dtype), (1, *s.shape)), out)
    if twice := sorted(set(configs) & set(_columns(stacked))):
        raise ValueError(
            f"configs has {', '.join(map(repr, twice))}, but so is a column of results called: "
            "rename it in configs."
        )


def _refuse_batched_lapack(program: str) -> None:
    """LAPACK on batches shares threads between CPU devices, and can wait for itself for ever."""
    found = re.search(r"custom_call @lapack_(\w+?)_ffi\(.*tensor<\d+x\d+x\d+x", program)
    if found:
        raise ValueError(
            f"fn does batched linear algebra (LAPACK's {found[1]}), which can hang on several CPU "
            "devices at once: pass lanes=1 if it is batched by lanes only, else "
            "devices=jax.devices()[:1]."
        )


def _lower(fn, configs, shared, mesh, rows, lanes):
    def on_one_device(configs, count, *shared):
        return _some(lambda config: fn(config, *shared), configs, count, rows, lanes)

    over_runs, same = P("runs"), P()
    spread = jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(over_runs, same, *[same] * len(shared)),
        out_specs=over_runs,
        check_vma=False,
    )
    shape = {
        name: jax.ShapeDtypeStruct(
            (mesh.size * rows, *c.shape[1:]),
            jax.dtypes.canonicalize_dtype(c.dtype),
            sharding=NamedSharding(mesh, over_runs),
        )
        for name, c in configs.items()
    }
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=NamedSharding(mesh, same))
    return jax.jit(spread).lower(shape, count, *shared)


def _some(fn, configs, count, rows, lanes):
    """`fn` of the first `count` of `rows` configurations; what follows them stays zero."""
    side_by_side = jax.vmap(fn) if lanes > 1 else _one(fn)
    part = {name: lax.slice_in_dim(c, 0, lanes) for name, c in configs.items()}
    shapes = jax.eval_shape(side_by_side, part)
    out = jax.tree.map(lambda s: jnp.zeros((rows, *s.shape[1:]), s.dtype), shapes)

    def body(carry):
        start, out = carry
        part = {n: lax.dynamic_slice_in_dim(c, start, lanes) for n, c in configs.items()}
        new = side_by_side(part)
        put = jax.tree.map(lambda o, n: lax.dynamic_update_slice_in_dim(o, n, start, 0), out, new)
        return start + lanes, put

    return lax.while_loop(lambda carry: carry[0] < count, body, (jnp.int32(0), out))[1]


def _one(fn):
    def single(configs):
        return jax.tree.map(
            lambda a: jnp.asarray(a)[None], fn({n: c[0] for n, c in configs.items()})
        )

    return single


def _run_all(program, configs, shared, mesh, progress, enough):
    """The pieces of the result, call by call, each call as long as its bar should stand still."""
    total, pieces, done = len(next(iter(configs.values()))), [], 0
    count = program.lanes
    alone = jax.process_count() == 1
    with _bar(progress, total) as advance:
        while done < total and (done == 0 or not enough(done)):
            count = min(count, program.rows, -(-(total - done) // mesh.size))
            tick = time.perf_counter()
            pieces.append(_call(program, configs, shared, mesh, done, count))
            seconds = time.perf_counter() - tick
            new = len(jax.tree.leaves(pieces[-1])[0])
            done += new
            advance(new)
            # Processes of a cluster must agree on the count without talking about their clocks.
            fitting = CALL_SECONDS / max(seconds, 1e-9) if alone else 4
            side = program.lanes
            count = max(side, int(min(fitting, 10) * count) // side * side)
    return pieces


def _call(program, configs, shared, mesh, start, count):
    """Rows start, start + 1, ...: `count` on each device, padded to the shape that is compiled."""
    total = len(next(iter(configs.values())))
    places = np.arange(mesh.size)[:, None] * count + np.arange(program.rows)
    rows = np.minimum(start + places, total - 1).reshape(-1)
    spread = NamedSharding(mesh, P("runs"))
    part = {
        name: place(c[rows].astype(jax.dtypes.canonicalize_dtype(c.dtype)), spread)
        for name, c in configs.items()
    }
    out = program.call(part, everywhere(mesh, np.int32(count)), *shared)
    kept = (np.arange(program.rows) < count)[None, :] & (start + places < total)
    return jax.tree.map(lambda a: to_host(a)[kept.reshape(-1)], out)


def _without_params(fn):
    def slim(config, *shared):
        out = fn(config, *shared)
        if not isinstance(out, train.Result):
            return out
        best = None if out.best is None else out.best._replace(params=())
        return out._replace(params=(), opt_state=(), best=best)

    return slim


def _columns(outputs):
    if not isinstance(outputs, train.Result):
        return _scalars(outputs)
    last = np.maximum(outputs.epochs, 1) - 1
    rows = np.arange(len(last))
    columns = {n: h[rows, last] for n, h in outputs.history.items() if h.ndim == 2}
    if outputs.best is not None:
        columns |= {"best_epoch": outputs.best.epoch, "best_value": outputs.best.value}
    diverged_at = outputs.diverged_at
    return columns | {
        "epochs": outputs.epochs,
        "diverged_at": diverged_at,
        "diverged": diverged_at >= 0,
    }


def _scalars(outputs):
    leaves = zip(tree.paths(outputs), jax.tree.leaves(outputs), strict=True)
    return {path or "value": a for path, a in leaves if np.ndim(a) == 1}


def _axis(name, values):
    array = np.atleast_1d(np.asarray(list(values) if isinstance(values, range) else values))
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"axis {name!r} must be a sequence of numbers, got an array of shape {array.shape}."
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"axis {name!r} must hold numbers, got {array.dtype}: what changes the program, such "
            "as an optimizer's name, needs one population each."
        )
    return array


def _check_configs(configs):
    if not isinstance(configs, Mapping) or not configs:
        raise ValueError("configs must be a dict of arrays, as population.grid(lr=...) makes it.")
    arrays = {name: _column(name, values) for name, values in configs.items()}
    lengths = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise ValueError(f"configs must hold one entry per run under every name, got {lengths}.")
    return arrays


def _column(name, values):
    """The values as an array of numbers that JAX can hold without changing them into others."""
    if is_key(values) or (array := np.asarray(values)).dtype.kind not in "fiubcV":
        raise TypeError(
            f"configs[{name!r}] must hold numbers, got {getattr(values, 'dtype', type(values))}: "
            "keys are made from seeds inside fn, and what changes the program, such as an "
            "optimizer's name, needs one population each."
        )
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if array.dtype == np.int64 and low >= 0 and 2**31 <= high < 2**32:
        array = array.astype(np.uint32)  # a seed of 32 bits
    with np.errstate(over="ignore"):
        held = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    if array.dtype.kind == "f":
        lost = np.isnan(array) | (np.isinf(held) & ~np.isinf(array))
        lost |= (array != 0) & (np.abs(held) < jnp.finfo(held.dtype).tiny)
    else:
        lost = held != array
    if lost.any():
        raise ValueError(
            f"configs[{name!r}] holds {array[lost].flat[0]}, which {held.dtype} cannot: rescale "
            "it, or run under jax.enable_x64(True)."
        )
    return array


def _bytes(call, mesh):
    """What one call needs on all devices, arguments and results included."""
    analysis = call.memory_analysis()
    if analysis is None:
        return 0
    return mesh.size * (
        analysis.temp_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.argument_size_in_bytes
    )


def _free_bytes(mesh):
    local = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    stats = local[0].memory_stats() if local[0].platform != "cpu" else None
    if stats:
        return mesh.size * (stats["bytes_limit"] - stats["bytes_in_use"])
    return _free_host_bytes()


def _free_host_bytes():
    """Free memory; where the system does not say, half of all memory, or 2 GB."""
    for name, share in (("SC_AVPHYS_PAGES", 1.0), ("SC_PHYS_PAGES", 0.5)):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            return share * os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return 2e9


def _size(nbytes):
    """Bytes for a person, in three digits."""
    unit, name = next(
        ((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if nbytes >= u), (1, "bytes")
    )
    return f"{nbytes / unit:.3g} {name}"


@contextlib.contextmanager
def _bar(wanted, total):
    """A progress bar on standard error; the block gets the function that moves it."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda new: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("[bold]runs"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda new: bar.advance(task, new)
