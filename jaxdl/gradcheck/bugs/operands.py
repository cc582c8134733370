"""Products with a wrong factor: another array in place of an operand or of the cotangent.

For y = x · w the true rule sends ct · wᵀ to x and xᵀ · ct to w. Here w, x or ct on one of the
two ways back is replaced by every other array of the same shape, or by its transpose.
"""

import numpy as np

from jaxdl.gradcheck.bugs.masks import mask_words
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import arranged
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.regions import (
    ALGEBRAIC,
    KINKED,
    SMALL,
    inside,
    is_elementwise,
    is_linear,
    regions,
)
from jaxdl.gradcheck.replay.rules import PARTS, RULES
from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import (
    at_line,
    bits,
    decides,
    factor_of,
    is_even,
    leaf_source,
    made,
    mask_of,
    unwrapped,
)
from jaxdl.gradcheck.replay.tape import Node, Tape

SKIPPED = ("activation_derivative_missing", "dropout_mask_missing")
"""What a gradient taken one step too late leaves out; such a slip is likely."""

CURVED = {"exp", "tanh", "logistic", "relu", "max", "erf", "log", "log1p", "select_n"}

FACTOR = ("path_dropped", "activation_derivative_missing", "stale_operand", "unknown")
"""The chain rule's factor for a product with another array: no word is made for it."""

DATA_FACTOR = ("unknown", *FACTOR[:-1], "scale")
"""The same where no parameter moves that array: a weight of an example, an exposure."""

NEAR = 16
"""So many arrays are looked at in search of what an operand is made of."""

MOVING = ("loop", "operand")
"""Addresses that name another array at every turn of a loop."""

PRODUCTS = ("dot_general", "conv_general_dilated", "mul", "div")


def family(case: Case, node: Node) -> dict:
    """Wrong operands and wrong cotangents on each way back through a product."""
    tape = case.tape
    if not tape.is_active(node.index):
        return {}
    found: dict = {}
    if node.prim in SUMS:
        for p in tape.moving(node):
            if leaf_source(tape, node.ins[p]) is not None and len(tape.moving(node)) > 1:
                found.update(_cotangents(case, node, p, tape.leaves[node.ins[p]]))
        return found
    for p in tape.moving(node) if node.prim in PRODUCTS else ():
        reach = tape.leaves[node.ins[p]]
        if node.prim != "div" or p == 1:
            found.update(_operands(case, node, p, reach))
        found.update(_factors(case, node, p, reach))
        found.update(_cotangents(case, node, p, reach))
    return found


def replaced(node: Node, position: int, ins=None, ct_of=None) -> Rule:
    """The true rule, but on the way to one operand with other operands or another cotangent."""

    def rule(sweep, node, ct):
        tape = sweep.tape
        own = [tape.values[v] for v in node.ins]
        own = own if ins is None else ins(own)
        new = ct if ct_of is None else ct_of(sweep)
        if node.prim in PARTS:
            other = PARTS[node.prim][position](node.params, new, *own)
        else:
            back = RULES[node.prim][1](node.params, new, own, tape.values[node.outs[0]])
            other = back[position]
        sent = by_position(tape, node, ct)
        return [(node.ins[p], other if p == position else c) for p, c in sent]

    return rule


def beside(node: Node, position: int, value: np.ndarray) -> Rule:
    """The true rule of a product, but on the way to one operand with this in place of the other."""
    return replaced(
        node, position, ins=lambda own: [x if i == position else value for i, x in enumerate(own)]
    )


