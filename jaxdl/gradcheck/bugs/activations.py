"""Elementwise functions with a wrong derivative: left out, of another formula, at another place.

A region is everything elementwise between a variable z and a variable a that depends on z
alone: one primitive, or a formula such as 1/(1 + exp(−z)). Its true derivative da/dz is
replaced as a whole: the cotangent of a goes to z times the wrong derivative.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np

from jaxdl.gradcheck.coefficients import close, law, written
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.rules.elementwise import RULES as ELEMENTWISE
from jaxdl.gradcheck.replay.structure import line, mask_of
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.search import Case, Name, Variant

MAX_NODES = 24
KINKED = {"max", "min", "select_n", "relu", "clamp", "abs"}
ALGEBRAIC = {"square", "integer_pow", "sqrt", "rsqrt", "pow", "mul", "div", "add", "sub", "neg"}
"""Regions of these alone are hardly activations: other explanations come first."""

SMALL = 0.02
"""An added constant up to this size is taken for an ε."""


class Region(NamedTuple):
    """Elementwise nodes from z to a, in order of execution."""

    z: int
    a: int
    nodes: tuple[Node, ...]

    def evaluate(self, tape: Tape, x: np.ndarray, skip: Collection[int] = (), branch=None):
        """(value, derivative) of the region's function at x.

        Nodes in `skip` pass their operand on; selections take the case numbered `branch`.
        """
        values: dict[int, Any] = {self.z: x}

        def read(v):
            return values.get(v, tape.values[v])

        for node in self.nodes:
            moving = tape.moving(node)
            if node.index in skip:
                values[node.outs[0]] = read(node.ins[moving[0]])
            elif node.prim == "select_n" and branch is not None:
                values[node.outs[0]] = np.broadcast_to(read(node.ins[branch]), np.shape(x))
            else:
                values[node.outs[0]] = RULES[node.prim][0](node.params, *map(read, node.ins))
        cts = {self.a: np.ones_like(values[self.a])}
        for node in reversed(self.nodes):
            ct = cts.get(node.outs[0])
            if ct is None:
                continue
            ins = list(map(read, node.ins))
            if node.index in skip:
                back = [ct if p == tape.moving(node)[0] else None for p in range(len(ins))]
            elif node.prim == "select_n" and branch is not None:
                back = [ct if p == branch else None for p in range(len(ins))]
            else:
                back = RULES[node.prim][1](node.params, ct, ins, values[node.outs[0]])
            for var, c in zip(node.ins, back, strict=True):
                if c is not None and (tape.active[var] or var == self.z):
                    cts[var] = cts.get(var, 0.0) + c
        return values[self.a], cts.get(self.z, np.zeros_like(x))


def is_elementwise(tape: Tape, node: Node) -> bool:
    """Does it act entry by entry, with every active operand of the result's shape?"""
    if node.prim not in ELEMENTWISE or ELEMENTWISE[node.prim][1] is None:
        return False
    shape = tape.shape(node.outs[0])
    return all(tape.shape(node.ins[p]) == shape for p in tape.moving(node))


def is_linear(tape: Tape, node: Node) -> bool:
    """Is it linear in its one active operand, or a sum?"""
    if node.prim in ("neg", "copy", "convert_element_type", "add", "sub", "add_any"):
        return True
    moving = tape.moving(node)
    if node.prim == "mul":
        return len(moving) == 1
    if node.prim == "div":
        return moving == [0]
    return node.prim == "select_n" and len(moving) == 1 and mask_of(tape, node) is not None


def regions(tape: Tape, node: Node) -> list[Region]:
    """Regions that end at this node's output, nearest source first."""
    if not is_elementwise(tape, node) or not tape.active[node.outs[0]]:
        return []
    found, members, frontier = [], [], {node.outs[0]}
    while frontier and len(members) < MAX_NODES:
        var = max(frontier)
        index = tape.producer[var]
        if index is None or not is_elementwise(tape, tape.nodes[index]) or index < len(tape.raw):
            break
        made = tape.nodes[index]
        members.append(made)
        frontier.remove(var)
        frontier |= {made.ins[p] for p in tape.moving(made)}
        if len(frontier) == 1 and not all(is_linear(tape, n) for n in members):
            (z,) = frontier
            found.append(Region(z, node.outs[0], tuple(reversed(members))))
    return found[:3]


def inside(tape: Tape) -> frozenset[int]:
    """Nodes inside the formula of an activation: elementwise, of one variable and constants."""
    if "inside" not in tape.memo:
        members: set[int] = set()
        for node in tape.nodes:
            for region in regions(tape, node):
                curved = any(n.prim not in ALGEBRAIC for n in region.nodes)
                if curved and all(_has_constants(tape, n) for n in region.nodes):
                    members |= {n.index for n in region.nodes}
        tape.memo["inside"] = frozenset(members)
    return tape.memo["inside"]


