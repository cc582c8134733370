"""A hypothesis screened without a backward pass: by duality with a forward derivative.

The gradient is linear in what every node sends back, so along a direction u of the parameters

    ⟨change of the gradient, u⟩ = Σ ⟨change of what the nodes send to v, ∂v/∂u⟩

over the variables v they send to, as long as no mutated node depends on another. The forward
derivatives ∂v/∂u are central differences of one rerun of the tape: good to 1e-8, enough to
reject nearly everything that does not fit.
"""

from dataclasses import dataclass

import numpy as np

from jaxdl.gradcheck.replay.backward import Rule, Sweep, cotangent
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.tape import Tape

STEP = 1e-6
LOOSE = 1e-5
"""Relative disagreement up to which a hypothesis goes on to the exact test."""


@dataclass(frozen=True)
class Probe:
    """One direction: what it is on each leaf, and the derivative of every variable along it."""

    direction: list[np.ndarray]
    tangents: list[np.ndarray | None]

    def along(self, gradient) -> float:
        """⟨gradient, u⟩ for a list of leaves."""
        return float(sum(np.sum(g * u) for g, u in zip(gradient, self.direction, strict=True)))


def probe(base: Sweep, leaves: int, seed: int) -> Probe | None:
    """A random direction on some leaves; None without a loss, or where differences disagree."""
    tape = base.tape
    if tape.output < 0:
        return None  # a tape of the leaves alone cannot be run
    rng = np.random.default_rng(seed)
    direction = []
    for i, var in enumerate(tape.raw):
        chosen = leaves >> i & 1 and tape.active[var]
        shape = tape.shape(var)
        direction.append(rng.standard_normal(shape) if chosen else np.zeros(shape))
    with np.errstate(all="ignore"):
        tangents = differences(tape, direction)
    found = Probe(direction, tangents)
    slope = tangents[tape.output]
    slope = 0.0 if slope is None else float(np.sum(slope))
    expected = found.along(base.grads())
    size = sum(float(np.sum(np.abs(g * u))) for g, u in zip(base.grads(), direction, strict=True))
    return found if abs(slope - expected) <= LOOSE * max(size, 1e-300) else None


def differences(tape: Tape, direction: list[np.ndarray]) -> list[np.ndarray | None]:
    """Central differences of every active variable; None for the others."""
    up, down = (moved(tape, direction, step) for step in (STEP, -STEP))
    return [
        None if not active else _slope(np.asarray(a), np.asarray(b))
        for a, b, active in zip(up, down, tape.active, strict=True)
    ]


def _slope(a, b):
    """Of entries that a mask has set to −∞ it is 0, not ∞ − ∞."""
    return np.where(a == b, 0.0, a - b) / (2 * STEP)


def moved(tape: Tape, direction: list[np.ndarray], step: float) -> list:
    """Values of all variables with the parameters moved; inactive ones stay as they are."""
    values = list(tape.values)
    for var, u in zip(tape.raw, direction, strict=True):
        values[var] = values[var] + step * u if tape.active[var] else values[var]
    for node in tape.nodes:
        if not tape.is_active(node.index):
            continue
        ins = [values[v] for v in node.ins]
        outs = node.again(*ins) if node.again else [RULES[node.prim][0](node.params, *ins)]
        for var, out in zip(node.outs, outs, strict=True):
            values[var] = out if tape.active[var] else values[var]
    return values


def projection(base: Sweep, mutation: dict[int, Rule], probes: list[Probe]):
    """For each probe: what the mutation changes along it, and the size of the terms summed."""
    change, size = np.zeros(len(probes)), np.zeros(len(probes))
    for index, rule in mutation.items():
        if index not in base.sent:
            continue
        node = base.tape.nodes[index]
        new = rule(base, node, cotangent(base.tape, node, base.cts))
        for sign, sent in ((1, new), (-1, base.sent[index])):
            for var, ct in sent:
                for k, p in enumerate(probes):
                    term = ct * p.tangents[var]
                    change[k] += sign * np.sum(term)
                    size[k] += np.sum(np.abs(term))
    return change, size
