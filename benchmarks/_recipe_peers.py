"""The peers of the recipe: scikit-learn's networks, tuned, and its boosted trees as they come."""

import os
import time

import numpy as np

BATCH = 4
"""Configurations a call of RandomizedSearchCV; calls go on until the time is up."""


def tuned_mlp(x, y, classes: bool, seconds: float, seed: int):
    """An MLP whose settings RandomizedSearchCV sought for `seconds`, refit on all rows."""
    from scipy.stats import loguniform
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = MLPClassifier if classes else MLPRegressor
    space = {
        "hidden_layer_sizes": [(32,), (64,), (128,), (64, 64), (128, 64), (128, 128)],
        "alpha": loguniform(1e-5, 10.0),
        "learning_rate_init": loguniform(1e-4, 3e-2),
        "batch_size": [32, 64, 128],
        "activation": ["relu", "tanh"],
        "early_stopping": [False, True],
    }
    name = kind.__name__.lower()
    space = {f"{name}__{k}": v for k, v in space.items()}
    os.environ["PYTHONWARNINGS"] = "ignore"  # those of workers: not converged, batch clipped
    end, best, score, calls = time.monotonic() + seconds, {}, -np.inf, 0
    last = 0.0
    while calls == 0 or time.monotonic() + last < end:
        start = time.monotonic()
        estimator = make_pipeline(StandardScaler(), kind(max_iter=300, random_state=seed))
        search = RandomizedSearchCV(
            estimator, space, n_iter=BATCH, cv=5, n_jobs=-1, refit=False,
            random_state=1000 * seed + calls, error_score=-np.inf,
        )  # fmt: skip
        search.fit(x, _scaled(y, y, classes))
        if search.best_score_ > score:
            best, score = search.best_params_, search.best_score_
        calls, last = calls + 1, time.monotonic() - start
    model = make_pipeline(StandardScaler(), kind(max_iter=300, random_state=seed))
    model.set_params(**best).fit(x, _scaled(y, y, classes))
    return lambda x: _unscaled(model.predict(x), y, classes)


def trees(kind: str):
    """A factory like `tuned_mlp` of gradient-boosted trees at their defaults."""

    def fit(x, y, classes: bool, seconds: float, seed: int):
        del seconds
        from sklearn import ensemble

        name = f"{kind}{'Classifier' if classes else 'Regressor'}"
        return getattr(ensemble, name)(random_state=seed).fit(x, y).predict

    return fit


def _scaled(y, like, classes):
    return y if classes else (y - like.mean()) / like.std()


def _unscaled(y, like, classes):
    return y if classes else y * like.std() + like.mean()
