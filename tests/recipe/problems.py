"""Small tables that the tests of the recipe share."""

import numpy as np
import pandas as pd


def xor(m: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes by the sign of a product: nothing for a line, easy for a network."""
    x = np.random.default_rng(seed).uniform(-1, 1, (m, 2))
    return x, np.where(x[:, 0] * x[:, 1] > 0, "same", "other")


def line(m: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One number that is linear in two others, and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, 2))
    return x, 100 + 30 * x[:, 0] - 10 * x[:, 1] + rng.normal(size=m)


def mixed(m: int = 80, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, text, dates, a constant, row numbers; the target `left` is text."""
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 70, m).astype(float)
    city = rng.choice(["Oslo", "Rome", "Paris"], m)
    left = np.where((age > 45) ^ (city == "Rome"), "yes", "no")
    age[::9] = np.nan
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, m), unit="D")
    return pd.DataFrame(
        {
            "id": np.arange(m), "age": age, "city": city, "joined": day.strftime("%d/%m/%Y"),
            "always": 1, "left": left,
        }
    )  # fmt: skip
