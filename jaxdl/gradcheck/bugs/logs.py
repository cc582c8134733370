"""Sums in the log domain, where what is added is a factor: another one stands in its place.

    yⱼ = log Σᵢ exp(aᵢ + Mᵢⱼ) + eⱼ:   āᵢ = Σⱼ ȳⱼ exp(aᵢ + Mᵢⱼ + eⱼ − yⱼ),   M̄ᵢⱼ the same without Σⱼ

Whoever writes these as forward and backward scores adds M and e once more, and may add Mᵀ, the e
of another time step, or neither: what goes to a, or to M, has the factor exp(wrong − right).
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import expit

from jaxdl.gradcheck.bugs.operands import square_transposes
from jaxdl.gradcheck.hypotheses import Case, Families, Hypothesis, Variant, hypotheses_of
from jaxdl.gradcheck.replay.backward import by_position
from jaxdl.gradcheck.replay.monomials import REPEATS
from jaxdl.gradcheck.replay.rules.structural import PLUMBING, keep_axes
from jaxdl.gradcheck.replay.structure import at_line, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape

TRANSPOSED = ("transpose",)
NEIGHBOUR = ("stale_operand",)
SHARES = ("stale_operand", "activation_derivative_wrong", "unknown")
LEFT_OUT = ("path_dropped", "stale_operand", "unknown")

Term = tuple[int, Callable[[np.ndarray], np.ndarray]]
"""A variable, and what brings its value to the shape of the sum."""


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Hypothesis]:
    """A wrong term, wherever a sum goes into the logarithm of a sum of exponentials."""
    return hypotheses_of(case, Families((family,), ()), fits)


def family(case: Case, node: Node) -> dict:
    """On the way to either operand: another term in place of the other one, or of a later one."""
    tape = case.tape
    if node.prim != "add" or len(tape.moving(node)) != 2:
        return {}
    total = summed(tape, node.outs[0])
    if total is None:
        return _shares(case, node)
    found: dict = {}
    for p in (0, 1):
        terms = {"beside": node.ins[1 - p], "after": after(tape, total)}
        for which, var in terms.items():
            if var is None:
                continue
            later = total if which == "after" else None
            for key, what, words, wrong in others(tape, var, later):
                text = f"{what} in a sum of exponentials on the way back{at_line(node)}"
                found[p, which, key] = Variant(
                    lambda c, p=p, wrong=wrong: times(p, wrong),
                    tape.leaves[node.ins[p]], words, text, 0.6,
                )  # fmt: skip
    return found


def _shares(case: Case, node: Node) -> dict:
    """Of log (eᵃ + eᵇ): the shares of both without one of them."""
    tape, pair = case.tape, two_terms(case.tape, node)
    if pair is None:
        return {}
    a, b = (np.asarray(tape.values[v]) for v in pair)
    share = expit(a - b)
    wrongs = {
        "are taken without its second term": expit(a),
        "are taken without its first term": expit(-b),
    }
    found: dict = {}
    for what, wrong in wrongs.items():
        for to in ((0, 1), (0,), (1,)):
            first, second = wrong if 0 in to else share, 1 - (wrong if 1 in to else share)
            reach = 0
            for k in to:
                reach |= tape.leaves[pair[k]]
            text = f"the shares of two terms in a sum of exponentials {what}{at_line(node)}"
            found["shares", what, to] = Variant(
                lambda c, pair=pair, first=first, second=second: (
                    lambda sweep, node, ct: [(pair[0], ct * first), (pair[1], ct * second)]
                ),
                reach, SHARES, text, 0.6 if len(to) == 2 else 0.7,
            )  # fmt: skip
    return found


def two_terms(tape: Tape, node: Node) -> tuple[int, int] | None:
    """(a, b) if a node makes log (eᵃ + eᵇ) by way of their maximum."""
    for var in node.ins:
        made = tape.maker(var)
        if made is not None and made.prim == "max" and len(tape.moving(made)) == 2:
            a, b = made.ins
            whole = np.logaddexp(tape.values[a], tape.values[b])
            if np.allclose(tape.values[node.outs[0]], whole, rtol=1e-12, atol=0):
                return a, b
    return None


def times(position: int, factor: np.ndarray):
    """The true rule with what goes to one operand multiplied by an array."""
    return lambda sweep, node, ct: [
        (node.ins[p], c * factor if p == position else c)
        for p, c in by_position(sweep.tape, node, ct)
    ]


def summed(tape: Tape, var: int) -> Node | None:
    """The sum of exponentials that an array goes into, its maximum subtracted or not."""
    for index, position in tape.users(var):
        node = tape.nodes[index]
        if node.prim == "sub" and position == 0 and len(tape.users(node.outs[0])) == 1:
            node = tape.nodes[tape.users(node.outs[0])[0][0]]
        users = tape.users(node.outs[0])
        if node.prim == "exp" and len(users) == 1 and tape.nodes[users[0][0]].prim == "reduce_sum":
            return tape.nodes[users[0][0]]
    return None


def after(tape: Tape, total: Node) -> int | None:
    """What is added to the logarithm of a sum, if anything that moves is."""
    var = total.outs[0]
    for _ in range(8):
        users = [(n, p) for n, p in tape.users(var) if tape.nodes[n].prim != "sign"]
        if len(users) != 1:
            return None
        node, p = tape.nodes[users[0][0]], users[0][1]
        if node.prim == "add" and len(tape.moving(node)) == 2:
            other = node.ins[1 - p]
            return other if tape.shape(other) == tape.shape(total.outs[0]) else None
        if node.prim not in ("abs", "log", "add", *PLUMBING):
            return None
        var = node.outs[0]
    return None


def others(tape: Tape, var: int, total: Node | None) -> Iterator[tuple]:
    """(key, what is wrong, words, factor) for everything that may stand in place of a term."""
    source, again = unwrapped(tape, var, REPEATS)
    own = np.asarray(tape.values[source])

    def factor(value):
        change = again(value - own)
        return np.exp(change if total is None else keep_axes(change, total.params["axes"]))

    if not np.all(np.isfinite(own)):
        return
    for order in square_transposes(own.shape):
        yield order, "a matrix is transposed", TRANSPOSED, factor(np.transpose(own, order))
    for step in (-1, 1):
        value = neighbour(tape, source, step)
        if value is not None and np.all(np.isfinite(value)):
            what = f"the entries {step:+d} from the right ones are used"
            yield step, what, NEIGHBOUR, factor(value)
    yield 0, "a term is left out", LEFT_OUT, factor(np.zeros_like(own))


def neighbour(tape: Tape, var: int, step: int) -> np.ndarray | None:
    """Of one entry along an axis of an array, the one beside it, if there is one."""
    made = tape.maker(var)
    if made is None or made.prim not in ("index", "slice"):
        return None
    whole = np.asarray(tape.values[made.ins[0]])
    if made.prim == "index":
        at = made.params["position"] + step
        return whole[at] if 0 <= at < len(whole) else None
    starts, limits = made.params["start_indices"], made.params["limit_indices"]
    along = [a for a, (i, j) in enumerate(zip(starts, limits, strict=True)) if j - i == 1]
    along = [a for a in along if whole.shape[a] > 1]
    if len(along) != 1 or not 0 <= starts[along[0]] + step < whole.shape[along[0]]:
        return None
    return np.take(whole, [starts[along[0]] + step], axis=along[0])
