"""What an experiment states before it runs, and what it may say afterwards."""

import dataclasses
from typing import Any

VERDICTS = (
    "supported",
    "contradicted",
    "depends",
    "equivalent",
    "inconclusive",
    "exact",
    "out of scope",
)
"""What a full or default run may conclude; a smoke run concludes nothing."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A testable statement, fixed before the measurement.

    Attributes:
        name: the experiment's file name without `.py`.
        title: a few words, for tables.
        quote: the sentence of the notes that is put to the test.
        section: the heading under which the notes say it.
        quantifier: how often it is said to hold ("almost always", "usually", "exactly", ...).
        gamma: the share of problems that the quantifier stands for; None for exact statements.
    """

    name: str
    title: str
    quote: str
    section: str
    quantifier: str = "exactly"
    gamma: float | None = None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The number that decides, with its interval; low = high = value where nothing is random."""

    name: str
    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, name: str, value: float) -> "Estimate":
        """A number that the same command reproduces, so that it needs no interval."""
        return cls(name, value, value, value)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What was found.

    Attributes:
        verdict: one of `VERDICTS`.
        sentence: the finding with its numbers, as a person would say it.
        estimate: the deciding number.
        figures: further numbers for the page, by their names.
        n_problems: how many independent problems the verdict rests on.
        n_seeds: how many seeds each.
    """

    verdict: str
    sentence: str
    estimate: Estimate
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    n_problems: int = 1
    n_seeds: int = 1

    def __post_init__(self):
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {VERDICTS}; got {self.verdict!r}.")
