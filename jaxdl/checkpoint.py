"""Checkpoints that are whole or not there.

orbax writes the arrays. Around it stand the two things it does not promise: a manifest with the
sha256 of every file, written last and verified first, so that a flipped bit is found instead of
restored; and one rename of the finished folder, so that a crash leaves the previous checkpoint.
"""

import contextlib
import errno
import hashlib
import json
import logging
import operator
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import errors
from jaxdl import tree as trees
from jaxdl.devices import is_key, place, to_host
from jaxdl.types import PyTree

MANIFEST = "manifest.json"
ARRAYS = "arrays"
FORMAT = 2

ANY = "any"
"""A leaf of `like` that accepts whatever shape and dtype was saved there."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message says which, why and what to do."""


class Restored(NamedTuple):
    """A restored tree, the step it was saved at, its metadata, and why newer ones were refused."""

    tree: PyTree
    step: int
    metadata: dict[str, Any]
    refused: tuple[str, ...]


def save(
    folder: str | os.PathLike,
    step: int,
    tree: PyTree,
    *,
    keep: int = 3,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write `tree` as the checkpoint of `step`; all of it appears at once, or none of it.

    Args:
        folder: holds the checkpoints of one run; made if missing.
        step: position in the run; checkpoints are ordered by it. An old one of the same step
            is replaced, and those of later steps go: the run went back behind them, for instance
            because they were damaged, and `restore` has to find what was saved last.
        tree: arrays and random keys in any pytree. With several processes every process calls
            this, and the first one writes.
        keep: how many checkpoints stay; older ones are removed after the new one is in place.
        metadata: what else belongs to the checkpoint, as JSON.

    Returns:
        The folder of this checkpoint.

    Raises:
        ValueError: for a negative step, keep < 1, or two leaves of one name.
        TypeError: for a leaf that is no array, or metadata that JSON does not know.
        CheckpointError: if it cannot be written, for instance because the disk is full. The
            checkpoints that were there before are untouched.
    """
    folder = Path(folder).absolute()
    step, metadata = _check(step, keep, tree, metadata)
    arrays = {path: _to_host(leaf) for path, leaf in _leaves(tree).items()}
    described = {path: _describe(leaf) for path, leaf in _leaves(tree).items()}
    target = _path(folder, step)
    if jax.process_index() != 0:
        return target
    temporary = folder / f".writing-{step}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        _check_space(folder, [a.nbytes for a in arrays.values()])
        temporary.mkdir()
        _write_arrays(temporary / ARRAYS, arrays)
        _write_manifest(temporary, step, described, metadata)
        _move(temporary, target)
    except CheckpointError:
        raise
    except Exception as error:
        _discard(temporary)
        last = steps(folder)
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written to {folder}: {_reason(error)}. "
            + (f"The one of step {last[-1]} is untouched. " if last else "")
            + "Free some space or choose another folder, then resume."
        ) from error
    found = steps(folder)
    later = [s for s in found if s > step]
    for old in [*later, *[s for s in found if s <= step][:-keep]]:
        shutil.rmtree(_path(folder, old), ignore_errors=True)
    return target


def restore(folder: str | os.PathLike, like: PyTree) -> Restored:
    """The newest checkpoint in `folder` that is whole, in the structure of `like`.

    Args:
        folder: as given to `save`.
        like: a tree of the expected structure, shapes and dtypes: arrays, `ShapeDtypeStruct`s or
            `ANY`. An array's sharding decides where the restored one lies, so a checkpoint can
            be restored on another number of devices.

    Returns:
        `Restored`; `refused` has one sentence for each newer checkpoint that was damaged.

    Raises:
        FileNotFoundError: if there is no checkpoint at all.
        CheckpointError: if none can be used.
    """
    folder = Path(folder).absolute()
    found = steps(folder)
    if not found:
        raise FileNotFoundError(f"No checkpoint in {folder}: nothing has been saved there yet.")
    refused = []
    for step in reversed(found):
        try:
            manifest = verify(_path(folder, step))
            _check_structure(manifest["leaves"], like, step)
            arrays = _read_arrays(_path(folder, step), manifest["leaves"])
        except CheckpointError as error:
            refused.append(str(error))
            continue
        return Restored(
            _rebuild(arrays, manifest["leaves"], like), step, manifest["metadata"], tuple(refused)
        )
    raise CheckpointError(" ".join(refused) + f" No usable checkpoint is left in {folder}.")


def steps(folder: str | os.PathLike) -> list[int]:
    """The steps of the checkpoints in `folder`, oldest first."""
    names = (p.name.removeprefix("step_") for p in Path(folder).glob("step_*"))
    return sorted(int(name) for name in names if name.isdigit())


def verify(path: str | os.PathLike) -> dict[str, Any]:
    """The manifest of one checkpoint, after comparing every file with it.

    Raises:
        CheckpointError: naming the first file that is missing, has another size or another hash.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"Checkpoint {path.name} is refused: its file {name} is missing.")
        if file.stat().st_size != expected["bytes"]:
            raise CheckpointError(
                f"Checkpoint {path.name} is refused: its file {name} has {file.stat().st_size} "
                f"bytes instead of {expected['bytes']}, so it was cut off or overwritten."
            )
        if _sha256(file) != expected["sha256"]:
            raise CheckpointError(
                f"Checkpoint {path.name} is refused: its file {name} does not have the sha256 "
                "it was written with, so its content has changed."
            )
    return manifest


