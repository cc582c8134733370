"""Claim: shape checks, a falling loss and a good accuracy are no proof of backprop; a check is.

Section:  "Getting your matrix dimensions right", "Gradient checking", "Gradient Checking
          Implementation Notes".
Setting:  a three-layer network written in NumPy on the wine data, its backprop by hand, and the
          bugs that people make in it, in four situations that balance layers (square or
          rectangular), numbers (float64 or float32) and stage (at the start or after training).
          Detectors: do the shapes match; the notes' recipe, two-sided differences with ε = 1e-7
          and a relative difference above 1e-7; gradcheck; did the loss fall by a tenth within a
          training run; is the accuracy after it within a point of that of the correct backprop.
          Two detectors are compared on the same bugs (McNemar).
Predicts: gradcheck finds every bug in every situation and calls the correct backprop right; the
          notes' recipe does so in float64 and calls everything wrong in float32; shapes find fewer
          than half of the bugs even in rectangular layers, and more than half still learn.
Refuted:  by a bug that gradcheck passes, by a false alarm of it, by shapes finding half, or by
          half of the bugs failing to learn.
Command:  python -m experiments kill_matrix
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import data, gradcheck, lab, stats
from jaxdl.lab import mutants, shares

CLAIM = lab.Claim(
    name="kill_matrix",
    title="What finds a bug in backprop?",
    quote="make sure that all the matrices dimensions are consistent that will usually help you go "
    "some ways toward eliminating some cause of possible bugs",
    section="Getting your matrix dimensions right",
    quantifier="can",
    number="46/50",
    headline=True,
)

DETECTORS = ("shapes", "the notes' check", "gradcheck", "loss did not fall", "accuracy is off")
SITUATIONS = (
    ("square", "float64", "start"),
    ("rectangular", "float64", "trained"),
    ("square", "float32", "trained"),
    ("rectangular", "float32", "start"),
)
COLUMNS = {
    "shapes, square": ("shapes", "square"),
    "shapes, rectangular": ("shapes", "rectangular"),
    "the notes' check, float64": ("the notes' check", "float64"),
    "the notes' check, float32": ("the notes' check", "float32"),
    "gradcheck": ("gradcheck", ""),
    "loss did not fall": ("loss did not fall", ""),
    "accuracy is off": ("accuracy is off", ""),
}
"""Of the matrix: a detector, and the situations it stands for, all of which must agree."""

COLORS = ["#2f7fc1", "#f0c9a0", "#cfd6dd", "#b3261e"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Which bugs, and how long each is trained."""

    bugs: tuple[str, ...] = tuple(mutants.BUGS)
    steps: int = 300
    learning_rate: float = 0.3
    seed: int = 0


FULL = Config(steps=2000)
SMOKE = Config(bugs=("sum over the batch", "dW₂ transposed"), steps=20)


def shapes_differ(gradient, params, x, y):
    """Whether NumPy, or a comparison of shapes, complains about the gradient."""
    try:
        grads = gradient(params, x, y)
    except ValueError:
        return True
    return any(grads[name].shape != value.shape for name, value in params.items())


VALUE = jax.jit(mutants.loss)


def trained(gradient, params, x, y, config):
    """(weights, cost before, cost after, share of right answers) of plain gradient descent."""
    before = float(VALUE(params, x, y))
    with np.errstate(all="ignore"):
        for _ in range(config.steps):
            grads = gradient(params, x, y)
            params = {
                k: v - (config.learning_rate * grads[k]).astype(v.dtype) for k, v in params.items()
            }
    a = np.tanh(x @ params["W1"] + params["b1"])
    a = np.maximum(a @ params["W2"] + params["b2"], 0)
    right = (a @ params["W3"] + params["b3"]).argmax(axis=1) == y
    return params, before, float(VALUE(params, x, y)), float(right.mean())


def notes_differences(params, x, y):
    """The notes' recipe: (J(θ + ε) − J(θ − ε)) / 2ε for every entry, ε = 1e-7, in θ's dtype."""
    flat, back = jax.flatten_util.ravel_pytree(params)
    steps = jnp.eye(len(flat), dtype=flat.dtype) * flat.dtype.type(1e-7)
    value = jax.jit(jax.vmap(lambda theta: mutants.loss(back(theta), x, y)))
    return (value(flat[None] + steps) - value(flat[None] - steps)) / flat.dtype.type(2e-7)


