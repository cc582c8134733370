"""Claim: momentum and Adam take other paths than gradient descent, and arrive sooner in a valley.

Section:  "Gradient descent with Momentum", "RMSprop", "The problem of local optima".
Setting:  every recipe from one start on three surfaces of two parameters: a valley 50 times
          steeper across than along, Rosenbrock's banana, and a saddle that turns down to two
          minima; all rates of a grid and three β in one vmapped program for each recipe.
Predicts: in the valley the best rate of heavy-ball momentum needs fewer steps than the best rate
          of gradient descent to lower the cost to a thousandth. At the same rate the notes' form
          of momentum, whose average takes steps of the same size, needs at least as many.
Refuted:  if gradient descent at its best rate is as quick as heavy ball at its best. If only
          the second prediction fails, the verdict is "depends".
Command:  python -m experiments optimizer_paths
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Callable

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, optim

CLAIM = lab.Claim(
    name="optimizer_paths",
    title="The paths of optimizers on three surfaces",
    quote="Momentum, or gradient descent with momentum that almost always works faster than the "
    "standard gradient descent algorithm.",
    section="Gradient descent with Momentum",
)

BETAS = (0.5, 0.9, 0.97)


def adaptive(recipe):
    """A recipe whose first moment has the slider's β."""
    return lambda rate, beta: recipe(rate, b1=beta)


RECIPES = {
    "gradient descent": lambda rate, beta: optim.gradient_descent(rate),
    "momentum (notes)": lambda rate, beta: optim.momentum(rate, decay=beta),
    "heavy ball": lambda rate, beta: optim.momentum(rate, decay=beta, form="heavy_ball"),
    "Nesterov": lambda rate, beta: optim.sgd(rate, momentum=beta, nesterov=True),
    "RMSprop": lambda rate, beta: optim.rmsprop(rate, decay=beta),
    "Adagrad": lambda rate, beta: optim.adagrad(rate),
    "Adam": adaptive(optim.adam),
    "AdamW": adaptive(functools.partial(optim.adamw, weight_decay=0.1)),
    "Nadam": adaptive(optim.nadam),
    "AMSGrad": adaptive(optim.amsgrad),
    "Lion": adaptive(functools.partial(optim.lion, weight_decay=0.0)),
    "Muon": lambda rate, beta: optim.muon(rate, beta=beta),
}
"""From rate and β to an optimizer. Adagrad and gradient descent have no β."""


@dataclasses.dataclass(frozen=True)
class Surface:
    """A cost of two parameters, where it starts, and what the picture shows."""

    cost: Callable
    start: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]
    minima: tuple[tuple[float, float], ...]


