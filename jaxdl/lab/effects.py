"""A paired comparison of two arms as a result file holds it, for the strip of dots on its card."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxdl import stats
from jaxdl.stats.effect import median


def effect(
    better: str,
    than: str,
    a: np.ndarray,
    b: np.ndarray,
    families: Sequence | np.ndarray,
    *,
    name: str,
    protocol: str = "as declared",
    primary: bool = True,
    larger_is_better: bool = True,
) -> dict[str, Any]:
    """The entry of `Judgement.effects` for arm `better` against `than`.

    Args:
        better: name of the arm with scores `a`.
        than: name of the arm with scores `b`.
        a: (n_problems, n_seeds) or (n_problems,), ±inf for a run that never got there.
        b: of the same shape, same problems and seeds.
        families: (n_problems,) labels; where one has a single problem, all count as one family.
        name: what the differences are, with their unit; positive favours `better`.
        protocol: how settings were chosen.
        primary: whether the verdict rests on it.
        larger_is_better: False for costs, errors and steps.
    """
    names = np.asarray(families).astype(str)
    alone = np.unique(names, return_counts=True)[1].min() < 2
    found = stats.compare(
        a, b, None if alone else names, key=jax.random.key(0), larger_is_better=larger_is_better
    )
    d = stats.differences(a, b, larger_is_better)
    return {
        "protocol": protocol,
        "better": better,
        "than": than,
        "primary": primary,
        "problem_poi": found.problem._asdict(),
        "run_poi": found.run._asdict(),
        "effect": {"name": name, **found.effect._asdict()},
        "differences": [round(float(v), 4) for v in (median(d) if d.ndim == 2 else d)],
        "families": names.tolist(),
    }
