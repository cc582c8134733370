"""Elementwise functions with a wrong derivative: left out, of another formula, at another place.

A region is everything elementwise between a variable z and a variable a that depends on z
alone: one primitive, or a formula such as 1/(1 + exp(−z)). Its true derivative da/dz is
replaced as a whole: the cotangent of a goes to z times the wrong derivative.
"""

import numpy as np

from jaxdl.gradcheck.bugs import slopes
from jaxdl.gradcheck.bugs.diverted import diverted, made_at
from jaxdl.gradcheck.bugs.formulas import FORMULAS, OF_OUTPUT, TWICE, UNSAID, VALUES
from jaxdl.gradcheck.bugs.masks import mask_words
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.regions import (
    ALGEBRAIC,
    KINKED,
    LARGER,
    Region,
    ends_here,
    has_bound,
    is_clip,
    is_epsilon,
    is_linear,
    is_small,
    picks,
    regions,
)
from jaxdl.gradcheck.replay.structure import (
    at_line,
    decides,
    factor_of,
    is_no_dropout,
    mask_of,
)
from jaxdl.gradcheck.replay.tape import Node, Tape

NO_ACTIVATION = ALGEBRAIC | {"exp", "exp2", "expm1", "log", "log1p", "abs"}
"""Functions that stand in terms of a loss and before scales rather than between layers."""

WRONG = ("activation_derivative_wrong",)

AGAIN = ("stale_operand", "path_dropped", "activation_derivative_missing", "unknown")
"""Further words for f′ times z or f(z): as if something were not divided by it."""


def family(case: Case, node: Node) -> dict:
    """Wrong derivatives of every region that ends at this node."""
    found: dict = {}
    with np.errstate(all="ignore"):
        for depth, region in enumerate(regions(case.tape, node)):
            if ends_here(case.tape, node, region):
                for key, variant in _variants(case, node, region).items():
                    found[(depth, key)] = variant
    return found


def _variants(case: Case, node: Node, region: Region) -> dict:
    tape = case.tape
    z = tape.values[region.z]
    _, d = region.evaluate(tape, z)
    at = at_line(node)
    algebraic = 0.6 if all(plain(tape, n) for n in region.nodes) else 0.0
    unsaid = ("unknown",) if algebraic else ()  # a product or a square is no activation

    def variant(value, words, text, cost):
        if not np.any(value):
            return None  # a dropped path, which has a name of its own
        cost += algebraic
        value = np.broadcast_to(value, np.shape(z))
        return Variant(
            diverted(region, lambda sweep, node, ct: value),
            tape.leaves[region.z], words, text + at, cost,
        )  # fmt: skip

    found: dict = {
        "missing": variant(1.0, *_missing(case, node, region, d), 0.3),
        **_formulas(tape, node, region, d, unsaid, variant),
        **_at_other_values(tape, region, d, unsaid, variant),
        **_skips(tape, region, z, variant),
        **_branches(case, region, z, variant),
    }
    if is_kinked(tape, region):
        found.update(slopes.variants(case, node, region, z, d, at))
    found.update(_elsewhere(case, node, region, d, at))
    return {key: v for key, v in found.items() if v is not None}


def is_kinked(tape: Tape, region: Region) -> bool:
    """Has it two sides, told apart by the parameters?"""
    return any(n.prim in KINKED and decides(tape, n) for n in region.nodes)


def _missing(case: Case, node: Node, region: Region, d) -> tuple[tuple[str, ...], str]:
    """Words and text for a derivative that is left out."""
    tape = case.tape
    words: tuple[str, ...] = ("activation_derivative_missing",)
    text = "the derivative of the elementwise function is left out"
    if is_clip(tape, region):
        words, text = ("clip_or_eps_ignored",), "the clip is ignored"
    elif is_kinked(tape, region):
        words += ("relu_mask_wrong",)
    if all(n.prim in NO_ACTIVATION or is_linear(tape, n) for n in region.nodes):
        # For these a forgotten factor of the chain rule gives the same.
        words += ("stale_operand", "path_dropped", "unknown")
    if np.size(tape.values[region.z]) == 1 and len(tape.lines[tape.line(node)]) == 1:
        words += ("scale",)
    if np.size(d) > 1 and is_multiple(1.0, d):  # as of z/2
        words = ("scale", *words)
    unseen = case.base.ct(region.a) == 0
    if np.any(d) and np.all((d == -1) | unseen):  # as of a hinge that is squared
        words, text = ("sign", *words), "the sign is wrong"
    if _is_in_softplus(tape, region):  # σ(−z) for its σ(z)
        words = (*WRONG, *words)
    return words, text


