"""Claims, studies, verdicts and the pages that show them."""

from jaxdl.lab.claim import GAMMA, VERDICTS, Claim, Estimate, Judgement, Source
from jaxdl.lab.report import chart, experiment, judge
from jaxdl.lab.runner import main, main_of_package, run_one
from jaxdl.lab.study import Arm, Family, Sizes, Study, run

__all__ = [
    "GAMMA",
    "VERDICTS",
    "Arm",
    "Claim",
    "Estimate",
    "Family",
    "Judgement",
    "Sizes",
    "Source",
    "Study",
    "chart",
    "experiment",
    "judge",
    "main",
    "main_of_package",
    "run",
    "run_one",
]
