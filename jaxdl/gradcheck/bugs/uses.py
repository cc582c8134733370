"""A leaf that is used several times, with some of the uses left out of its gradient.

Time steps, examples of a loop, the branches of a siamese network: the leaf's gradient is the sum
of what its uses send. Which ones are missing is read off by least squares: the weights are ones
and zeros if the caller's gradient is that sum without some of its terms, and twos if some have the
wrong sign.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.dropped import flat
from jaxdl.gradcheck.bugs.edges import scaled_edge
from jaxdl.gradcheck.bugs.subsets import loop_words
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import by_position, shift
from jaxdl.gradcheck.replay.leaves import is_shared
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import at_line, bits, line, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector

MAX_USES = 64
MOST_USERS = 5
"""So many uses of one array are looked at in all combinations."""

EXACT = 1e-5
"""How far a least-squares weight may be from a whole number."""

Use = tuple[int, int]  # node, operand position


class Uses(NamedTuple):
    """The hypothesis that some uses of a leaf are left out of its gradient, or negated."""

    leaf: int
    negated: bool
    selector: Selector

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """A rule at every use that is missing here, if such a set fits."""
        sites = uses(case.tape, self.leaf)
        lost = lost_uses(case, self.leaf, sites, 2.0 if self.negated else 1.0)
        if not lost:
            return []
        factor = -1.0 if self.negated else 0.0
        words, text = _named(case, self.leaf, sites, lost, self.negated)
        return [
            (index, Variant(lambda c, p=places: scaled(p, factor), 0, words, text, 0.95))
            for index, places in by_node(lost).items()
        ]


def by_node(edges: Iterable[Use]) -> dict[int, tuple[int, ...]]:
    """The operand positions of these uses at every node that makes one."""
    found: dict[int, tuple[int, ...]] = {}
    for index, position in edges:
        found[index] = (*found.get(index, ()), position)
    return found


def some_uses(
    tape: Tape, made: Node, which: tuple[int, ...], count: int
) -> dict[int, tuple[int, ...]]:
    """Some of the `count` uses of what a node makes, by node; nothing if there are more or less."""
    edges = sorted(tape.users(made.outs[0]))
    return by_node(edges[k] for k in which) if len(edges) == count else {}


def scaled(positions: tuple[int, ...], factor: float):
    """The true rule with what goes to some operands multiplied by a factor."""
    if len(positions) == 1:
        return scaled_edge(positions[0], factor)

    def rule(sweep, node: Node, ct):
        sent = dict(zip(positions, (factor,) * len(positions), strict=True))
        return [(node.ins[p], sent.get(p, 1.0) * x) for p, x in by_position(sweep.tape, node, ct)]

    return rule


def uses(tape: Tape, leaf: int) -> list[Use]:
    """Edges by which a leaf, sliced or reshaped perhaps, enters something else."""
    found, stack = [], [tape.inputs[leaf]]
    while stack:
        for index, position in tape.users(stack.pop()):
            node = tape.nodes[index]
            if index in penalty_nodes(tape):
                continue
            if node.prim in PLUMBING and len(tape.moving(node)) == 1:
                stack.append(node.outs[0])
            else:
                found.append((index, position))
    return sorted(found)


def lost_uses(case: Case, leaf: int, sites: list[Use], weight: float) -> list[Use]:
    """The uses without which (`weight` 1) or with which negated (2) the leaf's gradient fits."""
    goal = 1 << leaf
    if not 2 <= len(sites) <= MAX_USES or len(sites) >= case.hand[leaf].size:
        return []
    parts = [flat(case, shift(case.base, {n: scaled_edge(p, 0.0)}, goal), goal) for n, p in sites]
    target = flat(case, dict(enumerate(case.rest())), goal)
    fit, *_ = np.linalg.lstsq(np.stack(parts, axis=1), target, rcond=None)
    missing = np.abs(fit - weight) <= EXACT
    if missing.all() or not np.all(missing | (np.abs(fit) <= EXACT)):
        return []
    return [site for site, gone in zip(sites, missing, strict=True) if gone]


def _named(case: Case, leaf: int, sites: list[Use], lost: list[Use], negated: bool):
    tape = case.tape
    node, position = tape.nodes[lost[0][0]], lost[0][1]
    numbers = ", ".join(str(sites.index(site)) for site in lost[:6])
    at = f" (one is{at_line(node)})" if line(node) else ""
    if negated:
        return ("sign",), f"of {len(sites)} uses, number {numbers} count with the wrong sign{at}"
    lines = {tape.line(tape.nodes[index]) for index, _ in sites}
    words = ("shared_weight_missed", "path_dropped")
    if len(lines) == 1:
        words, _ = loop_words(case, node, position, [index for index, _ in sites])
    elif not is_shared(tape, leaf):
        words = words[::-1]
    return words, f"of {len(sites)} uses, number {numbers} are left out of the gradient{at}"


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Uses]:
    """One for every wrong leaf with several uses."""
    for leaf in bits(case.wrong()):
        if fits(1 << leaf) and 2 <= len(sites := uses(case.tape, leaf)) <= MAX_USES:
            selector = Selector("group", case.tape.key(case.tape.nodes[sites[0][0]]))
            yield Uses(leaf, False, selector)
            yield Uses(leaf, True, selector)