def _check(step, keep, tree, metadata):
    """(step, metadata) as plain Python, once everything can be saved."""
    step, keep = operator.index(step), operator.index(keep)
    if step < 0 or keep < 1:
        raise ValueError(f"step must be at least 0 and keep at least 1, got {step} and {keep}.")
    paths = trees.paths(tree)
    if twice := {path for path in paths if paths.count(path) > 1}:
        raise ValueError(f"Two leaves of the tree are both called {min(twice)!r}: rename one.")
    for path, leaf in _leaves(tree).items():
        if not is_key(leaf) and np.dtype(getattr(leaf, "dtype", type(leaf))).kind in "OUSM":
            raise TypeError(
                f"A checkpoint holds arrays and random keys, got {type(leaf).__name__} at "
                f"{path!r}: text and the like go into metadata."
            )
    try:
        return step, json.loads(json.dumps(dict(metadata or {})))
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must be what JSON can hold, got {metadata}: {error}.") from None


def _path(folder, step):
    return folder / f"step_{step:08d}"


def _leaves(tree):
    return dict(zip(trees.paths(tree), jax.tree.leaves(tree), strict=True))


def _describe(leaf):
    data = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
    kind = "key" if is_key(leaf) else "array"
    dtype = np.dtype(data.dtype) if hasattr(data, "dtype") else np.asarray(data).dtype
    described = {"kind": kind, "shape": list(np.shape(data)), "dtype": dtype.name}
    return described | ({"impl": str(jax.random.key_impl(leaf))} if kind == "key" else {})


def _to_host(leaf):
    """The leaf's bits as a NumPy array that any array format can hold, at least one-dimensional."""
    leaf = jax.random.key_data(leaf) if is_key(leaf) else leaf
    array = np.ascontiguousarray(to_host(leaf))
    exotic = array.dtype.kind == "V"  # bfloat16 and the like
    return array.view(f"u{array.dtype.itemsize}") if exotic else array


def _checkpointer():
    import orbax.checkpoint as ocp

    # Each process reads and writes for itself: orbax would otherwise wait for the others.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    options = alone if jax.process_count() > 1 else ocp.options.MultiprocessingOptions()
    # Plain files instead of a database: its merge takes a [ or * in the path for a pattern.
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(multiprocessing_options=options, use_ocdbt=False),
        multiprocessing_options=options,
    )


@contextlib.contextmanager
def _in_silence():
    """Without orbax's log of what went wrong, tracebacks and all: the error says it once.

    Where one of its writers fails, the others go on for a moment and find nobody to report to.
    What they say of that stays unsaid too: after a failure those hooks stay until the next call.
    """
    _left.close()
    log, tasks, hook = logging.getLogger("absl"), logging.getLogger("asyncio"), sys.unraisablehook

    def others(unraisable):
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    def unhook():
        tasks.removeFilter(_nothing)
        if sys.unraisablehook is others:
            sys.unraisablehook = hook

    log.addFilter(_nothing)
    tasks.addFilter(_nothing)
    sys.unraisablehook = others
    _left.callback(unhook)
    try:
        yield
        _left.close()
    finally:
        log.removeFilter(_nothing)


_left = contextlib.ExitStack()
"""Removes the hooks that are in place: during a save or restore, and after one that failed."""


def _nothing(record):
    return False


def _write_arrays(path, arrays):
    """Every array under its number, so that no name of a leaf has to be the name of a file."""
    filled = {str(i): a for i, a in enumerate(arrays.values()) if a.size}
    if filled:  # orbax refuses arrays without entries, and trees without arrays
        with _in_silence(), _checkpointer() as checkpointer:
            checkpointer.save(path, filled)


