"""Monomials: a product of several arrays, each multiplied or divided by, written in any order.

γ · (z − μ) / s may be (γ (z − μ)) / s or γ ((z − μ) / s). Bugs are slips of one factor, whatever
the order, so that the product is seen as a whole: y = Π xᵢ^pᵢ with pᵢ = ±1, each factor repeated
to the shape of y.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.tape import Node, Tape

REPEATS = ("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "copy")
"""These commute with a product."""

MOST_FACTORS = 8


class Factor(NamedTuple):
    """A factor x^p of a product, with what brings x to the shape of the product."""

    var: int
    power: int
    shape: tuple[int, ...]
    path: tuple[Node, ...]

    def spread(self, value) -> np.ndarray:
        """A value in place of x, in the shape of the product."""
        value = np.broadcast_to(value, self.shape)
        for node in self.path:
            value = RULES[node.prim][0](node.params, value)
        return np.asarray(value)

    def gathered(self, tape: Tape, ct) -> np.ndarray:
        """The cotangent of x, given that of x in the shape of the product."""
        for node in reversed(self.path):
            ins, out = [tape.values[v] for v in node.ins], tape.values[node.outs[0]]
            (ct,) = RULES[node.prim][1](node.params, np.broadcast_to(ct, out.shape), ins, out)
        return ct


class Monomial(NamedTuple):
    """A node whose output is a product of factors, none of which is a product itself."""

    top: Node
    factors: tuple[Factor, ...]

    def values(self, tape: Tape) -> list[np.ndarray]:
        """Every factor in the shape of the product."""
        return [f.spread(tape.values[f.var]) for f in self.factors]

    def slope(self, values: list, i: int, others: Mapping[int, np.ndarray | float] = {}):
        """∂y/∂xᵢ, with other arrays in place of some of the factors beside it."""
        return self.times_own(i, values, self.beside(values, i, others))

    def true_slope(self, tape: Tape, i: int):
        """∂y/∂xᵢ, remembered."""
        key = ("slope", self.top.index, i)
        if key not in tape.memo:
            tape.memo[key] = self.slope(self.values(tape), i)
        return tape.memo[key]

    def beside(self, values: list, i: int, others: Mapping[int, np.ndarray | float] = {}):
        """The product of all factors but the i-th."""
        out = np.asarray(1.0)
        for j, f in enumerate(self.factors):
            if j != i:
                x = others.get(j, values[j])
                out = out * x if f.power > 0 else out / x
        return out

    def times_own(self, i: int, values: list, beside):
        """∂y/∂xᵢ from the product of the others: that itself, or −(…)/xᵢ²."""
        return beside if self.factors[i].power > 0 else -beside / values[i] ** 2

    def moving(self, tape: Tape) -> list[int]:
        """Numbers of the factors that a cotangent is sent to."""
        return [i for i, f in enumerate(self.factors) if tape.active[f.var]]


def is_top(tape: Tape, node: Node) -> bool:
    """Is it a product that is no factor of a longer one?"""
    if node.prim not in ("mul", "div") or not tape.is_active(node.index):
        return False
    var = node.outs[0]
    while len(users := tape.users(var)) == 1:
        user = tape.nodes[users[0][0]]
        if user.prim in ("mul", "div"):
            return False
        if user.prim not in REPEATS:
            return True
        var = user.outs[0]
    return True


def monomial(tape: Tape, node: Node) -> Monomial | None:
    """The longest product that ends at this node, or None if it ends at none."""
    key = ("monomial", node.index)
    if key not in tape.memo:
        found = _factors(tape, node, 1, ()) if is_top(tape, node) else []
        tape.memo[key] = Monomial(node, tuple(found)) if 2 <= len(found) <= MOST_FACTORS else None
    return tape.memo[key]


def _factors(tape: Tape, node: Node, power: int, path: tuple[Node, ...]) -> list[Factor]:
    found = []
    for p, var in enumerate(node.ins):
        sign = -power if node.prim == "div" and p == 1 else power
        if not tape.active[var]:  # NumPy repeats it
            found.append(Factor(var, sign, tape.shape(node.outs[0]), path))
            continue
        way, made = path, tape.maker(var)
        while made is not None and made.prim in REPEATS and var not in tape.inputs:
            way, var = (made, *way), made.ins[0]
            made = tape.maker(var)
        if made is not None and made.prim in ("mul", "div"):
            found += _factors(tape, made, sign, way)
        else:
            found.append(Factor(var, sign, tape.shape(var), way))
    return found
