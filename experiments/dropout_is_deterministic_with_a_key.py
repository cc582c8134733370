"""Claim: with dropout the cost J is not well-defined and gradient checks do not work.

Section:  "Understanding Dropout", "Gradient Checking Implementation Notes".
Setting:  networks with two hidden layers and inverted dropout on samples of four real tables,
          float64. A problem is a table, 40 of its rows, an activation, initial weights and
          keep_prob ~ U(0.5, 0.95). Biases start at N(0, 0.1²): a ReLU whose inputs are all dropped
          would stand exactly on its kink at b = 0, where no check works. In each problem, with
          one key for all evaluations and with a fresh key for each: 200 steps of plain gradient
          descent, and the notes' relative difference between central differences of J and the
          gradient derived by hand.
Predicts: J(θ, key) is an ordinary function. With one key J falls in every step and the check is
          below 1e-7, so the notes' statement holds in none of the problems and is contradicted;
          with fresh keys J rises in some step, or the check is above 1e-5, in all of them.
Refuted:  if with one key J rises anywhere, or a check fails, in a share of problems whose interval
          reaches above one half. If the fresh keys cause no trouble either, the test was too
          weak and the verdict is inconclusive. Declared moderators: activation and table.
Command:  python -m experiments dropout_is_deterministic_with_a_key
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree

from jaxdl import activations, backprop, lab, losses, models, optim, population
from jaxdl.lab import instances, shares

CLAIM = lab.Claim(
    name="dropout_is_deterministic_with_a_key",
    title="With one key, dropout has a cost that falls and can be checked",
    quote="the cost function J is no longer well-defined. On every iteration, you are randomly "
    "killing off a bunch of nodes",
    section="Understanding Dropout",
    quantifier="always",
    number="31/47",
    headline=True,
)

GREAT, SUSPICIOUS = 1e-7, 1e-5
"""The notes' thresholds for the relative difference."""

ROWS, SIZES, LOSS = 40, (16, 12, 8, 10), "softmax_cross_entropy"
SHOWN = 120
"""Steps in the picture."""
KEYS = {"one key": 0, "fresh keys": 1}
COLORS = alt.Scale(domain=list(KEYS), range=["#2f7fc1", "#d97706"])


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems of each table and activation, the steps of descent, and the differences' step."""

    problems: int = 8
    steps: int = 200
    learning_rate: float = 0.05
    step: float = 1e-7
    seed: int = 0


FULL = Config(problems=100)
SMOKE = Config(problems=1, steps=5)


def activation(relu):
    """tanh or ReLU, chosen by a traced flag, with its derivative."""
    return activations.Activation(
        lambda z: jnp.where(relu, activations.relu(z), activations.tanh(z)),
        lambda z: jnp.where(relu, activations.relu_prime(z), activations.tanh_prime(z)),
    )


def measure(config, problem, tables):
    """Descent and gradient check of one problem, with one key and with fresh keys."""
    rows, start, masks = jax.random.split(jax.random.key(problem["seed"]), 3)
    x, y = instances.draw(tables, problem["family"], rows, ROWS)
    keep_prob = jax.random.uniform(masks, minval=0.5, maxval=0.95)
    model = models.mlp(SIZES, activation(problem["relu"]), keep_prob=keep_prob)
    params = model.init(start)
    biases = jax.random.split(start, len(params))
    params = [{**p, "b": 0.1 * jax.random.normal(k, p["b"].shape)}
              for p, k in zip(params, biases, strict=True)]  # fmt: skip

    def key(fresh, number):
        return jax.random.fold_in(masks, jnp.where(fresh, number, 0))

    def with_keys(fresh):
        costs = descent(config, model, params, x, y, lambda t: key(fresh, t))
        return costs, check(config, model, params, x, y, lambda i: key(fresh, i))

    costs, difference = jax.lax.map(with_keys, jnp.array([False, True]))
    return {"cost": costs, "difference": difference, "keep_prob": keep_prob}


def descent(config, model, params, x, y, key):
    """The cost that gradient descent sees at each step."""
    value_and_grad = backprop.value_and_grad(model, LOSS)
    optimizer = optim.gradient_descent(config.learning_rate)

    def step(carry, t):
        params, state = carry
        cost, grads = value_and_grad(params, x, y, key(t))
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), cost

    return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(config.steps))[1]


def check(config, model, params, x, y, key):
    """‖approximation − gradient‖ / (‖approximation‖ + ‖gradient‖), every entry of it."""
    theta, unravel = ravel_pytree(params)
    cost = losses.objective(model, LOSS)
    by_hand = ravel_pytree(backprop.value_and_grad(model, LOSS)(params, x, y, key(0))[1])[0]

    def difference(i):
        h = config.step * (jnp.arange(theta.size) == i).astype(theta.dtype)
        up = cost(unravel(theta + h), x, y, key(2 * i + 1))
        return (up - cost(unravel(theta - h), x, y, key(2 * i + 2))) / (2 * config.step)

    approximation = jax.lax.map(difference, jnp.arange(theta.size), batch_size=32)
    norm = jnp.linalg.norm
    return norm(approximation - by_hand) / (norm(approximation) + norm(by_hand))