def run(config):
    """Every detector on every bug, and on the correct backprop, in every situation."""
    wine = data.load("wine")
    x = np.float64(data.standardize.apply(data.standardize.fit(wine.x), wine.x))
    names = ("", *config.bugs)
    measured = {
        bug or "no bug": {"situations": [], "relative difference": [], "cause": "", "accuracy": 0.0}
        for bug in names
    }
    with jax.enable_x64(True):
        for situation in SITUATIONS:
            at = _Situation(config, situation, x, wine.y)
            for bug in names:
                at.look(bug, measured[bug or "no bug"], first=situation is SITUATIONS[0])
    for bug, row in measured.items():
        row["found"] = {c: _everywhere(row, c, alarm=bug == "no bug") for c in COLUMNS}
    return measured


def _everywhere(row, column, alarm):
    """Found in all situations of the column; for the correct backprop, an alarm in any of them."""
    detector, level = COLUMNS[column]
    chosen = [
        found[detector]
        for situation, found in zip(SITUATIONS, row["situations"], strict=True)
        if not level or level in situation
    ]
    return any(chosen) if alarm else all(chosen)


class _Situation:
    """Where bugs are looked for: layers, dtype and stage."""

    def __init__(self, config, situation, x, y):
        layers, dtype, stage = situation
        self.config, self.y, self.x = config, y, x.astype(dtype)
        begin = mutants.start(config.seed, mutants.SIZES[layers])
        self.begin = {k: v.astype(dtype) for k, v in begin.items()}
        after, _, _, self.accuracy = trained(mutants.backprop(""), self.begin, self.x, y, config)
        self.params = self.begin if stage == "start" else after
        self.numeric = notes_differences(self.params, self.x, y)

    def look(self, bug, row, first):
        """What every detector says; a shape error stops the program, so that all have it."""
        gradient = mutants.backprop(bug)
        if shapes_differ(gradient, self.params, self.x, self.y):
            row["situations"].append(dict.fromkeys(DETECTORS, True))
            row["relative difference"].append(np.inf)
            return
        grads = gradient(self.params, self.x, self.y)
        by_hand = jax.flatten_util.ravel_pytree(grads)[0]
        difference = float(gradcheck.relative_difference(self.numeric, by_hand))
        points = ("given", "perturbed") if first else ("given",)
        report = gradcheck.check(
            mutants.loss, gradient, self.params, self.x, self.y,
            batch_argnums=(0, 1), diagnose=first, points=points,
        )  # fmt: skip
        _, before, after, accuracy = trained(gradient, self.begin, self.x, self.y, self.config)
        row["relative difference"].append(difference)
        row["situations"].append(
            {
                "shapes": False,
                "the notes' check": not difference <= 1e-7,
                "gradcheck": report.verdict == "FAIL",
                "loss did not fall": not (np.isfinite(after) and after <= 0.9 * before),
                "accuracy is off": not accuracy >= self.accuracy - 0.01,
            }
        )
        if first:
            row["cause"] = report.findings[0].cause if report.findings else ""
            row["accuracy"] = accuracy


def judge(config, measured):
    """Supported if gradcheck is always right, and neither shapes nor learning are proof."""
    bugs = {name: row for name, row in measured.items() if name != "no bug"}
    found = {c: np.array([row["found"][c] for row in bugs.values()]) for c in COLUMNS}
    share = {c: float(f.mean()) for c, f in found.items()}
    false_alarms = [c for c in COLUMNS if measured["no bug"]["found"][c]]
    right = share["gradcheck"] == 1 and "gradcheck" not in false_alarms
    shapes, notes = share["shapes, rectangular"], share["the notes' check, float64"]
    holds = right and shapes < 0.5 and share["loss did not fall"] < 0.5
    named = sum(bool(r["cause"]) and r["cause"] != "unknown" for r in measured.values())
    return lab.Judgement(
        verdict="supported" if holds else "contradicted",
        sentence=(
            f"Of {len(bugs)} bugs, matching shapes reveal "
            f"{shares.percent(share['shapes, square'])} in square "
            f"layers and {shares.percent(shapes)} in rectangular ones, the notes' check "
            f"{shares.percent(notes)} in float64 "
            f"and gradcheck {shares.percent(share['gradcheck'])} everywhere (it names a cause "
            f"for {named}). "
            f"With {shares.percent(1 - share['loss did not fall'])} the loss still falls "
            "somewhere, with "
            f"{shares.percent(1 - share['accuracy is off'])} the accuracy is as good as without. "
            "False "
            f"alarms on the correct backprop: {', '.join(false_alarms) or 'none'}."
        ),
        estimate=lab.Estimate(
            "share of bugs that matching shapes do not reveal, rectangular",
            *stats.stratified_wilson(~found["shapes, rectangular"]),
        ),
        figures={
            **{f"share of bugs found: {c}": shares.percent(wilson) for c, wilson in
               ((c, stats.stratified_wilson(f)) for c, f in found.items())},
            **{f"McNemar's p, gradcheck against {c}": mcnemar(found["gradcheck"], found[c])
               for c in COLUMNS if c != "gradcheck"},
            **{f"bugs with a larger relative difference than the correct backprop, {' '.join(s)}":
               separated(measured, i) for i, s in enumerate(SITUATIONS)},
        },
        n_problems=len(bugs),
        n_seeds=len(SITUATIONS),
        arms=[
            {"name": c, "role": {"gradcheck": "better", "shapes, rectangular": "than"}.get(
                c, "control")}
            for c in COLUMNS
        ],
        strata=strata(bugs),
        effects=[effect(found, c) for c in COLUMNS if c != "gradcheck"],
    )  # fmt: skip


