"""The optimizers of the notes and their successors: each is one chain of transformations."""

from typing import Any

from jaxdl import errors
from jaxdl.optim import checks
from jaxdl.optim.adaptive import scale_by_adagrad, scale_by_adam, scale_by_amsgrad, scale_by_rms
from jaxdl.optim.base import GradientTransformation, chain, identity
from jaxdl.optim.momentum import ema, scale_by_lion, trace
from jaxdl.optim.transforms import Schedule, add_decayed_weights, scale_by_learning_rate
from jaxdl.types import Scalar


def gradient_descent(learning_rate: Scalar | Schedule) -> GradientTransformation:
    """Gradient descent: w := w − α g.

    Args:
        learning_rate: α ≥ 0, a number, a traced number, or a schedule of the step.
    """
    return chain(scale_by_learning_rate(learning_rate))


def sgd(
    learning_rate: Scalar | Schedule,
    momentum: Scalar | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> GradientTransformation:
    """Gradient descent, with heavy-ball momentum if asked: v = β v + g, w := w − α v.

    Args:
        learning_rate: α ≥ 0.
        momentum: β in [0, 1), or None.
        nesterov: Looks one step ahead: w := w − α (g + β v).
        accumulator_dtype: Dtype of v; None means that of the parameters.

    Source: Polyak 1964, Nesterov 1983. The notes' momentum is `optim.momentum`.
    """
    return chain(
        _heavy_ball(momentum, nesterov, accumulator_dtype), scale_by_learning_rate(learning_rate)
    )


def _heavy_ball(momentum, nesterov, accumulator_dtype=None) -> GradientTransformation:
    """`trace`, or nothing without a momentum."""
    if momentum is None:
        return identity()
    checks.hyperparams(momentum=momentum)
    return trace(momentum, nesterov, accumulator_dtype)


def momentum(
    learning_rate: Scalar | Schedule,
    decay: Scalar = 0.9,
    form: str = "ema",
    debias: bool = False,
    accumulator_dtype: Any = None,
) -> GradientTransformation:
    """Gradient descent with momentum, in the notes' form or in Polyak's.

        form="ema":        v = β v + (1 − β) g,    w := w − α v
        form="heavy_ball": v = β v + g,            w := w − α v

    The second with rate α equals the first with rate α/(1 − β).

    Args:
        learning_rate: α ≥ 0.
        decay: β in [0, 1).
        form: "ema", the notes' average, or "heavy_ball".
        debias: Corrects the average for its start at zero (form "ema" only).
        accumulator_dtype: Dtype of v; None means that of the parameters.

    Raises:
        ValueError: for another form, or for `debias` with a heavy ball.

    Source: notes, "Gradient descent with Momentum"; Polyak 1964.
    """
    forms = {"ema": lambda: ema(decay, debias, accumulator_dtype)}
    forms["heavy_ball"] = lambda: trace(decay, accumulator_dtype=accumulator_dtype)
    memory = errors.lookup("form of momentum", form, forms)
    if debias and form != "ema":
        raise ValueError(
            "debias=True corrects an average, but form='heavy_ball' is a sum: use form='ema'."
        )
    return chain(memory(), scale_by_learning_rate(learning_rate))


def rmsprop(
    learning_rate: Scalar | Schedule,
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = False,
    momentum: Scalar | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformation:
    """RMSprop: s = β s + (1 − β) g², w := w − α g / (√s + ε).

    Args:
        learning_rate: α ≥ 0.
        decay: β in [0, 1).
        eps: ε ≥ 0, outside the root as in the notes.
        initial_scale: Value of s before the first gradient.
        eps_in_sqrt: Puts ε inside the root, which is optax's default.
        momentum: β of a heavy ball after the step size, or None.
        nesterov: Makes that momentum Nesterov's.
        bias_correction: Divides s by 1 − βᵗ.

    Source: notes, "RMSprop"; Tieleman & Hinton 2012 (lecture).
    """
    return chain(
        scale_by_rms(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        _heavy_ball(momentum, nesterov),
    )


def adagrad(
    learning_rate: Scalar | Schedule, initial_accumulator_value: Scalar = 0.1, eps: Scalar = 1e-7
) -> GradientTransformation:
    """Adagrad: S = S + g², w := w − α g / √(S + ε).

    Args:
        learning_rate: α ≥ 0.
        initial_accumulator_value: Value of S before the first gradient.
        eps: ε ≥ 0, inside the root as in optax; `scale_by_adagrad` has both forms.

    Source: Duchi, Hazan & Singer 2011.
    """
    return chain(
        scale_by_adagrad(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate)
    )


def adam(
    learning_rate: Scalar | Schedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam: momentum and RMSprop together, both bias-corrected: w := w − α v̂ / (√ŝ + ε).

    Args:
        learning_rate: α ≥ 0.
        b1: β₁ in [0, 1), of the average v of gradients.
        b2: β₂ in [0, 1), of the average s of their squares.
        eps: ε ≥ 0, outside the root as in the notes.
        eps_root: Added inside the root.
        mu_dtype: Dtype of v; None means that of the parameters.
        nesterov: Nadam's v̂.

    Source: notes, "Adam optimization algorithm"; Kingma & Ba 2015. The recurrences are in
    `scale_by_adam`.
    """
    direction = scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)
    return chain(direction, scale_by_learning_rate(learning_rate))


def nadam(
    learning_rate: Scalar | Schedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
) -> GradientTransformation:
    """Nadam: Adam that looks one step ahead. Arguments as in `adam`.

    Source: Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=True)


def adamw(
    learning_rate: Scalar | Schedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    weight_decay: Scalar = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam with decoupled weight decay: w := w − α (v̂ / (√ŝ + ε) + λ w).

    Args:
        learning_rate: α ≥ 0; it multiplies the decay too.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε ≥ 0, outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of v; None means that of the parameters.
        weight_decay: λ ≥ 0.
        mask: Which leaves decay; see `add_decayed_weights`.
        nesterov: Nadam's v̂.

    Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", which scales the
    decay by the schedule alone; here, as in optax, by the whole rate.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def amsgrad(
    learning_rate: Scalar | Schedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """AMSGrad: Adam whose denominator never shrinks. Arguments as in `scale_by_amsgrad`.

    Source: Reddi, Kale & Kumar 2018, "On the Convergence of Adam and Beyond".
    """
    direction = scale_by_amsgrad(
        b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu
    )
    return chain(direction, scale_by_learning_rate(learning_rate))


def lion(
    learning_rate: Scalar | Schedule,
    b1: Scalar = 0.9,
    b2: Scalar = 0.99,
    mu_dtype: Any = None,
    weight_decay: Scalar = 1e-3,
    mask: Any = None,
) -> GradientTransformation:
    """Lion: w := w − α (sign((1 − β₁) g + β₁ m) + λ w), m = β₂ m + (1 − β₂) g.

    Args:
        learning_rate: α ≥ 0; every weight moves by it, so smaller than for Adam.
        b1: β₁ in [0, 1), the weight of the memory in the step.
        b2: β₂ in [0, 1), the decay of the memory.
        mu_dtype: Dtype of m; None means that of the parameters.
        weight_decay: λ ≥ 0, decoupled.
        mask: Which leaves decay; see `add_decayed_weights`.

    Source: Chen et al. 2023.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
