"""Verdicts taken together: with many claims on one page, some would stand out by chance alone."""

from scipy.special import bdtr, bdtrc

from jaxdl import stats
from jaxdl.lab.ledger.entries import Entry

DECIDED = ("supported", "contradicted")
"""Verdicts that say on which side of its threshold a share lies."""


def holm(entries: list[Entry]) -> dict[str, str]:
    """For each claim that a share decides, a sentence on how its verdict stands among the others.

    Exact binomial test of the number of problems against γ (two-sided: twice the smaller tail),
    corrected by Holm's method over all claims decided by a share. Families of one size weigh
    equally here as in the intervals; the test takes no credit for strata, so that it errs on the
    careful side.

    Returns:
        claim name → sentence, for the claims that are supported or contradicted.
    """
    tested = [e for e in entries if e.share and e.result["n_problems"] > 1]
    if len(tested) < 2:
        return {}
    corrected = stats.holm([_binomial(e) for e in tested])
    return {
        e.name: _sentence(float(p), len(tested))
        for e, p in zip(tested, corrected, strict=True)
        if e.result["verdict"] in DECIDED
    }


def _binomial(entry: Entry) -> float:
    share, n, gamma = entry.share, entry.result["n_problems"], entry.result["gamma"]
    held = round(share["value"] * n) if share else 0
    at_most, at_least = bdtr(held, n, gamma), bdtrc(held - 1, n, gamma) if held else 1.0
    return float(min(1.0, 2 * min(at_most, at_least)))


def _sentence(p: float, n: int) -> str:
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    stands = "it stands" if p <= 0.05 else "it would not stand at 5 %"
    return f"Among the {n} claims that a share decides {stands} (exact binomial, Holm: {shown})."
