"""Claim: a bigger network almost always reduces bias without hurting variance, if regularised.

Section:  "Basic Recipe for Machine Learning".
Setting:  the same problem solved by a network of N hidden units and by one of 4N, N from a
          sixteenth to four times the number n of training examples. Random ReLU features with
          ridge regression in closed form on digits, breast cancer and a random teacher network,
          and small ReLU networks trained by Adam on digits; labels clean or a fifth of them
          noise. λ is tuned for each width on examples of its own, or 0. Over training sets and
          first weights the expected squared error splits into bias², variance between training
          sets and variance between first weights (law of total variance, unbiased estimates),
          in units of the variance of the labels.
Predicts: the statement holds in a problem if bias² falls and the variance does not rise by more
          than 0.01. With tuned λ it holds in nine of ten problems. With λ = 0 the error of random
          features peaks at N = n (Belkin et al. 2019), so that there it fails.
Refuted:  if, with tuned λ, the interval of the share lies below 0.90. Declared moderators: label
          noise, and whether the smaller network has fewer units than there are examples.
Command:  python -m experiments bigger_networks
"""

import dataclasses
import functools
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import threadpoolctl

from jaxdl import data, lab, losses, optim, population, stats
from jaxdl.lab import decomposition, shares

CLAIM = lab.Claim(
    name="bigger_networks",
    title="Bigger networks: less bias, no more variance?",
    quote="Getting a bigger network almost always just reduces your bias without necessarily "
    "hurting your variance, so long as you regularize appropriately.",
    section="Basic Recipe for Machine Learning",
    quantifier="almost always",
    number="20",
    headline=True,
    literature=(
        lab.Source(
            "Belkin et al. 2019, Reconciling modern machine-learning practice and the classical "
            "bias-variance trade-off",
            "without a penalty the test error peaks where the parameters just suffice to fit the "
            "training set, and falls again beyond",
            "partly",
        ),
        lab.Source(
            "Nakkiran et al. 2021, Optimal regularization can mitigate double descent",
            "with the best L2 penalty the test error falls with size, without a peak",
            "agrees",
        ),
        lab.Source(
            "Neal et al. 2018, A modern take on the bias-variance tradeoff in neural networks",
            "in wide networks bias and variance both fall with width",
            "agrees",
        ),
    ),
)

