"""Digits networks by the dozen as one program on all cores, per network beside its peers.

python -m benchmarks population

Runs in a process of its own, because the number of JAX devices is fixed when JAX starts.
"""

import json
import resource
import subprocess
import sys

from benchmarks import harness

EPOCHS, SIZES, BATCH, M = 5, (64, 128, 64, 10), 64, 1257
STEPS = -(-M // BATCH) * EPOCHS


def run(quick: bool = False) -> dict:
    """Populations of 64 and 512 on as many CPU devices as there are cores."""
    command = [sys.executable, "-m", "benchmarks.population", *["--quick"] * quick]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    peers = [
        harness.Row.at_least(
            f"{name}: a network alone / one of 64", harness.Spread(**found[name]), target
        )
        for name, target in (("torch", 9), ("sklearn", 6.5))
        if name in found
    ]
    rows = [
        *peers,
        harness.Row.at_least(
            "needed products / best product rate, 64 networks",
            harness.Spread(**found["share"]),
            0.43,
        ),
        harness.Row("the same, in its quietest round", found["best_share"]),
        harness.Row("the same by plain gradient descent", harness.Spread(**found["plain"])),
        harness.Row("the same products alone", harness.Spread(**found["products"])),
        harness.Row.at_most(
            "a network of 512 / a network of 64", harness.Spread(**found["growth"]), 1.1
        ),
        harness.Row.at_most("memory of 512 / of 64 (largest resident size)", found["memory"], 1.1),
        harness.Row("one of 64 (µs a step)", harness.Spread(**found["micro"])),
        harness.Row("best float32 product rate (GFLOP/s)", found["best"] / 1e9),
        harness.Row("devices", float(found["devices"])),
    ]
    return harness.report("population", rows, quick)


def programs() -> tuple[dict, tuple]:
    """The populations to run, compiled for all cores, and their data (x, y)."""
    from jaxdl import devices

    devices.use_cpu_devices()
    import jax

    from benchmarks.train import problem, products
    from jaxdl import models, optim, population, train

    objective, _, x, y = problem(SIZES, M)
    model = models.mlp(SIZES)

    def fitted_by(optimizer):
        def fit(config, x, y):
            key = jax.random.key(config["seed"])
            return train.fit(
                objective, model.init(key), optimizer(config["lr"]), (x, y), epochs=EPOCHS,
                batch_size=BATCH, key=key,
            )  # fmt: skip

        return fit

    def bare(config, x, y):
        del y
        weights = [layer["w"] for layer in model.init(jax.random.key(config["seed"]))]
        batch = x[:BATCH]
        return jax.lax.fori_loop(0, STEPS, lambda _, w: products(w, batch), weights)[0].sum()

    def prepared(program, n):
        configs = population.grid(lr=1e-3, seed=range(n))
        return population.prepare(program, configs, x, y)

    ours = {
        "64": prepared(fitted_by(optim.adam), 64),
        "512": prepared(fitted_by(optim.adam), 512),
        "plain": prepared(fitted_by(optim.sgd), 64),
        "products": prepared(bare, 64),
    }
    return ours, (x, y)


def measure(quick: bool) -> dict:
    """The numbers, in a process whose cores are JAX devices."""
    ours, (x, y) = programs()
    import jax  # not before its devices are set

    from benchmarks._training_peers import peers

    memory = []

    def of(name):
        def call():
            ours[name]()
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

        return call

    rounds = 3 if quick else 10
    arms = {name: of(name) for name in ("64", "products", "plain")}
    seconds = harness.interleave(arms, rounds, warmup=1)
    before = memory[-1]
    pair = harness.interleave({n: of(n) for n in ("64", "512")}, 2 if quick else 5, warmup=1)
    most = max(memory)
    # The peers come last: their threads go on spinning for a while when their turn is over.
    others = peers(SIZES, x, y, BATCH, EPOCHS, ("torch", "sklearn"))
    beside = harness.interleave({"64": of("64")} | others, rounds, warmup=1)
    best = harness.matmul_rate(repeats=15)
    needed = 64 * harness.mlp_flops(SIZES, BATCH) * STEPS
    share, plain, alone = (needed / seconds[k] / best for k in ("64", "plain", "products"))
    found = {
        "devices": jax.device_count(),
        "best": best,
        "share": vars(harness.Spread.of(share)),
        "best_share": float(max(share)),
        "plain": vars(harness.Spread.of(plain)),
        "products": vars(harness.Spread.of(alone)),
        "growth": vars(harness.ratio(pair["512"] / 8, pair["64"])),
        "memory": most / before,
        "micro": vars(harness.Spread.of(1e6 * seconds["64"] / 64 / STEPS)),
    }
    for name in others:
        found[name] = vars(harness.ratio(beside[name], beside["64"] / 64))
    return found


if __name__ == "__main__":
    print(json.dumps(measure("--quick" in sys.argv)))
