"""Where a rule is replaced: at one line, in a helper wherever it is called, at a primitive."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jaxdl.gradcheck.replay.structure import innermost
from jaxdl.gradcheck.replay.tape import Tape

LEVELS: dict[str, Callable[[tuple], tuple]] = {
    "group": lambda key: key,  # one line, one set of leaves
    "line": lambda key: key[:2],  # whatever leaves it depends on
    "place": lambda key: (key[0], innermost(key[1])),  # a helper, whoever calls it
    "kind": lambda key: key[:1],  # a primitive
}
"""What groups of nodes are taken together: those with an equal value of this function."""

COSTS = {"group": 0.0, "line": 0.3, "place": 0.4, "kind": 0.6}


class Selector(NamedTuple):
    """Which nodes are mutated together."""

    level: str  # of `LEVELS`
    key: Any

    def nodes(self, tape: Tape) -> list[int]:
        """Node indices at one point."""
        if self.level == "group":
            return tape.groups.get(self.key, [])
        return members(tape, self.level).get(self.key, [])


def members(tape: Tape, level: str) -> dict[tuple, list[int]]:
    """Node indices by what they share at this level."""
    if ("members", level) not in tape.memo:
        found: dict[tuple, list[int]] = {}
        for key, indices in tape.groups.items():
            found.setdefault(LEVELS[level](key), []).extend(indices)
        tape.memo["members", level] = found
    return tape.memo["members", level]


def selectors(tape: Tape) -> Iterator[Selector]:
    """Every line for one set of leaves; then whole lines; then helpers; then whole primitives."""
    groups: list[Any] = [k for k, nodes in tape.groups.items() if tape.is_active(nodes[0])]
    yield from (Selector("group", key) for key in groups)
    for level in ("line", "place", "kind"):
        parts: dict[tuple, set] = {}
        for key in groups:
            parts.setdefault(LEVELS[level](key), set()).add(_finer(level, key))
        yield from (Selector(level, key) for key, few in parts.items() if len(few) > 1)


def _finer(level: str, key: tuple) -> tuple:
    """What a level joins: of lines the groups, of helpers and primitives the lines."""
    return key if level == "line" else key[:2]
