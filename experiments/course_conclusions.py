"""Claim: what the course's assignments conclude from one seed holds for other seeds too.

Section:  "Weight Initialization for Deep Networks"; the programming assignments on initialization,
          optimization methods and planar data.
Setting:  the assignments' data, networks and rates, with data and weights drawn anew for every seed
          and the same for all arms of it; float32, and a third (initialization), a tenth
          (optimizers) and a fifth (planar data) of their length. A problem is a seed of an
          assignment. Five conclusions, as the published numbers suggest them: from He's scale a
          network ends with higher test accuracy than from normals × 10 (96 % against 86 %); Adam
          ends with higher accuracy than gradient descent (94 % against 80 %) and than momentum;
          momentum makes no difference at this rate (within 1 point: 80 % and 80 %); four hidden
          units do better than two on the flower (91 % against 67 %); and five do better than
          twenty (91.25 % against 90 %).
Predicts: depends. Adam wins and momentum makes no difference in almost all seeds; He's scale wins
          in most; that five units are better than twenty was one seed's luck.
Refuted:  supported if the interval of the share of seeds in which a conclusion holds, the
          conclusions counting equally, lies above 0.90; contradicted if below; depends if two
          conclusions lie on either side of one half. A tie counts ½.
Command:  python -m experiments course_conclusions
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import lab, losses, models, optim, population, stats
from jaxdl.lab import problems, shares

CLAIM = lab.Claim(
    name="course_conclusions",
    title="The assignments' conclusions on other seeds",
    quote="More careful choice of the random initialization for your neural network.",
    section="Weight Initialization for Deep Networks",
    quantifier="almost always",
)

STARTS = ("× 10", "He")
OPTIMIZERS = ("gradient descent", "momentum", "Adam")
UNITS = (2, 4, 5, 20)
POINT = 0.01


@dataclasses.dataclass(frozen=True)
class Config:
    """Seeds of each assignment, and how long each trains (the course: 15,000, 10,000, 5,000)."""

    seeds: int = 40
    steps: int = 5000
    epochs: int = 1000
    planar_steps: int = 1000
    seed: int = 0


FULL = Config(seeds=1000)
SMOKE = Config(seeds=2, steps=20, epochs=3, planar_steps=20)


def circles(key, count):
    """Two circles, radius 1 and 0.8, noise 0.05."""
    y = jnp.arange(float(count)) % 2
    angle = 2 * jnp.pi * jnp.arange(float(count)) / count
    ring = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1) * (1 - 0.2 * y)[:, None]
    return ring + 0.05 * jax.random.normal(key, ring.shape), y[:, None]


def moons(key, count):
    """Two half circles that reach into each other, noise 0.2."""
    y = jnp.arange(float(count)) % 2
    angle = jnp.pi * jnp.arange(float(count)) / count
    x = jnp.stack([jnp.cos(angle) * (1 - 2 * y) + y, jnp.sin(angle) * (1 - 2 * y) + y / 2], axis=1)
    return x + 0.2 * jax.random.normal(key, x.shape), y[:, None]


def flower(key, count):
    """Two classes on the petals of r = 4 sin 4t, angles and radii noisy."""
    y = (jnp.arange(count) >= count // 2).astype(jnp.float32)
    angle_key, radius_key = jax.random.split(key)
    t = jnp.linspace(0.0, 3.12, count // 2)
    t = jnp.concatenate([t, 3.12 + t]) + 0.2 * jax.random.normal(angle_key, (count,))
    r = 4 * jnp.sin(4 * t) + 0.2 * jax.random.normal(radius_key, (count,))
    return jnp.stack([r * jnp.sin(t), r * jnp.cos(t)], axis=1), y[:, None]


def normals(key, sizes):
    """Standard normal weights and zero biases."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def accuracy(model, params, x, y):
    """Share of points on the right side."""
    return ((model.forward(params, x)[0] > 0) == (y > 0.5)).mean()


def descend(model, params, optimizer, batch, steps):
    """`steps` steps, step i on the examples `batch(i)` gives."""
    objective = losses.objective(model, "binary_cross_entropy")

    def step(i, carry):
        params, state = carry
        updates, state = optimizer.update(jax.grad(objective)(params, *batch(i)), state, params)
        return optim.apply_updates(params, updates), state

    return lax.fori_loop(0, steps, step, (params, optimizer.init(params)))[0]


def initialization(steps):
    """Test accuracy from either start, in the order of `STARTS`."""
    model = models.mlp((2, 10, 5, 1), "relu")

    def trial(config):
        train_key, test_key, key = _keys(config)
        x, y = circles(train_key, 300)
        drawn = normals(key, (2, 10, 5, 1))

        def start(he):
            params = [
                layer | {"w": layer["w"] * jnp.where(he > 0, (2 / n) ** 0.5, 10.0)}
                for layer, n in zip(drawn, (2, 10, 5), strict=True)
            ]
            params = descend(model, params, optim.sgd(0.01), lambda i: (x, y), steps)
            return accuracy(model, params, *circles(test_key, 100))

        return lax.map(start, jnp.arange(2))

    return trial


