"""From the runs of a study to what is said about it: verdict, sentence, tables and a chart."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxdl import stats
from jaxdl.lab import verdict
from jaxdl.lab.claim import Claim, Estimate, Judgement
from jaxdl.lab.study import Runs, Study

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
    if claim.gamma is None:
        raise ValueError(
            f"Claim {claim.name!r} has the quantifier {claim.quantifier!r}, which stands for no "
            "share of problems: choose a word of claim.GAMMA, or give gamma."
        )
    evidence = {p: _evidence(study, runs, p, study.better) for p in study.protocols}
    decision = verdict.decide(evidence, claim.gamma, study.margin)
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
        n_seeds=next(iter(evidence.values())).differences.shape[1],
        arms=[{"name": arm.name, "role": _role(study, arm.name)} for arm in study.arms],
        strata=[_plain_stratum(s) for s in decision.strata],
        effects=effects,
        curves=curves(study, runs),
        compile_seconds=round(sum(r.compile_seconds for r in runs.values()), 2),
    )


def _role(study, name):
    return {study.better: "better", study.than: "than"}.get(name, "control")


def _evidence(study: Study, runs: Mapping[str, Runs], protocol: str, arm: str):
    parts, families = [], []
    strata: dict[str, list[str]] = {name: [] for name in study.moderators}
    for name, run in runs.items():
        scores = run.scores[protocol]
        parts.append(stats.differences(scores[arm], scores[study.than], larger_is_better=False))
        families += [name] * len(parts[-1])
        for moderator, level_of in study.moderators.items():
            strata[moderator] += [_level(level_of, row) for row in _rows(run.problems, name)]
    columns = {name: np.array(levels) for name, levels in strata.items()}
    return verdict.Evidence(np.concatenate(parts), np.array(families), columns)


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


def _plain_stratum(stratum):
    share = stratum.share
    return {
        "by": dict(stratum.by),
        "n": stratum.n,
        "value": share.value,
        "low": share.low,
        "high": share.high,
    }


def _effect(study, runs, protocol, arm):
    """One comparison with `study.than`, as the result file holds it."""
    evidence = _evidence(study, runs, protocol, arm)
    none = np.zeros_like(evidence.differences)
    found = stats.compare(evidence.differences, none, evidence.families, key=jax.random.key(0))
    typical = np.median(np.nan_to_num(evidence.differences, posinf=1e9, neginf=-1e9), axis=1)
    typical = np.where(np.abs(typical) > 1e8, np.sign(typical) * np.inf, typical)
    return {
        "protocol": protocol,
        "better": arm,
        "than": study.than,
        "primary": arm == study.better and protocol == study.protocols[0],
        "problem_poi": found.problem._asdict(),
        "run_poi": found.run._asdict(),
        "effect": {"name": study.unit, **found.effect._asdict()},
        "differences": [round(float(d), 4) for d in typical],
        "families": evidence.families.tolist(),
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
    edges = {
        f"{name}: share of problems whose best setting of {arm} is the first or last tried": share
        for name, run in runs.items()
        for arm, share in run.edge.items()
        if arm in (study.better, study.than)
    }
    return {
        f"median difference, {study.unit}": _interval(primary["effect"]),
        "share of single runs": _interval(primary["run_poi"]),
        **families,
        **edges,
    }


def _interval(estimate):
    return f"{estimate['value']:.3g} [{estimate['low']:.3g}, {estimate['high']:.3g}]"


def _sentence(claim, study, decision, effects):
    share = decision.share
    how = PROTOCOL_WORDS[study.protocols[0]].format(than=study.than)
    text = (
        f"{_capital(study.better)} beats {study.than} in {share.value:.0%} of problems "
        f"[{share.low:.0%}, {share.high:.0%}], {how}; “{claim.quantifier}” asks for "
        f"{claim.gamma:.0%}."
    )
    others = [e for e in effects if e["better"] == study.better and not e["primary"]]
    if others:
        said = (f"{e['problem_poi']['value']:.0%} {_short(e['protocol'], study)}" for e in others)
        text += f" It is {', and '.join(said)}."
    if decision.split is not None:
        high, low = decision.split
        text += f" It depends on the {next(iter(high.by))}: {_of(high)} against {_of(low)}."
    return text


def _short(protocol, study):
    return PROTOCOL_WORDS[protocol].format(than=study.than)


def _of(stratum):
    share = stratum.share
    level = next(iter(stratum.by.values()))
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}] for {level}"


def _capital(text):
    return text[:1].upper() + text[1:]


def curves(study: Study, runs: Mapping[str, Runs], curve: str = "cost") -> list[dict[str, Any]]:
    """Median and middle half of a curve over problems, relative to its first value."""
    found = []
    for name, run in runs.items():
        family = next(f for f in study.families if f.name == name)
        for arm, by_name in run.curves[study.protocols[0]].items():
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


def measured(study: Study, runs: Mapping[str, Runs]) -> dict[str, Any]:
    """What of the runs a result file keeps: problems, scores and settings, rounded."""
    del study
    return {
        name: {
            "problems": {n: _rounded(v) for n, v in run.problems.items()},
            "scores": {p: {a: _rounded(s) for a, s in arms.items()} for p, arms in run.scores.items()},
            "settings": {
                p: {a: {n: _rounded(v) for n, v in chosen.items()} for a, chosen in arms.items()}
                for p, arms in run.chosen.items()
            },
        }
        for name, run in runs.items()
    }  # fmt: skip


def _rounded(values):
    return [_rounded(v) if np.ndim(v) else float(f"{float(v):.5g}") for v in np.asarray(values)]


def chart(judgement: Judgement, gamma: float | None) -> Any:
    """The share of problems in every stratum, with its interval, γ and one half."""
    import altair as alt
    import pandas as pd

    rows = pd.DataFrame(
        {
            "by": " × ".join(s["by"]),
            "stratum": ", ".join(s["by"].values()) + f"  ({s['n']})",
            **{k: round(s[k], 4) for k in ("value", "low", "high")},
        }
        for s in judgement.strata
    )
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("value:Q", title="share of problems in which the claim holds", scale=scale)
    y = alt.Y("stratum:N", title=None, sort=None, axis=alt.Axis(labelLimit=260))
    color = alt.Color("by:N", title=None, legend=None, scale=alt.Scale(scheme="dark2"))
    base = alt.Chart(rows).encode(
        y=y, color=color, tooltip=["by", "stratum", "value", "low", "high"]
    )
    bars = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", scale=scale, title="share of problems in which the claim holds"),
        x2="high:Q",
    )
    lines = [alt.Chart(rows).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(x=alt.datum(0.5))]
    if gamma is not None:
        lines.append(
            alt.Chart(rows).mark_rule(color="#d97706", strokeWidth=2).encode(x=alt.datum(gamma))
        )
    layers = alt.layer(*lines, bars, base.mark_point(filled=True, size=70, opacity=1).encode(x=x))
    return (
        layers.properties(width=440, height=alt.Step(24))
        .facet(row=alt.Row("by:N", title=None, sort=None, header=alt.Header(labelAngle=0, labelAlign="left")))
        .resolve_scale(y="independent")
    )  # fmt: skip
