"""Arrays on many devices, of one process or of several: where they go and how they come back."""

import os
import pathlib
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
    jax.config.update("jax_num_cpu_devices", count or len(os.sched_getaffinity(0)))


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
    """All devices, those of other processes included, or those given, as one named axis."""
    return Mesh(np.asarray(devices or jax.devices()), (name,))


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
