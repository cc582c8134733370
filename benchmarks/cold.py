"""From the start of `jaxdl train --data digits --epochs 20` to its final table.

python -m benchmarks cold
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import harness


def run(quick: bool = False) -> dict:
    """With an empty cache of compiled programs, and with a warm one."""
    cold, warm = [], []
    for _ in range(2 if quick else 7):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_seconds(pathlib.Path(folder), "first"))
            warm.append(_seconds(pathlib.Path(folder), "second"))
    rows = [
        harness.Row.at_most("cold start (s)", harness.Spread.of(cold), 6),
        harness.Row.at_most("with a warm compilation cache (s)", harness.Spread.of(warm), 4),
        harness.Row("cold start, quickest (s)", float(np.min(cold))),
        harness.Row("warm, quickest (s)", float(np.min(warm))),
    ]
    return harness.report("cold", rows, quick)


def _seconds(folder, name):
    command = [sys.executable, "-m", "jaxdl.cli", "train", "--data", "digits", "--epochs", "20"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    start = time.perf_counter()
    subprocess.run(
        [*command, "--out", str(folder / name)],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    run()
