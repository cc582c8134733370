"""Arrays on many devices, of one process or of several: where they go and how they come back."""

import contextlib
import os
import pathlib
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdl.types import Array, PyTree


def use_cpu_devices(count: int | None = None) -> None:
    """Make the CPU count as several JAX devices, one for each core by default.

    For entry points of programs: it has to come before JAX is first used.

    Raises:
        RuntimeError: if JAX has already started.
    """
    jax.config.update("jax_num_cpu_devices", count or _cores())


def join_processes(
    address: str | None, count: int | None, number: int | None, seconds: int = 300
) -> None:
    """Make this process one of several, through `jax.distributed`, with sentences for what fails.

    For entry points of programs. JAX itself aborts the process when the others do not come.

    Args:
        address: HOST:PORT of process 0; None to ask the cluster's manager, like the next two.
        count: how many processes there are.
        number: which one this is, from 0.
        seconds: how long to wait for the others. Then the process ends with a sentence and
            status 2, because nothing can interrupt JAX while it waits.

    Raises:
        ValueError: for an address without a port, numbers out of range, or values that are
            missing where no cluster's manager knows them.
    """
    if address is not None and not address.rpartition(":")[2].isdigit():
        raise ValueError(f"The coordinator's address must be HOST:PORT, got {address!r}.")
    if count is not None and number is not None and not 0 <= number < count:
        raise ValueError(
            f"Processes are numbered from 0 to their count less 1, got number {number} of {count}."
        )
    with contextlib.suppress(AttributeError):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    where = f"process 0 at {address}" if address else "process 0"
    alarm = threading.Timer(seconds, _give_up, (where, seconds))
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(address, count, number, initialization_timeout=seconds + 60)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"The processes could not be joined: {error} Where no cluster's manager knows them, "
            "give the coordinator's address, the number of processes and the id of this one."
        ) from error
    finally:
        alarm.cancel()


def _give_up(where, seconds):
    message = (
        f"jaxdl: not all processes came together at {where} in {seconds} s: check that each one "
        "runs, has the same address and count and an id of its own, and can reach it."
    )
    print(message, file=sys.stderr, flush=True)
    os._exit(2)  # JAX waits in C++, where no exception reaches it


def _cores():
    """The cores that this process may use, where the system says it."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, unless a place is set already.

    For entry points of programs, as `use_cpu_devices`.
    """
    import pooch

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore
        folder = pathlib.Path(pooch.os_cache("jaxdl")) / "compiled"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def row_of(name: str, devices: Any = None) -> Mesh:
    """All devices, those of other processes included, or those given, as one named axis.

    Raises:
        TypeError: if `devices` are not JAX devices.
    """
    row = np.ravel(np.asarray(jax.devices() if devices is None else devices, object))
    if not row.size or not all(isinstance(device, jax.Device) for device in row):
        raise TypeError(
            "devices must be JAX devices, such as jax.devices() or jax.devices()[:1], got "
            f"{devices!r}."
        )
    return Mesh(row, (name,))


def everywhere(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """`tree` with one copy on every device of the mesh; as it is without one.

    Every process must hold the same values.
    """
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: place(leaf, NamedSharding(mesh, PartitionSpec())), tree)


def place(array: Any, sharding: NamedSharding) -> Array:
    """A host array, or one on this process's devices, laid out as `sharding` says."""
    if sharding.is_fully_addressable or not getattr(array, "is_fully_addressable", True):
        return jax.device_put(array, sharding)
    if is_key(array):
        data = place(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def to_host(array: Any) -> np.ndarray:
    """The whole array in NumPy, also when other processes hold parts of it.

    Every process must call this for an array that is spread over processes.
    """
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        if array.is_fully_replicated:
            return np.asarray(array.addressable_data(0))
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)


def wait_for_all(what: str) -> None:
    """Returns when every process has come here; at once if there is only one."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def is_key(leaf: Any) -> bool:
    """Whether the leaf is an array of typed random keys."""
    return jnp.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key)
