"""A cotangent sent past a region: to its source, times a derivative of our choice."""

from collections.abc import Callable

from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.regions import Region
from jaxdl.gradcheck.replay.structure import line
from jaxdl.gradcheck.replay.tape import Tape


def diverted(region: Region, derivative: Callable) -> Callable[[float], Rule]:
    """A rule at the end of a region: the cotangent goes to z, times a given derivative."""

    def make(c):
        def rule(sweep, node, ct):
            return [(region.z, ct * derivative(sweep, node, ct))]

        return rule

    return make


def made_at(tape: Tape, var: int) -> str:
    """Where an array is made, in brackets, if known."""
    index = tape.producer[var]
    place = "" if index is None else line(tape.nodes[index])
    return f" (the one made at {place})" if place else ""
