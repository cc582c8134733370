"""The options of a check, and what it has learned so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxdl.errors import unknown_name
from jaxdl.gradcheck.call import Call
from jaxdl.gradcheck.judge import Comparison
from jaxdl.gradcheck.problem import Finding
from jaxdl.gradcheck.shadow import Evaluation, Shadow

POINTS = ("given", "perturbed")
ORACLES = ("auto", "ad+fd", "ad", "fd")


@dataclass(frozen=True)
class Settings:
    """The options of `check`; see there."""

    batch_argnums: tuple[int, ...] | None
    batch_axis: int
    points: tuple[str, ...]
    oracle: str
    diagnose: bool
    seed: int
    budget_s: float

    @staticmethod
    def of(
        batch_argnums: int | Sequence[int] | None,
        batch_axis: int,
        points: Sequence[str],
        oracle: str,
        diagnose: bool,
        seed: int,
        budget_s: float,
    ) -> "Settings":
        """The options, checked.

        Raises:
            ValueError: for an unknown point or oracle.
        """
        points = (points,) if isinstance(points, str) else tuple(points)
        for name in points:
            if name not in POINTS:
                raise unknown_name("point", name, POINTS)
        if oracle not in ORACLES:
            raise unknown_name("oracle", oracle, ORACLES)
        if batch_argnums is not None:
            argnums = (batch_argnums,) if isinstance(batch_argnums, int) else batch_argnums
            batch_argnums = tuple(int(i) for i in argnums)
        return Settings(batch_argnums, batch_axis, points, oracle, diagnose, int(seed), budget_s)


@dataclass
class Run:
    """One check under way: each stage adds what it finds.

    Attributes:
        shadow: both functions in float64.
        settings: the options.
        started: `time.perf_counter()` at the start.
        given: both functions at the given point.
        compared: both gradients at each point.
        findings: faults named so far; any makes the verdict FAIL.
        doubts: why the verdict can be no PASS although nothing is wrong; any makes it
            INCONCLUSIVE.
        notes: what else a reader should know.
        adequacy: what this check could not have seen.
        referee: a sentence on finite differences.
        wrong: whether leaves differ that `findings` does not explain yet.
    """

    shadow: Shadow
    settings: Settings
    started: float
    batch_size: int | None = None
    given: Evaluation | None = None
    compared: list[Comparison] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    adequacy: list[str] = field(default_factory=list)
    referee: str = ""
    explained: set[int] = field(default_factory=set)

    @property
    def call(self) -> Call:
        """The call that is checked."""
        return self.shadow.call

    def wrong_points(self) -> list[int]:
        """Indices of the points where any leaf differs."""
        return [i for i, point in enumerate(self.compared) if point.wrong()]

    def wrong_leaves(self) -> list[int]:
        """Leaves that differ at any point and that no finding explains yet."""
        wrong = {k for point in self.compared for k in point.wrong()}
        return sorted(wrong - self.explained)
