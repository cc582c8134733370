"""One run of `train.fit` beside PyTorch, scikit-learn and a per-step loop, and the machine's limit.

python -m benchmarks train
"""

import jax
import numpy as np

from benchmarks import harness
from benchmarks._training_peers import peers
from jaxdl import losses, models, optim, train

DIGITS, DIGITS_BATCH, DIGITS_EPOCHS = (64, 128, 64, 10), 64, 20
MNIST, MNIST_BATCH, MNIST_EPOCHS = (784, 512, 256, 10), 128, 10


def run(quick: bool = False) -> dict:
    """Training on arrays of the size of digits and of MNIST's first 10,000, Adam."""
    digits = _race(DIGITS, 1257, DIGITS_BATCH, DIGITS_EPOCHS, 3 if quick else 15)
    mnist = _race(MNIST, 10_000, MNIST_BATCH, MNIST_EPOCHS, 2 if quick else 6, ("torch",), bare)
    driver = _driver(2 if quick else 7)
    return harness.report("train", [*_digits_rows(digits), *_mnist_rows(mnist), driver], quick)


def problem(sizes, m):
    """(objective, params, x, y) with random features."""
    model = models.mlp(sizes)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(m, sizes[0])).astype(np.float32)
    y = (np.arange(m) % sizes[-1]).astype(np.int32)
    return losses.objective(model, "softmax_cross_entropy"), model.init(jax.random.key(0)), x, y


def _race(sizes, m, batch, epochs, repeats, names=("torch", "sklearn", "flax"), more=None):
    objective, params, x, y = problem(sizes, m)
    optimizer, key = optim.adam(1e-3), jax.random.key(1)

    def ours():
        return jax.block_until_ready(
            train.fit(
                objective, params, optimizer, (x, y), epochs=epochs, batch_size=batch, key=key
            )
        )

    product, steps = _product(), -(-m // batch) * epochs
    arms = {"ours": ours, **peers(sizes, x, y, batch, epochs, names), "product": product}
    arms |= more(sizes, batch, steps) if more else {}
    seconds = harness.interleave(arms, repeats, warmup=1)
    needed = harness.mlp_flops(sizes, batch) * steps
    flops = {name: needed / s for name, s in seconds.items() if name != "product"}
    best = max(2 * 2048**3 / seconds["product"].min(), harness.matmul_rate())
    return {"seconds": seconds, "steps": steps, "flops": flops, "best": best}


def bare(sizes, batch, steps):
    """What the machine allows: the bare step in a scan, and its matrix products with nothing else.

    Both run `steps` times on one batch that lies ready: no shuffling, no gathering, no history.
    """
    objective, params, x, y = problem(sizes, batch)
    optimizer = optim.adam(1e-3)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(objective)(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), None

    def compiled(body, start):
        run = jax.jit(lambda carry: jax.lax.scan(body, carry, length=steps)[0])
        return lambda: jax.block_until_ready(run(start))

    return {
        "step": compiled(step, (params, optimizer.init(params))),
        "products": compiled(lambda w, _: (products(w, x), None), [p["w"] for p in params]),
    }


def products(weights, x):
    """The matrix products of a step: forward a w, backward aᵀ dz and dz wᵀ, but for the input.

    The cotangents are of the outputs' shape; what comes out is added to the weights, so that no
    product may be left out.
    """
    outputs = [x]
    for w in weights:
        outputs.append(outputs[-1] @ w)
    dz, changed = outputs[-1], []
    for w, a in zip(reversed(weights), reversed(outputs[:-1]), strict=True):
        changed.append(w + 1e-20 * (a.T @ dz))
        dz = dz @ w.T if a is not x else dz
    return changed[::-1]


def _product():
    square = jax.numpy.ones((2048, 2048), np.float32)
    multiply = jax.jit(lambda a: a @ a)
    return lambda: multiply(square).block_until_ready()


def _against(race, name, target):
    if name not in race["seconds"]:
        return []
    ratio = harness.ratio(race["seconds"][name], race["seconds"]["ours"])
    if target is None:
        return [harness.Row(name, ratio)]
    return [harness.Row.at_least(name, ratio, target)]


def _named(prefix, rows):
    return [harness.Row(f"{prefix}: {r.what}", r.value, r.target, r.met) for r in rows]


def _digits_rows(race):
    rows = _against(race, "torch", 4) + _against(race, "sklearn", 3) + _against(race, "flax", None)
    micro = {n: 1e6 * race["seconds"][n] / race["steps"] for n in race["flops"]}
    rows += [harness.Row(f"{n} (µs a step)", harness.Spread.of(s)) for n, s in micro.items()]
    return _named("digits", rows)


def _mnist_rows(race):
    share = {name: flops / race["best"] for name, flops in race["flops"].items()}
    least = harness.Spread.of([share["ours"].max()])
    return _named(
        "MNIST",
        [
            *_against(race, "torch", 1.9),
            harness.Row.at_least(
                "needed products / best product rate", harness.Spread.of(share["ours"]), 0.65
            ),
            harness.Row("the same, in its quietest round", least),
            harness.Row("the same products alone", harness.Spread.of(share["products"])),
            harness.Row("the bare step in a scan", harness.Spread.of(share["step"])),
            harness.Row("training (GFLOP/s)", harness.Spread.of(race["flops"]["ours"] / 1e9)),
            harness.Row("best float32 product rate (GFLOP/s)", float(race["best"] / 1e9)),
            harness.Row("copying (GB/s)", float(harness.copy_rate() / 1e9)),
        ],
    )


def _driver(repeats):
    """What it costs to watch a run: `train.run` in segments over one bare scan."""
    objective, params, x, y = problem(DIGITS, 1257)
    options = {"epochs": 1000, "batch_size": DIGITS_BATCH, "key": jax.random.key(1)}
    arguments = (objective, params, optim.adam(1e-3), (x, y))
    seen = []

    def driven():
        return train.run(*arguments, **options, watch=seen.append)

    arms = {
        "bare": lambda: jax.block_until_ready(train.fit(*arguments, **options)),
        "driven": driven,
    }
    seconds = harness.interleave(arms, repeats, warmup=1)
    ratio = harness.ratio(seconds["driven"], seconds["bare"])
    return harness.Row.at_most("train.run / train.fit, 1000 epochs, watched", ratio, 1.03)


if __name__ == "__main__":
    run()
