"""Data sets by name: real data that ships inside scikit-learn, and seeded generators."""

import gzip
import importlib.util
import pathlib
from collections.abc import Callable

import numpy as np

from jaxdl import errors
from jaxdl.data.dataset import Dataset
from jaxdl.data.mnist import mnist10k


def load(name: str) -> Dataset:
    """The data set called `name`: NumPy, x (m, n) float32, unscaled and unsplit.

    Real: digits (1797 × 64, 10 classes), breast_cancer (569 × 30, 2), wine (178 × 13, 3),
    iris (150 × 4, 3), diabetes (442 × 10, regression), mnist10k (10000 × 784, 10).
    Generated: moons (300 × 2), circles (300 × 2), flower (400 × 2) and spirals (400 × 2) at their
    defaults.

    Raises:
        ValueError: for an unknown name, with the nearest one suggested.
    """
    data = errors.lookup("data set", name, SOURCES)()
    return data._replace(x=data.x.astype(np.float32))


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(SOURCES)


def _from_sklearn(name: str) -> Callable[[], Dataset]:
    def source() -> Dataset:
        bundle = getattr(_sklearn_datasets(), f"load_{name}")()
        classes = bundle.target.dtype.kind in "iu"
        image_shape = bundle.images.shape[1:] if "images" in bundle else None
        return Dataset(
            x=bundle.data,
            y=bundle.target.astype(np.int64 if classes else np.float32),
            name=name,
            feature_names=tuple(str(f) for f in bundle.feature_names),
            target_names=tuple(str(t) for t in bundle.target_names) if classes else (),
            image_shape=image_shape,
        )

    return source


def _digits() -> Dataset:
    """As scikit-learn's `load_digits`, from the file that it reads.

    To import scikit-learn takes longer than to train a network on these images.
    """
    package = importlib.util.find_spec("sklearn")
    folders = (package and package.submodule_search_locations) or [""]
    path = pathlib.Path(folders[0], "datasets", "data", "digits.csv.gz")
    if not path.is_file():
        return _from_sklearn("digits")()  # in another place; or it says what to install
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        table = np.loadtxt(lines, delimiter=",")
    pixels = tuple(f"pixel_{i}_{j}" for i in range(8) for j in range(8))
    y = table[:, -1].astype(np.int64)
    return Dataset(table[:, :-1], y, "digits", pixels, tuple("0123456789"), (8, 8))


def _sklearn_datasets():
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            "This data ships inside scikit-learn: pip install 'jaxdl-foundations[lab]'."
        ) from None
    return datasets


def moons(n: int = 300, noise: float = 0.2, seed: int = 3, dtype=np.float64) -> Dataset:
    """Two interleaved half circles with Gaussian noise of standard deviation `noise`.

    scikit-learn's `make_moons` under NumPy's legacy generator, whose stream NumPy guarantees:
    the defaults are the data of the course's assignment on optimization methods.
    """
    x, y = _sklearn_datasets().make_moons(n_samples=n, noise=noise, random_state=seed)
    return _plane("moons", x, y, dtype)


def circles(n: int = 300, noise: float = 0.05, seed: int = 1, dtype=np.float64) -> Dataset:
    """A circle inside a circle with Gaussian noise of standard deviation `noise`.

    scikit-learn's `make_circles` under NumPy's legacy generator: the defaults are the training
    data of the course's assignment on initialization; its test data is n=100, seed=2.
    """
    x, y = _sklearn_datasets().make_circles(n_samples=n, noise=noise, random_state=seed)
    return _plane("circles", x, y, dtype)


def flower(n: int = 400, noise: float = 0.2, seed: int = 1, dtype=np.float64) -> Dataset:
    """A flower in the plane whose petals alternate between two classes, n / 2 points each.

        t = linspace(3.12 j, 3.12 (j+1)) + noise·N(0, 1),   r = 4 sin 4t + noise·N(0, 1)
        x = (r sin t, r cos t)   for class j = 0, 1

    The defaults are the data of the course's assignment on planar classification, drawn from
    NumPy's legacy generator, whose stream NumPy guarantees.

    Raises:
        ValueError: if n is not a positive even number.
    """
    _check_even("flower", n)
    rng, half, x = np.random.RandomState(seed), n // 2, []
    for j in range(2):
        t = np.linspace(j * 3.12, (j + 1) * 3.12, half) + rng.randn(half) * noise
        r = 4 * np.sin(4 * t) + rng.randn(half) * noise
        x.append(np.stack([r * np.sin(t), r * np.cos(t)], axis=1))
    return _plane("flower", np.concatenate(x), np.repeat([0, 1], half), dtype)


def spirals(n: int = 400, noise: float = 0.2, seed: int = 0, dtype=np.float64) -> Dataset:
    """Two spirals of one and a half turns around each other, n / 2 points each.

        r = 4 √u with u uniform in (0, 1),   angle = 3π √u + π j   for class j = 0, 1

    plus Gaussian noise of standard deviation `noise`: evenly dense along the arms, and far from
    linearly separable.

    Raises:
        ValueError: if n is not a positive even number.
    """
    _check_even("spirals", n)
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    root = np.sqrt(rng.uniform(size=n))
    angle = 3 * np.pi * root + np.pi * y
    x = 4 * root[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _plane("spirals", x + noise * rng.normal(size=(n, 2)), y, dtype)


def _check_even(name: str, n: int) -> None:
    if n < 2 or n % 2:
        raise ValueError(f"{name} draws n / 2 points per class, so n must be even; got n={n}.")


def _plane(name: str, x, y, dtype) -> Dataset:
    x, y = np.asarray(x, dtype), np.asarray(y, np.int64)
    return Dataset(x, y, name, ("x0", "x1"), ("0", "1"))


SOURCES: dict[str, Callable[[], Dataset]] = {
    **{name: _from_sklearn(name) for name in ("breast_cancer", "wine", "iris", "diabetes")},
    "digits": _digits,
    "mnist10k": mnist10k,
    "moons": moons,
    "circles": circles,
    "flower": flower,
    "spirals": spirals,
}
