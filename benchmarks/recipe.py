"""The basic recipe beside a tuned scikit-learn network and boosted trees, on the same splits.

    python -m benchmarks recipe            # 10 splits of 5 data sets, 20 s a fit: about 40 minutes
    python -m benchmarks recipe --quick    # 2 splits, 8 s a fit
    python -m benchmarks.recipe --splits 0 1 2 --sets wine iris     # some of it

Every fit is written down when it is done, so the command goes on where it was stopped; a fit
counts only with the time and the version of the code's protocol it was made with. Scores are
test accuracy or R², in points, on a quarter of the rows. The table has the mean of recipe − peer
over the splits, with its 95 % interval; the recipe passes against the tuned network if the mean
over the sets is at least −0.5 and no set's interval lies wholly below 0.
"""

import argparse
import json
import time

import numpy as np

from benchmarks import _recipe_peers as peers
from benchmarks import harness

SETS = ("digits", "breast_cancer", "wine", "diabetes", "iris")
ARMS = {
    "tuned MLP": (peers.tuned_mlp, -0.5),
    "histogram trees": (peers.trees("HistGradientBoosting"), -1.0),
    "gradient trees": (peers.trees("GradientBoosting"), -1.0),
}
SPLITS, SECONDS = tuple(range(10)), 20.0
RUNS = harness.RESULTS / "recipe_runs.jsonl"


def run(quick: bool = False) -> dict:
    return compare(SETS, SPLITS[:2] if quick else SPLITS, 8.0 if quick else SECONDS, quick)


def compare(sets, splits, seconds: float, quick: bool) -> dict:
    """Make the fits that are missing, then the table."""
    from jaxdl import devices

    devices.use_cpu_devices()
    found = _known(seconds)
    for split in splits:
        for name in sets:
            for arm in ("recipe", *ARMS):
                if (name, split, arm) not in found:
                    found[name, split, arm] = _one(name, split, arm, seconds)
    return harness.report("recipe", _rows(found, sets, splits), quick)


def _rows(found, sets, splits):
    rows, low = [], {}
    for arm, (_, target) in ARMS.items():
        means = []
        for name in sets:
            d = np.array([found[name, s, "recipe"] - found[name, s, arm] for s in splits])
            half = _half(d)
            means.append(d.mean())
            low[name, arm] = d.mean() + half
            shown = harness.Spread(
                *(round(float(v), 6) for v in (d.mean(), d.mean() - half, d.mean() + half))
            )
            rows.append(harness.Row(f"{name}, against {arm}", shown))
        pooled = float(np.mean(means))
        pooled = round(pooled, 6)
        rows.append(harness.Row.at_least(f"all sets, against {arm}", pooled, target))
    worst = float(min(low[name, "tuned MLP"] for name in sets))
    rows.append(harness.Row.at_least("tuned MLP: lowest upper end", worst, 0.0))
    for arm in ("recipe", *ARMS):
        score = float(np.mean([found[n, s, arm] for n in sets for s in splits]))
        rows.append(harness.Row(f"{arm}: mean score", score))
    return rows


def _half(d: np.ndarray) -> float:
    """Half of Student's 95 % interval of the mean difference over the splits."""
    from scipy.stats import t

    if len(d) < 2:
        return float("inf")
    return float(t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)))


def _one(name: str, split: int, arm: str, seconds: float) -> float:
    """Fit one arm on one split; its score in points, written down."""
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.model_selection import train_test_split

    from jaxdl import data, recipe

    d = data.load(name)
    classes = d.y.dtype.kind in "iu"
    x, x_test, y, y_test = train_test_split(
        d.x, d.y, test_size=0.25, random_state=split, stratify=d.y if classes else None
    )
    start = time.monotonic()
    if arm == "recipe":
        part = d._replace(x=x, y=y)
        result = recipe.run(part, test=(x_test, y_test), seconds=seconds, seed=split)
        assert result.test is not None
        score = 100 * next(iter(result.test.scores.values())).value
    else:
        predict = ARMS[arm][0](x, y, classes, seconds, split)
        score = 100 * float((accuracy_score if classes else r2_score)(y_test, predict(x_test)))
    took = time.monotonic() - start
    row = {"set": name, "split": split, "arm": arm, "budget": seconds, "score": score, "s": took}
    RUNS.parent.mkdir(parents=True, exist_ok=True)
    with open(RUNS, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
    print(f"{name:<14} split {split}  {arm:<22} {score:6.2f}  in {took:5.1f} s", flush=True)
    return score


def _known(seconds: float) -> dict:
    if not RUNS.exists():
        return {}
    lines = [json.loads(line) for line in RUNS.read_text().splitlines()]
    return {(r["set"], r["split"], r["arm"]): r["score"] for r in lines if r["budget"] == seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--splits", nargs="+", type=int, default=SPLITS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    chosen = parser.parse_args()
    compare(chosen.sets, chosen.splits, chosen.seconds, quick=False)
