"""A study: arms that compete on problems drawn from families, all of a family as one program.

    family  a distribution over problems: named numbers that are drawn, and a trial that is traced
    arm     a way of doing it: what a trial is given, from settings such as a learning rate
    trial   (problem, keys, data, **ingredients) -> curves, one value for each checkpoint

Every arm runs on the same problem with the same keys: the same data, first weights, batches and
masks. First each arm tries its settings on seeds of their own; then the protocols, each a rule
that picks a setting for every arm on every problem, run on fresh seeds.
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import errors, population
from jaxdl.lab.scores import Score
from jaxdl.types import Array, Key

Settings: TypeAlias = Mapping[str, float]
Draw: TypeAlias = Callable[[np.random.Generator], float]


class Keys(NamedTuple):
    """The randomness of a trial: of the problem's data, and of the run on it."""

    problem: Key
    run: Key


@dataclasses.dataclass(frozen=True)
class Family:
    """A distribution over problems that share their shapes.

    Attributes:
        name: for tables.
        draws: named numbers that make a problem, each a function of a NumPy generator.
        trial: traceable, `(problem, keys, data, **ingredients)` to a dict of curves, each of the
            length of `checkpoints`; it must hold "cost".
        checkpoints: where the curves have their values, in units of `unit`.
        unit: what the checkpoints count, "steps" or "epochs".
        data: makes the arrays that every trial sees.
        lanes: runs side by side on a device; many where a step is too small to fill it.
        score: where it is another than the study's.
    """

    name: str
    draws: Mapping[str, Draw]
    trial: Callable[..., dict[str, Array]]
    checkpoints: np.ndarray
    unit: str = "steps"
    data: Callable[[], Any] = tuple
    lanes: int | None = None
    score: Score | None = None


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way of doing it.

    Arms with the very same `ingredients` function are compiled once: what tells them apart is
    then in `fixed`.

    Attributes:
        name: for tables.
        ingredients: settings and `fixed` (traced numbers) to the keyword arguments of a trial.
        settings: what may be tried, one dict each; every arm of a study has equally many.
        default: the setting of someone who tunes nothing; needed by the protocol "default".
        fixed: numbers that belong to the arm under every protocol.
    """

    name: str
    ingredients: Callable[[Settings], dict[str, Any]]
    settings: Sequence[Settings] = ({},)
    default: Settings | None = None
    fixed: Settings = dataclasses.field(default_factory=dict)


PROTOCOLS = ("tuned", "same", "default")
"""Equal tuning budgets; the setting that is best for the second arm; what a library starts with."""


@dataclasses.dataclass(frozen=True)
class Study:
    """What is compared on what, and how: fixed before the run.

    Attributes:
        families: weigh equally.
        arms: those compared and any controls.
        better: the arm that the claim favours.
        than: the arm it is compared with.
        score: (curves of every arm, checkpoints) to a number for every run, less being better;
            see `scores`.
        unit: in which the score is measured.
        protocols: of `PROTOCOLS`; the first decides.
        moderators: name to function of a problem's numbers, giving the stratum; declared before
            the run, because a verdict may depend on them.
        crossed: pairs of moderators whose strata are shown as a table; "family" is one too.
        tune_by: the score by which settings are chosen, where it is another: a penalty is chosen
            on other examples than those it is judged on.
        margin: differences of scores within ±margin are of no practical importance; None
            where no margin was fixed.
    """

    families: Sequence[Family]
    arms: Sequence[Arm]
    better: str
    than: str
    score: Score
    unit: str = "log₂ of the steps to the target"
    protocols: Sequence[str] = ("tuned",)
    moderators: Mapping[str, Callable[[Settings], str | None]] = dataclasses.field(
        default_factory=dict
    )
    crossed: Sequence[tuple[str, str]] = ()
    tune_by: Score | None = None
    margin: float | None = None

    def __post_init__(self):
        names = [arm.name for arm in self.arms]
        for wanted in (self.better, self.than):
            if wanted not in names:
                raise errors.unknown_name("arm", wanted, names)
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise errors.unknown_name("protocol", protocol, PROTOCOLS)
        counts = {arm.name: len(arm.settings) for arm in self.arms}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"Every arm must have equally many settings, for a fair search; got {counts}."
            )
        for arm in self.arms:
            if "default" in self.protocols and arm.default is None:
                raise ValueError(f'Protocol "default" needs a default setting of arm {arm.name!r}.')


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is run: problems of each family, seeds for each, seeds for tuning, the root seed.

    `families` limits a smoke run to the first so many; None is all of them.
    """

    problems: int = 32
    seeds: int = 2
    tuning_seeds: int = 1
    seed: int = 0
    families: int | None = None


class Runs(NamedTuple):
    """What one family gave.

    `curves[protocol][arm][name]` is (problems, seeds, checkpoints), `scores[protocol][arm]`
    (problems, seeds); `chosen[protocol][arm][name]` the settings used, (problems,); `edge[arm]`
    the share of problems whose best setting lies at an end of those tried.
    """

    problems: dict[str, np.ndarray]
    curves: dict[str, dict[str, dict[str, np.ndarray]]]
    scores: dict[str, dict[str, np.ndarray]]
    chosen: dict[str, dict[str, dict[str, np.ndarray]]]
    edge: dict[str, float]

    def to_plain(self) -> dict[str, Any]:
        """What a result file keeps: problems, scores and settings, rounded."""
        return {
            "problems": _rounded(self.problems),
            "scores": _rounded(self.scores),
            "settings": _rounded(self.chosen),
        }


def _rounded(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _rounded(part) for name, part in values.items()}
    if np.ndim(values):
        return [_rounded(part) for part in values]
    return float(f"{float(values):.5g}")