def _operands(case: Case, node: Node, p: int, reach: int) -> dict:
    tape, q = case.tape, 1 - p
    other = tape.values[node.ins[q]]
    at = at_line(node)
    found: dict = {}

    def substituted(value):
        return lambda c: beside(node, p, value)

    for order in square_transposes(np.shape(other)):
        if node.prim in ("dot_general", "mul"):
            found["transposed", p, order] = Variant(
                substituted(np.transpose(other, order)), reach, ("transpose",),
                f"an operand is used without its transpose (or with one too many){at}", 0.4,
            )  # fmt: skip
    if node.prim == "dot_general" and _is_square(other):
        found["left out", p] = Variant(
            substituted(np.eye(len(other))), reach, ("path_dropped", "stale_operand"),
            f"the product with a square matrix is left out on the way back{at}", 0.65,
        )  # fmt: skip
    if node.prim == "dot_general" and leaf_source(tape, node.ins[q]) is None:
        words = FACTOR if tape.active[node.ins[q]] else DATA_FACTOR
        found["ones", p] = Variant(
            substituted(np.ones_like(other)), reach, words,
            f"a factor of what is summed is left out on the way back{at}", 0.8,
        )  # fmt: skip
    sources, terms = _sources(tape, node.ins[p]), _terms(tape, node.ins[q])
    for address, var, order in arranged(tape, node, np.shape(other)):
        moves = address[0] in MOVING  # at one end of a loop there may be nothing but zeros
        if var == node.ins[q] or not (moves or np.any(tape.values[var])):
            continue
        words = ("stale_operand",)
        if var in terms or (
            tape.active[var]
            and (
                not tape.active[node.ins[q]]  # data are seldom mistaken so
                or made_from(tape, node.ins[q], var)  # what lies between is left out
            )
        ):
            words = ("stale_operand", "path_dropped", "unknown")
        if var in sources or (not tape.active[node.ins[q]] and made_from(tape, node.ins[q], var)):
            words = step_left_out(tape.values[var], np.transpose(other, np.argsort(order)))
        if mask_of(tape, node) is not None:
            words = ("stale_operand", *mask_words(tape, node))
        if leaf_source(tape, var) is not None and leaf_source(tape, node.ins[q]) is not None:
            text = f"another parameter is used in place of an operand{at}"
        else:
            text = f"{instead(tape, node, q, var)}{at}"
        found["operand", p, address] = Variant(
            substituted(np.transpose(tape.values[var], order)), reach, words, text, 0.7
        )
    return found


def _factors(case: Case, node: Node, p: int, reach: int) -> dict:
    """The other operand left out as a factor or, if no parameter moves it, applied twice."""
    tape = case.tape
    if node.prim not in ("mul", "div") or _is_plain_factor(tape, node):
        return {}
    at = at_line(node)
    factor = leaf_source(tape, node.ins[1 - p])
    place = made(tape, node.ins[1 - p]) if factor is None else f"of leaf number {factor}"
    which = "a factor" if place == f"made{at}" else f"the factor {place}"
    text = f"{which} is left out on the way back{at}"
    data = not tape.active[node.ins[1 - p]]
    words = _data_words(tape, node, 1 - p) if data else factor_words(tape, [node.ins[1 - p]])
    if (node.index, p) in inside(tape):  # z g(z) with the derivative g + g′
        words = ("activation_derivative_wrong", *FACTOR)
    found = {("factor", p): Variant(lambda c: _unmultiplied(p), reach, words, text, 0.65)}
    if data:
        text = f"a factor is applied twice on the way back{at}"
        again = ("unknown",) if words == DATA_FACTOR else ("scale", "unknown")
        found["twice", p] = Variant(lambda c: _multiplied_twice(p), reach, again, text, 0.65)
    return found


def factor_words(tape: Tape, factors: list[int]) -> tuple[str, ...]:
    """What it is called if factors that parameters move are left out: of numbers, also a scale."""
    numbers = all(is_even(tape.values[v]) for v in factors)
    return (*FACTOR, "scale") if numbers else FACTOR


def _data_words(tape: Tape, node: Node, q: int) -> tuple[str, ...]:
    """What a factor that no parameter moves is called when it is left out."""
    same = tape.lines[tape.line(node)]  # in a loop over examples, each may have its own
    value = np.concatenate([np.ravel(tape.values[tape.nodes[i].ins[q]]) for i in same])
    if not is_even(value):
        return DATA_FACTOR
    source = tape.maker(unwrapped(tape, node.ins[q])[0])
    counted = node.prim == "div" and source is not None and source.prim == "reduce_sum"
    return ("batch_mean_missing", "scale", "unknown") if counted else ("scale", "unknown")