def _has_constants(tape: Tape, node: Node) -> bool:
    """Are its operands that do not move single numbers (or conditions)?"""
    others = [np.asarray(tape.values[v]) for v in node.ins if not tape.active[v]]
    return all(x.dtype == bool or x.size == 0 or np.all(x == x.flat[0]) for x in others)


def ends_here(tape: Tape, node: Node, region: Region) -> bool:
    """Leave out ends that are only a linear step beyond the end of a smaller region."""
    if not is_linear(tape, node) or len(tape.moving(node)) != 1:
        return True
    users = tape.users(node.outs[0])
    tail = mask_of(tape, node) is None and node.prim != "neg"
    return tail and not (len(users) == 1 and is_linear_tail(tape, tape.nodes[users[0][0]]))


def is_linear_tail(tape: Tape, node: Node) -> bool:
    """Another linear elementwise step of one operand."""
    one = len(tape.moving(node)) == 1 and is_elementwise(tape, node)
    return one and is_linear(tape, node) and mask_of(tape, node) is None


def diverted(region: Region, derivative: Callable) -> Callable[[float], Rule]:
    """A rule at the end of a region: the cotangent goes to z, times a given derivative."""

    def make(c):
        def rule(sweep, node, ct):
            return [(region.z, ct * derivative(sweep, node, ct))]

        return rule

    return make


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS: dict[str, Callable] = {
    "a(1 − a)": lambda z, a, d: a * (1 - a),
    "1 − a²": lambda z, a, d: 1 - a * a,
    "1 − a": lambda z, a, d: 1 - a,
    "1 + a": lambda z, a, d: 1 + a,
    "a": lambda z, a, d: a,
    "a²": lambda z, a, d: a * a,
    "(1 − a)²": lambda z, a, d: (1 - a) ** 2,
    "a(1 + a)": lambda z, a, d: a * (1 + a),
    "1 + a²": lambda z, a, d: 1 + a * a,
    "z(1 − z)": lambda z, a, d: z * (1 - z),
    "1 − z²": lambda z, a, d: 1 - z * z,
    "1 − z": lambda z, a, d: 1 - z,
    "z": lambda z, a, d: z,
    "z²": lambda z, a, d: z * z,
    "1/z": lambda z, a, d: 1 / z,
    "1/z²": lambda z, a, d: 1 / (z * z),
    "1/a": lambda z, a, d: 1 / a,
    "1/a²": lambda z, a, d: 1 / (a * a),
    "1/(1 + z)": lambda z, a, d: 1 / (1 + z),
    "sigmoid(z)": lambda z, a, d: _sigmoid(z),
    "sigmoid′(z)": lambda z, a, d: _sigmoid(z) * _sigmoid(-z),
    "sigmoid′(a)": lambda z, a, d: _sigmoid(a) * _sigmoid(-a),
    "tanh(z)": lambda z, a, d: np.tanh(z),
    "tanh′(z)": lambda z, a, d: 1 - np.tanh(z) ** 2,
    "tanh′(a)": lambda z, a, d: 1 - np.tanh(a) ** 2,
    "exp(z)": lambda z, a, d: np.exp(z),
    "exp(−z)": lambda z, a, d: np.exp(-z),
    "sin(z)": lambda z, a, d: np.sin(z),
    "cos(z)": lambda z, a, d: np.cos(z),
    "sign(z)": lambda z, a, d: np.sign(z),
    "|z|": lambda z, a, d: np.abs(z),
    "step(z)": lambda z, a, d: (z > 0) * 1.0,
    "1 + step(z)": lambda z, a, d: 1.0 + (z > 0),
    "z · step(z)": lambda z, a, d: np.maximum(z, 0),
    "the derivative squared": lambda z, a, d: d * d,
    "the root of the derivative": lambda z, a, d: np.sqrt(np.abs(d)),
    "1/derivative": lambda z, a, d: 1 / d,
    "z · derivative": lambda z, a, d: z * d,
    "a · derivative": lambda z, a, d: a * d,
    "1 − derivative": lambda z, a, d: 1 - d,
    "derivative − 1": lambda z, a, d: d - 1,
    "derivative + 1": lambda z, a, d: d + 1,
}
"""Derivatives that people write by mistake, from z, a = f(z) and d = f′(z)."""


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
    z, a = tape.values[region.z], tape.values[region.a]
    _, d = region.evaluate(tape, z)
    at = f" at {line(node)}" if line(node) else ""
    kinked = any(n.prim in KINKED and decides(tape, n) for n in region.nodes)

    algebraic = 0.6 if all(n.prim in ALGEBRAIC for n in region.nodes) else 0.0

    def variant(value, words, text, cost):
        if not np.any(value):
            return None  # a dropped path, which has a name of its own
        cost += algebraic
        value = np.broadcast_to(value, np.shape(z))
        return Variant(
            diverted(region, lambda sweep, node, ct: value),
            tape.leaves[region.z], words, text + at, cost,
        )  # fmt: skip

    clips = is_clip(tape, region)
    words = ("activation_derivative_missing",) + (("relu_mask_wrong",) if kinked else ())
    words = ("clip_or_eps_ignored",) if clips else words
    what = (
        "the clip is ignored" if clips else "the derivative of the elementwise function is left out"
    )
    found: dict = {"missing": variant(1.0, words, what, 0.3)}
    wrong = ("activation_derivative_wrong",)
    for name, formula in FORMULAS.items():
        value = formula(z, a, d)
        text = f"the derivative is taken as {name}"
        found[name] = variant(value, wrong, text, 0.7)
    at_output = region.evaluate(tape, a)[1]
    found["at output"] = variant(at_output, wrong, "f′ is evaluated at f's output, f′(a)", 0.4)
    for n in region.nodes:
        if len(tape.moving(n)) == 1 and len(region.nodes) > 1:
            value = region.evaluate(tape, z, skip={n.index})[1]
            found["skip", n.prim, n.where] = variant(value, *_skipped(tape, n))
    limits = {n.index for n in region.nodes if len(tape.moving(n)) == 1 and is_epsilon(tape, n)}
    if len(limits) > 1:
        value = region.evaluate(tape, z, skip=limits)[1]
        found["skip limits"] = variant(
            value, ("clip_or_eps_ignored",), "the clip is ignored, in f and in f′", 0.5
        )
    found.update(_branches(case, region, z, variant))
    if kinked:
        found.update(_masks(case, node, region, z, d, at))
    found.update(_elsewhere(case, node, region, d, at))
    return {key: v for key, v in found.items() if v is not None}


