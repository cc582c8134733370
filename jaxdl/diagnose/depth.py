"""Statistics of every dense block: activations, gradients and weights through the depth."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import activations, losses
from jaxdl.layers import Layer
from jaxdl.losses import Loss
from jaxdl.types import Array, Params, PyTree

FLAT = 0.05
"""g′ below 5 % of its largest value counts as saturated: tanh at |z| > 2.2, σ at |z| > 4.4."""

BOUNDED = ("sigmoid", "tanh")


class Block(NamedTuple):
    """A dense block of a model: its path in the parameters, and its activation if recognised."""

    path: str
    activation: str | None


class LayerStatistics(NamedTuple):
    """`values[name]` has one number a block, (L,), or one a snapshot and block, (T, L).

    - `input_rms`, `z_rms`, `activation_rms`: root mean squares over examples and units
    - `delta_rms`: of dz = ∂Lᵢ/∂z, the gradient of each example's loss that backprop carries
    - `gain`: √n_in · rms(w), how much the block scales its input; 1.4 by He, 1 by Xavier
    - `dead`: share of units that are 0 for every example (ReLU blocks)
    - `saturated`: share of (example, unit) where the activation is flat (tanh, sigmoid)
    - `twins`: 1 if all units of a hidden block are the same unit
    - `zero`: 1 if all weights are 0
    """

    blocks: tuple[Block, ...]
    values: dict[str, np.ndarray]


def layer_statistics(
    model: Layer, loss: str | Loss, params: Params, x: Any, y: Any
) -> LayerStatistics:
    """Statistics of each dense block at these parameters, on these examples, without dropout.

    The gradient of a block is that of each example alone: its bias gradient for a batch of one
    is dz itself, so the model's own backward pass is all that is needed.

    Args:
        model: a Layer made of `layers.dense` blocks, as `models.mlp` makes it; of other layers
            only their dense blocks are seen.
        loss: a name or a pair.
        params: of the model.
        x: (m, n) examples; a few hundred will do.
        y: their targets, as the loss takes them.

    Source: notes, "Vanishing / Exploding gradients".
    """
    found = blocks(model, params, np.shape(x)[1:])
    measure = jax.jit(lambda p, x, y: statistics(model, losses.get(loss), found, p, x, y))
    values = measure(params, jnp.asarray(x), jnp.asarray(y))
    return LayerStatistics(found, {name: np.asarray(v) for name, v in values.items()})


def blocks(model: Any, params: Params, shape: tuple[int, ...]) -> tuple[Block, ...]:
    """The dense blocks of a model whose examples have this shape; none for a plain function."""
    if not isinstance(model, Layer):
        return ()
    return _blocks(model, jax.tree.structure(params), _shapes(params), tuple(shape))


def _shapes(params: Params) -> tuple:
    return tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(params))


@lru_cache(maxsize=64)
def _blocks(model: Layer, structure: Any, shapes: tuple, shape: tuple[int, ...]):
    """Recognised on random numbers: at real parameters, zero ones say, tanh and ReLU look alike."""
    rng = np.random.default_rng(0)
    leaves = [
        (rng.normal(size=s) / np.sqrt(s[0] if len(s) > 1 else 1.0)).astype(d) for s, d in shapes
    ]
    params = jax.tree.unflatten(structure, leaves)
    paths = []

    @jax.jit
    def look(params: Params, x: Array) -> list[tuple[Array, Array]]:
        seen = list(_walk(params, model, x))
        paths[:] = [path for path, *_ in seen]
        return [(z, a) for *_, z, a in seen]

    pairs = jax.device_get(look(params, rng.normal(size=(32, *shape)).astype(np.float32)))
    return tuple(Block(path, _recognise(*pair)) for path, pair in zip(paths, pairs, strict=True))


def _recognise(z: np.ndarray, a: np.ndarray) -> str | None:
    for name, g in activations.ACTIVATIONS.items():
        if np.allclose(a, jax.jit(g.value)(z), rtol=1e-4, atol=1e-6):
            return name
    return None


def _walk(params: Params, model: Layer, x: Array) -> Iterator[tuple[str, Any, Array, Array, Array]]:
    """(path, params, input, z, a) of each dense block; a is what the next block receives."""
    output, residuals = model.forward(params, x)
    found = list(_dense(params, residuals, ""))
    inputs = [x for _, _, (x, _, _) in found]
    for (path, p, (x, z, _)), a in zip(found, [*inputs[1:], output], strict=True):
        yield path, p, x, z, a if a.shape == z.shape else z


def _dense(params: Params, residuals: PyTree, path: str):
    """Dense blocks are known by their parameters {w, b} and their residuals (x, z, mask)."""
    if isinstance(params, Mapping):
        if {"w", "b"} <= set(params) and isinstance(residuals, tuple) and len(residuals) == 3:
            yield path, params, residuals
    elif isinstance(params, list | tuple) and isinstance(residuals, list):
        for i, (p, r) in enumerate(zip(params, residuals, strict=True)):
            yield from _dense(p, r, f"{path}.{i}" if path else str(i))


def statistics(
    model: Layer, loss: Loss, found: tuple[Block, ...], params: Params, x: Array, y: Array
) -> dict[str, Array]:
    """The values of `LayerStatistics`, traceable: name → (L,); empty for a model without blocks."""
    if not found:
        return {}
    seen = list(_walk(params, model, x))
    rows = [
        _row(block, p, x, z, a, dz, hidden=i < len(found) - 1)
        for i, (block, (_, p, x, z, a), dz) in enumerate(
            zip(found, seen, _deltas(model, loss, params, x, y), strict=True)
        )
    ]
    return {name: jnp.stack([row[name] for row in rows]) for name in rows[0]}


def _row(block: Block, p: Mapping, x: Array, z: Array, a: Array, dz: Array, hidden: bool):
    w = p["w"]
    no, yes = jnp.zeros((), w.dtype), jnp.ones((), w.dtype)
    dead = ((a == 0) & (z <= 0)).all(axis=0).astype(w.dtype).mean()
    saturated = no
    if hidden and block.activation in BOUNDED:
        prime = activations.get(block.activation).prime
        saturated = (prime(z) < FLAT * prime(jnp.zeros((), z.dtype))).astype(w.dtype).mean()
    same = (w == w[:, :1]).all() & (p["b"] == p["b"][:1]).all()
    return {
        "input_rms": _rms(x),
        "z_rms": _rms(z),
        "activation_rms": _rms(a),
        "delta_rms": _rms(dz),
        "gain": _rms(w) * w.shape[0] ** 0.5,
        "dead": dead if hidden and block.activation == "relu" else no,
        "saturated": saturated,
        "twins": jnp.where(same, yes, no) if hidden and w.shape[1] > 1 else no,
        "zero": jnp.where((w == 0).all(), yes, no),
    }


def _rms(a: Array) -> Array:
    return jnp.sqrt(jnp.square(a).mean())


def _deltas(model: Layer, loss: Loss, params: Params, x: Array, y: Array) -> list[Array]:
    """dz of each block, (m, n_out): the bias gradients of every example by itself."""

    def one(x, y):
        output, residuals = model.forward(params, x[None])
        grads, _ = model.backward(params, residuals, loss.grad(output, y[None]))
        return [g["b"] for _, g, _ in _dense(grads, residuals, "")]

    return jax.vmap(one)(x, y)
