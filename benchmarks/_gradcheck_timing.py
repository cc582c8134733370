"""How long a check takes: the sizes that the checker promises, cold, warm and with a bug."""

import json
import statistics
import subprocess
import sys
import time

import jax
import numpy as np

from benchmarks._gradcheck_tables import Target, met, titled

SIZES = (50, 120, 30, 10)  # 10,060 parameters
EXHAUSTIVE_SIZES = (110, 50, 20)  # 6,570 parameters
BUGS = ("no_derivative", "mask_from_da", "sum", "z_for_a", "no_l2", "dw_no_m")
COLD_RUNS = 3
WARM_RUNS = 9

PROGRAM = """
import json, sys, time
from jaxdl import gradcheck
from benchmarks._gradcheck_timing import problem
loss, grad, params, args = problem(sys.argv[1])
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    report = gradcheck.check(loss, grad, params, *args, batch_argnums=(0, 1))
    times.append(time.perf_counter() - start)
causes = [finding.cause for finding in report.findings]
print(json.dumps({"seconds": times, "verdict": report.verdict, "causes": causes}))
"""


def problem(bug: str):
    """(loss, grad, params, args): a ReLU network with softmax cross entropy and L2, float32."""
    from tests.gradcheck_corpus.mlp import Net, draw_of, gradient_of, loss_of

    net = Net(SIZES, "relu", "ce", m=64, l2=0.5)
    params, *args = jax.tree.map(
        lambda v: v.astype(np.float32) if v.dtype == np.float64 else v,
        draw_of(net)(np.random.default_rng(0)),
    )
    hand = gradient_of(net)

    def grad(params, x, y):
        return hand(params, x, y, bug=bug)

    return loss_of(net), grad, params, args


def cold(bug: str, runs: int = 1) -> dict:
    """One check in a process of its own, then `runs - 1` more in the same process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, bug, str(runs)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"The check with bug {bug!r} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def torch_exhaustive() -> float:
    """Seconds of torch's slow gradcheck of a network of torch's own with 6,570 parameters."""
    import torch

    n0, n1, n2 = EXHAUSTIVE_SIZES
    rng = np.random.default_rng(0)
    shapes = (n0, n1), (n1,), (n1, n2), (n2,)
    leaves = [torch.tensor(rng.normal(size=s) / 10, requires_grad=True) for s in shapes]
    x, y = torch.tensor(rng.normal(size=(32, n0))), torch.tensor(rng.normal(size=(32, n2)))

    def loss(w1, b1, w2, b2):
        return 0.5 * ((torch.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).sum(1).mean()

    start = time.perf_counter()
    torch.autograd.gradcheck(loss, leaves)
    return time.perf_counter() - start


def our_exhaustive() -> tuple[float, float]:
    """Seconds of our finite differences of all components: with compilation, and again."""
    from jaxdl.gradcheck import numerical
    from tests.gradcheck_corpus.mlp import Net, draw_of, loss_of

    net = Net(EXHAUSTIVE_SIZES, "tanh", "mse", m=32)
    params, x, y = draw_of(net)(np.random.default_rng(0))
    loss = loss_of(net)

    def cost(params):
        return loss(params, x, y)

    times = []
    with jax.enable_x64(True):
        for _ in range(2):
            start = time.perf_counter()
            jax.block_until_ready(numerical.gradient(cost, params))
            times.append(time.perf_counter() - start)
    return times[0], times[1]


def measure(quick: bool = False) -> dict:
    """Every timing, in one run; medians, with the spread of the runs."""
    bugs, runs = (BUGS[:1], 1) if quick else (BUGS, COLD_RUNS)
    passing = [cold("", WARM_RUNS + 1)] + [cold("") for _ in range(runs - 1)]
    first = [run["seconds"][0] for run in passing]
    warm = passing[0]["seconds"][1:]
    failing = {bug: cold(bug) for bug in bugs}
    bug_seconds = [run["seconds"][0] for run in failing.values()]
    timing = {
        "pass_cold_s": _spread(first),
        "pass_warm_s": _spread(warm),
        "fail_cold_s": _spread(bug_seconds),
        "pass_verdicts": [run["verdict"] for run in passing],
        "bugs": {bug: {"causes": run["causes"], "verdict": run["verdict"],
                       "seconds": run["seconds"][0]} for bug, run in failing.items()},
    }  # fmt: skip
    ours, again = our_exhaustive()
    timing |= {"exhaustive_s": ours, "exhaustive_warm_s": again}
    try:
        timing["torch_exhaustive_s"] = torch_exhaustive()
    except ImportError:
        timing["torch_exhaustive_s"] = None
    return timing


def _spread(seconds) -> dict:
    return {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
        "n": len(seconds),
    }


COLD = Target("≤ 2 s", lambda seconds: seconds <= 2)
WARM = Target("≤ 0.05 s", lambda seconds: seconds <= 0.05)
DIAGNOSED = Target("≤ 5 s", lambda seconds: seconds <= 5)
FASTER = Target("≥ 10 × ours", lambda ratio: ratio >= 10)


def show(timing: dict, console) -> None:
    """Medians with their range, targets, and whether they are met."""
    table = titled("Time of one check", ["", "measured: median (range)", "target", "met"])
    for key, label, target in (
        ("pass_cold_s", "MLP, 10,060 parameters, PASS, cold process", COLD),
        ("pass_warm_s", "the same, warm", WARM),
        ("fail_cold_s", "the same with a bug, cold, diagnosed", DIAGNOSED),
    ):
        row = timing[key]
        median = row["median"]
        text = f"{median:.3f} s  ({row['min']:.3f} to {row['max']:.3f}, n = {row['n']})"
        table.add_row(label, text, target.text, met(target, median))
    ours, again = timing["exhaustive_s"], timing["exhaustive_warm_s"]
    label = "all finite differences of 6,570 parameters"
    table.add_row(label, f"{ours:.2f} s, again {again:.2f} s", "", "")
    theirs = timing["torch_exhaustive_s"]
    ratio = None if theirs is None else theirs / ours
    text = "torch is not installed" if ratio is None else f"{theirs:.2f} s = {ratio:.1f} × ours"
    label = "torch's slow gradcheck, 6,570 parameters"
    table.add_row(label, text, FASTER.text, met(FASTER, ratio))
    console.print(table)
    for bug, run in timing["bugs"].items():
        named = ", ".join(run["causes"]) or "no cause"
        console.print(f"  planted {bug}: {run['verdict']}, {named}, {run['seconds']:.2f} s")
