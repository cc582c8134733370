"""Verdicts taken together: with many claims on one page, some would stand out by chance alone."""

from jaxdl import stats
from jaxdl.lab.ledger.entries import Entry

DECIDED = ("supported", "contradicted")
"""Verdicts that say on which side of its threshold a share lies."""


def holm(entries: list[Entry]) -> dict[str, str]:
    """For each claim that a share decides, a sentence on how its verdict stands among the others.

    Two-sided exact binomial test of the number of problems against γ, corrected by Holm's method
    over all claims decided by a share. Families of one size weigh equally here as in the
    intervals; the test takes no credit for strata, so that it errs on the careful side.

    Returns:
        claim name → sentence, for the claims that are supported or contradicted.
    """
    from scipy.stats import binomtest

    tested = [e for e in entries if e.share and e.result["n_problems"] > 1]
    if len(tested) < 2:
        return {}
    raw = [
        binomtest(round(e.share["value"] * n), n, e.result["gamma"]).pvalue
        for e in tested
        if e.share and (n := e.result["n_problems"])
    ]
    corrected = stats.holm(raw)
    return {
        e.name: _sentence(float(p), len(tested))
        for e, p in zip(tested, corrected, strict=True)
        if e.result["verdict"] in DECIDED
    }


def _sentence(p: float, n: int) -> str:
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    stands = "it stands" if p <= 0.05 else "it would not stand at 5%"
    return f"Among the {n} claims that a share decides {stands} (exact binomial, Holm: {shown})."
