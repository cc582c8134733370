"""Slips of one factor in a product of several, whatever the order it is written in.

For y = Π xᵢ^pᵢ (see `replay.monomials`) what goes to xᵢ is ct · ∂y/∂xᵢ. Here a factor is left out
or another array stands in its place, on the way to all the others or to some; another array stands
for the product of all the others; or the gradient of a later array is taken for that of y. Slips
at one product of two arrays are in `operands`.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from jaxdl.gradcheck.bugs.operands import FACTOR, between
from jaxdl.gradcheck.hypotheses import Case, Families, Hypothesis, Variant, hypotheses_of
from jaxdl.gradcheck.replay.addresses import arranged, variables
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.monomials import Monomial, monomial
from jaxdl.gradcheck.replay.structure import at_line, is_mask, leaf_source, made
from jaxdl.gradcheck.replay.tape import Node, Tape

UNFINISHED = ("stale_operand", "path_dropped", "activation_derivative_missing", "unknown")
"""A factor left out on the way to one other: an array used as it was before it, such as a centred
one for a standardised."""

Slope = Callable[[int], np.ndarray]
"""i -> what is taken for ∂y/∂xᵢ."""


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Hypothesis]:
    """A slip of one factor, wherever there is a product of three arrays or more."""
    return hypotheses_of(case, Families((family,), ()), fits)


def family(case: Case, node: Node) -> dict:
    """Wrong factors on the ways back through a product of three arrays or more."""
    tape = case.tape
    product = monomial(tape, node)
    if product is None or sum(_varies(tape, f.var) for f in product.factors) < 3:
        return {}
    values = product.values(tape)
    with np.errstate(all="ignore"):
        return {
            **_left_out(case, product, values),
            **_replaced(case, product, values),
            **_stale(case, product, values),
            **_cotangents(case, product, values),
        }


def sending(product: Monomial, values: list, wrong: Slope, to: tuple[int, ...], ct_of=None) -> Rule:
    """The true rule, straight to the factors, but for those in `to`."""
    wrong = cache(wrong)

    def rule(sweep, node, ct):
        tape, sent = sweep.tape, []
        for i in product.moving(tape):
            own = ct if ct_of is None or i not in to else ct_of(sweep)
            slope = wrong(i) if i in to else product.true_slope(tape, i)
            f = product.factors[i]
            sent.append((f.var, f.gathered(tape, own * slope)))
        return sent

    return rule


def _varies(tape: Tape, var: int) -> bool:
    """Is it neither a constant nor a mask? Those have names of their own."""
    value = np.asarray(tape.values[var])
    return tape.active[var] or not (value.size < 2 or np.all(value == value.flat[0])
                                    or is_mask(value))  # fmt: skip


def _targets(tape: Tape, product: Monomial, k: int) -> Iterator[tuple[int, ...]]:
    """Sets of factors to which the k-th may be lost: all others, those that are no leaves, one."""
    others = tuple(i for i in product.moving(tape) if i != k)
    inner = tuple(i for i in others if leaf_source(tape, product.factors[i].var) is None)
    yield from dict.fromkeys(to for to in (others, inner, *((i,) for i in others)) if to)


def reach(tape: Tape, product: Monomial, to: tuple[int, ...]) -> int:
    """Bit mask of the leaves that some factors depend on."""
    mask = 0
    for i in to:
        mask |= tape.leaves[product.factors[i].var]
    return mask


def _left_out(case: Case, product: Monomial, values: list) -> dict:
    """A factor left out on the way to some of the others."""
    tape, found = case.tape, {}
    at = at_line(product.top)
    for k, f in enumerate(product.factors):
        for to in _targets(tape, product, k) if _varies(tape, f.var) else ():
            found["left out", k, to] = Variant(
                lambda c, k=k, to=to: sending(
                    product, values, lambda i: product.slope(values, i, {k: 1.0}), to
                ),
                reach(tape, product, to), FACTOR if len(to) > 1 else UNFINISHED,
                f"the factor {made(tape, f.var)} is left out on the way back{at}", 0.68,
            )  # fmt: skip
    return found


def _replaced(case: Case, product: Monomial, values: list) -> dict:
    """Another array in place of a factor, on the way to several of the others."""
    tape, found = case.tape, {}
    at = at_line(product.top)
    for k, f in enumerate(product.factors):
        targets = [to for to in _targets(tape, product, k) if len(to) > 1]
        if not targets or not _varies(tape, f.var):
            continue
        for address, var in variables(tape, product.top, tape.shape(f.var)):
            if var == f.var or var in tape.raw or not np.any(tape.values[var]):
                continue
            value = f.spread(tape.values[var])
            for to in targets:
                found["replaced", k, to, address] = Variant(
                    lambda c, k=k, to=to, value=value: sending(
                        product, values, lambda i: product.slope(values, i, {k: value}), to
                    ),
                    reach(tape, product, to), ("stale_operand",),
                    f"the array {made(tape, var)} is used in place of a factor{at}", 0.75,
                )  # fmt: skip
    return found


def _is_beside(product: Monomial, i: int) -> bool:
    """Is the product of all the others the other operand of the last step, seen by `operands`?"""
    operands = product.top.ins[product.top.prim == "div" :]
    entering = [f.path[-1].outs[0] if f.path else f.var for f in product.factors]
    return entering[i] in operands and entering.count(entering[i]) == 1


def _stale(case: Case, product: Monomial, values: list) -> dict:
    """Another array in place of the product of all the others."""
    tape, found = case.tape, {}
    shape = tape.shape(product.top.outs[0])
    factors = {f.var for f in product.factors}
    ends = [i for i in product.moving(tape) if not _is_beside(product, i)]
    at = at_line(product.top)
    for address, var, order in arranged(tape, product.top, shape):
        if var in tape.raw or not np.any(tape.values[var]):
            continue
        value = np.transpose(tape.values[var], order)
        words = ("stale_operand", "unknown") if var in factors else ("stale_operand",)
        for i in ends:
            found["stale", i, address] = Variant(
                lambda c, i=i, value=value: sending(
                    product, values, lambda i: product.times_own(i, values, value), (i,)
                ),
                tape.leaves[product.factors[i].var], words,
                f"the array {made(tape, var)} is used in place of a product{at}", 0.67,
            )  # fmt: skip
    return found


def _cotangents(case: Case, product: Monomial, values: list) -> dict:
    """On the way to a parameter, the gradient of a later array in place of that of the product."""
    tape, found = case.tape, {}
    out = product.top.outs[0]
    leaves = [i for i, f in enumerate(product.factors) if leaf_source(tape, f.var) is not None]
    ends = [i for i in leaves if not _is_beside(product, i)]
    if not ends:
        return {}
    at = at_line(product.top)
    for address, var in variables(tape, product.top, tape.shape(out)):
        if not tape.active[var] or var <= out:
            continue
        words, text = between(tape, out, var)
        for i in ends:
            found["cotangent", i, address] = Variant(
                lambda c, i=i, var=var: sending(
                    product, values, lambda i: product.slope(values, i), (i,),
                    lambda sweep: sweep.ct(var),
                ),
                tape.leaves[product.factors[i].var], words, text + at, 0.9,
            )  # fmt: skip
    return found
