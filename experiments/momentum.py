"""Claim: gradient descent with momentum almost always works faster than plain gradient descent.

Section:  "Gradient descent with Momentum".
Setting:  quadratics (condition number 1 to 10⁴, without noise and with) and small networks on
          moons and digits, drawn anew. Plain descent, heavy ball (v = βv + g) and momentum as the
          notes print it (v = βv + (1 − β)g), β = 0.9, each with the best of ten rates per
          problem; then all at the rate that is best for plain descent. Measured: how soon 98 % of
          the possible improvement is made.
Predicts: depends. As printed, momentum at plain descent's rate takes steps ten times too small;
          tuned, it gains on ill-conditioned problems without noise and nothing where noise rules.
Refuted:  contradicted if the interval of the share of problems in which the tuned heavy ball is
          faster lies below 0.90.
Command:  python -m experiments momentum
"""

import sys

from jaxdl import lab, optim
from jaxdl.lab import problems, scores

CLAIM = lab.Claim(
    name="momentum",
    number="9",
    title="Momentum against plain gradient descent",
    quote=(
        "Momentum, or gradient descent with momentum that almost always works faster than the "
        "standard gradient descent algorithm."
    ),
    section="Gradient descent with Momentum",
    quantifier="almost always",
    headline=True,
)

RATES = [{"lr": 10.0**power} for power in (-2.5, -2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.5, 1)]

STUDY = lab.Study(
    families=(problems.quadratics(), problems.networks("moons"), problems.networks("digits")),
    arms=(
        lab.Arm("plain descent", lambda s: {"optimizer": optim.sgd(s["lr"])}, RATES),
        lab.Arm(
            "heavy ball",
            lambda s: {"optimizer": optim.momentum(s["lr"], form="heavy_ball")},
            RATES,
        ),
        lab.Arm(
            "momentum as printed",
            lambda s: {"optimizer": optim.momentum(s["lr"], form="ema")},
            RATES,
        ),
    ),
    better="heavy ball",
    than="plain descent",
    score=scores.steps_to_target(0.02),
    protocols=("tuned", "same"),
    moderators={
        "condition": lambda p: "κ < 100" if p["kappa"] < 100 else "κ ≥ 100",
        "noise": lambda p: {0.0: "none", 0.1: "a tenth", 1.0: "as large"}[p["noise"]],
        "batch": lambda p: f"{p['batch']:.0f}",
    },
)


Config = lab.Sizes
FULL = Config(problems=128, seeds=4, tuning_seeds=2)
SMOKE = Config(problems=2, seeds=1)

run, judge, chart = lab.experiment(CLAIM, STUDY)

if __name__ == "__main__":
    sys.exit(lab.main(__name__))
