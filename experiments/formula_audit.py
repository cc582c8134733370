"""Claim: the formulas of the notes are right as they are printed.

Section:  all that have formulas.
Setting:  every formula transcribed as printed and compared, on random instances in float64, with
          autodiff or with its definition. Formulas that fail are corrected and compared again.
Predicts: most hold to rounding; about a dozen fail as printed, and every correction holds.
Refuted:  by a single formula that fails as printed (the claim is about all of them).
Command:  python -m experiments formula_audit
"""

import dataclasses
import sys

import altair as alt
import jax
import numpy as np
import pandas as pd

from jaxdl import lab
from jaxdl.lab import audit, formulas

CLAIM = lab.Claim(
    name="formula_audit",
    title="Are the notes' formulas right as printed?",
    quote="Sometimes you write all these equations and you’re just not 100% sure",
    section="Numerical approximation of gradients",
    quantifier="always",
)

TOLERANCE = 1e-6
"""Relative difference up to which two sides count as equal; difference quotients need it."""


@dataclasses.dataclass(frozen=True)
class Config:
    """How many random instances each formula is compared on."""

    draws: int = 5
    seed: int = 0


FULL = Config(draws=50)
SMOKE = Config(draws=1)


def run(config):
    """The error of every formula as printed, and of every correction."""
    rows = []
    with jax.enable_x64(True):
        for f in formulas.FORMULAS:
            as_printed = audit.error(f.sides, config.seed, config.draws)
            corrected = f.corrected and audit.error(f.corrected, config.seed, config.draws)
            rows.append(
                {
                    "section": f.section,
                    "printed": f.printed,
                    "erratum": f.erratum,
                    "error": as_printed,
                    "error corrected": corrected,
                }
            )
    return {"formulas": rows}


def judge(config, measured):
    """Contradicted by the first formula that fails as printed."""
    rows = measured["formulas"]
    wrong = [r for r in rows if r["error"] > TOLERANCE]
    mended = [
        r for r in wrong if r["error corrected"] is not None and r["error corrected"] <= TOLERANCE
    ]
    return lab.Judgement(
        verdict="contradicted" if wrong else "exact",
        sentence=(
            f"{len(rows) - len(wrong)} of {len(rows)} formulas hold as printed; {len(wrong)} do "
            f"not, and {len(mended)} of these hold once corrected."
        ),
        estimate=lab.Estimate.exact("formulas that fail as printed", len(wrong)),
        figures={f"{r['printed']}  ({r['section']})": r["erratum"] for r in wrong},
        n_problems=len(rows),
    )


def chart(config, measured):
    """A dot per formula: how far it is from the truth, as printed and corrected."""
    order = [f"{r['printed']}"[:58] for r in measured["formulas"]]
    rows = pd.DataFrame(
        [
            {
                "formula": name,
                "section": r["section"],
                "distance": float(np.clip(r[column], 1e-17, 10)),
                "form": form,
                "erratum": r["erratum"] or "none",
            }
            for name, r in zip(order, measured["formulas"], strict=True)
            for form, column in (("as printed", "error"), ("corrected", "error corrected"))
            if r[column] is not None
        ]
    )
    forms = ["as printed", "corrected"]
    dots = (
        alt.Chart(rows)
        .mark_point(size=80, filled=True, opacity=0.9)
        .encode(
            x=alt.X(
                "distance:Q",
                title="relative distance from the truth (10: infinite, or shapes do not fit)",
                scale=alt.Scale(type="log", domain=[1e-17, 20]),
                axis=alt.Axis(format=".0e", tickCount=8),
            ),
            y=alt.Y("formula:N", sort=order, title=None, axis=alt.Axis(labelLimit=380)),
            color=alt.Color(
                "form:N",
                title=None,
                sort=forms,
                scale=alt.Scale(domain=forms, range=["#d97706", "#2f7fc1"]),
            ),
            shape=alt.Shape(
                "form:N",
                title=None,
                sort=forms,
                scale=alt.Scale(domain=forms, range=["circle", "triangle"]),
            ),
            tooltip=[
                "formula",
                "section",
                "form",
                alt.Tooltip("distance", format=".1e"),
                "erratum",
            ],
        )
    )
    limit = alt.Chart(pd.DataFrame({"x": [TOLERANCE]})).mark_rule(strokeDash=[4, 3]).encode(x="x:Q")
    return (limit + dots).properties(width=380, height=alt.Step(17))


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
