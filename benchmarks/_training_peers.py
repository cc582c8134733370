"""The same training in other libraries: same sizes, batch, optimizer and number of epochs.

Each function prepares once and returns what trains anew when called; None if not installed.
"""

import importlib.util
import itertools
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def peers(sizes, x, y, batch: int, epochs: int, names=("torch", "sklearn", "flax")) -> dict:
    """name → trainer, for the peers that are installed."""
    makers = {"torch": pytorch, "sklearn": scikit_learn, "flax": per_step_loop}
    return {
        name: makers[name](sizes, x, y, batch, epochs)
        for name in names
        if importlib.util.find_spec(name)
    }


def pytorch(sizes, x, y, batch: int, epochs: int) -> Callable[[], object]:
    """The usual loop: shuffle, slice, backward, step."""
    import torch

    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    features, labels = torch.tensor(x), torch.tensor(y, dtype=torch.int64)

    def train():
        model = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(features)).split(batch):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(features[rows]), labels[rows]).backward()
                optimizer.step()
        return model

    return train


def scikit_learn(sizes, x, y, batch: int, epochs: int) -> Callable[[], object]:
    """`MLPClassifier`, kept from stopping early."""
    from sklearn.neural_network import MLPClassifier

    def train():
        model = MLPClassifier(
            sizes[1:-1],
            batch_size=batch,  # pyright: ignore[reportArgumentType]
            max_iter=epochs, tol=0.0, n_iter_no_change=epochs, alpha=0.0,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged is meant
            return model.fit(x, y)

    return train


def per_step_loop(sizes, x, y, batch: int, epochs: int) -> Callable[[], object]:
    """flax and optax as their tutorials have it: one jitted call for every step."""
    import optax
    from flax import linen

    class Network(linen.Module):
        @linen.compact
        def __call__(self, a):
            for n in sizes[1:-1]:
                a = linen.relu(linen.Dense(n)(a))
            return linen.Dense(sizes[-1])(a)

    network, optimizer = Network(), optax.adam(1e-3)

    @jax.jit
    def step(params, state, x, y):
        def cost(params):
            logits = network.apply(params, x)
            return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()  # pyright: ignore

        updates, state = optimizer.update(jax.grad(cost)(params), state, params)
        return optax.apply_updates(params, updates), state

    start = network.init(jax.random.key(0), jnp.asarray(x[:1]))
    rng = np.random.default_rng(0)

    def train():
        params, state = start, optimizer.init(start)
        for _ in range(epochs):
            order = rng.permutation(len(x))
            for i in range(0, len(x), batch):
                rows = order[i : i + batch]
                params, state = step(params, state, x[rows], y[rows])
        return jax.block_until_ready(params)

    return train
