"""What to try next: bias asks for a bigger network or longer, variance for regularisation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxdl.diagnose import BiasVariance
from jaxdl.recipe import training
from jaxdl.recipe.problem import Problem
from jaxdl.recipe.training import NAMES, Family, Trial

FIRST_HIDDEN = (64, 64)
WIDEST = 256
GOLDEN = (5**0.5 - 1) / 2
MOST_REFINEMENTS = 3

BIAS = ("bigger", "longer")
VARIANCE = ("regularise", "augment")


class Move(NamedTuple):
    """A round to come: its name, the family to train, the reason, whether with L2 and dropout."""

    name: str
    family: Family
    why: str
    regularised: bool = False


class Round(NamedTuple):
    """A round that was made: what and why, how many configurations, what came of it.

    `best` is the trial with the lowest loss of the round; `gain` and `noise` are by how much its
    loss lies below that of the best before it, and the standard error of that; `diagnosis` is that
    of the best network so far, or of the linear model while there is none.
    """

    number: int
    move: Move
    count: int
    seconds: float
    best: Trial
    gain: float
    noise: float
    diagnosis: BiasVariance

    @property
    def better(self) -> bool:
        """Whether it beat what was there before by more than the standard error."""
        return self.number == 1 or self.gain > self.noise


def next_move(problem: Problem, rounds: Sequence[Round], trials: Sequence[Trial]) -> Move | None:
    """The next round, or None when both gaps are low or nothing is left to try.

    Linear first, then a network; from then on by the diagnosis of the best network. Bias, or both:
    "bigger", then "longer", unless more capacity has failed on the dev rows: then what looks like
    bias is noise, or variance hides it. Variance, or unclear: "regularise" (L2 and dropout), then
    "augment" for images. Then "refine", around the best of all.
    """
    names = [r.move.name for r in rounds]
    if not rounds:
        why = "the simplest model comes first, and stays if nothing beats it"
        return Move("linear", training.family(problem, ()), why)
    found = rounds[-1].diagnosis
    if "network" not in names:
        return Move("network", training.family(problem, FIRST_HIDDEN), _first_network(found))
    if found.dominates == "neither":
        return None
    base = _best_network(trials)
    blocked = _capacity_failed(rounds)
    bias = found.dominates in ("bias", "both")
    order = (*BIAS, *VARIANCE) if bias and not blocked else VARIANCE
    regularised = any(name in VARIANCE for name in names)
    for name in order:
        if name not in names and _applies(name, problem, base):
            why = _why(name, found, blocked)
            return Move(name, _MAKE[name](base.family), why, regularised or name in VARIANCE)
    if names.count("refine") < MOST_REFINEMENTS and not _stale(rounds):
        why = "all remedies tried: more of what has worked best"
        return Move("refine", base.family, why)
    return None


def finished(rounds: Sequence[Round]) -> str:
    """Why no move follows these rounds, as a sentence."""
    if rounds[-1].diagnosis.dominates == "neither":
        return "Bias and variance are both low."
    if _stale(rounds):
        return "Every remedy was tried, and more of the best brought nothing beyond noise."
    return "Every remedy was tried."


def configurations(
    move: Move, count: int, trials: Sequence[Trial], seed: int, number: int
) -> dict[str, np.ndarray]:
    """`count` configurations of a round, the numbers that `training.NAMES` lists.

    A function of the seed, the round's number and what was tried before, nothing else; the first
    few are the same whatever the count, so a round that is cut short can be repeated.
    """
    rng = np.random.default_rng((seed, number))
    places, keep = _places(rng, count, 4), np.ones(count)
    lr, span = _log(places[:, 0], 3e-3, 2e-2), _log(places[:, 1], 0.25, 1.0)
    if move.name == "linear":
        place = (0.6 + GOLDEN * np.arange(count)) % 1  # a moderate L2 first, then a weak one
        table = _table(np.full(count, 0.02), _log(place, 1e-5, 1.0), keep, 0.6 * keep)
    elif move.name == "refine":
        table = _around(_top(trials, move.family), count, rng)
    elif move.regularised:
        keep = np.array([0.65, 0.8, 0.9])[(3 * places[:, 3]).astype(int)]
        table = _table(lr, _log(places[:, 2], 1e-4, 0.03), keep, span)
    else:
        table = _table(lr, _log(places[:, 2], 1e-6, 1e-3), keep, span)
    table["seed"] = np.random.default_rng((seed, number, 1)).integers(0, 2**23, count)
    return {name: np.asarray(values, np.float32) for name, values in table.items()}


def _table(lr, decay, keep_prob, span) -> dict[str, np.ndarray]:
    return {"lr": lr, "decay": decay, "keep_prob": keep_prob, "span": span}


def _places(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """(count, dimensions) in [0, 1), every beginning of which is spread evenly.

    Multiples of the inverse powers of the root of x^(d+1) = x + 1, from a random start (Roberts
    2018, "The unreasonable effectiveness of quasirandom sequences").
    """
    root = 2.0
    for _ in range(50):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    return (rng.random(dimensions) + np.arange(count)[:, None] * steps) % 1


def _log(place: np.ndarray, low: float, high: float) -> np.ndarray:
    """From low to high on a logarithmic scale, as the place goes from 0 to 1."""
    return low * (high / low) ** place


def _top(trials: Sequence[Trial], family: Family, most: int = 3) -> list[Trial]:
    return sorted((t for t in trials if t.family == family), key=lambda t: t.score)[:most]


def _around(best: list[Trial], count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """New seeds for the best configurations, their numbers varied by half or so."""
    old = {n: np.array([best[i % len(best)].config[n] for i in range(count)]) for n in NAMES}
    noise = rng.normal(size=(count, 4))
    lr, decay, span = (
        old[n] * np.exp(0.4 * noise[:, i]) for i, n in enumerate(("lr", "decay", "span"))
    )
    keep = 1 - (1 - old["keep_prob"]) * np.clip(0.95 + 0.15 * noise[:, 3], 0.6, 1.3)
    return _table(lr, decay, keep, np.minimum(span, 1.0))


def _best_network(trials: Sequence[Trial]) -> Trial:
    return min((t for t in trials if t.family.hidden), key=lambda t: t.score)


def _capacity_failed(rounds: Sequence[Round]) -> bool:
    """Whether the last step to more capacity, and all since, lowered no loss on the dev rows."""
    steps = [i for i, r in enumerate(rounds) if r.move.name in ("network", *BIAS)]
    return not any(r.better for r in rounds[steps[-1] :])


def _applies(name: str, problem: Problem, base: Trial) -> bool:
    if name == "augment":
        return problem.image_shape is not None
    # Where shorter schedules did better than those at the limit, longer ones have no point.
    return name != "longer" or base.config["span"] >= 0.5


def _stale(rounds: Sequence[Round]) -> bool:
    """Whether the last refinement brought nothing beyond noise."""
    return rounds[-1].move.name == "refine" and not rounds[-1].better


def _bigger(base: Family) -> Family:
    hidden = tuple(min(2 * h, WIDEST) for h in base.hidden)
    return base._replace(hidden=hidden if hidden != base.hidden else (*hidden, hidden[-1]))


_MAKE = {
    "bigger": _bigger,
    "longer": lambda base: base._replace(epochs=2 * base.epochs),
    "regularise": lambda base: base,
    "augment": lambda base: _bigger(base)._replace(augment=True),
}

_TEXT = {
    "bigger": "a bigger network",
    "longer": "longer training",
    "regularise": "L2 and dropout",
    "augment": "turned and shifted images, in a wider network",
}


def _why(name: str, found: BiasVariance, blocked: bool) -> str:
    reason = {
        "bias": "high bias",
        "both": "bias and variance are both high",
        "variance": "high variance",
        "unclear": "too few rows to tell bias from variance",
    }[found.dominates]
    if found.dominates in ("bias", "both"):
        if blocked:
            reason += ", but more capacity did not help on the dev rows"
        elif name in VARIANCE:
            reason += ", and its own remedies are used up"
        elif found.dominates == "both":
            reason += ", bias comes first"
    return f"{reason}: {_TEXT[name]}"


def _first_network(found: BiasVariance) -> str:
    if found.dominates in ("bias", "both"):
        return "the linear model has high bias: a network with hidden layers"
    return "does a network with hidden layers do better than a line?"