def run(study: Study, sizes: Any) -> dict[str, Runs]:
    """Every family of the study, by its name.

    Args:
        study: what is compared.
        sizes: has the attributes of `Sizes`.
    """
    families = study.families[: getattr(sizes, "families", None)]
    return {family.name: _run_family(study, family, sizes) for family in families}


def _run_family(study: Study, family: Family, sizes: Any) -> Runs:
    problems = draw(family, sizes.problems, sizes.seed)
    trials = len(study.arms[0].settings)
    tuning = [
        _rows(problems, sizes.tuning_seeds, {a.name: _repeat(a.settings[i], problems) for a in
              study.arms}, first_seed=1000)
        for i in range(trials)
    ]  # fmt: skip
    program = population.prepare(
        _program(study, family, sizes.seed), _join(tuning), family.data(), lanes=family.lanes
    )
    shape = (trials, sizes.problems, sizes.tuning_seeds)
    tried = _shaped(program(_join(tuning)).outputs, shape)
    best = _best(study, family, tried)
    chosen = {p: _choose(study, p, best, problems) for p in study.protocols}
    rows = [_rows(problems, sizes.seeds, chosen[p], first_seed=0) for p in study.protocols]
    shape = (len(rows), sizes.problems, sizes.seeds)
    found = _shaped(program(_join(rows)).outputs, shape)
    score = (family.score or study.score)(found, family.checkpoints)
    curves, scores = {}, {}
    for i, p in enumerate(study.protocols):
        curves[p] = {arm: {n: c[i] for n, c in all_.items()} for arm, all_ in found.items()}
        scores[p] = {arm: values[i] for arm, values in score.items()}
    ends = {arm: float(np.mean((k == 0) | (k == trials - 1))) for arm, k in best.items()}
    return Runs(problems, curves, scores, chosen, ends if trials > 2 else {})


def draw(family: Family, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` problems: their numbers by name. The first ones do not depend on how many follow."""
    own = _number(family)
    rows = [
        {name: float(d(rng)) for name, d in family.draws.items()}
        for rng in (np.random.default_rng([seed, own, i]) for i in range(count))
    ]
    return {name: np.array([row[name] for row in rows]) for name in family.draws} | {
        "instance": np.arange(count)
    }


def _number(family):
    """Made of the name: two families of one kind must not hold the same problems twice.

    Intervals count the problems of all families as independent.
    """
    return zlib.crc32(family.name.encode())


def _program(study, family, seed):
    def trial(config, data):
        problem = {n: v for n, v in config.items() if "/" not in n and n != "seed"}
        own = jax.random.fold_in(jax.random.key(seed), _number(family))
        key = jax.random.fold_in(own, config["instance"])
        keys = Keys(key, jax.random.fold_in(key, config["seed"]))
        out = {}
        for arms in _alike(study.arms):
            given = [
                {n: config[f"{arm.name}/{n}"] for n in arm.settings[0]}
                | {n: jnp.asarray(v, float) for n, v in arm.fixed.items()}
                for arm in arms
            ]
            make = arms[0].ingredients
            found = _each(lambda s, make=make: family.trial(problem, keys, data, **make(s)), given)
            out |= zip((arm.name for arm in arms), found, strict=True)
        return out

    return trial


def _alike(arms):
    """Arms by their `ingredients`."""
    groups: dict[int, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(id(arm.ingredients), []).append(arm)
    return groups.values()


def _each(fn, given):
    """`fn` of each dict of numbers, one after another, compiled once."""
    if len(given) == 1:
        return [fn(given[0])]
    found = lax.map(fn, {n: jnp.stack([g[n] for g in given]) for n in given[0]})
    return [jax.tree.map(lambda a, i=i: a[i], found) for i in range(len(given))]


def _rows(problems, seeds, settings, first_seed):
    """One configuration for each problem and seed, in that order."""
    columns = dict(problems)
    for arm, chosen in settings.items():
        columns |= {f"{arm}/{name}": values for name, values in chosen.items()}
    count = len(problems["instance"])
    rows = {name: np.repeat(values, seeds) for name, values in columns.items()}
    return rows | {"seed": np.tile(np.arange(first_seed, first_seed + seeds), count)}


def _repeat(settings, problems):
    count = len(problems["instance"])
    return {name: np.full(count, value, float) for name, value in settings.items()}


def _join(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shaped(outputs, shape):
    return {
        arm: {n: np.asarray(c, np.float64).reshape(*shape, -1) for n, c in curves.items()}
        for arm, curves in outputs.items()
    }


def _best(study, family, tried):
    """The setting with the least mean score over the tuning seeds, for every arm and problem.

    Where a setting never arrives its last cost decides, behind all settings that do.
    """
    score = study.tune_by or family.score or study.score
    scores, best = score(tried, family.checkpoints), {}
    for arm, curves in tried.items():
        last = np.nan_to_num(curves["cost"][..., -1], nan=np.inf, posinf=np.inf).mean(axis=2)
        best[arm] = np.lexsort((last, scores[arm].mean(axis=2)), axis=0)[0]
    return best


def _choose(study, protocol, best, problems):
    """The settings of every arm on every problem under a protocol."""
    arms = {arm.name: arm for arm in study.arms}

    def picked(settings, index):
        names = settings[0]
        return {n: np.array([settings[k][n] for k in index], float) for n in names}

    if protocol == "tuned":
        return {name: picked(arm.settings, best[name]) for name, arm in arms.items()}
    if protocol == "same":
        base = arms[study.than].settings
        return {name: picked(base, best[study.than]) for name in arms}
    return {name: _repeat(arm.default, problems) for name, arm in arms.items()}