def _branches(case: Case, region: Region, z, variant) -> dict:
    """One case of a selection, taken everywhere."""
    if not any(n.prim == "select_n" and decides(case.tape, n) for n in region.nodes):
        return {}
    found = {}
    for branch in (1, 2):
        value = region.evaluate(case.tape, z, branch=branch)[1]
        text = f"case {branch} of the selection is taken everywhere"
        words = ("clip_or_eps_ignored", "activation_derivative_wrong")
        if not has_bound(case.tape, region):
            words = ("activation_derivative_wrong", "relu_mask_wrong")
        found["branch", branch] = variant(value, words, text, 0.55)
    return found


def decides(tape: Tape, node: Node) -> bool:
    """Is it a kink whose side depends on parameters (not a selection by a fixed condition)?"""
    if node.prim != "select_n":
        return True
    stack, steps = [node.ins[0]], 0
    while stack and steps < 8:
        made, steps = tape.maker(stack.pop()), steps + 1
        if made is not None and any(tape.active[v] for v in made.ins):
            return True
        stack += made.ins if made is not None else ()
    return False


def has_bound(tape: Tape, region: Region) -> bool:
    """Does a selection of the region compare with a number other than 0?"""
    for node in region.nodes:
        index = tape.producer[node.ins[0]] if node.prim == "select_n" else None
        for v in tape.nodes[index].ins if index is not None else ():
            value = np.asarray(tape.values[v])
            if value.size and np.all(value == value.flat[0]) and value.flat[0] != 0:
                return True
    return False


def _skipped(tape: Tape, node: Node) -> tuple[tuple[str, ...], str, float]:
    """Words, text and cost for one step of a region that is left out of its derivative."""
    if is_epsilon(tape, node):
        return ("clip_or_eps_ignored",), "the ε or clip is ignored", 0.5
    if mask_of(tape, node) is not None:
        return ("dropout_mask_missing",), "the mask is not applied on the way back", 0.5
    return ("activation_derivative_wrong",), f"one step ({node.prim}) is left out of f′", 0.8


def is_clip(tape: Tape, region: Region) -> bool:
    """Is it nothing but limits by constants, none of them 0?"""
    return all(
        _is_limit(tape, n) or n.prim in ("copy", "convert_element_type") for n in region.nodes
    )


def _is_limit(tape: Tape, node: Node) -> bool:
    if node.prim == "clamp":
        return True
    if node.prim not in ("max", "min") or len(tape.moving(node)) != 1:
        return False
    other = np.asarray(tape.values[node.ins[1 - tape.moving(node)[0]]])
    return bool(np.all(other == other.flat[0])) and other.flat[0] != 0


def is_epsilon(tape: Tape, node: Node) -> bool:
    """Does the node add a small constant, or limit by one?"""
    if _is_limit(tape, node):
        return True
    if node.prim not in ("add", "sub") or len(tape.moving(node)) != 1:
        return False
    other = np.abs(np.asarray(tape.values[node.ins[1 - tape.moving(node)[0]]]))
    return bool(np.all(other <= SMALL)) and bool(np.any(other))


