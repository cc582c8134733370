"""Learning curves as small drawings: a line for each arm, a band from low to high."""

import dataclasses
import math
from typing import Any

import numpy as np

from jaxdl.lab.ledger import words

WIDTH, HEIGHT = 680, 420
LEFT, RIGHT, TOP, BOTTOM = 92, 16, 52, 68
"""In half pixels, so that places can be whole numbers."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm: its place among the colours, the line, the band behind it."""

    name: str
    style: int
    line: str
    band: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """The curves of one family."""

    family: str
    arms: list[Arm]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_name: str
    y_name: str


@dataclasses.dataclass(frozen=True)
class Scale:
    """From values to places on one axis."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, values):
        """Where values lie; NaN where they have no place."""
        values = np.asarray(values, float)
        low, high = self.low, self.high
        if self.log:
            values = np.log10(np.where(values > 0, values, np.nan))
            low, high = math.log10(low), math.log10(high)
        return self.start + (values - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """About four round values with their places."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            step = max(1, (last - first + 1) // 4)
            values = [10.0**power for power in range(first, last + 1, step)]
            values = values if len(values) > 1 else [self.low, self.high]
        else:
            values = _round_values(self.low, self.high)
        return [(float(self(v)), words.figure(float(f"{v:.3g}"))) for v in values]


def panels(items: list[dict[str, Any]]) -> list[Panel]:
    """One drawing for each family; an arm keeps its colour in all of them."""
    styles = {arm: i for i, arm in enumerate(dict.fromkeys(str(c["arm"]) for c in items))}
    families = dict.fromkeys(str(c.get("family", "")) for c in items)
    return [
        _panel(family, [c for c in items if str(c.get("family", "")) == family], styles)
        for family in families
    ]


def _panel(family: str, items: list[dict[str, Any]], styles: dict[str, int]) -> Panel:
    arms = [[_numbers(c[key]) for key in ("x", "median", "low", "high")] for c in items]
    x = _scale([at for at, *_ in arms], LEFT, WIDTH - RIGHT, wide=1e4)
    y = _scale([part for _, *parts in arms for part in parts], HEIGHT - BOTTOM, TOP, wide=30)
    named = [str(c["arm"]) for c in items]
    drawn = [
        Arm(name, styles[name] % 6, _line(x(at), y(middle)), _band(x(at), y(low), y(high)))
        for name, (at, middle, low, high) in zip(named, arms, strict=True)
    ]
    names = items[0]
    return Panel(
        family, drawn, x.ticks(), y.ticks(),
        str(names.get("x_name", "")), str(names.get("y_name", "")),
    )  # fmt: skip


def _numbers(values) -> np.ndarray:
    return np.array([words.number(v) for v in values])


def _scale(arrays: list[np.ndarray], start: float, end: float, wide: float) -> Scale:
    """Over all finite values; logarithmic where they are positive and the range is wide."""
    finite = np.concatenate([a[np.isfinite(a)] for a in arrays] or [np.array([])])
    if not finite.size:
        return Scale(0.0, 1.0, start, end, False)
    low, high = float(finite.min()), float(finite.max())
    if low > 0 and high / low > wide:
        return Scale(low, high, start, end, True)
    room = 0.04 * (high - low) or 0.5
    return Scale(low - room, high + room, start, end, False)


def _round_values(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _line(x: np.ndarray, y: np.ndarray) -> str:
    """A path that is interrupted where there is no value."""
    known = np.isfinite(x) & np.isfinite(y)
    starts = np.flatnonzero(known & ~np.concatenate([[False], known[:-1]]))
    ends = np.flatnonzero(known & ~np.concatenate([known[1:], [False]])) + 1
    return "".join(_path(x[i:j], y[i:j]) for i, j in zip(starts, ends, strict=True))


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """The region between low and high, where all three are known."""
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    if known.sum() < 2:
        return ""
    x, low, high = x[known], low[known], high[known]
    return _path(np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]])) + "Z"


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """From the first point, step by step in whole units: half the bytes of absolute places."""
    points = np.rint(np.stack([x, y], axis=1)).astype(int)
    steps = " ".join(f"{dx} {dy}" for dx, dy in np.diff(points, axis=0))
    return f"M{points[0, 0]} {points[0, 1]}" + (f"l{steps}" if steps else "")
