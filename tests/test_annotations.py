"""The shapes in the annotations are true: the library runs with every annotation enforced."""

import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
from jaxtyping import install_import_hook
with install_import_hook("jaxdl", "beartype.beartype"):
    from jaxdl import activations, backprop, initializers, layers, losses, models, optim
import jax, jax.numpy as jnp
from jaxtyping import TypeCheckError

targets = {
    "softmax_cross_entropy": (3, jnp.arange(5) % 3),
    "binary_cross_entropy": (1, jnp.ones((5, 1))),
    "squared_error": (2, jnp.ones((5, 2))),
}


def everything(key, x):
    for name in activations.ACTIVATIONS:
        for f in activations.get(name):
            f(jnp.ones((2, 3)))
    for name in initializers.INITIALIZERS:
        initializers.get(name)(key, (3, 4))
    for loss, (k, y) in targets.items():
        model = models.mlp((4, 6, k), "tanh", keep_prob=[0.5])
        params = model.init(key)
        by_hand = backprop.value_and_grad(model, loss, l2=0.1, l1=0.1)
        cost, grads = by_hand(params, x, y, key, jnp.ones(5))
        losses.objective(model, loss, l2=0.1)(params, x, y)
        jax.grad(lambda p: backprop.with_custom_vjp(model)(p, x).sum())(params)
        layers.apply(model, params, x, key)
        optimizer = optim.adam(1e-3)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
    losses.frobenius_norm(x)
    models.logistic_regression(4).init(key)
    try:
        losses.squared_error(x, jnp.ones((5, 3)))
    except TypeCheckError:
        print("enforced")


# On shapes alone: that is what annotations speak of, and nothing has to be compiled.
jax.eval_shape(everything, jax.random.key(0), jnp.ones((5, 4)))
"""


@pytest.mark.slow
def test_annotations_are_true():
    root = pathlib.Path(__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=root)
    assert out.returncode == 0, out.stderr[-3000:]
    assert out.stdout.strip() == "enforced"