MARGIN, TIMES = 0.01, 4
PENALTIES = (0.0, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
TRAINED_PENALTIES = (0.0, 0.03, 0.3, 3.0)
EXAMPLES, TRAINED_EXAMPLES, HELD, CLASSES, MOST_UNITS = (48, 96), 48, 150, 4, 64
SOURCES = ("digits", "breast_cancer", "teacher")
TRAINED = "trained, digits"
PEAK, HEIGHT = "error with λ = 0 peaks at N", "peak over the error at the largest width"
RISE = "largest rise of the tuned error from one width to the next"


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems by closed form (each source) and trained; training sets × first weights of each.

    `steps` of Adam train a network; the sweep of the chart has `sweep` training sets.
    """

    problems: int = 40
    trained: int = 16
    sets: int = 6
    starts: int = 3
    trained_sets: int = 4
    trained_starts: int = 2
    steps: int = 400
    widths: tuple[int, ...] = (6, 12, 25, 50, 75, 90, 100, 110, 135, 200, 400, 800, 1600)
    sweep: int = 8
    seed: int = 0


FULL = Config(problems=240, trained=64, sweep=40)
SMOKE = Config(2, 2, 2, 2, 2, 2, steps=5, widths=(25, 50, 100, 200), sweep=2)


class Pool:
    """Where examples come from: rows of a table, or a random teacher network with noise."""

    def __init__(self, source, rng, classes=None):
        self.source, self.rng = source, rng
        if source == "teacher":
            self.teacher = rng.normal(size=(20, 10)) / 20**0.5, rng.normal(size=(10, 1)) / 5**0.5
            return
        x, y = table(source)
        kept = rng.permutation(np.unique(y))[:classes]
        rows = rng.permutation(np.flatnonzero(np.isin(y, kept)))
        self.x, self.labels = x[rows], np.searchsorted(np.sort(kept), y[rows])
        self.k, self.rows = len(kept), rows

    def held(self):
        """Inputs and noise-free targets to choose λ by, and others to measure by."""
        if self.source == "teacher":
            x = self.rng.normal(size=(2 * HELD, 20))
            return x, self._answer(x)
        return self.x[: 2 * HELD], self._coded(self.labels[: 2 * HELD])

    def draw(self, n, noise):
        """Row numbers, inputs and noisy targets of a training set."""
        if self.source == "teacher":
            x = self.rng.normal(size=(n, 20))
            y = self._answer(x)
            return None, x, y + (noise * y.var()) ** 0.5 * self.rng.normal(size=y.shape)
        rows = 2 * HELD + self.rng.permutation(len(self.x) - 2 * HELD)[:n]
        wrong = self.rng.random(n) < noise
        labels = np.where(wrong, self.rng.integers(self.k, size=n), self.labels[rows])
        return self.rows[rows], self.x[rows], self._coded(labels)

    def _answer(self, x):
        return np.maximum(x @ self.teacher[0], 0) @ self.teacher[1]

    def _coded(self, labels):
        return np.eye(self.k)[labels] - 1 / self.k


@functools.cache
def table(source):
    """Standardised inputs and labels."""
    found = data.load(source)
    return data.standardize.apply(data.standardize.fit(found.x), np.float64(found.x)), found.y


def fits(pool, n, noise, widths, sets, starts):
    """Predictions (width, λ, set, start, held, k), and the noise-free targets.

    Widths share their training sets, and the wide start with the units of the narrow ones.
    """
    held, targets = pool.held()
    out = np.empty((len(widths), len(PENALTIES), sets, starts, *targets.shape))
    for s in range(sets):
        _, x, y = pool.draw(n, noise)
        for i in range(starts):
            w = pool.rng.normal(size=(x.shape[1], max(widths))) / x.shape[1] ** 0.5
            phi, phi_held = (np.maximum(a @ w, 0) for a in (x, held))
            for j, width in enumerate(widths):
                scale = (2 / width) ** 0.5
                seen, new = scale * phi[:, :width], scale * phi_held[:, :width]
                out[j, :, s, i] = decomposition.ridge(seen, new, y, PENALTIES)
    return out, targets


def closed_form_problem(source, config, number):
    """One problem of random features."""
    rng = np.random.default_rng([config.seed, SOURCES.index(source), number])
    n, noise = int(rng.choice(EXAMPLES)), float(rng.choice((0.0, 0.2)))
    small = int(n * 2.0 ** rng.integers(-4, 3))
    pool = Pool(source, rng, CLASSES)
    f, targets = fits(pool, n, noise, (small, TIMES * small), config.sets, config.starts)
    about = {"family": f"random features, {source.replace('_', ' ')}", "noise": noise}
    return about | {"few": small < n} | decomposition.with_tuned(f, targets)


def learned(config, x, steps):
    """Predictions for the held rows of one network of masked width, trained on all examples."""
    w_key, v_key = jax.random.split(jax.random.key(config["start"]))
    on = (jnp.arange(MOST_UNITS, dtype=x.dtype) < config["width"]).astype(x.dtype)
    first = {"w": jax.random.normal(w_key, (x.shape[1], MOST_UNITS)) * (2 / x.shape[1]) ** 0.5}
    second = {"w": jax.random.normal(v_key, (MOST_UNITS, CLASSES)) / config["width"] ** 0.5}
    params = [
        {"w": first["w"] * on[None, :], "b": jnp.zeros(MOST_UNITS)},
        {"w": second["w"] * on[:, None], "b": jnp.zeros(CLASSES)},
    ]

    def model(params, x, key=None):
        del key
        hidden = jax.nn.relu(x @ params[0]["w"] + params[0]["b"][None, :]) * on[None, :]
        return hidden @ params[1]["w"] + params[1]["b"][None, :]

    objective = losses.objective(model, "squared_error", l2=config["l2"])
    optimizer = optim.adam(0.01)
    rows, targets = x[config["rows"]], config["targets"]

    def step(_, carry):
        params, state = carry
        gradient = jax.grad(objective)(params, rows, targets)
        updates, state = optimizer.update(gradient, state, params)
        return optim.apply_updates(params, updates), state

    start = params, optimizer.init(params)
    return model(jax.lax.fori_loop(0, steps, step, start)[0], x[config["held"]])


def trained_problems(config):
    """All problems of trained networks: one program."""
    shape = (2, len(TRAINED_PENALTIES), config.trained_sets, config.trained_starts)
    runs, abouts, targets = [], [], []
    for number in range(config.trained):
        rng = np.random.default_rng([config.seed, 99, number])
        noise, small = float(rng.choice((0.0, 0.2))), int(2 ** rng.integers(1, 5))
        pool = Pool("digits", rng, CLASSES)
        drawn = [pool.draw(TRAINED_EXAMPLES, noise) for _ in range(config.trained_sets)]
        for j, p, s, i in np.ndindex(*shape):
            runs.append(
                {"rows": drawn[s][0], "targets": drawn[s][2].astype(np.float32),
                 "held": pool.rows[: 2 * HELD], "width": (1.0 * small, 1.0 * TIMES * small)[j],
                 "l2": TRAINED_PENALTIES[p],
                 "start": number * 1000 + s * config.trained_starts + i}
            )  # fmt: skip
        targets.append(pool.held()[1])
        abouts.append({"family": TRAINED, "noise": noise, "few": small < TRAINED_EXAMPLES})
    configs = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
    program = functools.partial(learned, steps=config.steps)
    f = population.run(program, configs, np.float32(table("digits")[0])).outputs
    f = np.float64(f).reshape(config.trained, *shape, 2 * HELD, CLASSES)
    return [a | decomposition.with_tuned(g, y) for a, g, y in zip(abouts, f, targets, strict=True)]


@threadpoolctl.threadpool_limits.wrap(limits=1)
def run(config):
    """Every problem, and the sweep over widths that the chart shows.

    On one thread: matrices of a hundred rows are slower on two, and far slower on a busy machine.
    """
    rows = [
        closed_form_problem(source, config, number)
        for source in SOURCES
        for number in range(config.problems)
    ] + trained_problems(config)
    sweep = {}
    for noise in (0.0, 0.2):
        pool = Pool("digits", np.random.default_rng([config.seed, 7]))
        f, targets = fits(pool, 100, noise, config.widths, config.sweep, config.starts)
        sweep[f"{noise:g}"] = decomposition.with_tuned(f, targets)
    return {"problems": rows, "sweep": sweep}


def change(row, part, penalty):
    """A part of the error of the bigger network less that of the smaller one."""
    index = row["tuned"] if penalty == "tuned" else (0, 0)
    return row[part][1][index[1]] - row[part][0][index[0]]


def changes(rows, part, penalty):
    """`change` in every problem."""
    return np.array([change(row, part, penalty) for row in rows])


def judge(config, measured):
    """The share of problems in which bias falls and variance does not rise."""
    rows = measured["problems"]
    families = np.array([row["family"] for row in rows])
    holds = {
        words: (changes(rows, "bias²", p) < 0) & (changes(rows, "variance", p) <= MARGIN)
        for words, p in (("λ tuned", "tuned"), ("λ = 0", "none"))
    }
    moderators = {
        "label noise": ["a fifth" if row["noise"] else "none" for row in rows],
        "smaller network": ["N < n" if row["few"] else "N ≥ n" for row in rows],
        "family": families,
    }
    found = shares.decide(holds["λ tuned"], CLAIM.gamma, moderators, families, holds)
    bias, variance, error = (
        stats.stratified_wilson(good, families)
        for good in (
            changes(rows, "bias²", "tuned") < 0,
            changes(rows, "variance", "tuned") <= MARGIN,
            changes(rows, "error", "tuned") < 0,
        )
    )
    free = stats.stratified_wilson(holds["λ = 0"], families)
    peak = peaks(config, measured)
    noisy = peak["0.2"]
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"Four times as many units with tuned λ reduce bias without raising variance in "
            f"{shares.percent(found.share)} of {len(rows)} problems, with λ = 0 in "
            f"{shares.percent(free)}; “almost always” asks for 90 %. With tuned λ bias falls in "
            f"{shares.percent(bias.value)} of them, the variance does not rise in "
            f"{shares.percent(variance.value)}, the "
            f"expected error falls in {shares.percent(error.value)}. Without a penalty the error "
            "of random "
            f"features peaks at N = {noisy[PEAK]} for n = 100, more than "
            f"{10 ** int(np.log10(noisy[HEIGHT])):,} times as high as at the largest width; "
            f"tuned, it rises by at most {100 * max(noisy[RISE], 0):.1f} % from one width to "
            f"the next." + dependence(found.split)
        ),
        estimate=lab.Estimate(
            "share of problems with less bias and no more variance", *found.share
        ),
        figures={
            "bias² falls, λ tuned": shares.percent(bias),
            "variance does not rise, λ tuned": shares.percent(variance),
            "expected error falls, λ tuned": shares.percent(error),
            "both, λ = 0": shares.percent(free),
            **{
                f"{name}, label noise {noise}": round(value, 4)
                for noise, found in peak.items()
                for name, value in found.items()
            },
        },
        n_problems=len(rows),
        n_seeds=config.sets * config.starts,
        arms=[{"name": "4N units", "role": "better"}, {"name": "N units", "role": "than"}],
        strata=found.strata,
        effects=[effect(rows, families, p) for p in ("tuned", "none")],
    )


def dependence(split):
    """What it depends on, as a sentence."""
    if split is None:
        return ""
    high, low = split
    (name, above), (_, below) = (next(iter(s["by"].items())) for s in (high, low))
    if name == "protocol":
        return " So it depends on λ."
    return (
        f" It depends on the {name}: {shares.percent(high['value'])} for {above} against "
        f"{shares.percent(low['value'])} "
        f"for {below}."
    )


def peaks(config, measured):
    """For each noise: where the unpenalised error peaks, and what tuning makes of it."""
    found = {}
    for noise, parts in measured["sweep"].items():
        free = parts["error"][:, 0]
        tuned = np.take_along_axis(parts["error"], parts["tuned"][:, None], axis=1)[:, 0]
        found[noise] = {
            PEAK: config.widths[int(free.argmax())],
            HEIGHT: float(free.max() / free[-1]),
            RISE: float(np.max(tuned[1:] / tuned[:-1] - 1)),
            "trend of the tuned error in width (Kendall's τ)": stats.trend(
                np.array(config.widths), tuned, "less"
            ).tau,
        }
    return found


def effect(rows, families, penalty):
    """The fall of the expected error, per problem."""
    falls = -changes(rows, "error", penalty)
    found = stats.compare(falls, np.zeros_like(falls), families, key=jax.random.key(0))
    return {
        "protocol": "λ tuned" if penalty == "tuned" else "λ = 0",
        "better": "4N units",
        "than": "N units",
        "primary": penalty == "tuned",
        "problem_poi": found.problem._asdict(),
        "run_poi": found.run._asdict(),
        "effect": {"name": "fall of the error, label variances", **found.effect._asdict()},
        "differences": [round(float(d), 4) for d in falls],
        "families": families.tolist(),
    }


PARTS = {
    "error": "#1b1f24",
    "bias²": "#2f7fc1",
    "between sets": "#d97706",
    "between starts": "#7c3aed",
}


def chart(config, measured):
    """Parts of the error against width, with a slider for λ and a choice of label noise."""
    rows = []
    for noise, parts in measured["sweep"].items():
        for j, width in enumerate(config.widths):
            for step, p in enumerate([*range(len(PENALTIES)), int(parts["tuned"][j])]):
                rows += [
                    {"noise": noise, "units": width, "step": step, "λ": PENALTIES[p],
                     "part": name, "value": float(f"{parts[name][j, p]:.3g}")}
                    for name in PARTS
                    if parts[name][j, p] > 0  # an unbiased estimate may fall below
                ]  # fmt: skip
    tuned = len(PENALTIES)
    slider = alt.param(
        "step",
        value=0,
        bind=alt.binding_range(
            min=0, max=tuned, step=1, name="λ: 0, then 0.001 … 30, last: tuned for each width "
        ),
    )
    radio = alt.param(
        "noise", value="0.2", bind=alt.binding_radio(options=["0", "0.2"], name="Label noise ")
    )
    base = alt.Chart(pd.DataFrame(rows)).transform_filter("datum.noise == noise")
    ends = [config.widths[0], config.widths[-1]]
    x = alt.X(
        "units:Q", title="hidden units N", scale=alt.Scale(type="log", domain=ends, nice=False),
        axis=alt.Axis(values=[6, 12, 25, 50, 100, 200, 400, 800, 1600], grid=False),
    )  # fmt: skip
    y = alt.Y(
        "value:Q",
        title="expected squared error / variance of the labels",
        scale=alt.Scale(type="log", domain=[0.01, 100], clamp=True),
        axis=alt.Axis(format="~g", tickCount=5),
    )
    color = alt.Color(
        "part:N", title=None, sort=list(PARTS),
        scale=alt.Scale(domain=list(PARTS), range=list(PARTS.values())),
        legend=alt.Legend(orient="top"),
    )  # fmt: skip
    chosen = base.transform_filter("datum.step == step")
    lines = chosen.mark_line(point=True, strokeWidth=2).encode(
        x=x, y=y, color=color, tooltip=["units", "λ", "part", "value"]
    )
    best = (
        base.transform_filter(f"datum.step == {tuned} && datum.part == 'error'")
        .mark_line(strokeDash=[4, 4], color="#1b1f24", opacity=0.6)
        .encode(x=x, y=y)
    )
    edge = (
        alt.Chart(pd.DataFrame({"units": [100], "text": ["N = n"]}))
        .mark_rule(strokeDash=[2, 3], opacity=0.6)
        .encode(x=x)
    )
    words = (
        chosen.transform_filter(f"datum.units == {config.widths[0]} && datum.part == 'error'")
        .transform_calculate(
            text=f"(step == {tuned} ? 'λ tuned for each width' : 'λ = ' + datum['λ']) + "
            "'; dashed: the error with λ tuned for each width'"
        )
        .mark_text(align="left", fontSize=12)
        .encode(text="text:N", x=alt.value(8), y=alt.value(10))
    )
    return (
        (edge + best + lines + words)
        .add_params(slider, radio)
        .properties(width=560, height=340, title="Random ReLU features on digits, n = 100")
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
