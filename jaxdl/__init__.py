"""Deep-learning foundations as pure functions in JAX.

Import the part you need: `from jaxdl import layers, losses, optim`.
"""

__version__ = "0.1.0"
