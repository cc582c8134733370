"""An ε or a limit inside a factor of a product, ignored on the way back but not by later layers.

(z − μ) / √(σ² + ε): whoever writes √σ² in the gradient has the derivative of another normalisation,
at the same z and with the same gradient of its output. Who keeps the normalised array of the
forward pass changes fewer places. A tape that is run again from the ε on, up to the end of the
product, has the arrays of this gradient.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.products import reach, sending
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.monomials import REPEATS, Monomial, monomial
from jaxdl.gradcheck.replay.regions import is_epsilon, is_small
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.structure import at_line, leaf_source
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector, selectors

WHERE = ("everywhere", "but for parameters", "outside")
"""In all that goes back; all but the gradients of parameters in the product; in one factor 1/σ."""

POWERS = ("sqrt", "rsqrt", "pow", "integer_pow", *REPEATS)
"""Steps from σ² + ε to a factor of the product."""

ROOTS = ("sqrt", "rsqrt", "pow")


class WithoutEpsilon(NamedTuple):
    """The hypothesis that the selected ε are ignored on the way back, as far as `where` says."""

    selector: Selector
    where: str

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """Rules at the ends of the products and at the steps that lead to their factor."""
        tape, found = case.tape, []
        for index in self.selector.nodes(tape):
            node = tape.nodes[index]
            text = f"the ε or limit{at_line(node)} is ignored on the way back"
            found += [
                (n, Variant(lambda c, rule=rule: rule, 0, ("clip_or_eps_ignored",), text, 0.6))
                for n, rule in _rules(tape, node, self.where).items()
            ]
        return found


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[WithoutEpsilon]:
    """Three for every ε in a factor."""
    tape = case.tape
    for selector in selectors(tape):
        found = [m for i in selector.nodes(tape) for m in way_out(tape, tape.nodes[i])[1]]
        for where in WHERE if found else ():
            mask = 0
            for product in found:
                mask |= reach(tape, product, concerned(tape, product, where))
            if fits(mask):
                yield WithoutEpsilon(selector, where)


def concerned(tape: Tape, product: Monomial, where: str) -> tuple[int, ...]:
    """Numbers of the factors that get another cotangent."""
    moving = product.moving(tape)
    if where == "everywhere":
        return tuple(moving)
    return tuple(i for i in moving if leaf_source(tape, product.factors[i].var) is None)


def way_out(tape: Tape, node: Node) -> tuple[list[Node], list[Monomial]]:
    """Steps from an ε to a factor, and the products that have it; nothing if it is no such ε."""
    small = is_epsilon(tape, node)
    if not tape.is_active(node.index) or not (small or is_small(tape, node)):
        return [], []
    steps, var = [node], node.outs[0]
    while len(users := tape.users(var)) == 1 and tape.nodes[users[0][0]].prim in POWERS:
        steps.append(tape.nodes[users[0][0]])
        var = steps[-1].outs[0]
    if not (small or any(step.prim in ROOTS for step in steps)):
        return [], []
    for count in range(len(steps), 0, -1):
        var = steps[count - 1].outs[0]
        found = [m for m in products(tape) if any(f.var == var for f in m.factors)]
        if found:
            return steps[:count], found
    return [], []


def products(tape: Tape) -> list[Monomial]:
    """Every longest product of the tape."""
    if "products" not in tape.memo:
        found = [monomial(tape, node) for node in tape.nodes]
        tape.memo["products"] = [m for m in found if m is not None]
    return tape.memo["products"]


def _rules(tape: Tape, node: Node, where: str) -> dict[int, Rule]:
    steps, found = way_out(tape, node)
    if not found:
        return {}
    (p,) = tape.moving(node)
    new = {node.outs[0]: tape.values[node.ins[p]]}
    with np.errstate(all="ignore"):
        for step in steps[1:]:
            ins = [new.get(v, tape.values[v]) for v in step.ins]
            new[step.outs[0]] = np.asarray(RULES[step.prim][0](step.params, *ins))
        ends = {m.top.index: _end(tape, m, new, where) for m in found}
    return ends if where == "outside" else ends | {step.index: _at(new) for step in steps}


def _end(tape: Tape, product: Monomial, new: dict[int, np.ndarray], where: str) -> Rule:
    values = product.values(tape)
    pairs = list(zip(product.factors, values, strict=True))
    changed = [f.spread(new[f.var]) if f.var in new else x for f, x in pairs]
    to = concerned(tape, product, where)
    if where != "outside":
        return sending(product, values, lambda i: product.slope(changed, i), to)
    ratio = next((b / a) ** f.power for (f, a), b in zip(pairs, changed, strict=True) if a is not b)
    return sending(product, values, lambda i: product.slope(values, i) * ratio, to)


def _at(new: dict[int, np.ndarray]) -> Rule:
    """The true rule at other values; what gives back its operand passes the cotangent on."""

    def rule(sweep, node, ct):
        tape = sweep.tape
        (p,) = tape.moving(node)
        if node.ins[p] not in new:
            return [(node.ins[p], ct)]
        ins = [new[v] if q == p else tape.values[v] for q, v in enumerate(node.ins)]
        back = RULES[node.prim][1](node.params, ct, ins, new[node.outs[0]])
        return [(node.ins[p], back[p])]

    return rule
