"""Trains in children of one process and kills them, so that only one of them pays for the imports.

Run as `python -m tests.cli.killing FOLDER OPTION ...`; prints how each child was killed, as JSON.
"""

import importlib
import json
import os
import pathlib
import random
import signal
import sys
import time

import jax

from jaxdl import checkpoint, cli, devices
from jaxdl.data import load

IMPORTED = ("jaxdl.run.training", "orbax.checkpoint", "rich.progress", "tyro", "vl_convert")

WHEN = ["any"] * 4 + ["training"] * 8 + ["saving"] * 8


def main(folder, *options):
    """One child after the other, each going on where the one before was killed."""
    for name in IMPORTED:
        importlib.import_module(name)
    load("wine")
    rng, out, killed = random.Random(0), pathlib.Path(folder), []
    for when in rng.sample(WHEN, len(WHEN)):
        before, child = finished(out), start(out, options)
        if when != "any":
            wait(child, lambda before: finished(out) != before, before)
        if when == "saving":
            wait(child, unfinished, out)
        time.sleep(rng.uniform(0, {"any": 1.5, "training": 0.4, "saving": 0.03}[when]))
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended before it was killed"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        killed.append([when, bool(unfinished(out))])
    print(json.dumps(killed))


def start(out, options):
    """The number of a process that runs `jaxdl train --resume` as the console script does."""
    assert not jax._src.xla_bridge.backends_are_initialized()  # threads would not be forked
    if child := os.fork():
        return child
    status = 70
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        devices.keep_compiled_programs()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # children are many
        status = cli.main(["train", *options, "--out", str(out), "--resume"])
    finally:
        os._exit(status)


def finished(out):
    return checkpoint.steps(out / "checkpoints")


def unfinished(out):
    """Checkpoints that are being written; a killed process leaves them until the next one saves."""
    return list(out.glob("checkpoints/.writing-*"))


def wait(child, happened, argument):
    while not happened(argument):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended by itself"
        time.sleep(0.002)


if __name__ == "__main__":
    main(*sys.argv[1:])
