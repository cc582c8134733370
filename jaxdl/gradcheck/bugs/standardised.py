"""Normalised arrays, y = (z − μ) / σ or z / RMS(z), with a wrong gradient however they are written.

Recognised by their values: y is z, centred or not, times one number for each group of entries that
is 1/√(its mean square + ε). The true gradient is (ȳ − M ȳ − y M(ȳ y)) / σ, with M the mean over the
group, and without M ȳ where nothing is centred; the variants have a slip in that formula.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.operands import FACTOR
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape

MAKERS = {"div", "mul", "sub", "add"}
DEPTH = 24
"""So many arrays are looked at in search of z."""

LARGEST = 0.5
"""An ε up to this size, relative to a mean square of 1 or more."""

EXACT = 1e-9


class Standard(NamedTuple):
    """y = c / σ along some axes, where c is z or z − μ."""

    z: int
    y: np.ndarray
    c: np.ndarray
    sigma: np.ndarray
    axes: tuple[int, ...]
    centred: bool

    def mean(self, x: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
        """Over the group, or over other axes."""
        return np.mean(x, axis=self.axes if axes is None else axes, keepdims=True)

    def back(self, ct, *, centre=1.0, spread=1.0, y=None, axes=None) -> np.ndarray:
        """ȳ − centre · M ȳ − spread · y M(ȳ y), to be divided by σ."""
        y = self.y if y is None else y
        centre = centre if self.centred else 0.0
        return ct - centre * self.mean(ct, axes) - spread * y * self.mean(ct * y, axes)


def family(case: Case, node: Node) -> dict:
    """Slips in the gradient of a normalisation that ends at this node."""
    tape = case.tape
    if node.prim not in MAKERS or node.opaque is not None or not tape.is_active(node.index):
        return {}
    if not np.size(tape.values[node.outs[0]]) > 1:
        return {}
    with np.errstate(all="ignore"):
        found = next(recognised(tape, node), None)
    if found is None:
        return {}
    return {key: _variant(tape, node, found, *form) for key, form in forms(found).items()}


def _variant(tape: Tape, node: Node, s: Standard, words, text: str, back: Callable) -> Variant:
    """All that comes back to y goes to z by this formula."""
    said = f"the normalisation's gradient {text}{at_line(node)}"

    def rule(sweep, node, ct):
        return [(s.z, back(ct))]

    return Variant(lambda c: rule, tape.leaves[s.z], words, said, 0.55)


def recognised(tape: Tape, node: Node) -> Iterator[Standard]:
    """The normalisations that a node may be the end of; the latest z first."""
    y = np.asarray(tape.values[node.outs[0]])
    for z in sorted(_earlier(tape, node), reverse=True):
        value = tape.values[z]
        for axes in _axes(y):
            for centred in (True, False):
                c = value - np.mean(value, axis=axes, keepdims=True) if centred else value
                if (sigma := _sigma(y, c, axes)) is not None:
                    yield Standard(z, y, c, sigma, axes, centred)


def _earlier(tape: Tape, node: Node) -> set[int]:
    """Active variables of the node's shape that it is made of, in not too many steps."""
    shape, found = tape.shape(node.outs[0]), set[int]()
    stack, seen = list(node.ins), set[int]()
    while stack and len(seen) < DEPTH:
        var = stack.pop(0)
        if var in seen or not tape.active[var]:
            continue
        seen.add(var)
        if tape.shape(var) == shape and len(tape.users(var)) > 1:  # by itself and by its statistics
            found.add(var)
        made = tape.maker(var)
        stack += made.ins if made is not None else ()
    return found


def _axes(y: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Sets of axes that may be a group."""
    long = [axis for axis in range(y.ndim) if y.shape[axis] > 1]
    for count in range(1, len(long) + 1):
        yield from itertools.combinations(long, count)


def _sigma(y: np.ndarray, c: np.ndarray, axes: tuple[int, ...]) -> np.ndarray | None:
    """σ with y = c / σ and σ² = mean c² + ε for one small ε ≥ 0; None if there is none."""
    square = np.mean(c * c, axis=axes, keepdims=True)
    share = np.mean(c * y, axis=axes, keepdims=True) / square
    if not np.all(np.isfinite(share)) or not np.all(share > 0):
        return None
    if not np.allclose(share * c, y, rtol=EXACT, atol=EXACT * float(np.max(np.abs(y)))):
        return None
    epsilon = 1 / share**2 - square
    size = float(np.max(1 / share**2))
    even = np.ptp(epsilon) <= EXACT * size and np.min(epsilon) >= -EXACT * size
    return 1 / share if even and np.max(epsilon) <= LARGEST * max(1.0, size) else None


Forms = dict[str, tuple[tuple[str, ...], str, Callable]]
DROPPED = ("path_dropped", "unknown")
STALE = ("stale_operand", "path_dropped", "unknown")


def forms(s: Standard) -> Forms:
    """(words, what is wrong, the wrong gradient) by name."""
    n = int(np.prod([s.y.shape[axis] for axis in s.axes]))
    whole = tuple(range(s.y.ndim))
    others = [axes for axes in (*((a,) for a in whole), whole) if axes != s.axes]
    found: Forms = {
        "σ left out": (FACTOR, "lacks the factor 1/σ", lambda ct: s.back(ct)),
        "σ twice": (
            ("unknown", "stale_operand", "scale"), "has the factor 1/σ twice",
            lambda ct: s.back(ct) / s.sigma**2,
        ),
        "only σ": (DROPPED, "is ȳ / σ alone", lambda ct: ct / s.sigma),
        "no spread": (
            DROPPED, "does not go through σ", lambda ct: s.back(ct, spread=0.0) / s.sigma,
        ),
        "sign": (
            ("sign", "unknown"), "goes through σ with the wrong sign",
            lambda ct: s.back(ct, spread=-1.0) / s.sigma,
        ),
        "sums": (
            ("scale", "batch_mean_missing", "unknown"), "has sums in place of means",
            lambda ct: s.back(ct, centre=n, spread=n) / s.sigma,
        ),
        "unbiased": (
            ("scale", "batch_mean_doubled", "unknown"), "has n − 1 in place of n on the way to σ",
            lambda ct: s.back(ct, spread=n / (n - 1)) / s.sigma,
        ),
        "no y": (
            STALE, "has y left out on the way to σ",
            lambda ct: (s.back(ct, spread=0.0) - s.mean(ct * s.y)) / s.sigma,
        ),
        "y not summed": (
            STALE, "has y left out of the sum on the way to σ",
            lambda ct: (s.back(ct, spread=0.0) - s.y * s.mean(ct)) / s.sigma,
        ),
        "not divided": (
            STALE, "has z − μ in place of y on the way to σ",
            lambda ct: s.back(ct, y=s.c) / s.sigma,
        ),
    }  # fmt: skip
    if s.centred:
        found["no centre"] = (
            DROPPED, "does not go through μ", lambda ct: s.back(ct, centre=0.0) / s.sigma,
        )  # fmt: skip
    for axes in others:
        along = "all axes" if axes == whole else f"axis {axes[0]}"
        found[f"along {axes}"] = (
            ("unknown", "stale_operand", "transpose"), f"has means over {along}",
            lambda ct, axes=axes: s.back(ct, axes=axes) / s.sigma,
        )  # fmt: skip
    return found
