"""Claim: with little data the skill of hand-made features decides; with much, large networks win.

Section:  "Why is Deep Learning taking off?".
Setting:  signals of 32 samples, drawn anew: every problem has ten classes, each a smooth random
          shape that occurs anywhere in the signal, in any size from 0.75 to 1.25, under noise. The
          engineer's features are the sizes of the signal's Fourier coefficients, which do not
          change when the shape moves. Logistic regression on the signal and on the features, a
          small network (one layer of 8) and a large one (two of 128) on the signal, Adam with a
          rate that falls to zero along a cosine, n from 30 to 30,000 examples. The step with the
          lowest error on 300 development examples counts; measured: the error on 1,000 others.
          (The sizes were chosen after a pilot on other problems.)
Predicts: supported: with the fewest examples logistic regression on the features is at least as
          good as the large network in almost all problems, with the most the large network is
          better than all others in almost all; the lines cross in between.
Refuted:  contradicted if the interval of the share of problems in which both halves hold lies below
          0.75 ("more consistently": usually). Declared strata: each half by itself, and the noise.
Command:  python -m experiments more_data_bigger_nets
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, losses, models, optim, population
from jaxdl.lab import problems, shares

CLAIM = lab.Claim(
    name="more_data_bigger_nets",
    number="63",
    title="Little data and features, much data and large networks",
    quote=(
        "The performance depends much more on your skill at hand engineer features and other "
        "normal details of the algorithms and there’s only in this some big data regions very "
        "large training sets very large M regions in the right that we more consistently see "
        "largely neural nets dominating the other approaches"
    ),
    section="Why is Deep Learning taking off?",
    quantifier="usually",
)

LENGTH, CLASSES = 32, 10
MODELS = {
    "logistic regression": (False, ()),
    "features + logistic regression": (True, ()),
    "small network": (False, (8,)),
    "large network": (False, (128, 128)),
}
BATCH = 64


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems, training examples, steps of every run, and Adam's rates."""

    problems: int = 14
    sizes: tuple[int, ...] = (30, 300, 3000, 30_000)
    steps: int = 2000
    rates: tuple[float, ...] = (0.005,)
    seed: int = 1


FULL = Config(problems=64)
SMOKE = Config(problems=2, sizes=(30, 60), steps=20)


def shapes(key):
    """A smooth random shape for every class, (classes, length), of norm √12."""
    rough = jax.random.normal(key, (CLASSES, 12))
    smooth = (rough + jnp.roll(rough, 1, axis=1)) / 2**0.5
    smooth = smooth * 12**0.5 / jnp.linalg.norm(smooth, axis=1, keepdims=True)
    return jnp.pad(smooth, ((0, 0), (0, LENGTH - 12)))


def signals(key, shapes, noise, count):
    """Shapes of random classes, moved round the signal, scaled, and under noise; their classes."""
    class_key, shift_key, size_key, noise_key = jax.random.split(key, 4)
    y = jax.random.randint(class_key, (count,), 0, CLASSES)
    shift = jax.random.randint(shift_key, (count, 1), 0, LENGTH)
    place = (jnp.arange(LENGTH)[None, :] - shift) % LENGTH
    x = jnp.take_along_axis(shapes[y], place, axis=1)
    x = x * jax.random.uniform(size_key, (count, 1), minval=0.75, maxval=1.25)
    return x + noise * jax.random.normal(noise_key, x.shape), y


def features(x):
    """Sizes of the Fourier coefficients: the same wherever the shape lies."""
    return jnp.sqrt(jnp.square(x @ COSINES) + jnp.square(x @ SINES)) / 2


