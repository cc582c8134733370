"""What an experiment states before it runs, and what it may say afterwards."""

import dataclasses
from collections.abc import Sequence
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


GAMMA = {
    "always": 0.99,
    "never": 0.99,
    "almost always": 0.90,
    "usually": 0.75,
    "default": 0.75,
    "often": 0.50,
    "can": 0.50,
}
"""The share of problems that a word of the notes stands for, fixed before any run."""

STANCES = ("agrees", "partly", "disagrees")
"""How a source stands to the sentence of the notes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What the literature says: a reference, its finding, and its stance to the notes' sentence."""

    reference: str
    says: str
    stance: str

    def __post_init__(self):
        if self.stance not in STANCES:
            raise ValueError(f"stance must be one of {STANCES}; got {self.stance!r}.")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A testable statement, fixed before the measurement.

    Attributes:
        name: the experiment's file name without `.py`.
        title: a few words, for tables.
        quote: the sentence of the notes that is put to the test.
        section: the heading under which the notes say it.
        quantifier: how often it is said to hold ("almost always", "usually", "exactly", ...).
        gamma: the share of problems that the quantifier stands for: by default the word's own in
            `GAMMA`; None for exact statements.
        number: the numbers of the claim in the ledger, such as "9" or "31/47".
        headline: whether it is one of those that run when none is named.
        literature: what others have found.
    """

    name: str
    title: str
    quote: str
    section: str
    quantifier: str = "exactly"
    gamma: float | None = None
    number: str = ""
    headline: bool = False
    literature: tuple[Source, ...] = ()

    def __post_init__(self):
        if self.gamma is None:
            object.__setattr__(self, "gamma", GAMMA.get(self.quantifier))


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
        arms: {"name", "role"}: what was compared; role is "better", "than" or "control".
        strata: {"by", "n", "value", "low", "high"}: the share of problems in which the claim
            holds, among those that `by` names: {"family": "quadratic"}, {"batch": "16"}.
        effects: one dict for each comparison; see `study.judge`.
        curves: {"protocol", "family", "arm", "x", "median", "low", "high", "x_name", "y_name"}.
    """

    verdict: str
    sentence: str
    estimate: Estimate
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    n_problems: int = 1
    n_seeds: int = 1
    arms: Sequence[dict[str, Any]] = ()
    strata: Sequence[dict[str, Any]] = ()
    effects: Sequence[dict[str, Any]] = ()
    curves: Sequence[dict[str, Any]] = ()

    def __post_init__(self):
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {VERDICTS}; got {self.verdict!r}.")
