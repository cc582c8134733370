"""What importing the library costs on top of jax and optax, each time in a fresh process.

python -m benchmarks imports
"""

import subprocess
import sys

from benchmarks import harness

PEERS = "import jax, optax"
OURS = (
    PEERS + "; import jaxdl; from jaxdl import activations, backprop, data, gradcheck, "
    "initializers, layers, losses, metrics, models, optim, train, tree"
)


def run(quick: bool = False) -> dict:
    """Time both imports, process after process in turn."""
    seconds = harness.interleave(
        {name: _process(program) for name, program in (("jax, optax", PEERS), ("all", OURS))},
        repeats=3 if quick else 15,
        warmup=1,
    )
    extra = harness.Spread.of(seconds["all"] - seconds["jax, optax"])
    rows = [
        harness.Row.at_most("jaxdl on top of jax and optax (s)", extra, 0.2),
        harness.Row("jax and optax (s)", harness.Spread.of(seconds["jax, optax"])),
        harness.Row("with every part of jaxdl (s)", harness.Spread.of(seconds["all"])),
    ]
    return harness.report("imports", rows, quick)


def _process(program: str):
    return lambda: subprocess.run([sys.executable, "-c", program], check=True)
