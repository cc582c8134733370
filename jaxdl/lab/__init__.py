"""Claims, experiments, verdicts and the pages that show them."""

from jaxdl.lab.claim import VERDICTS, Claim, Estimate, Judgement, Source
from jaxdl.lab.runner import main, main_of_package, run_one

__all__ = [
    "VERDICTS",
    "Claim",
    "Estimate",
    "Judgement",
    "Source",
    "main",
    "main_of_package",
    "run_one",
]
