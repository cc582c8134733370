"""The compiled program: a share of the runs on each device, in as much memory as there is."""

import contextlib
import os
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.types import PyTree

MOST_ROWS = 256
"""At most this many runs lie on one device at a time, however small they are."""


class Program(NamedTuple):
    """As many runs as the memory holds, `lanes` side by side: `call(configs, count, *shared)`."""

    call: Callable[..., PyTree]
    rows: int  # on each device
    lanes: int


def compiled(fn, configs, shared, mesh, lanes, memory) -> Program:
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
        if (needed := needed_bytes(call, mesh)) <= memory:
            return Program(call, rows, side)
        if rows == side == 1:
            raise ValueError(
                f"One run on each of {mesh.size} devices needs {size_in_words(needed)}, but only "
                f"{size_in_words(memory)} may be used: make the run smaller, or use fewer devices."
            )
        fitting = max(1, int(rows * min(memory / needed, 0.5)))  # nearly proportional
        rows, lanes = fitting, min(side, fitting)


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


def needed_bytes(call, mesh):
    """What one call needs on all devices, arguments and results included."""
    analysis = call.memory_analysis()
    if analysis is None:
        return 0
    return mesh.size * (
        analysis.temp_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.argument_size_in_bytes
    )


def free_bytes(mesh: Mesh) -> float:
    """Memory that is free on all devices of a mesh."""
    local = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    stats = local[0].memory_stats() if local[0].platform != "cpu" else None
    if stats:
        return mesh.size * (stats["bytes_limit"] - stats["bytes_in_use"])
    return free_host_bytes()


def free_host_bytes():
    """Free memory; where the system does not say, half of all memory, or 2 GB."""
    for name, share in (("SC_AVPHYS_PAGES", 1.0), ("SC_PHYS_PAGES", 0.5)):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            return share * os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return 2e9


def size_in_words(nbytes: float) -> str:
    """Bytes for a person, in three digits."""
    unit, name = next(
        ((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if nbytes >= u), (1, "bytes")
    )
    return f"{nbytes / unit:.3g} {name}"