def optimizers(epochs):
    """Accuracy after training with each of `OPTIMIZERS`, batches of 64."""
    model = models.mlp((2, 5, 2, 1), "relu")
    rate = 7e-4
    kinds = (optim.sgd(rate), optim.momentum(rate, form="ema"), optim.adam(rate))

    def trial(config):
        data_key, order_key, key = _keys(config)
        x, y = moons(data_key, 300)
        drawn = normals(key, (2, 5, 2, 1))
        params = [
            layer | {"w": layer["w"] * (2 / n) ** 0.5}
            for layer, n in zip(drawn, (2, 2, 5), strict=True)
        ]

        keys = jax.random.split(order_key, epochs)
        orders = jax.vmap(lambda k: jax.random.permutation(k, 300))(keys)

        def batch(i):
            rows = (i % 5) * 64 + jnp.arange(64)
            chosen = orders[i // 5][jnp.minimum(rows, 299)]
            return x[chosen], y[chosen], None, (rows < 300).astype(x.dtype)

        def start(which):
            kind = problems.one_of(which, *kinds)
            return accuracy(model, descend(model, params, kind, batch, 5 * epochs), x, y)

        return lax.map(start, jnp.arange(3))

    return trial


def planar(steps):
    """Accuracy for each number of hidden units in `UNITS`."""
    most = max(UNITS)
    model = models.mlp((2, most, 1), "tanh")

    def trial(config):
        data_key, _, key = _keys(config)
        x, y = flower(data_key, 400)
        first, second = normals(key, (2, most, 1))

        def start(units):
            # A tanh unit whose weights are all zero stays so for ever: it is not there.
            there = (jnp.arange(most) < units).astype(x.dtype)
            params = [
                first | {"w": 0.01 * first["w"] * there[None, :]},
                second | {"w": 0.01 * second["w"] * there[:, None]},
            ]
            params = descend(model, params, optim.sgd(1.2), lambda i: (x, y), steps)
            return accuracy(model, params, x, y)

        return lax.map(start, jnp.array(UNITS))

    return trial


def _keys(config):
    return jax.random.split(jax.random.fold_in(jax.random.key(0), config["seed"]), 3)


def run(config):
    """Accuracies of every arm in every seed, (seeds, arms), for each assignment."""
    seeds = {"seed": config.seed + np.arange(config.seeds)}
    trials = {
        "initialization": initialization(config.steps),
        "optimizers": optimizers(config.epochs),
        "planar": planar(config.planar_steps),
    }
    return {name: population.run(trial, seeds).outputs for name, trial in trials.items()}


def conclusions(measured):
    """1 where a conclusion holds in a seed, ½ for a tie, 0 where it does not."""
    tenfold, he = measured["initialization"].T
    descent, momentum, adam = measured["optimizers"].T
    two, four, five, twenty = measured["planar"].T

    def above(a, b):
        return (np.sign(np.round(a - b, 6)) + 1) / 2

    return {
        "He beats × 10": above(he, tenfold),
        "Adam beats both": above(adam, np.maximum(descent, momentum)),
        "momentum changes nothing": (np.abs(momentum - descent) <= POINT + 1e-6).astype(float),
        "4 units beat 2": above(four, two),
        "5 units beat 20": above(five, twenty),
    }


def judge(config, measured):
    """The share of seeds in which the conclusions hold, and each by itself."""
    holds = conclusions(measured)
    names = np.repeat(list(holds), config.seeds)
    found = shares.decide(
        np.concatenate(list(holds.values())), CLAIM.gamma, {"conclusion": names}, names
    )
    by = {s["by"]["conclusion"]: s for s in found.strata}
    told = "; ".join(
        f"{name} in {shares.percent(stats.Estimate(s['value'], s['low'], s['high']))}"
        for name, s in by.items()
    )
    arms = {
        **dict(zip(STARTS, measured["initialization"].T, strict=True)),
        **dict(zip(OPTIMIZERS, measured["optimizers"].T, strict=True)),
        **{f"{n} units": a for n, a in zip(UNITS, measured["planar"].T, strict=True)},
    }
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"Over {config.seeds:,} seeds the assignments' conclusions hold in "
            f"{shares.percent(found.share)} of cases; “almost always” asks for 90 %. {told}."
        ),
        estimate=lab.Estimate("share of seeds in which a printed conclusion holds", *found.share),
        figures={
            f"accuracy, {name}: median, 5 % and 95 % of the seeds": (
                " / ".join(f"{q:.1%}" for q in np.quantile(a, (0.5, 0.05, 0.95)))
            )
            for name, a in arms.items()
        },
        n_problems=len(names),
        strata=found.strata,
    )


def chart(config, measured):
    """The share of seeds for each conclusion."""
    return lab.chart(judge(config, measured), CLAIM.gamma)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
