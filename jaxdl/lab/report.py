"""From the runs of a study to what is said about it: verdict, sentence, tables and a chart."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxdl import stats
from jaxdl.lab import shares
from jaxdl.lab.claim import Claim, Estimate, Judgement
from jaxdl.lab.study import Runs, Study, run
from jaxdl.stats.effect import median

PROTOCOL_WORDS = {
    "tuned": "each tuned with the same budget",
    "same": "both at the setting that is best for {than}",
    "default": "both at their defaults",
}


def judge(claim: Claim, study: Study, runs: Mapping[str, Runs]) -> Judgement:
    """The verdict on "in a share γ of problems, `study.better` scores less than `study.than`".

    Args:
        claim: with its γ.
        study: what was compared.
        runs: what `study.run` gave.
    """
    differences, families, strata = _evidence(study, runs, study.protocols[0], study.better)
    others = {p: _evidence(study, runs, p, study.better)[0] for p in study.protocols}
    typical = median(differences)
    margin, columns = study.margin, {"family": families, **strata}
    decision = shares.decide(
        _holds(differences),
        claim.gamma,
        columns,
        families,
        {p: _holds(d) for p, d in others.items()} if len(others) > 1 else None,
        margin is not None and bool(stats.equivalence(typical, margin).equivalent),
    )
    effects = [
        _effect(study, runs, protocol, arm.name)
        for protocol in study.protocols
        for arm in study.arms
        if arm.name != study.than
    ]
    return Judgement(
        verdict=decision.verdict,
        sentence=_sentence(claim, study, decision, effects),
        estimate=Estimate(
            f"share of problems in which {study.better} beats {study.than}", *decision.share
        ),
        figures=_figures(study, runs, effects),
        n_problems=sum(len(r.problems["instance"]) for r in runs.values()),
        n_seeds=differences.shape[1],
        arms=[{"name": arm.name, "role": _role(study, arm.name)} for arm in study.arms],
        strata=decision.strata + _crossed(study, _holds(differences), columns),
        effects=effects,
        curves=curves(study, runs),
    )


def experiment(claim: Claim, study: Study) -> tuple[Callable, Callable, Callable]:
    """`run`, `judge` and `chart` of an experiment that is this study and nothing else.

    Config = lab.Sizes
    run, judge, chart = lab.experiment(CLAIM, STUDY)
    """
    return (
        lambda config: run(study, config),
        lambda config, measured: judge(claim, study, measured),
        lambda config, measured: chart(judge(claim, study, measured), claim.gamma),
    )


def _role(study, name):
    return {study.better: "better", study.than: "than"}.get(name, "control")


def _evidence(study: Study, runs: Mapping[str, Runs], protocol: str, arm: str):
    """Differences to `study.than` (problems, seeds), families and strata of every problem."""
    parts, families = [], []
    strata: dict[str, list[str]] = {name: [] for name in study.moderators}
    for name, of_family in runs.items():
        scores = of_family.scores[protocol]
        parts.append(stats.differences(scores[arm], scores[study.than], larger_is_better=False))
        families += [name] * len(parts[-1])
        for moderator, level_of in study.moderators.items():
            strata[moderator] += [_level(level_of, row) for row in _rows(of_family.problems, name)]
    columns = {name: np.array(levels) for name, levels in strata.items()}
    return np.concatenate(parts), np.array(families), columns


def _holds(differences):
    """1 where the claim holds in a problem, by its median difference; ½ for a tie."""
    return (np.sign(median(differences)) + 1) / 2


def _crossed(study, holds, columns):
    return [
        row
        for one, other in study.crossed
        for row in shares.crossed(holds, (one, columns[one]), (other, columns[other]))
    ]


def _rows(problems, family):
    count = len(problems["instance"])
    return [{n: v[i] for n, v in problems.items()} | {"family": family} for i in range(count)]


def _level(level_of, problem):
    """The stratum of a problem; none where the function knows none or the number is missing."""
    try:
        level = level_of(problem)
    except KeyError:
        return ""
    return "" if level is None else str(level)


def _effect(study, runs, protocol, arm):
    """One comparison with `study.than`, as the result file holds it."""
    differences, families, _ = _evidence(study, runs, protocol, arm)
    none = np.zeros_like(differences)
    found = stats.compare(differences, none, families, key=jax.random.key(0))
    return {
        "protocol": protocol,
        "better": arm,
        "than": study.than,
        "primary": arm == study.better and protocol == study.protocols[0],
        "problem_poi": found.problem._asdict(),
        "run_poi": found.run._asdict(),
        "effect": {"name": study.unit, **found.effect._asdict()},
        "differences": [round(float(d), 4) for d in median(differences)],
        "families": families.tolist(),
    }


def _figures(study, runs, effects):
    primary = next(e for e in effects if e["primary"])
    families = {
        f"{e['protocol']}: share of problems in which {e['better']} beats {e['than']}": _interval(
            e["problem_poi"]
        )
        for e in effects
        if not e["primary"]
    }
    decisive = study.protocols[0]
    never = {
        f"share of runs without a finite score, {arm}": round(
            float(np.mean([np.isinf(r.scores[decisive][arm]).mean() for r in runs.values()])), 3
        )
        for arm in (study.better, study.than)
    }
    edges = [r.edge.get(arm, 0.0) for r in runs.values() for arm in (study.better, study.than)]
    return {
        f"median difference, {study.unit}": _interval(primary["effect"]),
        "share of single runs": _interval(primary["run_poi"]),
        **families,
        **(never if any(never.values()) else {}),
        "largest share of problems whose best setting is the first or last tried": max(edges),
    }


def _interval(estimate):
    return f"{estimate['value']:.3g} [{estimate['low']:.3g}, {estimate['high']:.3g}]"


def _sentence(claim, study, decision, effects):
    share = decision.share
    how = PROTOCOL_WORDS[study.protocols[0]].format(than=study.than)
    text = (
        f"{_capital(study.better)} beats {study.than} in {shares.percent(share)} of problems, "
        f"{how}; “{claim.quantifier}” asks for {100 * claim.gamma:.0f} %."
    )
    for effect in effects:
        if effect["better"] == study.better and not effect["primary"]:
            way = PROTOCOL_WORDS[effect["protocol"]].format(than=study.than)
            text += f" With {way} it is {100 * effect['problem_poi']['value']:.0f} %."
    if decision.split is not None:
        high, low = decision.split
        text += f" It depends on the {next(iter(high['by']))}: {_of(high)} against {_of(low)}."
    return text


def _of(stratum):
    level = next(iter(stratum["by"].values()))
    estimate = stats.Estimate(*(stratum[name] for name in ("value", "low", "high")))
    return f"{shares.percent(estimate)} for {level}"


def _capital(text):
    return text[:1].upper() + text[1:]


def curves(study: Study, runs: Mapping[str, Runs], curve: str = "cost") -> list[dict[str, Any]]:
    """Median and middle half of a curve over problems, relative to its first value."""
    found = []
    for name, of_family in runs.items():
        family = next(f for f in study.families if f.name == name)
        for arm, by_name in of_family.curves[study.protocols[0]].items():
            values = by_name[curve].mean(axis=1)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                values = np.nan_to_num(values / values[:, :1], nan=1e3, posinf=1e3)
            low, middle, high = np.percentile(np.minimum(values, 1e3), [25, 50, 75], axis=0)
            found.append(
                {
                    "protocol": study.protocols[0],
                    "family": name,
                    "arm": arm,
                    "x": family.checkpoints.tolist(),
                    "median": [float(f"{v:.4g}") for v in middle],
                    "low": [float(f"{v:.4g}") for v in low],
                    "high": [float(f"{v:.4g}") for v in high],
                    "x_name": family.unit,
                    "y_name": f"{curve} / first {curve}",
                }
            )
    return found


def chart(judgement: Judgement, gamma: float | None) -> Any:
    """The share of problems in every stratum, with its interval, γ and one half; tables below."""
    import altair as alt

    single = [s for s in judgement.strata if len(s["by"]) == 1]
    tables: dict[tuple, list] = {}
    for stratum in judgement.strata:
        if len(stratum["by"]) == 2:
            tables.setdefault(tuple(stratum["by"]), []).append(stratum)
    parts = [_lines(single, gamma), *(_table(names, cells) for names, cells in tables.items())]
    return alt.vconcat(*parts).resolve_scale(color="independent") if tables else parts[0]


def _lines(strata, gamma):
    import altair as alt
    import pandas as pd

    rows = pd.DataFrame(
        {
            "by": " × ".join(s["by"]),
            "stratum": ", ".join(s["by"].values()) + f"  ({s['n']})",
            **{k: round(s[k], 4) for k in ("value", "low", "high")},
        }
        for s in strata
    )
    title = "share of problems in which the claim holds"
    x = alt.X("value:Q", title=title, scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("stratum:N", title=None, sort=None, axis=alt.Axis(labelLimit=260))
    color = alt.Color("by:N", legend=None, scale=alt.Scale(scheme="dark2"))
    tooltip = ["by", "stratum", "value", "low", "high"]
    base = alt.Chart(rows).encode(x=x, y=y, color=color, tooltip=tooltip)
    bars = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    half = alt.Chart(rows).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x=alt.datum(0.5))
    asked = alt.Chart(rows).mark_rule(color="#d97706", strokeWidth=2).encode(x=alt.datum(gamma))
    points = base.mark_point(filled=True, size=70, opacity=1)
    header = alt.Header(labelAngle=0, labelAlign="left", labelFontWeight="bold")
    return (
        alt.layer(half, *([] if gamma is None else [asked]), bars, points)
        .properties(width=440, height=alt.Step(24))
        .facet(row=alt.Row("by:N", title=None, sort=None, header=header))
        .resolve_scale(y="independent")
    )


def _table(names, cells):
    """The share of problems by two moderators."""
    import altair as alt
    import pandas as pd

    one, other = names
    rows = pd.DataFrame(
        {
            "row": s["by"][one],
            "column": s["by"][other],
            "problems": s["n"],
            **{k: round(s[k], 4) for k in ("value", "low", "high")},
        }
        for s in cells
    )
    tooltip = ["row", "column", "problems", "value", "low", "high"]
    base = alt.Chart(rows).encode(
        x=alt.X("column:N", title=other, sort=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("row:N", title=one, sort=None, axis=alt.Axis(labelLimit=260)),
        tooltip=tooltip,
    )
    fill = alt.Color(
        "value:Q",
        title=["share in which", "the claim holds"],
        scale=alt.Scale(scheme="blueorange", reverse=True, domain=[0, 0.5, 1]),
        legend=alt.Legend(format="%"),
    )
    number = base.mark_text(fontSize=12).encode(
        text=alt.Text("value:Q", format=".0%"),
        color=alt.condition(
            "abs(datum.value - 0.5) > 0.36", alt.value("#ffffff"), alt.value("#1b1f24")
        ),
    )
    squares = base.mark_rect().encode(color=fill)
    return (squares + number).properties(width=440, height=alt.Step(30))
