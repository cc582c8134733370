"""The hand-derived gradient beside `jax.value_and_grad`, and the machine's best rate of products.

python -m benchmarks backprop
"""

import jax
import jax.numpy as jnp

from benchmarks import harness
from jaxdl import backprop, losses, models, optim

SIZES, M = (784, 512, 256, 10), 128


def run(quick: bool = False) -> dict:
    """Time gradients and whole training steps on 784-512-256-10 with a batch of 128."""
    model = models.mlp(SIZES)
    params = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (M, SIZES[0]))
    y = jnp.arange(M) % SIZES[-1]
    cost = losses.objective(model, "softmax_cross_entropy")
    by_hand = backprop.value_and_grad(model, "softmax_cross_entropy")
    auto = jax.value_and_grad(cost)
    products = jax.jit(lambda a: a @ a)
    square = jnp.ones((2048, 2048), jnp.float32)
    arms = {
        "by hand": _blocking(jax.jit(by_hand), params, x, y),
        "autodiff": _blocking(jax.jit(auto), params, x, y),
        "step": _steps(by_hand, params, x, y),
        "product": _blocking(products, square),
    }
    seconds = harness.interleave(arms, repeats=10 if quick else 60)
    best = max(2 * 2048**3 / seconds["product"].min(), harness.matmul_rate())
    rate = harness.mlp_flops(SIZES, M) / (seconds["step"] / STEPS)
    rows = [
        harness.Row.at_most(
            "gradient by hand / jax.value_and_grad",
            harness.ratio(seconds["by hand"], seconds["autodiff"]),
            1.15,
        ),
        harness.Row.at_least(
            "training step: needed products / best product rate",
            harness.Spread.of(rate / best),
            0.65,
        ),
        harness.Row("gradient by hand (ms)", harness.Spread.of(1e3 * seconds["by hand"])),
        harness.Row("jax.value_and_grad (ms)", harness.Spread.of(1e3 * seconds["autodiff"])),
        harness.Row("training step (ms)", harness.Spread.of(1e3 * seconds["step"] / STEPS)),
        harness.Row("training step (GFLOP/s)", harness.Spread.of(rate / 1e9)),
        harness.Row("best float32 product rate (GFLOP/s)", float(best / 1e9)),
    ]
    return harness.report("backprop", rows, quick)


STEPS = 20
"""Training steps in one call, as `train.fit` makes them: in one scan."""


def _steps(value_and_grad, params, x, y):
    optimizer = optim.sgd(0.01)

    def step(carry, _):
        params, state = carry
        value, grads = value_and_grad(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), value

    train = jax.jit(lambda carry: jax.lax.scan(step, carry, length=STEPS)[1])
    return _blocking(train, (params, optimizer.init(params)))


def _blocking(f, *arguments):
    return lambda: jax.block_until_ready(f(*arguments))
