"""The basic recipe: high bias asks for a bigger network, high variance for regularisation."""

from jaxdl.recipe.estimate import Test
from jaxdl.recipe.loop import Result, run
from jaxdl.recipe.model import Model, Network, Preparation, mean_outputs
from jaxdl.recipe.plan import Move, Round

__all__ = [
    "Model",
    "Move",
    "Network",
    "Preparation",
    "Result",
    "Round",
    "Test",
    "mean_outputs",
    "run",
]