def run(config):
    """Every problem in one program, each with one key and with fresh ones."""
    runs = population.grid(
        family=range(len(instances.TABLES)), relu=[False, True], seed=range(config.problems)
    )
    number = np.arange(len(runs["seed"]))
    with jax.enable_x64(True):
        configs = {**runs, "seed": config.seed + number}
        found = population.run(lambda p, t: measure(config, p, t), configs, instances.tables())
    costs, first = found.outputs.pop("cost"), np.flatnonzero(~runs["relu"])
    shown = [first[runs["family"][first] == f][0] for f in range(len(instances.TABLES))]
    return {
        **runs,
        **found.outputs,
        "rises": (np.diff(costs) >= 0).mean(-1),
        "shown": {"row": shown, "cost": costs[shown, :, :SHOWN].round(4)},
    }


def troubles(measured):
    """For one key and for fresh ones: where J rises in some step, and where the check fails."""
    return {
        name: {
            "J rises": measured["rises"][:, i] > 0,
            "check fails": ~(measured["difference"][:, i] < (GREAT, SUSPICIOUS)[i]),
        }
        for name, i in KEYS.items()
    }


def judge(config, measured):
    """Contradicted if the trouble is gone in most problems with one key, and there with fresh."""
    found = troubles(measured)
    trouble = {name: t["J rises"] | t["check fails"] for name, t in found.items()}
    families = np.array(instances.TABLES)[measured["family"]]
    moderators = {"activation": np.where(measured["relu"], "relu", "tanh"), "family": families}
    one = shares.decide(trouble["one key"], CLAIM.gamma, moderators, families)
    fresh = shares.decide(trouble["fresh keys"], CLAIM.gamma, None, families)
    verdict = one.verdict if one.share.high < 0.5 or one.verdict == "supported" else "inconclusive"
    worst, least = measured["difference"].max(0), measured["difference"].min(0)
    n = len(families)
    return lab.Judgement(
        verdict=verdict if fresh.share.low >= 0.5 else "inconclusive",
        sentence=(
            f"With the same key in every evaluation, J rises in some step in "
            f"{found['one key']['J rises'].sum()} of {n} problems, and the relative difference of "
            f"the gradient check is 1e-7 or more in {found['one key']['check fails'].sum()} "
            f"(largest {worst[0]:.0e}). With a fresh key each time J rises in "
            f"{found['fresh keys']['J rises'].sum()}, and the difference is 1e-5 or more in "
            f"{found['fresh keys']['check fails'].sum()} (smallest {least[1]:.2g}). What the notes "
            "say holds where the masks change between evaluations."
        ),
        estimate=lab.Estimate("share of problems in trouble, with one key", *one.share),
        figures={
            "share of problems in trouble, with fresh keys": fresh.share.value,
            "steps in which J rises, with fresh keys": float(measured["rises"][:, 1].mean()),
            **{f"median relative difference, {name}": float(np.median(measured["difference"][:, i]))
               for name, i in KEYS.items()},
        },
        n_problems=n,
        arms=[{"name": "one key", "role": "better"}, {"name": "fresh keys", "role": "than"}],
        strata=[
            *shares.by_level(
                np.concatenate(list(trouble.values())), {"keys": np.repeat(list(KEYS), n)}
            ),
            *one.strata,
        ],
    )  # fmt: skip


def chart(config, measured):
    """J along the descent for the table of the menu; the gradient checks of all problems."""
    menu = alt.param(
        "table", value="digits", bind=alt.binding_select(options=list(instances.TABLES))
    )
    color = alt.Color("keys:N", title=None, scale=COLORS, legend=alt.Legend(orient="top"))
    lines = (
        alt.Chart(cost_rows(measured))
        .transform_filter("datum.table == table")
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("step:Q"),
            y=alt.Y("J:Q", title="cost J that the step saw", scale=alt.Scale(zero=False)),
            color=color,
            tooltip=["keys", "table", "step", "J", "keep_prob"],
        )
        .properties(width=560, height=240, title="Plain gradient descent with tanh, one problem")
    )
    dots = (
        alt.Chart(check_rows(measured))
        .mark_tick(thickness=1.5, opacity=0.6)
        .encode(
            x=alt.X(
                "difference:Q",
                title="relative difference of the gradient check",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format=".0e", grid=False),
            ),
            y=alt.Y("table:N", title=None, sort=list(instances.TABLES)),
            yOffset="keys:N",
            color=color,
            tooltip=["keys", "table", "activation", "keep_prob", "difference"],
        )
        .properties(width=560, height=200, title="A dash for each problem; rules at 1e-7 and 1e-5")
    )
    rules = alt.Chart(pd.DataFrame({"difference": [GREAT, SUSPICIOUS]}))
    rules = rules.mark_rule(strokeDash=[4, 4]).encode(x="difference:Q")
    return alt.vconcat(lines, dots + rules).add_params(menu)


def cost_rows(measured):
    """The first problem of each table with tanh."""
    shown = measured["shown"]
    return pd.concat(
        pd.DataFrame(
            {
                "step": np.arange(len(costs[i])),
                "J": costs[i],
                "keys": name,
                "table": table,
                "keep_prob": round(float(measured["keep_prob"][row]), 2),
            }
        )
        for table, row, costs in zip(instances.TABLES, shown["row"], shown["cost"], strict=True)
        for name, i in KEYS.items()
    )


def check_rows(measured):
    """A row for each problem and kind of keys."""
    return pd.concat(
        pd.DataFrame(
            {
                "difference": [float(f"{d:.2g}") for d in measured["difference"][:, i]],
                "keys": name,
                "table": np.array(instances.TABLES)[measured["family"]],
                "activation": np.where(measured["relu"], "relu", "tanh"),
                "keep_prob": measured["keep_prob"].round(2),
            }
        )
        for name, i in KEYS.items()
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
