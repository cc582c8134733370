"""`run`: the loop of `fit` in segments, so that it can be watched, stopped and resumed.

The compiled program takes the number of the epoch to run to as an argument, so segments of any
length share it. Their length is chosen from the measured time of an epoch: long enough that
starting one costs nothing noticeable, short enough for a lively progress bar.
"""

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import checkpoint, devices
from jaxdl.train import loop
from jaxdl.train.fit import Result, hashable, prepare
from jaxdl.types import Array, Key, Params

SEGMENT_SECONDS = 0.4


class Progress(NamedTuple):
    """What `watch` is shown: epochs [start, epoch) of `epochs` are new, `history` has all rows."""

    start: int
    epoch: int
    epochs: int
    seconds: float
    history: dict[str, np.ndarray]
    state: loop.State
    refused: tuple[str, ...] = ()


class Run(NamedTuple):
    """A `fit.Result` and why the run ended.

    `ended` is "finished", "patience", "diverged", "time limit" or "interrupted"; after the last
    two it can be resumed. `seconds` is the time this call spent training, without compiling.
    """

    result: Result
    ended: str
    seconds: float


def run(
    objective: Callable[..., Array],
    params: Params,
    optimizer: Any,
    data: Any,
    *,
    epochs: int,
    key: Key,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    keep: int = 3,
    save_seconds: float = 30.0,
    time_limit: float | None = None,
    watch: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Run:
    """`fit`, driven from outside the compiled loop: progress, checkpoints, limits, Ctrl-C.

    The numbers are those of `fit`: the same steps in the same order, in segments of whole
    epochs. A resumed run ends with the same bits as one that was never interrupted. SIGINT and
    SIGTERM end it at the end of the current segment, with a checkpoint; a second SIGINT at once.

    Args:
        objective, params, optimizer, data, epochs, key, options: as in `fit`.
        folder: where checkpoints go; None for none.
        resume: continue from the newest usable checkpoint in `folder`; without one, start anew.
        keep: how many checkpoints stay.
        save_seconds: time between checkpoints; there is always one at the end.
        time_limit: stop after about this many seconds of training.
        watch: called after every segment, before its checkpoint; also once at the start, with
            the epochs that a checkpoint brought.

    Returns:
        A `Run`. A run that diverges stops, like one that runs out of patience.

    Raises:
        ValueError, TypeError: as `fit`; also if `resume` is asked for without a `folder`, if
            `folder` has checkpoints and `resume` is not asked for, or if they lie behind `epochs`.
        checkpoint.CheckpointError: if a checkpoint cannot be written, none can be used, or
            another process trains in `folder` at this moment.
    """
    _check(folder, resume, keep, time_limit)
    settings = {"batch_size": None, "train_metrics": True, "maximize": False, "patience": None}
    plan, arrays, params = prepare(
        objective, params, optimizer, data, epochs=epochs, key=key, **(settings | options)
    )
    arrays = devices.everywhere(plan.mesh, arrays)
    start, one, advance = _programs(plan) if hashable(plan) else _jitted(plan)
    state = devices.everywhere(plan.mesh, start(params, key))
    history = loop.empty_history(one, arrays, state, epochs)
    with _alone(folder):
        found = _resume(folder, state, history, epochs) if folder is not None and resume else None
        state, history, refused = found or (state, history, ())
        history = devices.everywhere(plan.mesh, history)
        jax.block_until_ready(advance(arrays, state, history, 0))  # no epoch: compiles it
        driver = _Driver(plan, arrays, epochs, folder, keep, save_seconds, time_limit, watch)
        return driver.drive(advance, state, history, refused)


def _check(folder, resume, keep, time_limit):
    if resume and folder is None:
        raise ValueError("resume=True needs the folder with the checkpoints: give folder=.")
    if folder is not None and not resume and (found := checkpoint.steps(folder)):
        raise ValueError(
            f"{folder} already holds checkpoints, the last one of epoch {found[-1]}: resume=True "
            "goes on from there, another folder starts anew."
        )
    if keep < 1:
        raise ValueError(f"keep must be at least 1 checkpoint, got {keep}.")
    if time_limit is not None and not time_limit > 0:
        raise ValueError(f"time_limit must be a positive number of seconds, got {time_limit}.")


@contextlib.contextmanager
def _alone(folder):
    """No other process trains in the folder while the block runs; a killed one leaves no lock."""
    if folder is None or os.name != "posix" or jax.process_index() != 0:
        yield
        return
    import fcntl

    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise checkpoint.CheckpointError(
                f"Another process is training in {folder} at this moment: wait for it or stop it, "
                "or choose another folder."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


class _Driver(NamedTuple):
    """The fixed circumstances of a run; `drive` is the loop around the compiled one."""

    plan: loop.Plan
    arrays: loop.Data
    epochs: int
    folder: str | os.PathLike | None
    keep: int
    save_seconds: float
    time_limit: float | None
    watch: Callable[[Progress], None] | None

    def drive(self, advance, state, history, refused):
        begun = saved = time.perf_counter()
        epoch, length, unsaved = int(state.epoch), 1, False
        self._show(0, epoch, 0.0, history, state, refused)
        with _StopSignals() as stop, ThreadPoolExecutor(1) as waiter:
            while not (ended := self._over(state)):
                tick = time.perf_counter()
                late = self.time_limit is not None and tick - begun > self.time_limit
                length, ended = _agree(length, stop.requested, late)
                if ended:
                    break
                until = min(epoch + length, self.epochs)
                # Waiting in another thread leaves this one free to hear signals.
                out = advance(self.arrays, state, history, until)
                state, history = waiter.submit(jax.block_until_ready, out).result()
                before, epoch, unsaved = epoch, int(state.epoch), True
                now = time.perf_counter()
                length = _next_length(epoch - before, now - tick)
                self._show(before, epoch, now - begun, history, state, ())
                if now - saved > self.save_seconds:
                    self._save(state, history)
                    saved, unsaved = time.perf_counter(), False
        seconds = time.perf_counter() - begun
        if unsaved:
            self._save(state, history)
        return Run(_result(state, history), ended, seconds)

    def _over(self, state):
        if int(state.diverged_at) != loop.NEVER:
            return "diverged"
        # In Python, as JAX would start a small program for each comparison.
        if self.plan.patience is not None and int(state.stale) >= self.plan.patience:
            return "patience"
        return "finished" if int(state.epoch) >= self.epochs else ""

    def _show(self, start, epoch, seconds, history, state, refused):
        if self.watch is not None:
            rows = _rows(history, epoch)
            self.watch(Progress(start, epoch, self.epochs, seconds, rows, state, refused))

    def _save(self, state, history):
        if self.folder is None:
            return
        epoch = int(state.epoch)
        tree = {"state": state, "history": _rows(history, epoch)}
        checkpoint.save(self.folder, epoch, tree, keep=self.keep)
        devices.wait_for_all("checkpoint")


def _resume(folder, state, history, epochs):
    """State and history of the newest usable checkpoint; None if there is none at all."""
    like = {"state": state, "history": dict.fromkeys(history, checkpoint.ANY)}
    try:
        restored = checkpoint.restore(folder, like)
    except FileNotFoundError:
        return None
    if restored.step > epochs:
        raise ValueError(
            f"The run in {folder} is at epoch {restored.step} already: to resume it, epochs must "
            f"be at least that, got {epochs}."
        )
    for name, rows in restored.tree["history"].items():
        history[name][: len(rows)] = rows
    return restored.tree["state"], history, restored.refused


def _jitted(plan):
    """(start, one epoch, advance): the first and the last as programs, the second to go into one.

    The start is a program too, because each of its operations alone would be one.
    """
    one = loop.once(plan)
    start = jax.jit(functools.partial(loop.init, plan))
    return start, one, jax.jit(functools.partial(loop.advance, plan, one))


_programs = functools.lru_cache(maxsize=32)(_jitted)
"""The jitted programs of each plan, as in `fit`."""


def _agree(length, interrupted, late):
    """(length, why to stop or ""), the same in every process: they must run in step."""
    wishes = np.array([length, interrupted, late])
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        wishes = np.asarray(multihost_utils.process_allgather(wishes))
    length, interrupted, late = wishes.reshape(-1, 3).T
    why = "interrupted" if interrupted.any() else "time limit" if late.any() else ""
    return int(length.min()), why


def _next_length(epochs, seconds):
    """Epochs of the next segment: as many as take SEGMENT_SECONDS, growing tenfold at most."""
    fitting = SEGMENT_SECONDS * epochs / max(seconds, 1e-9)
    return int(np.clip(fitting, 1, 10 * max(epochs, 1)))


def _rows(history, epoch):
    return {name: devices.to_host(values)[:epoch] for name, values in history.items()}


def _result(state, history):
    rows = {name: jnp.asarray(h) for name, h in _rows(history, int(state.epoch)).items()}
    return Result(state.params, state.opt_state, rows, state.best, state.diverged_at, state.epoch)


class _StopSignals:
    """Turns SIGINT and SIGTERM into a request while the block runs; only in the main thread."""

    def __init__(self):
        self.requested = False
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number, frame):
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