ANGLES = 2 * np.pi * np.outer(np.arange(LENGTH), np.arange(LENGTH // 2 + 1)) / LENGTH
COSINES, SINES = np.cos(ANGLES).astype(np.float32), np.sin(ANGLES).astype(np.float32)


def trial(most, steps):
    """One run: the test error of every model, trained on the first n of `most` examples."""
    at = problems.checkpoints(steps, 16)

    def run(config):
        key = jax.random.fold_in(jax.random.key(1), config["problem"])
        shape_key, order_key, *keys = jax.random.split(key, 5)
        drawn = shapes(shape_key)
        train, dev, test = (
            signals(k, drawn, config["noise"], count)
            for k, count in zip(keys, (most, 300, 1000), strict=True)
        )
        return {
            name: fit(seen, hidden, config, order_key, at, train, dev, test)
            for name, (seen, hidden) in MODELS.items()
        }

    return run


def fit(by_features, hidden, config, key, at, train, dev, test):
    """Errors on development and test examples at the step that is best on the former."""
    prepare = features if by_features else lambda x: x
    (x, y), (dev_x, dev_y), (test_x, test_y) = ((prepare(x), y) for x, y in (train, dev, test))
    model = models.mlp((x.shape[1], *hidden, CLASSES), "relu")
    objective = losses.objective(model, "softmax_cross_entropy")
    optimizer = optim.adam(optim.cosine_decay_schedule(config["lr"], int(at[-1])))

    def step(i, carry):
        params, state = carry
        rows = jax.random.randint(jax.random.fold_in(key, i), (BATCH,), 0, config["n"])
        updates, state = optimizer.update(
            jax.grad(objective)(params, x[rows], y[rows]), state, params
        )
        return optim.apply_updates(params, updates), state

    def wrong(params, x, y):
        return (jnp.argmax(model.forward(params, x)[0], axis=1) != y).mean()

    params = model.init(jax.random.fold_in(key, 2**31))
    found = problems.record(
        at, step, (params, optimizer.init(params)),
        lambda c: {"dev": wrong(c[0], dev_x, dev_y), "test": wrong(c[0], test_x, test_y)},
    )  # fmt: skip
    best = jnp.argmin(found["dev"])
    return {part: errors[best] for part, errors in found.items()}


def run(config):
    """Test errors (problems, sizes) of every model at the rate that is best on dev; the noise."""
    rng = np.random.default_rng(config.seed)
    noise = rng.uniform(0.1, 0.6, config.problems)
    grid = population.grid(problem=range(config.problems), n=config.sizes, lr=config.rates)
    grid["noise"] = noise[grid["problem"]]
    grid["problem"] = grid["problem"] + 1000 * config.seed
    found = population.run(trial(max(config.sizes), config.steps), grid).outputs
    shape = (config.problems, len(config.sizes), len(config.rates))
    errors = {}
    for name, parts in found.items():
        dev, test = (np.asarray(parts[part], float).reshape(shape) for part in ("dev", "test"))
        better = np.argmin(dev, axis=2)[..., None]
        errors[name] = np.take_along_axis(test, better, axis=2)[..., 0]
    return {"noise": noise, "errors": errors}


def judge(config, measured):
    """The share of problems in which both halves of the sentence hold."""
    by_hand = measured["errors"]["features + logistic regression"]
    large = measured["errors"]["large network"]
    others = [e for name, e in measured["errors"].items() if name != "large network"]
    little = by_hand[:, 0] <= large[:, 0]
    much = large[:, -1] < np.min(others, axis=0)[:, -1]
    halves = {
        f"{config.sizes[0]:,} examples: features win": little.astype(float),
        f"{config.sizes[-1]:,} examples: the large network wins": much.astype(float),
    }
    level = np.where(measured["noise"] < 0.35, "noise below 0.35", "noise above 0.35")
    found = shares.decide(little & much, CLAIM.gamma, {"noise": level}, None, halves)
    strata = [
        {**s, "by": {"half of the sentence": s["by"]["protocol"]}} if "protocol" in s["by"] else s
        for s in found.strata
    ]
    errors = {
        name: np.median(values, axis=0).round(3) for name, values in measured["errors"].items()
    }
    few, many = errors["features + logistic regression"], errors["large network"]
    told = " and ".join(
        f"with {config.sizes[i]:,} examples {100 * few[i]:.0f} % against {100 * many[i]:.0f} %"
        for i in (0, -1)
    )
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"In {shares.percent(found.share)} of problems features win with {config.sizes[0]:,} "
            f"examples ({100 * little.mean():.0f} %) and the large network wins with "
            f"{config.sizes[-1]:,} ({100 * much.mean():.0f} %); “usually” asks for 75 %. Median "
            f"error of logistic regression on the features against the large network: {told}."
        ),
        estimate=lab.Estimate("share of problems in which both halves hold", *found.share),
        figures={
            f"median test error, {name}, n = {n:,}": float(values[i])
            for name, values in errors.items()
            for i, n in enumerate(config.sizes)
        },
        n_problems=config.problems,
        strata=strata,
        curves=curves(config, measured),
        arms=[{"name": name, "role": "better" if "large" in name else "than"} for name in MODELS],
    )


def curves(config, measured):
    """Test error against n, median and middle half of the problems."""
    return [
        {
            "protocol": "best rate on development examples",
            "family": "signals",
            "arm": name,
            "x": list(config.sizes),
            **{
                line: np.quantile(values, q, axis=0).round(4).tolist()
                for line, q in (("low", 0.25), ("median", 0.5), ("high", 0.75))
            },
            "x_name": "training examples",
            "y_name": "test error",
        }
        for name, values in measured["errors"].items()
    ]


def chart(config, measured):
    """The picture that is drawn by hand in the lecture, measured; below, the shares."""
    rows = pd.concat(
        pd.DataFrame({k: c[k] for k in ("x", "low", "median", "high", "arm")})
        for c in curves(config, measured)
    )
    rows[["low", "median", "high"]] = (1 - rows[["low", "median", "high"]]).round(4)
    x = alt.X("x:Q", title="training examples", scale=alt.Scale(type="log"))
    name = "accuracy on test examples"
    y = alt.Y("median:Q", title=name, axis=alt.Axis(format="%"))
    color = alt.Color(
        "arm:N",
        title=None,
        sort=list(MODELS),
        scale=alt.Scale(domain=list(MODELS), range=["#6b7280", "#d97706", "#7dd3fc", "#1d4ed8"]),
        legend=alt.Legend(labelLimit=300, symbolOpacity=1),
    )
    base = alt.Chart(rows).encode(x=x, color=color, tooltip=["arm", "x", "low", "median", "high"])
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", title=name), y2="high:Q")
    line = base.mark_line(point=True, strokeWidth=2.5).encode(y=y)
    title = "Performance against the amount of data, measured: median, middle half of the problems"
    picture = (band + line).properties(width=440, height=300, title=title)
    return alt.vconcat(picture, lab.chart(judge(config, measured), CLAIM.gamma)).resolve_scale(
        color="independent"
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