def step_left_out(before: np.ndarray, after: np.ndarray) -> tuple[str, ...]:
    """What it is called to use an array as it was before a step: before a factor, before an ε."""
    x, y = np.ravel(before), np.ravel(after)
    plain = (
        np.isrealobj(x) and np.isrealobj(y) and np.all(np.isfinite(x)) and np.all(np.isfinite(y))
    )
    if not plain or x.size < 3 or not np.ptp(x) > 0:
        return "stale_operand", "unknown"
    slope = float(np.dot(x - x.mean(), y - y.mean()) / np.dot(x - x.mean(), x - x.mean()))
    start = float(y.mean() - slope * x.mean())
    size = 1e-9 * max(float(np.max(np.abs(y))), 1e-300)
    if not np.all(np.abs(y - slope * x - start) <= size):
        return "stale_operand", "unknown"
    if abs(start) <= size:
        return "scale", "stale_operand", "unknown"
    if abs(slope - 1) <= 1e-9 and 0 < start <= SMALL:
        return "clip_or_eps_ignored", "stale_operand", "unknown"
    return "unknown", "stale_operand"  # another affine step, such as smoothing labels


def instead(tape: Tape, node: Node, q: int, var: int) -> str:
    """That another array is used as an operand, in words."""
    return f"the array {made(tape, var)} is used in place of {_own(tape, node, q)}"


def _own(tape: Tape, node: Node, q: int) -> str:
    """The right operand in words; of one made on the same line the place says nothing."""
    place = made(tape, node.ins[q])
    return "an operand" if place == f"made{at_line(node)}" else f"the one {place}"


def _is_plain_factor(tape: Tape, node: Node) -> bool:
    """Is it a product with a constant or a mask? Those have names of their own."""
    alone = len(tape.moving(node)) == 1
    return alone and (factor_of(tape, node) is not None or mask_of(tape, node) is not None)


def _unmultiplied(position: int) -> Rule:
    """One operand of a product or quotient gets the cotangent itself."""

    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct)
        return [(node.ins[p], ct if p == position else c) for p, c in sent]

    return rule


def _multiplied_twice(position: int) -> Rule:
    """One operand of a product or quotient gets its cotangent times the factor once more."""

    def rule(sweep, node, ct):
        again = dict(by_position(sweep.tape, node, ct))[position]
        sent = by_position(sweep.tape, node, ct)
        twice = dict(by_position(sweep.tape, node, again))[position]
        return [(node.ins[p], twice if p == position else c) for p, c in sent]

    return rule


def made_from(tape: Tape, later: int, var: int) -> bool:
    """Is the first array made of the second, in a few steps?"""
    key = ("made from", later)
    if key not in tape.memo:
        tape.memo[key] = _nearby(tape, later)
    return var in tape.memo[key]


def _nearby(tape: Tape, later: int) -> set[int]:
    """The variables that one is made of, in a few steps."""
    stack, seen = [later], set()
    while stack and len(seen) < NEAR:
        made = tape.maker(stack.pop())
        if made is not None:
            stack += [v for v in made.ins if v not in seen]
            seen.update(made.ins)
    return seen


def _sources(tape: Tape, var: int) -> set[int]:
    """Variables that an elementwise formula makes this one of: no factor of its own gradient."""
    found: set[int] = set()
    made = tape.maker(var)
    for region in regions(tape, made) if made is not None else []:
        found |= {region.z} | {v for n in region.nodes for v in n.ins}
    return found


def _terms(tape: Tape, var: int) -> set[int]:
    """Of a sum, the variables that are added up in it, partial sums included."""
    found, stack = set(), [var]
    while stack:
        source = tape.maker(stack.pop())
        if source is not None and source.prim in (*SUMS, *PLUMBING, "neg") and len(found) < NEAR:
            found.update(source.ins)
            stack += source.ins
    return found


def _is_square(matrix: np.ndarray) -> bool:
    return np.ndim(matrix) == 2 and np.shape(matrix)[0] == np.shape(matrix)[1] > 1


def square_transposes(shape: tuple[int, ...]):
    """Swaps of two equal axes (the last two of a stack of matrices, or any pair)."""
    rank = len(shape)
    for i in range(rank):
        for j in range(i + 1, rank):
            if shape[i] == shape[j] > 1:
                order = list(range(rank))
                order[i], order[j] = j, i
                yield tuple(order)


