"""The backward pass over a tape, with any node's rule replaced.

A `Mutation` maps node indices to rules; a rule gets the sweep, the node and the cotangent of
its output and returns the cotangents it sends on, as (variable, cotangent) pairs. Because the
backward pass is linear in cotangents, a mutation costs only the part of the tape above it:
`shift` propagates the difference it makes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck.replay.pullbacks import Pullback, pullback
from jaxdl.gradcheck.replay.tape import Node, Tape

Sent = list[tuple[int, Any]]
Rule = Callable[["Sweep", Node, Any], Sent]
Mutation = Mapping[int, Rule]


@dataclass
class Sweep:
    """One backward pass: the cotangent of every variable and what every node sent.

    `seeds` holds the cotangents that it started from, if these are not 1 at the loss.
    """

    tape: Tape
    mutation: Mutation = field(default_factory=dict)
    cts: dict[int, Any] = field(default_factory=dict)
    sent: dict[int, Sent] = field(default_factory=dict)
    seeds: dict[int, Any] | None = None

    def ct(self, var: int):
        """Cotangent of a variable; zeros if nothing reaches it."""
        found = self.cts.get(var)
        return np.zeros(self.tape.shape(var)) if found is None else found

    def grads(self) -> list[np.ndarray]:
        """Gradient of every parameter leaf."""
        return [self.ct(v) for v in self.tape.raw]


def by_position(tape: Tape, node: Node, ct, leaves: int = -1) -> list[tuple[int, Any]]:
    """What the node's own backward rule gives: (operand position, cotangent) pairs.

    Operands that depend on no leaf of the bit mask `leaves` are left out.
    """
    if node.opaque is not None:
        back = node.opaque(ct, [tape.values[i] for i in node.ins])
        return [(p, c) for p, c in enumerate(back) if c is not None and tape.active[node.ins[p]]]
    found = []
    for position, var, back in pullbacks(tape, node):
        if tape.leaves[var] & leaves and (sent := back(ct)) is not None:
            found.append((position, sent))
    return found


def pullbacks(tape: Tape, node: Node) -> list[tuple[int, int, Pullback]]:
    """(position, variable, pullback) of every active operand of a node with a rule of ours."""
    key = ("pullbacks", node.index)
    if key not in tape.memo:
        ins, out = [tape.values[i] for i in node.ins], tape.values[node.outs[0]]
        tape.memo[key] = [
            (p, node.ins[p], pullback(node.prim, node.params, ins, out, p))
            for p in tape.moving(node)
        ]
    return tape.memo[key]


def true_rule(sweep: Sweep, node: Node, ct) -> Sent:
    """What the node's own backward rule sends to its active operands."""
    return [(node.ins[p], c) for p, c in by_position(sweep.tape, node, ct)]


def cotangent(tape: Tape, node: Node, cts: Mapping[int, Any]):
    """The output cotangent of a node in the form its rule takes, or None."""
    if node.opaque is None:
        return cts.get(node.outs[0])
    if not any(v in cts for v in node.outs):
        return None
    floating = [v for v in node.outs if jnp.issubdtype(tape.values[v].dtype, np.inexact)]
    return [cts.get(v, np.zeros(tape.shape(v))) for v in floating]


def add_to(cts: dict[int, Any], var: int, ct) -> None:
    """Accumulate."""
    cts[var] = cts[var] + ct if var in cts else ct


def sweep(
    tape: Tape, mutation: Mutation | None = None, seeds: dict[int, Any] | None = None
) -> Sweep:
    """The whole backward pass, from the loss or from given cotangents."""
    mutation = mutation or {}
    cts = {tape.output: np.ones(tape.shape(tape.output))} if seeds is None else dict(seeds)
    out = Sweep(tape, mutation, cts, {}, seeds)
    with np.errstate(all="ignore"):
        for node in reversed(tape.nodes):
            if not tape.active[node.outs[0]] and node.opaque is None:
                continue
            ct = cotangent(tape, node, out.cts)
            if ct is None:
                continue
            out.sent[node.index] = mutation.get(node.index, true_rule)(out, node, ct)
            for var, c in out.sent[node.index]:
                add_to(out.cts, var, c)
    return out


class View(Sweep):
    """A sweep seen with a difference added to its cotangents."""

    def __init__(self, base: Sweep, delta: Mapping[int, Any]):
        super().__init__(base.tape, base.mutation, base.cts, base.sent, base.seeds)
        self.delta = delta

    def ct(self, var: int):
        """Cotangent of a variable, the difference included."""
        found = super().ct(var)
        return found + self.delta[var] if var in self.delta else found


def shift(base: Sweep, mutation: Mutation, leaves: int = -1) -> dict[int, np.ndarray]:
    """What a further mutation changes: leaf number -> difference of its gradient.

    Leaves that do not change are absent, and so are those outside the bit mask `leaves`.
    """
    if not mutation:
        return {}
    tape, delta = base.tape, {}
    view = View(base, delta)
    with np.errstate(all="ignore"):
        for index in range(max(mutation), -1, -1):
            for var, ct in change_at(view, mutation, tape.nodes[index], leaves):
                add_to(delta, var, ct)
    return {k: delta[v] for k, v in enumerate(tape.raw) if v in delta}


def change_at(view: View, mutation: Mutation, node: Node, leaves: int = -1) -> Sent:
    """What a node sends under a further mutation, less what it sends without.

    To variables that depend on leaves of the bit mask alone.
    """
    tape, index = view.tape, node.index
    change = cotangent(tape, node, view.delta)
    rule = mutation.get(index, view.mutation.get(index))
    if rule is not None and index in view.sent:
        if change is None and index not in mutation:
            return []
        now = rule(view, node, _sum(cotangent(tape, node, view.cts), change))
        both = [*now, *((var, -ct) for var, ct in view.sent[index])]
        return [(var, ct) for var, ct in both if tape.leaves[var] & leaves]
    if change is None:
        return []
    return [(node.ins[p], ct) for p, ct in by_position(tape, node, change, leaves)]


def _sum(ct: Any, change: Any):
    """A cotangent with a difference added; both are lists for nodes of several outputs."""
    if change is None:
        return ct
    if isinstance(ct, list):
        return [a + b for a, b in zip(ct, change, strict=True)]
    return ct + change