def _formulas(tape: Tape, node: Node, region: Region, d, unsaid, variant) -> dict:
    """Another function's derivative, or one that is half right."""
    z, a = tape.values[region.z], tape.values[region.a]
    kinked = is_kinked(tape, region)
    sums = node.prim in ("add", "sub") and len(tape.moving(node)) == 1
    added = tape.values[node.ins[tape.moving(node)[0]]] if sums else None
    found = {}
    for name, formula in FORMULAS.items():
        value = formula(z, a, d)
        masks = kinked and is_switch(d) and is_switch(value)
        text = f"the derivative is taken as {name}"
        first = ("unknown",) if unsaid or name in UNSAID else ("relu_mask_wrong",) * masks
        if np.size(d) > 1 and is_multiple(value, d):
            first = ("scale",)
        if name == "a" and added is not None and agree(d, added):  # exp z + ε for exp z
            first = ("clip_or_eps_ignored", "unknown")
        again = name in VALUES or agree(value, z * d) or agree(value, a * d)
        last = AGAIN if again and not unsaid else ()
        cost = 0.75 if name in UNSAID or name in TWICE else 0.7
        found[name] = variant(value, (*first, *WRONG, *last), text, cost)
    return found


def _at_other_values(tape: Tape, region: Region, d, unsaid, variant) -> dict:
    """f′ at f(z), and −f′(−z)."""
    z, a = tape.values[region.z], tape.values[region.a]
    # Where f is linear in pieces, the slope at f(z) may be that of one piece, whatever z is.
    flat = all(n.prim in KINKED or is_linear(tape, n) for n in region.nodes)
    mirrored = -region.evaluate(tape, -z)[1]
    apart = mirrored - d  # of a softplus a constant, which may be a term that is forgotten
    also = ("path_dropped", "stale_operand") if agree(apart, np.ravel(apart)[:1]) else ()
    sides = ("relu_mask_wrong",) * is_kinked(tape, region)
    sides += ("clip_or_eps_ignored",) * any(is_epsilon(tape, n) for n in region.nodes)
    first = region.nodes[0]
    shifted = first.prim in ("add", "sub") and len(tape.moving(first)) == 1
    whose = "a term of the function's argument" if shifted else "the function's argument"
    return {
        "at output": variant(
            region.evaluate(tape, a)[1],
            (*unsaid, *WRONG, *sides),
            "f′ is evaluated at f's output, f′(a)",
            0.6 if flat else 0.4,
        ),
        "mirrored": variant(
            mirrored,
            ("unknown", *WRONG, "sign", *also),
            f"{whose} has the wrong sign: −f′(−z)",
            0.6,
        ),
    }


def _skips(tape: Tape, region: Region, z, variant) -> dict:
    """One step of the function left out, or all its limits."""
    found, steps = {}, [n for n in region.nodes if len(tape.moving(n)) == 1]
    for k, n in enumerate(steps if len(region.nodes) > 1 else ()):
        value = region.evaluate(tape, z, skip={n.index})[1]
        found["skip", n.prim, k] = variant(value, *_skipped(tape, n, region))
    limits = {n.index for n in steps if is_epsilon(tape, n)}
    if len(limits) > 1:
        value = region.evaluate(tape, z, skip=limits)[1]
        found["skip limits"] = variant(
            value, ("clip_or_eps_ignored",), "the clip is ignored, in f and in f′", 0.5
        )
    return found


def _is_in_softplus(tape: Tape, region: Region) -> bool:
    """Is it the exponential in log(1 + exp z)?"""
    users = tape.users(region.a)
    if region.nodes[-1].prim != "exp" or len(users) != 1:
        return False
    after = tape.nodes[users[0][0]]
    if after.prim in ("add", "add_any") and len(tape.moving(after)) == 1:
        users = tape.users(after.outs[0])
        return len(users) == 1 and tape.nodes[users[0][0]].prim == "log"
    return after.prim == "log1p"


def plain(tape: Tape, node: Node) -> bool:
    """Is it algebra, or a mask that no parameter decides, and so hardly part of an activation?"""
    return node.prim in ALGEBRAIC or (node.prim == "select_n" and not decides(tape, node))


def agree(one, other) -> bool:
    """Are two derivatives the same but for rounding?"""
    return bool(np.all((one == other) | (np.abs(one - other) <= 1e-9 * np.abs(other))))


def is_multiple(one, other) -> bool:
    """Is one derivative the other times a number?"""
    one = np.broadcast_to(one, np.shape(other))
    at = np.unravel_index(np.argmax(np.abs(other)), np.shape(other))
    return bool(other[at]) and agree(one, other * (one[at] / other[at]))


def is_switch(derivative) -> bool:
    """Does it hold nothing but zeros and ones, as the derivative of a ReLU?"""
    return bool(np.all((derivative == 0) | (derivative == 1)))


