"""Results in the lab's format for tests of the ledger: every verdict, every kind of evidence."""

import json

import numpy as np

from jaxdl.lab import VERDICTS

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"><b>'&\""


def result(name, **changes):
    """A finding with everything that the format asks for, and what a test wants different."""
    return {
        "claim": name,
        "title": f"The title of {name}",
        "quote": "It almost always works",
        "section": "Gradient descent with Momentum",
        "quantifier": "almost always",
        "gamma": 0.9,
        "verdict": "supported",
        "sentence": f"In {name} it holds.",
        "estimate": {"name": "share of problems", "value": 0.95, "low": 0.92, "high": 0.97},
        "n_problems": 320,
        "n_seeds": 4,
        "number": "",
        "headline": False,
        "literature": [],
        "strata": [],
        "arms": [],
        "effects": [],
        "curves": [],
        "figures": {"a number": 0.125},
        "data": {},
        "size": "default",
        "config": {},
        "spec_sha256": "0123456789abcdef" * 4,
        "seconds": 12.5,
        "compile_seconds": 3.25,
        "versions": {"jax": "0.10.2"},
        "platform": {"system": "Linux", "machine": "x86_64", "cores": 2, "devices": ["cpu"]},
        "commit": "abcdef123456",
    } | changes


def share(value, half=0.04):
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def effect(protocol, seed, primary=False, families=("quadratic", "logistic", "mlp")):
    """32 problems a family; two of each end where only one of the two arms arrived."""
    draws = np.random.default_rng(seed).normal(0.3, 0.5, (len(families), 32)).round(3).tolist()
    for row in draws:
        row[:4] = ["inf", "inf", "-inf", 0.0]
    return {
        "protocol": protocol,
        "better": "heavy ball",
        "than": "gradient descent",
        "primary": primary,
        "problem_poi": share(0.71),
        "run_poi": share(0.66),
        "effect": {"name": "log ratio of steps", "value": 0.31, "low": 0.22, "high": 0.4},
        "differences": [d for row in draws for d in row],
        "families": [f for f in families for _ in range(32)],
    }


def curve(protocol, family, arm, rate, low=0.8, high=1.25):
    x = np.arange(0, 101, 5)
    median = np.exp(-rate * x)
    return {
        "protocol": protocol,
        "family": family,
        "arm": arm,
        "x": x.tolist(),
        "median": median.tolist(),
        "low": (low * median).tolist(),
        "high": [*(high * median[:-1]).tolist(), "inf"],
        "x_name": "step",
        "y_name": "loss",
    }


def rich(**changes):
    """The card that has everything: protocols, strata, heatmap, curves, literature."""
    arms = (("heavy ball", 0.05), ("gradient descent", 0.02))
    return result(
        "momentum",
        number="9",
        verdict="depends",
        title="Momentum almost always works faster",
        sentence="Heavy ball beats descent in 71 % [67 %, 75 %] of problems; it depends on κ.",
        estimate={"name": "share of problems in which it is faster"} | share(0.71),
        arms=[{"name": a, "role": r} for (a, _), r in zip(arms, ("better", "than"), strict=True)],
        effects=[effect("same rate", 0), effect("defaults", 1), effect("tuned", 2, primary=True)],
        curves=[
            curve(protocol, family, arm, rate)
            for protocol in ("same rate", "tuned")
            for family in ("quadratic", "mlp")
            for arm, rate in arms
        ],
        strata=[
            {"by": {"family": "quadratic"}, "n": 32, **share(0.9, 0.08)},
            {"by": {"family": "mlp"}, "n": 32, **share(0.4, 0.15)},
            *(
                {"by": {"κ": k, "batch": b}, "n": 12, **share(v, 0.1)}
                for k, b, v in (
                    ("1", "16", 0.2), ("1", "full", 0.5), ("10⁴", "16", 0.6), ("10⁴", "full", 1.0)
                )
            ),
        ],
        literature=[
            {"reference": "Polyak 1964", "says": "faster on quadratics", "stance": "agrees"},
            {"reference": "Kidambi 2018", "says": "not under noise", "stance": "disagrees"},
            {"reference": "Wang 2024", "says": "little at small rates", "stance": "partly"},
        ],
    ) | changes  # fmt: skip