SURFACES = {
    "valley": Surface(
        lambda a, b: 0.5 * (a**2 + 50 * b**2), (-4.0, 0.8), (-4.6, 2), (-1.2, 1.2), ((0, 0),)
    ),
    "Rosenbrock": Surface(
        lambda a, b: 0.05 * (1 - a) ** 2 + 5 * (b - a**2) ** 2,
        (-1.4, 1.2),
        (-2, 2),
        (-0.8, 2.4),
        ((1, 1),),
    ),
    "saddle": Surface(
        lambda a, b: 0.5 * a**2 - 0.5 * b**2 + 0.25 * b**4 + 0.25,
        (-1.6, 1e-3),
        (-2, 1),
        (-1.6, 1.6),
        ((0, 1), (0, -1)),
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """How many steps, the grid of rates, and how many points of each path are kept."""

    steps: int = 300
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3)
    points: int = 56
    fraction: float = 1e-3


FULL = Config(steps=3000)
SMOKE = Config(steps=20, rates=(0.01, 0.1), points=8)


def paths(make, surface, config):
    """Parameters after each step, for all rates and β: (rate, β, step, 2)."""
    gradient = jax.grad(lambda w: surface.cost(w[0, 0], w[0, 1]))

    def one(rate, beta):
        optimizer = make(rate, beta)
        # One row of two: a matrix, so that Muon moves it.
        start = jnp.array([surface.start])

        def step(carry, _):
            w, state = carry
            updates, state = optimizer.update(gradient(w), state, w)
            w = jnp.clip(optim.apply_updates(w, updates), -1e6, 1e6)
            return (w, state), w[0]

        _, path = jax.lax.scan(step, (start, optimizer.init(start)), length=config.steps)
        return jnp.concatenate([start, path])

    over_betas = jax.vmap(one, (None, 0))
    grid = jax.jit(jax.vmap(over_betas, (0, None)))
    return np.asarray(grid(jnp.array(config.rates), jnp.array(BETAS)))


def steps_needed(path, surface, fraction):
    """The first step with at most that fraction of the first cost, for each path; inf if none."""
    cost = surface.cost(path[..., 0], path[..., 1])
    there = cost <= fraction * cost[..., :1]
    return np.where(there.any(-1), there.argmax(-1), np.inf)


def run(config):
    """Points along every path, and the steps that each path needs."""
    kept = kept_steps(config)
    measured = {"path": {}, "needed": {}}
    for place, surface in SURFACES.items():
        for name, make in RECIPES.items():
            path = paths(make, surface, config)
            needed = steps_needed(path.astype(float), surface, config.fraction)
            measured["path"][f"{place}, {name}"] = written(path[:, :, kept])
            measured["needed"][f"{place}, {name}"] = needed
    return measured


def written(path):
    """Every path as one line of text: "x,y x,y ...", which keeps the result file small."""
    return [
        [" ".join(f"{x:.3f},{y:.3f}" for x, y in points) for points in over_betas]
        for over_betas in path
    ]


def kept_steps(config):
    """Steps of which the picture shows the point, denser at the start."""
    spread = np.geomspace(config.points // 2, config.steps, config.points // 2)
    return np.unique(np.concatenate([np.arange(config.points // 2), spread.astype(int)]))


def best(measured, name, betas=slice(None)):
    """The fewest steps in the valley over all rates (and the given β)."""
    return float(np.min(measured["needed"][f"valley, {name}"][:, betas]))


def judge(config, measured):
    """Exact: nothing is random. Supported if heavy ball at its best beats plain descent."""
    plain, ball = best(measured, "gradient descent"), best(measured, "heavy ball")
    at = BETAS.index(0.9)
    needed = {n: measured["needed"][f"valley, {n}"][:, at] for n in RECIPES}
    average, descent = needed["momentum (notes)"], needed["gradient descent"]
    both = np.isfinite(average) & np.isfinite(descent)
    slower = bool(np.all(average[both] >= descent[both]))
    ratio = ball / plain if np.isfinite(plain) else float("nan")
    return lab.Judgement(
        verdict="contradicted" if ball >= plain else "supported" if slower else "depends",
        sentence=(
            f"In the valley heavy ball at its best rate and β needs {ball:.0f} steps, gradient "
            f"descent at its best rate {plain:.0f}. The second prediction "
            f"{'held' if slower else 'failed'}: at one rate the notes' form with β = 0.9 needs "
            f"{_pairs(average[both])} steps where gradient descent needs {_pairs(descent[both])}; "
            f"it arrives at {np.isfinite(average).sum()} rates of {len(config.rates)}, gradient "
            f"descent at {np.isfinite(descent).sum()}."
        ),
        estimate=lab.Estimate.exact("steps of heavy ball / steps of gradient descent", ratio),
        figures={
            f"fewest steps in the valley, {name}": best(measured, name)
            if np.isfinite(best(measured, name))
            else "does not arrive"
            for name in RECIPES
        },
    )


def _pairs(steps):
    return ", ".join(f"{n:.0f}" for n in steps) or "no"


def chart(config, measured):
    """Paths over contour bands; choose the surface, the recipe, rate and β."""
    choose = controls(config)
    layers = [contours(), path_layer(config, measured), minima_layer()]
    chart = (
        alt.layer(*layers)
        .add_params(*choose)
        .resolve_scale(color="independent", stroke="independent")
    )
    return chart.properties(
        width=620,
        height=400,
        title="From the ring to the crosses. Every step at the start, then ever fewer, is a dot.",
    )


def controls(config):
    """Menus for surface and recipes, sliders for rate and β (positions in their lists)."""
    rates, names = list(config.rates), list(RECIPES)
    menu = functools.partial(alt.binding_select)
    slider = alt.binding_range
    return (
        alt.param("surface", value="valley", bind=menu(options=list(SURFACES), name="Surface ")),
        alt.param("first", value="gradient descent", bind=menu(options=names, name="Blue ")),
        alt.param("second", value="heavy ball", bind=menu(options=names, name="Orange ")),
        alt.param(
            "rate",
            value=len(rates) // 2,
            bind=slider(
                min=0, max=len(rates) - 1, step=1, name=f"Rate {rates[0]:g} … {rates[-1]:g} "
            ),
        ),
        alt.param("beta", value=1, bind=slider(min=0, max=2, step=1, name="β 0.5, 0.9, 0.97 ")),
    )


def contours():
    """The cost as bands of its logarithm, on a grid of cells."""
    frames, size = [], {}
    for place, s in SURFACES.items():
        xs, ys = np.linspace(*s.x, 63), np.linspace(*s.y, 41)
        a, b = np.meshgrid((xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2)
        cost = s.cost(a, b)
        left, low = np.meshgrid(xs[:-1], ys[:-1])
        size[place] = (xs[1] - xs[0], ys[1] - ys[0])
        frame = {
            "x": left,
            "y": low,
            "band": np.round(2.5 * np.log(cost - cost.min() + 0.02)) / 2.5,
        }
        frames.append(
            pd.DataFrame({k: v.ravel().round(4) for k, v in frame.items()}).assign(on=place)
        )
    zero = alt.Scale(zero=False, nice=False)
    # Each cell's edge has the colour of the cell, so that no grid shows.
    shade = alt.Scale(range=["#9fc3b4", "#fbfcfb"])
    return (
        alt.Chart(pd.concat(frames))
        .transform_filter("datum.on == surface")
        .transform_calculate(
            x2=f"datum.x + {json.dumps(size)}[datum.on][0]",
            y2=f"datum.y + {json.dumps(size)}[datum.on][1]",
        )
        .mark_rect(strokeWidth=1)
        .encode(
            x=alt.X("x:Q", title="w₁", scale=zero),
            x2="x2:Q",
            y=alt.Y("y:Q", title="w₂", scale=zero),
            y2="y2:Q",
            color=alt.Color("band:Q", scale=shade, legend=None),
            stroke=alt.Stroke("band:Q", scale=shade, legend=None),
        )
    )


def until_outside(line, surface):
    """The coordinates of a written path until it leaves the picture."""
    points = np.array([pair.split(",") for pair in line.split()], float)
    low, high = np.array([surface.x, surface.y]).T
    inside = ((points > low) & (points < high)).all(1)
    n = len(points) if inside.all() else int(inside.argmin())
    x, y = points[:n].T.tolist()
    return x, y


def path_layer(config, measured):
    """The two chosen paths with their steps, rate and β in the legend and on hovering."""
    rows = []
    for key, lines in measured["path"].items():
        place, name = key.split(", ", 1)
        for i, over_betas in enumerate(lines):
            for j, line in enumerate(over_betas):
                x, y = until_outside(line, SURFACES[place])
                rows.append({"on": place, "recipe": name, "i": i, "j": j, "x": x, "y": y})
    steps, rates = kept_steps(config).tolist(), list(config.rates)
    base = (
        alt.Chart(pd.DataFrame(rows))
        .transform_filter("datum.on == surface && datum.i == rate && datum.j == beta")
        .transform_filter("datum.recipe == first || datum.recipe == second")
        .transform_calculate(k="sequence(length(datum.x))")
        .transform_flatten(["x", "y", "k"])
        .transform_calculate(
            step=f"{steps}[datum.k]",
            label=f"datum.recipe + ', rate ' + {rates}[datum.i] + ', β ' + {list(BETAS)}[datum.j]",
            turn="datum.recipe == first ? 0 : 1",
        )
    )
    encoding = {
        "x": alt.X("x:Q"),
        "y": alt.Y("y:Q"),
        "order": alt.Order("k:Q"),
        "color": alt.Color(
            "label:N",
            title=None,
            sort=alt.EncodingSortField("turn", op="min"),
            scale=alt.Scale(range=["#2f7fc1", "#d97706"]),
            legend=alt.Legend(orient="top", labelLimit=320, symbolType="stroke"),
        ),
        "tooltip": ["label:N", "step:Q", "x:Q", "y:Q"],
    }
    return base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=28)).encode(**encoding)


def minima_layer():
    """A ring at the start, a cross at each minimum."""
    marks = [
        {"on": place, "x": x, "y": y, "what": what}
        for place, s in SURFACES.items()
        for what, spots in (("start", (s.start,)), ("minimum", s.minima))
        for x, y in spots
    ]
    shape = alt.Scale(domain=["start", "minimum"], range=["circle", "cross"])
    return (
        alt.Chart(pd.DataFrame(marks))
        .transform_filter("datum.on == surface")
        .mark_point(size=130, strokeWidth=2.5, color="#111827")
        .encode(
            x="x:Q", y="y:Q", shape=alt.Shape("what:N", scale=shape, legend=None), tooltip="what"
        )
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
