"""Every configuration through one program, call by call, and the table of what came out."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl import train, tree
from jaxdl.devices import everywhere, is_key, place, row_of, to_host
from jaxdl.population.configs import checked
from jaxdl.population.program import compiled, free_bytes
from jaxdl.types import PyTree

if TYPE_CHECKING:
    import pandas as pd

CALL_SECONDS = 0.5


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
    first = configs = checked(configs)
    if lanes is not None and (not isinstance(lanes, int) or lanes < 1):
        raise ValueError(f"lanes must be a whole number of at least 1, got {lanes}.")
    mesh = row_of("runs", devices)
    shared = everywhere(mesh, shared)
    _check_outputs(fn, configs, shared)
    slim = fn if keep_params else _without_params(fn)
    program = compiled(slim, configs, shared, mesh, lanes, memory or free_bytes(mesh) / 2)

    def go(
        configs: Mapping[str, Any] = first, enough: Callable[[int], bool] | None = None
    ) -> Population:
        configs = checked(configs)
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