def chart(title="x", slider=False):
    """A small Vega-Lite chart, with a slider that decides which bar is drawn."""
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": [{"a": title, "b": 1, "k": 0}, {"a": title, "b": 5, "k": 1}]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "a", "type": "nominal"},
            "y": {"field": "b", "type": "quantitative"},
        },
        "width": 300,
        "height": 120,
    }
    if slider:
        bind = {"input": "range", "min": 0, "max": 1, "step": 1, "name": "which: "}
        spec["params"] = [{"name": "which", "value": 0, "bind": bind}]
        spec["transform"] = [{"filter": "datum.k == which"}]
    return spec


KILLS = {
    "no bug": {"found": {"shapes": False, "gradcheck": False}, "cause": ""},
    "no 1/m": {"found": {"shapes": False, "gradcheck": True}, "cause": "batch_mean_missing"},
    "dz W": {"found": {"shapes": True, "gradcheck": True}, "cause": "transpose"},
}
FORMULAS = [
    {"section": "RMSprop", "printed": printed, "erratum": erratum, "error": error,
     "error corrected": corrected}
    for printed, erratum, error, corrected in (
        ("a = b", "", 0.0, None), ("c = d <", "c = e", "inf", 1e-16),
    )
]  # fmt: skip


def write(folder, *results, **charts):
    """The files that the runner would have written."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in results:
        name = each["claim"] + (".smoke" if each["size"] == "smoke" else "")
        (folder / f"{name}.json").write_text(json.dumps(each))
        if each["claim"] in charts:
            (folder / f"{name}.chart.json").write_text(json.dumps(charts[each["claim"]]))


def many():
    """A finding for every verdict, the rich one, the two that have pages, and a hostile one."""
    sections = ("Regularization", "Logistic Regression", "Activation functions", "RMSprop")
    plain = [
        result(
            f"claim_{i}",
            verdict=verdict,
            number=str(20 + i),
            section=sections[i % 4],
            estimate={"name": "share of problems"} | share(0.3 + 0.1 * i),
        )
        for i, verdict in enumerate(VERDICTS)
        if verdict != "exact"
    ]
    identity = result(
        "identity", verdict="exact", gamma=None, quantifier="exactly",
        estimate={"name": "power of a step", "value": 2.0, "low": 2.0, "high": 2.0},
    )  # fmt: skip
    hostile = result(
        "hostile", title=HOSTILE, quote=HOSTILE, sentence=HOSTILE, section=HOSTILE, number="666",
        figures={HOSTILE: HOSTILE}, commit=HOSTILE,
        effects=[effect(HOSTILE, 3, families=(HOSTILE,)) | {"better": HOSTILE, "than": HOSTILE}],
        curves=[curve(HOSTILE, HOSTILE, HOSTILE, 0.1) | {"x_name": HOSTILE, "y_name": HOSTILE}],
        strata=[{"by": {HOSTILE: HOSTILE}, "n": 3, **share(0.5)},
                {"by": {HOSTILE: HOSTILE, "b": HOSTILE}, "n": 3, **share(0.5)}],
        literature=[{"reference": HOSTILE, "says": HOSTILE, "stance": HOSTILE}],
    )  # fmt: skip
    pages = [
        result("kill_matrix", data=KILLS, section="Gradient checking"),
        result("formula_audit", data={"formulas": FORMULAS}, section="Gradient checking"),
    ]
    return [*plain, identity, hostile, rich(), *pages]


CHARTS = {
    "momentum": chart(slider=True),
    "hostile": chart(HOSTILE),
    "identity": chart() | {"mark": {"type": "bar", "color": "#101418"}},
}
