"""What a fitted coefficient is: a constant, the batch size, one over it, or none of these."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

CLOSE = 1e-6
"""Relative: a coefficient is fitted to rounding, so that this is generous."""


class Law(NamedTuple):
    """c = factor · m^power at every point; `sure` if two batch sizes told them apart."""

    factor: float
    power: int
    sure: bool


def same(values: Sequence[float]) -> bool:
    """Are all values the same number?"""
    scale = max(abs(v) for v in values)
    return max(values) - min(values) <= CLOSE * max(scale, 1e-3)


def law(cs: Sequence[float], sizes: Sequence[int | None]) -> Law | None:
    """The law that the coefficients at several batch sizes follow, or None."""
    known = [m for m in sizes if m is not None]
    if same(cs):
        factor = 0.0 if abs(cs[0]) <= CLOSE else cs[0]  # nobody writes a factor as small as that
        return Law(factor, 0, len(set(known)) > 1)
    if len(known) < len(sizes):
        return None
    for power in (1, -1):
        factors = [c / m**power for c, m in zip(cs, known, strict=True)]
        if same(factors):
            return Law(factors[0], power, True)
    return None


def off_by_one(cs: Sequence[float], sizes: Sequence[int | None]) -> bool:
    """Is it m/(m−1) or its inverse: an average over one example more or fewer?"""
    if any(m is None or m < 2 for m in sizes) or same(cs):
        return False
    ratio = [m / (m - 1) for m in sizes if m is not None]
    return any(same([c / r**p for c, r in zip(cs, ratio, strict=True)]) for p in (1, -1))


def close(a: float, b: float) -> bool:
    """Equal to the accuracy of a fit."""
    return math.isclose(a, b, rel_tol=CLOSE, abs_tol=1e-9)


def is_simple(c: float) -> bool:
    """A whole number up to 64 or a fraction of small ones, such as people write."""
    near = Fraction(c).limit_denominator(12)
    return close(float(near), c) and abs(near.numerator) <= (64 if near.denominator == 1 else 12)


def along(axes: tuple[int, ...]) -> str:
    """Axes as a person writes them: axis 0, axes 0 and 2."""
    names = [str(axis) for axis in axes]
    return (
        f"axis {names[0]}" if len(names) == 1 else f"axes {', '.join(names[:-1])} and {names[-1]}"
    )


def written(c: float) -> str:
    """A number as a person writes it: 2, 1/3, 0.8, 1.2345."""
    near = Fraction(c).limit_denominator(64)
    if close(float(near), c):
        short = f"{c:g}"
        return short if near.denominator in (1, 2, 4, 5, 8, 10) else str(near)
    return f"{c:.6g}"
