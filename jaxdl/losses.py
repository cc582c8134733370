"""Losses per example, each beside its hand-derived gradient, and the cost that is minimised.

Notes: "Logistic Regression Cost Function", "Regularization". The notes stack examples in columns;
here example i is row i, so their ŷ⁽ⁱ⁾ is `outputs[i]`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdl import errors, tree
from jaxdl.types import Key, Params, PyTree, Scalar


class Loss(NamedTuple):
    """A loss per example, and its derivative with respect to the outputs.

    `value(outputs, y)` has shape (m,); `grad(outputs, y)` has the shape of the outputs. Neither
    carries a 1/m: the mean over examples is taken in one place, `objective`.
    """

    value: Callable[[Array, Array], Array]
    grad: Callable[[Array, Array], Array]


def _binary_targets(logits: Array, y: Array) -> tuple[Array, Array]:
    z, y = errors.floating("logits", logits), jnp.asarray(y)
    errors.shaped("logits", z, ("m", 1), "The model must give one logit per example.")
    errors.shaped("targets", y, z.shape, "data.column(y) turns labels (m,) into (m, 1).")
    if errors.is_concrete(y) and y.size:
        low, high = np.min(np.asarray(y)), np.max(np.asarray(y))
        valid = bool(low >= 0 and high <= 1)
        errors.within("binary targets", f"values from {low} to {high}", valid, "between 0 and 1")
    return z, y.astype(z.dtype)


def binary_cross_entropy(logits: Float[Array, "m 1"], y: Float[Array, "m 1"]) -> Float[Array, " m"]:
    """Cross-entropy of a yes-or-no answer, in nats, from the logit z.

        L = −y log ŷ − (1 − y) log(1 − ŷ),  ŷ = σ(z)

    computed with log σ(z) = −softplus(−z), so that it is finite and accurate for any finite z.

    Args:
        logits: z, before the sigmoid.
        y: targets, 0 or 1 (or a probability between).

    Returns:
        One loss per example.

    Raises:
        ValueError: for shapes other than (m, 1) twice, or concrete targets outside [0, 1].
        TypeError: for logits that are not floating-point.

    Source: notes, "Logistic Regression Cost Function"; theirs takes ŷ, ours the logit.
    """
    z, y = _binary_targets(logits, y)
    # An answer that is infinitely sure and right costs 0, not 0 · ∞.
    if_one = jnp.where(y > 0, y * jax.nn.softplus(-z), 0)
    if_zero = jnp.where(y < 1, (1 - y) * jax.nn.softplus(z), 0)
    return (if_one + if_zero)[:, 0]


def binary_cross_entropy_grad(
    logits: Float[Array, "m 1"], y: Float[Array, "m 1"]
) -> Float[Array, "m 1"]:
    """The notes' dz = a − y, with a = σ(z).

        dL/da = −y/a + (1 − y)/(1 − a),  da/dz = a(1 − a)
        dz = dL/da · da/dz = −y(1 − a) + (1 − y)a = a − y

    The division by a(1 − a) cancels, so nothing overflows.
    Source: notes, "Logistic Regression Gradient Descent".
    """
    z, y = _binary_targets(logits, y)
    return jax.lax.logistic(z) - y


def _class_labels(logits: Array, labels: Array) -> tuple[Array, Array]:
    z, labels = errors.floating("logits", logits), jnp.asarray(labels)
    errors.shaped("logits", z, ("m", "K"), "The model must give one row of K logits per example.")
    hint = f"Give one class index per row of logits {z.shape} (one-hot: labels.argmax(axis=1))."
    errors.shaped("labels", labels, z.shape[:1], hint)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"labels must be integer class indices; got dtype {labels.dtype}. "
            "Use labels.astype(int)."
        )
    if z.shape[1] < 2:
        raise ValueError(
            f"softmax needs at least two classes; got logits of shape {z.shape}. "
            "For a yes-or-no answer use binary_cross_entropy."
        )
    if errors.is_concrete(labels) and labels.size:
        low, high, k = np.min(np.asarray(labels)), np.max(np.asarray(labels)), z.shape[1]
        valid = bool(low >= 0 and high < k)
        expected = f"class indices in [0, {k}), one for each column of the logits"
        errors.within("labels", f"values from {low} to {high}", valid, expected)
    return z, labels


def _nan_if_outside(y: Array, k: int, dtype: Any) -> Array:
    """1 for a class in [0, K), NaN for any other: a traced label cannot raise, but must be seen."""
    return jnp.where((y >= 0) & (y < k), 1.0, jnp.nan).astype(dtype)


def _shifted(z: Array) -> Array:
    """z minus its largest entry per row: the softmax is the same and cannot overflow."""
    return z - jax.lax.stop_gradient(z.max(axis=1, keepdims=True))


def softmax_cross_entropy(logits: Float[Array, "m K"], y: Int[Array, " m"]) -> Float[Array, " m"]:
    """Cross-entropy of one class out of K, in nats, from the logits.

        L = −log softmax(z)[y] = log Σₖ exp zₖ − z_y

    Args:
        logits: z, before the softmax.
        y: class indices in [0, K).

    Returns:
        One loss per example.

    Raises:
        ValueError: for shapes other than (m, K) and (m,), or concrete labels outside [0, K).
            Traced labels cannot raise: they make loss and gradient NaN (`train.fit` looks first).
        TypeError: for logits that are not floating-point or labels that are not integers.

    Source: the K-class form of the notes' logistic loss.
    """
    z, y = _class_labels(logits, y)
    z = _shifted(z)
    picked = jnp.take_along_axis(z, y[:, None], axis=1, mode="clip")[:, 0]
    loss = jnp.log(jnp.exp(z).sum(axis=1)) - picked
    return loss * _nan_if_outside(y, z.shape[1], z.dtype)


def softmax_cross_entropy_grad(
    logits: Float[Array, "m K"], y: Int[Array, " m"]
) -> Float[Array, "m K"]:
    """The notes' dz = a − y once more: a = softmax(z), y one-hot.

    d/dzⱼ (log Σₖ exp zₖ − z_y) = exp zⱼ / Σₖ exp zₖ − 1[j = y]
    """
    z, y = _class_labels(logits, y)
    exp = jnp.exp(_shifted(z))
    a = exp / exp.sum(axis=1, keepdims=True)
    dz = a - jax.nn.one_hot(y, z.shape[1], dtype=z.dtype)
    return dz * _nan_if_outside(y, z.shape[1], z.dtype)[:, None]


def label_smoothing(epsilon: float = 0.1) -> Loss:
    """Softmax cross-entropy against labels that are only nearly certain.

        L = (1 − ε) · (−log pᵧ) + ε/K · Σₖ (−log pₖ),  p = softmax(z)
        dz = p − (1 − ε) onehot(y) − ε/K

    which is the cross-entropy against the target (1 − ε) onehot(y) + ε/K, so the gradient is the
    notes' a − y with that target.

    Args:
        epsilon: ε in [0, 1), the probability spread over all K classes.

    Raises:
        ValueError: for ε outside [0, 1).

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture"; not in the notes.
    """
    errors.within("epsilon", epsilon, 0 <= epsilon < 1, "in [0, 1)")

    def value(logits: Array, y: Array) -> Array:
        z, y = _class_labels(logits, y)
        z = _shifted(z)
        log_normalizer = jnp.log(jnp.exp(z).sum(axis=1))
        picked = jnp.take_along_axis(z, y[:, None], axis=1, mode="clip")[:, 0]
        return log_normalizer - (1 - epsilon) * picked - epsilon * z.mean(axis=1)

    def grad(logits: Array, y: Array) -> Array:
        onehot = jax.nn.one_hot(y, logits.shape[1], dtype=logits.dtype)
        return softmax_cross_entropy_grad(logits, y) + epsilon * (onehot - 1 / logits.shape[1])

    return Loss(value, grad)


def _regression_targets(outputs: Array, y: Array) -> tuple[Array, Array]:
    a, y = errors.floating("outputs", outputs), jnp.asarray(y)
    errors.shaped("outputs", a, ("m", "k"), "The model must give one row per example.")
    errors.shaped("targets", y, a.shape, "data.column(y) turns targets (m,) into (m, 1).")
    if errors.is_concrete(y) and not np.all(np.isfinite(np.asarray(y, np.float64))):
        raise ValueError(f"targets must be finite; got NaN or infinity among {y.size} numbers.")
    return a, y.astype(a.dtype)


def squared_error(outputs: Float[Array, "m k"], y: Float[Array, "m k"]) -> Float[Array, " m"]:
    """Half the squared distance, L = ½ Σₖ (ŷₖ − yₖ)².

    Args:
        outputs: ŷ.
        y: targets, in the same units and shape.

    Returns:
        One loss per example.

    Raises:
        ValueError: for shapes that differ or are not (m, k).
        TypeError: for outputs that are not floating-point.

    Source: not in the notes; the ½ makes the gradient ŷ − y, of the notes' form a − y.
    """
    a, y = _regression_targets(outputs, y)
    return 0.5 * jnp.square(a - y).sum(axis=1)


def squared_error_grad(outputs: Float[Array, "m k"], y: Float[Array, "m k"]) -> Float[Array, "m k"]:
    """d/dŷ ½(ŷ − y)² = ŷ − y."""
    a, y = _regression_targets(outputs, y)
    return a - y


LOSSES = {
    "binary_cross_entropy": Loss(binary_cross_entropy, binary_cross_entropy_grad),
    "softmax_cross_entropy": Loss(softmax_cross_entropy, softmax_cross_entropy_grad),
    "squared_error": Loss(squared_error, squared_error_grad),
}


ALIASES = {
    "mse": "squared_error",
    "mean_squared_error": "squared_error",
    "l2": "squared_error",
    "bce": "binary_cross_entropy",
    "log_loss": "binary_cross_entropy",
    "crossentropy": "softmax_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
    "nll": "softmax_cross_entropy",
}
"""What other libraries call them; only for the message about an unknown name."""


def get(loss: str | tuple[Callable, Callable]) -> Loss:
    """The loss of that name, or the given pair (value, grad) as a `Loss`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
        TypeError: for anything that is neither a name nor a pair of functions.
    """
    if isinstance(loss, str):
        return errors.lookup("loss", loss, LOSSES, ALIASES)
    if isinstance(loss, tuple) and len(loss) == 2 and all(map(callable, loss)):
        return Loss(*loss)
    raise TypeError(f"A loss is a name or a pair (value, grad) of functions; got {loss!r}.")


def weight_leaves(params: Params) -> PyTree:
    """True for the leaves that penalties shrink: those whose last path key is "w"."""

    def is_weight(path, _):
        return bool(path) and getattr(path[-1], "key", getattr(path[-1], "name", None)) == "w"

    return jax.tree.map_with_path(is_weight, params)


def penalized_leaves(params: Params, penalize: Any = None) -> PyTree:
    """The tree of booleans that `penalize` stands for.

    Args:
        params: the parameters.
        penalize: None for `weight_leaves`, a tree of booleans of the parameters' structure, or a
            function from parameters to such a tree (as optax's masks).

    Raises:
        ValueError: if the tree's structure is not that of the parameters.
    """
    if penalize is None:
        return weight_leaves(params)
    mask = penalize(params) if callable(penalize) else penalize
    expected, found = jax.tree.structure(params), jax.tree.structure(mask)
    if expected != found:
        raise ValueError(
            f"penalize must be a tree of booleans with the parameters' structure {expected}; "
            f"got {found}."
        )
    return mask


def is_off(strength: Scalar) -> bool:
    """Whether a penalty is literally absent: a traced zero cannot be, and is computed."""
    return isinstance(strength, (int, float)) and strength == 0


def check_strength(name: str, strength: Scalar) -> None:
    """Complain about a penalty that is not one number, is negative or not finite.

    Raises:
        ValueError: naming the penalty and its value.
        TypeError: for what is not a number.
    """
    errors.scalar(name, strength)
    if errors.is_concrete(strength):
        value = np.asarray(strength)
        valid = bool(np.all(np.isfinite(value) & (value >= 0)))
        errors.within(name, value, valid, "a finite number ≥ 0")


def frobenius_norm(w: Float[Array, "..."]) -> Float[Array, ""]:
    """√(Σ wᵢⱼ²), with gradient 0 (a subgradient) where all entries are 0.

    The notes call the sum of squares itself by this name; it is the square.
    """
    squares = jnp.square(w).sum()
    some = squares > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)


def _sum_over(f: Callable[[Array], Array], params: Params, mask: PyTree) -> Any:
    leaves = zip(jax.tree.leaves(params), jax.tree.leaves(mask), strict=True)
    return sum(f(w) for w, on in leaves if on)


def penalty(
    params: Params, total_weight: Scalar, l2: Scalar = 0.0, l1: Scalar = 0.0, penalize: Any = None
) -> Float[Array, ""]:
    """Shrinkage of the weights, λ₂/(2M) Σ‖W‖² + λ₁/M Σ|W|, biases left alone.

    Args:
        params: the parameters.
        total_weight: M, the sum of the example weights (their number without weights).
        l2: λ₂ of the notes' λ/2m.
        l1: λ₁. The notes name L1 without a formula; we divide by m, as for L2.
        penalize: see `penalized_leaves`.

    Raises:
        ValueError: if a penalty is asked for and no leaf is penalised.

    Source: notes, "Regularization".
    """
    if is_off(l2) and is_off(l1):
        return jnp.zeros(())
    mask = penalized_leaves(params, penalize)
    if not any(jax.tree.leaves(mask)):
        raise ValueError(
            f"l2={l2}, l1={l1} would shrink no leaf: none of {', '.join(tree.paths(params))} is "
            'called "w". Say which to shrink by penalize.'
        )
    total: Any = 0.0
    if not is_off(l2):
        total += l2 / (2 * total_weight) * _sum_over(lambda w: jnp.square(w).sum(), params, mask)
    if not is_off(l1):
        total += l1 / total_weight * _sum_over(lambda w: jnp.abs(w).sum(), params, mask)
    return total


def example_weights(weights: Array | None, outputs: Array) -> tuple[Array, Array]:
    """The weights wᵢ, ones if None, and their sum M, in the outputs' dtype.

    Raises:
        ValueError: for a shape other than (m,), or concrete weights that are negative, not
            finite, or all zero.
    """
    m = outputs.shape[0]
    if m == 0:
        raise ValueError(f"The data are empty: outputs have shape {outputs.shape}.")
    if weights is None:
        return jnp.ones((m,), outputs.dtype), jnp.asarray(m, outputs.dtype)
    weights = jnp.asarray(weights)
    errors.shaped("weights", weights, (m,), f"Give one weight per row of outputs {outputs.shape}.")
    if errors.is_concrete(weights):
        w = np.asarray(weights)
        valid = bool(np.all(np.isfinite(w) & (w >= 0)) and w.sum() > 0)
        errors.within("weights", w, valid, "finite, ≥ 0 and not all zero")
    weights = weights.astype(outputs.dtype)
    return weights, weights.sum()


def per_example(losses: Array, outputs: Array) -> Array:
    """The losses, if there is one per example.

    Raises:
        ValueError: for any other shape, which would be broadcast silently.
    """
    errors.shaped(
        "loss value", losses, outputs.shape[:1], "Return one loss per example: sum over axis 1."
    )
    return losses


def objective(
    model: Any,
    loss: str | Loss,
    l2: Scalar = 0.0,
    l1: Scalar = 0.0,
    penalize: Any = None,
) -> Callable[..., Array]:
    """The cost J that training minimises: weighted mean loss plus penalties.

        J = Σᵢ wᵢ Lᵢ / M + λ₂/(2M) Σ‖W‖² + λ₁/M Σ|W|,  M = Σᵢ wᵢ

    Args:
        model: a `layers.Layer`, or any function apply(params, x, key) → outputs.
        loss: a name in `LOSSES`, or a pair (value, grad).
        l2: λ₂ ≥ 0, a number, traced or not.
        l1: λ₁ ≥ 0, likewise.
        penalize: which leaves the penalties shrink; see `penalized_leaves`.

    Returns:
        J(params, x, y, key=None, weights=None) → scalar. A key means training mode (dropout on);
        weights serve padding, short last batches and class imbalance. On a mini-batch M is that of
        the batch, so a small batch is penalised more than the whole set, as in the notes.

    Raises:
        ValueError: for an unknown loss or a negative penalty, here; for shapes, when called.

    Source: notes, "Logistic Regression Cost Function" and "Regularization"; with wᵢ = 1 it is
    theirs.
    """
    value = get(loss).value
    apply = apply_function(model)
    check_strength("l2", l2)
    check_strength("l1", l1)

    def cost(
        params: Params, x: Array, y: Array, key: Key | None = None, weights: Array | None = None
    ) -> Array:
        outputs = apply(params, x, key)
        weights, total = example_weights(weights, outputs)
        data = (weights * per_example(value(outputs, y), outputs)).sum() / total
        if is_off(l2) and is_off(l1):
            return data
        return data + penalty(params, total, l2, l1, penalize)

    return cost


def apply_function(model: Any) -> Callable[..., Any]:
    """apply(params, x, key) → outputs of a Layer, or the function itself.

    Raises:
        TypeError: for anything else.
    """
    forward = getattr(model, "forward", None)
    if forward is not None:
        return lambda params, x, key: forward(params, x, key)[0]
    if callable(model):
        return model
    raise TypeError(f"A model is a Layer or a function (params, x, key); got {model!r}.")