def _branches(case: Case, region: Region, z, variant) -> dict:
    """One case of a selection, taken everywhere."""
    picking = [n for n in region.nodes if picks(case.tape, n) and decides(case.tape, n)]
    if not picking:
        return {}
    found = {}
    larger = all(n.prim in LARGER for n in picking)
    for branch in (1, 2):
        value = region.evaluate(case.tape, z, branch=branch)[1]
        text = f"case {branch} of the selection is taken everywhere"
        words = ("clip_or_eps_ignored", "activation_derivative_wrong")
        if larger:
            words = ("relu_mask_wrong", "activation_derivative_wrong")
            text = f"operand {branch} of the {picking[0].prim} is taken everywhere"
        elif not has_bound(case.tape, region):
            words = ("activation_derivative_wrong", "relu_mask_wrong")
        found["branch", branch] = variant(value, words, text, 0.55)
    if larger:
        value = region.evaluate(case.tape, z, swapped=True)[1]
        text = "the larger and the smaller of two arrays are taken for each other"
        words = ("relu_mask_wrong", "activation_derivative_wrong")
        found["swapped"] = variant(value, words, text, 0.5)
    return found


def _skipped(tape: Tape, node: Node, region: Region) -> tuple[tuple[str, ...], str, float]:
    """Words, text and cost for one step of a region that is left out of its derivative."""
    if is_epsilon(tape, node) or is_small(tape, node):
        return ("clip_or_eps_ignored",), "the ε or clip is ignored", 0.5
    if mask_of(tape, node) is not None:
        return mask_words(tape, node), "the mask is not applied on the way back", 0.5
    scales = node.prim == "mul" or (node.prim == "div" and tape.moving(node) == [0])
    if scales and factor_of(tape, node) is None:
        words = ("unknown", "activation_derivative_wrong", "path_dropped")
        return words, "a factor that is an array of data is left out on the way back", 0.8
    text = f"one step ({node.prim}) is left out of f′"
    masks = [n for n in region.nodes if mask_of(tape, n) is not None and not is_no_dropout(tape, n)]
    if masks and (factor_of(tape, node) or 0.0) > 1:
        return ("dropout_scale_missing", "scale"), "the dropout factor is left out of f′", 0.6
    if node.prim in KINKED - {"abs"} and decides(tape, node):  # a hinge, a ReLU inside a function
        words = ("relu_mask_wrong", "activation_derivative_missing", "clip_or_eps_ignored")
        return words, text, 0.8
    if not is_linear(tape, node):  # one function of several has no derivative
        words = (*WRONG, "activation_derivative_missing", "path_dropped")
        return ("unknown", *words), text, 0.8
    return ("unknown", *WRONG, "path_dropped"), text, 0.8


def scaled_copy(tape: Tape, var: int, later: int) -> bool:
    """Is the later variable this one times factors that no parameter moves?

    A derivative evaluated there has such a factor once too often, which may be all that is wrong.
    A dropped-out copy is none: a derivative there is not the right one times the mask.
    """
    masked, plain = False, True
    while later > var:
        made = tape.maker(later)
        if made is None or made.prim not in ("mul", "div", "neg") or len(tape.moving(made)) != 1:
            return False
        masked |= (mask := mask_of(tape, made) is not None)
        plain &= mask or made.prim == "neg" or factor_of(tape, made) is not None
        later = made.ins[tape.moving(made)[0]]
    return later == var and not (masked and plain)


def _summands(tape: Tape, var: int) -> tuple[int, ...]:
    """The terms of which a variable is the sum or difference."""
    made = tape.maker(var)
    return made.ins if made is not None and made.prim in ("add", "sub") else ()


def _elsewhere(case: Case, node: Node, region: Region, d, at: str) -> dict:
    """f′ at another array of the same shape."""
    tape, found = case.tape, {}
    skip = {region.z, region.a} | {v for n in region.nodes for v in n.outs}
    words = ("activation_derivative_wrong", "stale_operand")
    if all(n.prim in ALGEBRAIC for n in region.nodes):
        words = words[::-1]  # a square or a quotient is no activation
    summands = _summands(tape, region.z)
    a = tape.values[region.a]
    forms = [name for name, form in OF_OUTPUT.items() if agree(form(a), d)]
    for address, var in variables(tape, node, tape.shape(region.z)):
        if var in skip:
            continue
        copy = ("unknown",) if scaled_copy(tape, region.a, var) else ()

        def derivative(sweep, node, ct, var=var):
            return region.evaluate(tape, tape.values[var])[1]

        text = f"f′ is evaluated at another array{made_at(tape, var)}{at}"
        said, cost = words, 0.9
        if var in summands:
            cost = 0.65  # likelier than a formula that happens to say the same
            text = f"f′ is evaluated without a term of its argument{at}"
            said = ("path_dropped", *words[::-1], "unknown")
            if is_kinked(tape, region):
                said = ("relu_mask_wrong", *said)
        found["elsewhere", address] = Variant(
            diverted(region, derivative), tape.leaves[region.z], said, text, cost
        )
        for form in forms:
            value = OF_OUTPUT[form](tape.values[var])
            found["elsewhere", form, address] = Variant(
                diverted(region, lambda sweep, node, ct, value=value: value),
                tape.leaves[region.z],
                (*copy, *(words[::-1] if form == "a" else words)),  # exp′ is the array itself
                f"f′ = {form} is evaluated at another array{made_at(tape, var)}{at}",
                0.8,
            )
    return found
