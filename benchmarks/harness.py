"""What every benchmark needs: interleaved timing, the machine's own limit, ratios, a table."""

import dataclasses
import itertools
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

RESULTS = pathlib.Path("results/benchmarks")


def interleave(arms: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 2) -> dict:
    """Seconds of each call, arm after arm in every round, so that noise falls on all alike.

    A call must wait for its result (`jax.block_until_ready`). The order within a round turns, so
    that no arm always follows the same other.
    """
    names = list(arms)
    for name in names:
        for _ in range(warmup):
            arms[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(repeats):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter()
            arms[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Spread":
        low, median, high = np.percentile(np.asarray(values), [25, 50, 75])
        return cls(float(median), float(low), float(high))

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(self.low)}, {number(self.high)}]"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def ratio(a: np.ndarray, b: np.ndarray) -> Spread:
    """Round by round a / b: what both arms met in the same moment cancels."""
    return Spread.of(a / b)


def matmul_rate(repeats: int = 5, sizes: Sequence[int] = (1024, 2048)) -> float:
    """The machine's best float32 matrix-product rate, in FLOP/s: the best of all tries."""
    import jax
    import jax.numpy as jnp

    product = jax.jit(lambda a, b: a @ b)
    best = 0.0
    for n in sizes:
        a = jnp.ones((n, n), jnp.float32)
        times = interleave({"": lambda a=a: product(a, a).block_until_ready()}, repeats)[""]
        best = max(best, 2 * n**3 / float(times.min()))
    return best


def copy_rate(repeats: int = 7, size: int = 32_000_000) -> float:
    """The machine's best rate of reading and writing memory, in bytes/s, by doubling an array."""
    import jax
    import jax.numpy as jnp

    double = jax.jit(lambda a: 2 * a)
    a = jnp.ones(size, jnp.float32)
    times = interleave({"": lambda: double(a).block_until_ready()}, repeats)[""]
    return 2 * 4 * size / float(times.min())


def mlp_flops(sizes: Sequence[int], m: int) -> int:
    """Needed multiply-adds × 2 of one training step: forward, dW, and dX except for the input.

    (6 Σ nᵢ nᵢ₊₁ − 2 n₀ n₁) m
    """
    products = [a * b for a, b in itertools.pairwise(sizes)]
    return (6 * sum(products) - 2 * products[0]) * m


@dataclasses.dataclass(frozen=True)
class Row:
    """One target: what was measured, what was asked for."""

    what: str
    value: Spread | float
    target: str = ""
    met: bool | None = None

    @classmethod
    def at_most(cls, what: str, value: Spread | float, limit: float) -> "Row":
        return cls(what, value, f"≤ {limit:g}", _median(value) <= limit)

    @classmethod
    def at_least(cls, what: str, value: Spread | float, limit: float) -> "Row":
        return cls(what, value, f"≥ {limit:g}", _median(value) >= limit)


def _median(value: Spread | float) -> float:
    return value.median if isinstance(value, Spread) else value


def report(name: str, rows: Sequence[Row], quick: bool) -> dict:
    """Print the table, write `results/benchmarks/NAME.json`, return what was written."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{name}{' (quick)' if quick else ''}", title_justify="left")
    for column in ("measured", "median [quartiles]", "target", ""):
        table.add_column(column)
    marks = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}
    for row in rows:
        shown = number(row.value) if isinstance(row.value, float) else str(row.value)
        table.add_row(row.what, shown, row.target, marks[row.met])
    Console().print(table)
    result = {
        "benchmark": name,
        "quick": quick,
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg(), "cpu": platform.machine()},
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return result
