"""The development corpus: hand-written gradients, right and wrong, with the causes."""

import importlib

from .case import Case

MODULES = (
    "regression",
    "mlp",
    "columns",
    "objects",
    "einsum",
    "recurrent",
    "convolution",
    "normalisation",
    "attention",
    "factors",
    "algebra",
    "hazards",
    "kinks",
    "controls",
)


def cases() -> list[Case]:
    """Every case, in a fixed order."""
    modules = (importlib.import_module(f".{name}", __package__) for name in MODULES)
    return [case for module in modules for case in module.CASES]
