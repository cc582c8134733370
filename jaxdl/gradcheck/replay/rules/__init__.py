"""Backward rules of JAX primitives in NumPy: small, inspectable, and open to mutation."""

from jaxdl.gradcheck.replay.rules import contractions, elementwise, structural, windows

RULES = {**elementwise.RULES, **structural.RULES, **contractions.RULES, **windows.RULES}
"""name -> (forward(params, *ins) -> out, backward(params, ct, ins, out) -> one per input)."""

PARTS = {**elementwise.PARTS, **contractions.PARTS, **windows.PARTS}
"""name -> one function `(params, ct, *ins)` per operand, for sums and products of two."""

__all__ = ["PARTS", "RULES"]
