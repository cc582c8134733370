"""Bias and variance of a fitted function, by fitting it again and again."""

import numpy as np


def parts(f, y):
    """Parts of the expected squared error of f (..., set, start, held, k), over y's variance.

    With V the variance of the sets' means: E‖f − y‖² = bias² + between sets + between starts;
    the mean of S sets of I starts errs by V/S, each set's mean by (between starts)/I.

    Args:
        f: predictions for the same held examples, of every training set and every start.
        y: (held, k) targets without noise.

    Returns:
        "bias²", "between sets", "between starts", "variance" (their sum) and "error", shape (...).
    """
    sets, starts = f.shape[-4:-2]
    start = f.var(axis=-3, ddof=1).mean(axis=-3)
    means = f.mean(axis=-3)
    spread = means.var(axis=-3, ddof=1)
    bias = (means.mean(axis=-3) - y) ** 2 - spread / sets
    unit = y.var(axis=0).sum()
    found = {"bias²": bias, "between sets": spread - start / starts, "between starts": start}
    found = {name: part.mean(axis=-2).sum(axis=-1) / unit for name, part in found.items()}
    found["variance"] = found["between sets"] + found["between starts"]
    return found | {"error": found["bias²"] + found["variance"]}


def with_tuned(f, targets):
    """`parts` on the second half of the held examples; `tuned` is the λ that is best on the first.

    Args:
        f: (..., λ, set, start, held, k) predictions.
        targets: (held, k) targets without noise.
    """
    half = len(targets) // 2
    tuned = parts(f[..., :half, :], targets[:half])["error"].argmin(axis=-1)
    return parts(f[..., half:, :], targets[half:]) | {"tuned": tuned}


def ridge(phi, held, y, penalties):
    """Predictions (λ, held, k) of ridge regression, for λ = 0 that of least norm.

    One eigendecomposition of the smaller of ΦᵀΦ and ΦΦᵀ serves all λ.

    Args:
        phi: (n, features) of the training examples.
        held: (held, features) of those to predict.
        y: (n, k) targets.
        penalties: the λ of ‖Φw − y‖² + λ ‖w‖².
    """
    if phi.shape[1] < len(phi):
        gram, left, right = phi.T @ phi, held, phi.T @ y
    else:
        gram, left, right = phi @ phi.T, held @ phi.T, y
    e, q = np.linalg.eigh(gram)
    left, right = left @ q, q.T @ right
    real = e > 1e-12 * e[-1]
    inverse = [np.where(real, 1 / np.where(real, e + p, 1), 0)[:, None] * right for p in penalties]
    return left @ np.stack(inverse)
