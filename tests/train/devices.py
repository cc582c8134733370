"""Trains on 8 virtual devices, or as one of two processes; prints what it found as JSON.

Run as `python -m tests.train.devices` or `python -m tests.train.devices ADDRESS ID FOLDER`.
"""

import json
import sys

import jax
import numpy as np

from jaxdl import checkpoint, devices, optim, population, train
from tests import compiling
from tests.train.problems import classes, network

SPLITS = set()


def fit(mesh, batch_size, **options):
    _, objective, params = network(keep_prob=0.9, l2=0.1)

    def watched(params, x, y, key=None, weights=None):
        if key is not None and mesh is not None:  # a training step: how is its batch laid out?
            jax.debug.inspect_array_sharding(x, callback=note)
        return objective(params, x, y, key, weights)

    def note(sharding):
        SPLITS.add((len(sharding.device_set), sharding.is_fully_replicated))

    return train.fit(
        watched, params, optim.adam(0.05), classes(), epochs=5, batch_size=batch_size,
        key=jax.random.key(7), mesh=mesh, dev=classes(6, 1), **options,
    )  # fmt: skip


def member(config):
    return {"square": config["a"] ** 2}


def main(address=None, process=None, folder=None):
    compiling.use(quick=True)
    if address:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        devices.use_cpu_devices(2)
        jax.distributed.initialize(address, 2, int(process))
    else:
        devices.use_cpu_devices(8)
    mesh = devices.row_of("batch")
    found = {"devices": len(jax.devices()), "processes": jax.process_count()}
    for batch_size in (4, None):
        result = fit(mesh, batch_size)
        found[f"cost {batch_size}"] = np.asarray(result.history["dev_cost"]).tolist()
        holders = {d.id for d in result.params[0]["w"].sharding.device_set}
        found["holders"] = sorted(holders)
    found["splits"] = sorted(SPLITS)
    found["population"] = population.run(
        member, population.grid(a=np.arange(11.0)), progress=False
    ).table.square.tolist()
    if folder:
        found |= interrupted(mesh, folder)
    print(json.dumps(found))


def interrupted(mesh, folder):
    """A run that is stopped and resumed by both processes; the first one writes."""
    _, objective, params = network()
    arguments = (objective, params, optim.adam(0.05), classes())
    options = {"batch_size": 4, "key": jax.random.key(7), "mesh": mesh, "folder": folder}
    whole = train.run(*arguments, **(options | {"folder": None}), epochs=6).result
    train.run(*arguments, **options, epochs=3)
    resumed = train.run(*arguments, **options, epochs=6, resume=True).result
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), whole, resumed)
    return {"resumed": all(jax.tree.leaves(same)), "steps": checkpoint.steps(folder)}


if __name__ == "__main__":
    main(*sys.argv[1:])