def _cotangents(case: Case, node: Node, p: int, reach: int) -> dict:
    """The gradient of a later array in place of that of the product."""
    tape, found = case.tape, {}
    out = node.outs[0]
    at = at_line(node)
    for order in square_transposes(tape.shape(out)) if node.prim == "dot_general" else ():
        found["cotangent transposed", p, order] = Variant(
            lambda c, order=order: replaced(
                node, p, ct_of=lambda sweep: np.transpose(sweep.ct(out), order)
            ),
            reach, ("transpose",), f"the incoming gradient is transposed{at}", 0.5,
        )  # fmt: skip
    for address, var, order in arranged(tape, node, tape.shape(out)):
        if not tape.active[var] or var <= out:
            continue
        words, text = between(tape, out, var)
        found["cotangent", p, address] = Variant(
            lambda c, var=var, order=order: replaced(
                node, p, ct_of=lambda sweep: np.transpose(sweep.ct(var), order)
            ),
            reach, words, text + at, 0.55 if words[0] in SKIPPED else 0.85,
        )  # fmt: skip
    return found


def between(tape: Tape, out: int, var: int) -> tuple[tuple[str, ...], str]:
    """What is skipped when the gradient of `var` is taken for that of the earlier `out`."""
    path, current = [], var
    while current != out and len(path) < 24:
        index = tape.producer[current]
        node = tape.nodes[index] if index is not None else None
        if node is None or not is_elementwise(tape, node):
            break
        path.append(node)
        previous = [node.ins[q] for q in tape.moving(node)]
        current = out if out in previous else max(previous, default=-1)
    if current == out:
        chosen = [n for n in path if n.prim == "select_n" and not decides(tape, n)]
        curved = [n for n in path if not is_linear(tape, n) and n not in chosen]
        if path and all(n.prim in ("mul", "div", "neg") for n in path) and _scales(tape, path):
            factors = [v for n in path for v in n.ins if v not in (out, *(m.outs[0] for m in path))]
            words = factor_words(tape, factors)
            words = ("scale", *FACTOR) if "scale" in words else words
            return words, "the gradient behind a factor is used"
        if curved and all(n.prim in ALGEBRAIC for n in curved):
            return ("path_dropped", "stale_operand"), "the gradient behind a formula is used"
        if curved:
            words = ("activation_derivative_missing", "stale_operand")
            if any(n.prim in KINKED and decides(tape, n) for n in curved):
                words += ("relu_mask_wrong",)
            return words, "the gradient behind the activation is used, without f′"
        masks = [n for n in path if mask_of(tape, n) is not None]
        if chosen and not masks:
            words = ("unknown", "path_dropped", "stale_operand")
            return words, "the gradient behind a selection by data is used"
        if masks:
            words = (*mask_words(tape, masks[0]), "stale_operand")
            return words, "the gradient behind a mask is used"
        if path:
            words = ("path_dropped", "stale_operand", "scale")
            return words, "the gradient behind a constant factor is used"
    if skips_activation(tape, out, var):
        words = ("path_dropped", "activation_derivative_missing", "stale_operand", "unknown")
        return words, "the gradient behind the activation is used, without its derivative"
    text = "the gradient of another array is used in a product"
    first, last = tape.producer[out], tape.producer[var]
    if first is not None and last is not None and tape.above[last] >> first & 1:
        return ("stale_operand", "path_dropped", "unknown"), text  # of one that it goes into
    return ("stale_operand",), text


def _scales(tape: Tape, path: list[Node]) -> bool:
    """Is there a factor on the path that is neither a constant nor a mask?"""
    factors = [n for n in path if n.prim != "neg"]
    return any(factor_of(tape, n) is None and mask_of(tape, n) is None for n in factors)


def skips_activation(tape: Tape, out: int, var: int) -> bool:
    """Is there a nonlinearity but no further product between two arrays?"""
    first, last = tape.producer[out], tape.producer[var]
    if first is None or last is None or not tape.above[last] >> first & 1:
        return False
    before = bits(tape.above[last] | 1 << last)
    between = [tape.nodes[k] for k in before if k > first and tape.above[k] >> first & 1]
    prims = {node.prim for node in between}
    return bool(prims & CURVED) and not prims & {"dot_general", "conv_general_dilated"}
