"""The right gradient of a slightly different loss: without its ε, clip, mask or constant factor.

The caller's gradient recomputes the forward pass; what is left out there changes every array
behind it. The tape is run again with the node passed through, and every rule uses the new
values.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.masks import mask_words
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.regions import is_epsilon, is_limit
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.structure import at_line, factor_of, mask_of
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector, selectors


class Step(NamedTuple):
    """What is computed in place of a node: a primitive of some of its operands."""

    prim: str
    of: tuple[int, ...]

    def inputs(self, node: Node, values) -> list[np.ndarray]:
        """The operands, of the shape that the node's result has."""
        shape = np.shape(values[node.outs[0]])
        return [np.broadcast_to(values[node.ins[p]], shape) for p in self.of]


class WithoutStep(NamedTuple):
    """The hypothesis that the selected nodes are left out of the forward pass, too."""

    selector: Selector
    local: bool  # only until other parameters come in
    both: bool = False  # with a limit the other one beside it

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """The rules of all nodes that see other values."""
        tape = case.tape
        skipped = [i for i in self.selector.nodes(tape) if left_out(tape, tape.nodes[i])]
        if self.both:
            skipped = with_other_limits(tape, skipped)
        if not skipped:
            return []
        steps = {i: Step("copy", tuple(tape.moving(tape.nodes[i]))) for i in skipped}
        key = ("without", *self)
        if key not in case.memo:
            case.memo[key] = rerun(tape, steps, self.local)
        values, touched = case.memo[key]
        first = tape.nodes[skipped[0]]
        words, what = left_out(tape, first) or ((), "")
        if len({factor_of(tape, tape.nodes[i]) for i in skipped}) > 1:  # such as a weight a step
            words, what = ("unknown", "scale"), "its factors"
        text = f"the gradient is that of a loss without {what}{at_line(first)}"
        return at_other_values(values, touched, steps, words, text, 0.7)


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[WithoutStep]:
    """One for every step that a gradient may forget."""
    tape = case.tape
    for selector in selectors(tape):
        nodes = [tape.nodes[i] for i in selector.nodes(tape)]
        if any(left_out(tape, n) for n in nodes):
            yield WithoutStep(selector, False)
            yield WithoutStep(selector, True)
        if with_other_limits(tape, [n.index for n in nodes]):
            yield WithoutStep(selector, False, both=True)


def with_other_limits(tape: Tape, nodes: list[int]) -> list[int]:
    """Limits with the next one that each of them goes into; nothing if one goes into none."""
    found = []
    for index in nodes:
        users = tape.users(tape.nodes[index].outs[0])
        pair = [index, *(n for n, _ in users)]
        if len(pair) != 2 or not all(is_limit(tape, tape.nodes[n]) for n in pair):
            return []
        found += pair
    return found


def left_out(tape: Tape, node: Node) -> tuple[tuple[str, ...], str] | None:
    """Words for a step that may be forgotten, or None."""
    if len(tape.moving(node)) != 1:
        return None
    if is_epsilon(tape, node):
        return ("clip_or_eps_ignored",), "its ε or clip"
    if mask_of(tape, node) is not None:
        return mask_words(tape, node), "its mask"
    if factor_of(tape, node) is not None:
        return ("scale", "stale_operand", "path_dropped", "unknown"), "a constant factor"
    return None


def rerun(tape: Tape, steps: Mapping[int, Step], local: bool):
    """(values, touched): the tape with other steps at some nodes, and who sees a difference.

    With `local`, only nodes that depend on no other parameters than these nodes do.
    """
    leaves = max(tape.leaves[tape.nodes[i].outs[0]] for i in steps)
    values = list(tape.values)
    changed: set[int] = set()
    touched = []
    with np.errstate(all="ignore"):
        for node in tape.nodes[min(steps) :]:
            if node.index in steps:
                step = steps[node.index]
                outs = [np.asarray(RULES[step.prim][0]({}, *step.inputs(node, values)))]
            elif changed & set(node.ins):
                outs = node.outputs([values[i] for i in node.ins])
            else:
                continue
            for var, out in zip(node.outs, outs, strict=True):
                values[var] = out
            changed |= set(node.outs)
            far = local and tape.leaves[node.outs[0]] & ~leaves
            if tape.is_active(node.index) and not far:
                touched.append(node.index)
    return values, touched


def at_other_values(
    values, touched: list[int], steps: Mapping[int, Step], words: tuple[str, ...], text: str, cost
) -> list[tuple[int, Variant]]:
    """For each node that sees other values its rule there, or that of the step in its place."""
    return [
        (i, Variant(lambda c, i=i: rule_of(values, steps.get(i)), 0, words, text, cost))
        for i in touched
    ]


def rule_of(values, step: Step | None) -> Rule:
    """The rule of a node, or of the step in its place, at other values."""

    def rule(sweep, node, ct):
        tape = sweep.tape
        if node.opaque is not None:
            back = node.opaque(ct, [values[v] for v in node.ins])
            return [(v, c) for v, c in zip(node.ins, back, strict=True) if sends(tape, v, c)]
        if step is None:
            variables, prim, params = node.ins, node.prim, node.params
            ins = [values[v] for v in variables]
        else:
            variables, prim, params = [node.ins[p] for p in step.of], step.prim, {}
            ins = step.inputs(node, values)
        back = RULES[prim][1](params, ct, ins, values[node.outs[0]])
        return [(v, c) for v, c in zip(variables, back, strict=True) if sends(tape, v, c)]

    return rule


def sends(tape: Tape, var: int, ct) -> bool:
    """Is there a cotangent, and does the variable move?"""
    return ct is not None and tape.active[var]
