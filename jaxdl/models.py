"""Models: a few lines each over `layers`. A model is a Layer that gives logits."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxdl import initializers, layers
from jaxdl.activations import Activation
from jaxdl.types import Scalar


def mlp(
    sizes: Sequence[int],
    activation: str | Activation | tuple[Callable, Callable] = "relu",
    init: str | initializers.Initializer = "he",
    keep_prob: Scalar | Sequence[Scalar] = 1.0,
) -> layers.Layer:
    """The notes' L-layer network: dense blocks, the last without activation or dropout.

    Args:
        sizes: (n₀, n₁, ..., n_L): inputs, hidden units, outputs. (n₀, n_L) is a linear model.
        activation: of the hidden layers; a name or a pair (g, g′).
        init: of every weight matrix; a name or a function.
        keep_prob: of the hidden layers' dropout: one number, or one per hidden layer.

    Returns:
        A Layer; params are a list with one {"w": (n_in, n_out), "b": (n_out,)} per block.

    Raises:
        ValueError: for fewer than two sizes, or another number of keep_probs than hidden layers.

    Source: notes, "Deep L-layer neural network". Theirs ends in a sigmoid; ours gives the logits,
    and the loss contains the sigmoid or softmax.
    """
    if not isinstance(sizes, Sequence) or len(sizes) < 2:
        raise ValueError(f"mlp needs at least (n_in, n_out); got sizes {sizes}.")
    sizes = tuple(sizes)
    hidden = [
        layers.dense(n_in, n_out, activation, init, p)
        for n_in, n_out, p in zip(
            sizes[:-2], sizes[1:-1], _keep_probs(keep_prob, sizes), strict=True
        )
    ]
    output = layers.dense(sizes[-2], sizes[-1], init=init)
    return layers.sequential(*hidden, output)


def _keep_probs(keep_prob: Any, sizes: tuple[int, ...]) -> list:
    n_hidden = len(sizes) - 2
    if not isinstance(keep_prob, Sequence) and np.ndim(keep_prob) == 0:
        return [keep_prob] * n_hidden
    if len(keep_prob) != n_hidden:
        raise ValueError(
            f"keep_prob must be one number or one per hidden layer ({n_hidden} for sizes "
            f"{sizes}); got {len(keep_prob)} of them."
        )
    return list(keep_prob)


def logistic_regression(n: int, init: str | initializers.Initializer = "zeros") -> layers.Layer:
    """One unit: the logit z = x w + b of P(y = 1 | x) = σ(z).

    The `mlp` of one block; its cost is convex, so starting from zeros costs nothing.

    Args:
        n: features per example.
        init: of w.

    Source: notes, "Logistic Regression", where ŷ = wᵀx + b misses its σ.
    """
    return mlp((n, 1), init=init)