def mcnemar(one, other):
    """Exact two-sided p of "as many bugs are found by one alone as by the other alone"."""
    from scipy.stats import binomtest

    alone, in_all = int((one & ~other).sum()), int((one != other).sum())
    return 1.0 if in_all == 0 else float(f"{binomtest(alone, in_all).pvalue:.2g}")


def separated(measured, place):
    """Share of bugs: the area under the curve of the relative difference as a detector."""
    gaps = {bug: row["relative difference"][place] for bug, row in measured.items()}
    correct = gaps.pop("no bug")
    larger = [(np.sign(gap - correct) + 1) / 2 for gap in gaps.values()]
    return f"{shares.percent(stats.stratified_wilson(larger))}; correct {correct:.0e}"


MATTERS = {"shapes": 1, "the notes' check": 3, "gradcheck": 3}
"""How many of layers, numbers and stage a detector can see; training has layers and numbers."""


def strata(bugs):
    """The share of bugs found, by detector, and by detector and what may matter to it."""
    rows = []
    for detector in DETECTORS:
        hits = np.array([[f[detector] for f in row["situations"]] for row in bugs.values()])
        rows.append(stratum({"detector": detector}, hits))
        for i, name in enumerate(("layers", "numbers", "stage")[: MATTERS.get(detector, 2)]):
            for level in dict.fromkeys(s[i] for s in SITUATIONS):
                chosen = hits[:, [s[i] == level for s in SITUATIONS]]
                rows.append(stratum({"detector": detector, name: level}, chosen))
    return rows


def stratum(by, hits):
    """Of bugs found in every one of these situations."""
    found = hits.all(axis=1)
    return {"by": by, "n": len(found), **stats.stratified_wilson(found)._asdict()}


def effect(found, column):
    """gradcheck against another detector on the same bugs."""
    differences = found["gradcheck"] * 1.0 - found[column]
    poi = stats.stratified_wilson((differences + 1) / 2)._asdict()
    more = stats.stratified_bootstrap(differences, key=jax.random.key(0))._asdict()
    return {
        "protocol": "the same bugs",
        "better": "gradcheck",
        "than": column,
        "primary": column == "shapes, rectangular",
        "problem_poi": poi,
        "run_poi": poi,
        "effect": {"name": "share of bugs found more", **more},
        "differences": differences.tolist(),
        "families": ["backprop"] * len(differences),
    }


def chart(config, measured):
    """A square for each bug and detector: found or missed."""
    rows = pd.DataFrame(
        [
            {
                "bug": bug,
                "what it is": mutants.BUGS.get(bug, "the correct backprop"),
                "detector": detector,
                "outcome": outcome(bug, found),
                "cause named by gradcheck": row["cause"] or "–",
                "relative difference": float(f"{row['relative difference'][0]:.2g}"),
                "accuracy": row["accuracy"],
            }
            for bug, row in measured.items()
            for detector, found in row["found"].items()
        ]
    )
    outcomes = ["found", "missed", "right to pass", "false alarm"]
    return (
        alt.Chart(rows)
        .mark_rect(stroke="white", strokeWidth=1.5)
        .encode(
            x=alt.X(
                "detector:N", sort=list(COLUMNS), title=None,
                axis=alt.Axis(orient="top", labelAngle=-30),
            ),
            y=alt.Y("bug:N", sort=list(measured), title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color(
                "outcome:N", title=None, sort=outcomes,
                scale=alt.Scale(domain=outcomes, range=COLORS),
            ),
            tooltip=list(rows.columns),
        )
        .properties(width=330, height=alt.Step(20))
    )  # fmt: skip


def outcome(bug, found):
    """What a detector's answer means."""
    if bug == "no bug":
        return "false alarm" if found else "right to pass"
    return "found" if found else "missed"


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