def _elsewhere(case: Case, node: Node, region: Region, d, at: str) -> dict:
    """f′ at another array of the same shape."""
    tape, found = case.tape, {}
    skip = {region.z, region.a} | {v for n in region.nodes for v in n.outs}
    words = ("activation_derivative_wrong", "stale_operand")
    a = tape.values[region.a]
    forms = [name for name, form in OF_OUTPUT.items() if np.allclose(form(a), d, rtol=1e-9, atol=0)]
    for address, var in variables(tape, node, tape.shape(region.z)):
        if var in skip:
            continue

        def derivative(sweep, node, ct, var=var):
            return region.evaluate(tape, tape.values[var])[1]

        text = f"f′ is evaluated at another array{_made_at(tape, var)}{at}"
        found["elsewhere", address] = Variant(
            diverted(region, derivative), tape.leaves[region.z], words, text, 0.9
        )
        for form in forms:
            value = OF_OUTPUT[form](tape.values[var])
            found["elsewhere", form, address] = Variant(
                diverted(region, lambda sweep, node, ct, value=value: value),
                tape.leaves[region.z],
                words,
                f"f′ = {form} is evaluated at another array{_made_at(tape, var)}{at}",
                0.8,
            )
    return found


OF_OUTPUT: dict[str, Callable] = {
    "1 − a²": lambda a: 1 - a * a,
    "a(1 − a)": lambda a: a * (1 - a),
    "a": lambda a: a,
}
"""Derivatives written in terms of the output a = f(z)."""


def _made_at(tape: Tape, var: int) -> str:
    index = tape.producer[var]
    place = "" if index is None else line(tape.nodes[index])
    return f" (the one made at {place})" if place else ""


def _masks(case: Case, node: Node, region: Region, z, d, at: str) -> dict:
    """A two-sided function: wrong slopes, and sides told apart by the wrong array."""
    tape, reach = case.tape, case.tape.leaves[region.z]
    above, below = _side(d, z > 0), _side(d, z < 0)
    found: dict = {}
    for sign, where, other in ((1, z > 0, above), (-1, z < 0, below)):
        if other is not None:
            found["slope", sign] = _slope(region, reach, d, where, other, sign, at)
    if above is None or below is None:
        return found

    def masked(mask, text, cost=0.6, words=("relu_mask_wrong",)):
        def derivative(sweep, node, ct):
            on = mask(sweep, node, ct)
            return np.where(on, above, below)

        return Variant(diverted(region, derivative), reach, words, text + at, cost)

    found["cotangent"] = masked(
        lambda sweep, node, ct: ct > 0,
        "the mask is taken from the sign of the incoming gradient",
        0.5,
    )
    found["both"] = masked(
        lambda sweep, node, ct: (ct > 0) & (z > 0), "the mask also asks for a positive gradient"
    )
    found["inverted"] = masked(lambda sweep, node, ct: z < 0, "the mask is inverted", 0.5)
    found["closed"] = masked(lambda sweep, node, ct: z >= 0, "the mask is ≥ 0 instead of > 0", 0.5)
    found["open"] = masked(lambda sweep, node, ct: z > 0, "the mask is > 0 instead of ≥ 0", 0.5)
    for bound in (1.0, 0.5, -1.0):
        text = f"the mask compares with {written(bound)}"
        found["bound", bound] = masked(lambda sweep, node, ct, b=bound: z > b, text, 0.8)
    for address, var in variables(tape, node, np.shape(z)):
        if var not in (region.z, region.a):
            text = f"the mask is taken from another array{_made_at(tape, var)}"
            found["mask", address] = masked(
                lambda sweep, node, ct, var=var: tape.values[var] > 0, text, 0.8
            )
    return found


def _side(d: np.ndarray, where: np.ndarray) -> float | None:
    """The one slope on a side, or None."""
    values = d[where]
    return float(values.flat[0]) if values.size and np.all(values == values.flat[0]) else None


def _slope(region, reach, d, where, true, sign, at) -> Variant:
    """The slope on one side is a constant, to be fitted."""

    def rule(c):
        value = np.where(where, d + (1 - c), d)
        return diverted(region, lambda sweep, node, ct: value)(c)

    def name(cs, ms):
        found = law([true + 1 - c for c in cs], ms)
        if found is None or found.power:
            return None
        side = "positive" if sign > 0 else "negative"
        text = f"the slope on the {side} side is {written(found.factor)}, not {written(true)}{at}"
        if close(found.factor, 1.0) and close(true, 0.0):
            return Name(("activation_derivative_missing", "relu_mask_wrong"), text, 0.6)
        return Name(("activation_derivative_wrong",), text, 0.7)

    return Variant(rule, reach, fitted=True, name=name)