def _read_arrays(path, described):
    try:
        with _in_silence(), _checkpointer() as checkpointer:
            found = checkpointer.restore(path / ARRAYS) if (path / ARRAYS).exists() else {}
    except Exception as error:
        raise CheckpointError(
            f"Checkpoint {path.name} is refused: orbax cannot read it, {_reason(error)}."
        ) from error
    return {name: found[str(i)] for i, name in enumerate(described) if str(i) in found}


def _write_manifest(path, step, leaves, metadata):
    files = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        files[str(file.relative_to(path))] = {
            "bytes": file.stat().st_size,
            "sha256": _sha256(file),
        }
        _flush(file)
    body = {
        "format": FORMAT,
        "step": step,
        "leaves": leaves,
        "metadata": metadata,
        "files": files,
    }
    body["sha256"] = _digest(body)
    manifest = path / MANIFEST
    manifest.write_text(json.dumps(body, indent=1), encoding="utf-8")
    _flush(manifest)


def _read_manifest(path):
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        claimed = manifest.pop("sha256")
    except FileNotFoundError:
        raise CheckpointError(
            f"Checkpoint {path.name} is refused: it has no {MANIFEST}, so it was never finished."
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"Checkpoint {path.name} is refused: its {MANIFEST} cannot be read ({error.strerror})."
        ) from None
    except (ValueError, KeyError, AttributeError):
        claimed, manifest = None, {}
    if claimed != _digest(manifest):
        raise CheckpointError(
            f"Checkpoint {path.name} is refused: its {MANIFEST} is damaged (truncated or changed)."
        )
    if manifest["format"] != FORMAT:
        raise CheckpointError(
            f"Checkpoint {path.name} is refused: it has format {manifest['format']}, this version "
            f"of jaxdl reads format {FORMAT}."
        )
    return manifest


def _digest(body):
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sha256(file):
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_structure(saved, like, step):
    expected = {
        path: None if isinstance(leaf, str) else _describe(leaf)
        for path, leaf in _leaves(like).items()
    }
    for path in [*expected, *saved]:
        ours, theirs = expected.get(path, "nothing"), saved.get(path, "nothing")
        if ours != theirs and (ours is not None or theirs == "nothing"):
            raise CheckpointError(
                f"The checkpoint of step {step} belongs to another model or optimizer: at {path!r} "
                f"it holds {_words(theirs)}, this run needs {_words(ours)}."
            )


def _words(leaf):
    if not isinstance(leaf, dict):
        return leaf or "an array"
    return (
        f"{leaf['dtype']}{tuple(leaf['shape'])}"
        if leaf["kind"] == "array"
        else f"a random key ({leaf['impl']})"
    )


def _rebuild(arrays, described, like):
    def leaf(path, expected):
        info = described[path]
        dtype = jnp.dtype(info["dtype"])
        value = np.asarray(arrays.get(path, np.empty(0, dtype)))
        value = (value.view(dtype) if dtype.kind == "V" else value).reshape(info["shape"])
        if info["kind"] == "key":
            return jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(expected))
        if isinstance(expected, str):
            return value
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            return value  # of 64 bits: as NumPy, because without x64 JAX would halve it
        sharding = expected.sharding if getattr(expected, "committed", False) else None
        return jnp.asarray(value) if sharding is None else place(value, sharding)

    leaves = [leaf(path, expected) for path, expected in _leaves(like).items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _discard(folder: Path, tries: int = 40) -> None:
    """Remove a folder into which orbax's threads may write for a moment longer."""
    for _ in range(tries):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _remove_leftovers(folder):
    for path in [*folder.glob(".writing-*"), *folder.glob(".replaced-*")]:
        shutil.rmtree(path, ignore_errors=True)


def _check_space(folder, sizes):
    """Whole blocks of 4 kB: two files and two folders for each array, and room for the rest."""
    free = shutil.disk_usage(folder).free
    needed = sum(2**12 * (-(-size // 2**12) + 3) for size in sizes) + 2**16
    if free < needed:
        raise OSError(
            f"the disk is full (needs {needed / 1e3:,.0f} kB, {free / 1e3:,.0f} are free)"
        )


def _reason(error):
    text = " ".join(str(error).split())
    for number, reason in errors.UNWRITABLE.items():  # orbax puts errors of the system in words
        known = os.strerror(number) in text or errno.errorcode[number] in text
        if known or getattr(error, "errno", None) == number:
            return reason
    return text[:300]


def _move(source, target):
    if target.exists():
        os.rename(target, target.parent / f".replaced-{target.name}-{os.getpid()}")
    os.rename(source, target)
    _flush(target.parent)
    _remove_leftovers(target.parent)


def _flush(path):
    """Everything written to the file or folder so far reaches the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
