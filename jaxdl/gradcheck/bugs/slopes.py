"""Two-sided functions: wrong slopes, and sides told apart by the wrong array or comparison."""

import numpy as np

from jaxdl.gradcheck.bugs.diverted import diverted, made_at
from jaxdl.gradcheck.coefficients import close, law, written
from jaxdl.gradcheck.hypotheses import Case, Name, Variant
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.regions import Region
from jaxdl.gradcheck.replay.tape import Node


def variants(case: Case, node: Node, region: Region, z, d, at: str) -> dict:
    """A two-sided function: wrong slopes, and sides told apart by the wrong array."""
    tape, reach = case.tape, case.tape.leaves[region.z]
    above, below = _sides(case, region, z, d)
    found: dict = {}
    # Where all entries lie on one side, another slope there says no more than a factor does.
    one_side = np.all(z > 0) or np.all(z < 0)
    told = len(tape.lines[tape.line(node)]) > 1 or not one_side
    for sign, where, other in ((1, z > 0, above), (-1, z < 0, below)):
        if other is not None:
            slopes = other, below if sign > 0 else above
            found["slope", sign] = _slope(region, reach, d, where, slopes, sign, at, told)
    if above is None or below is None:
        return found

    def masked(mask, text, cost=0.6, words=("relu_mask_wrong",)):
        def derivative(sweep, node, ct):
            on = mask(sweep, node, ct)
            return np.where(on, above, below)

        return Variant(diverted(region, derivative), reach, words, text + at, cost)

    positive = case.base.ct(region.a) > 0
    if np.any(positive) and not np.all(positive):  # else it says no more than one slope everywhere
        found["cotangent"] = masked(
            lambda sweep, node, ct: ct > 0,
            "the mask is taken from the sign of the incoming gradient",
            0.5,
        )
    found["both"] = masked(
        lambda sweep, node, ct: (ct > 0) & (z > 0), "the mask also asks for a positive gradient"
    )
    mirror = ("sign",) * (above == -below)  # |z|: the slopes exchanged are those negated
    leaks = above != 0 and below != 0  # both sides let something through: two slopes exchanged
    found["inverted"] = masked(
        lambda sweep, node, ct: z < 0,
        "the mask is inverted",
        0.6 if mirror else 0.5,
        mirror
        + (("activation_derivative_wrong", "relu_mask_wrong") if leaks else ("relu_mask_wrong",)),
    )
    found["closed"] = masked(lambda sweep, node, ct: z >= 0, "the mask is ≥ 0 instead of > 0", 0.5)
    found["open"] = masked(lambda sweep, node, ct: z > 0, "the mask is > 0 instead of ≥ 0", 0.5)
    for bound in (1.0, 0.5, -1.0):
        text = f"the mask compares with {written(bound)}"
        found["bound", bound] = masked(lambda sweep, node, ct, b=bound: z > b, text, 0.8)
    for address, var in variables(tape, node, np.shape(z)):
        if var not in (region.z, region.a):
            text = f"the mask is taken from another array{made_at(tape, var)}"
            found["mask", address] = masked(
                lambda sweep, node, ct, var=var: tape.values[var] > 0, text, 0.8
            )
    return found


def _sides(case: Case, region: Region, z, d) -> tuple[float | None, float | None]:
    """The slopes above and below 0; of a side with no entries as the function has it elsewhere."""
    above, below = _side(d, z > 0), _side(d, z < 0)
    if all(n.prim != "select_n" for n in region.nodes):  # whose condition would stay as it is
        mirrored = region.evaluate(case.tape, -z)[1]
        above = _side(mirrored, z < 0) if not np.any(z > 0) else above
        below = _side(mirrored, z > 0) if not np.any(z < 0) else below
    return above, below


def _side(d: np.ndarray, where: np.ndarray) -> float | None:
    """The one slope on a side, or None."""
    values = d[where]
    return float(values.flat[0]) if values.size and np.all(values == values.flat[0]) else None


def _slope(region, reach, d, where, slopes, sign, at, told) -> Variant:
    """The slope on one side is a constant, to be fitted; `slopes` are the true ones, this first."""
    true, rest = slopes

    def rule(c):
        value = np.where(where, d + (1 - c), d)
        return diverted(region, lambda sweep, node, ct: value)(c)

    def name(cs, ms):
        found = law([true + 1 - c for c in cs], ms)
        if found is None or found.power or not told:
            return None
        if close(found.factor, 0.0) and rest == 0:
            return None  # nothing comes through: a dropped path, which has a name of its own
        side = "positive" if sign > 0 else "negative"
        text = f"the slope on the {side} side is {written(found.factor)}, not {written(true)}{at}"
        if close(found.factor, 1.0) and close(true, 0.0):
            return Name(("activation_derivative_missing", "relu_mask_wrong"), text, 0.6)
        if abs(true) == 1:  # a straight side: what is said of a factor
            return Name(("scale", "activation_derivative_wrong"), text, 0.7)
        masks = ("relu_mask_wrong",) if true == 0 else ()
        return Name(("activation_derivative_wrong", *masks), text, 0.7)

    return Variant(rule, reach, fitted=True, name=name)
