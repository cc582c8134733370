"""Runs with one thing wrong, and runs with nothing wrong, on real and generated data."""

from functools import cache
from typing import NamedTuple

import jax
import numpy as np

from jaxdl import data, diagnose, models, optim


class Setting(NamedTuple):
    """An ordinary way to train on a data set."""

    name: str
    hidden: tuple[int, ...]
    activation: str
    optimizer: str
    rate: float
    epochs: int = 10
    batch_size: int = 32
    init: str = ""
    loss: str = "softmax_cross_entropy"


@cache
def model(sizes, activation, init):
    return models.mlp(sizes, activation, init)


@cache
def optimizer(name, rate):
    return getattr(optim, name)(rate)


def generated(name):
    """Data sets that scikit-learn draws; none of them was used to choose a threshold."""
    from sklearn import datasets

    make = {
        "easy": lambda: datasets.make_classification(500, 12, n_informative=6, random_state=21),
        "many": lambda: datasets.make_classification(
            600, 20, n_informative=8, n_classes=4, class_sep=2.0, random_state=22
        ),
        "rare": lambda: datasets.make_classification(
            1000, 10, n_informative=5, weights=[0.95], random_state=23
        ),
        "linear": lambda: datasets.make_regression(
            400, 10, n_informative=6, noise=20.0, random_state=24
        ),
        "friedman": lambda: datasets.make_friedman1(400, 8, noise=1.0, random_state=25),
    }[name]
    x, y = make()
    whole = y.dtype.kind in "iu"
    return data.Dataset(x.astype(np.float32), y.astype(np.int64 if whole else np.float32), name)


def parts(name, seed):
    """Train and dev part, standardised as they should be; digits cut to 700 to save time."""
    known = name in data.names()
    whole = data.load(name) if known else generated(name)
    whole = data.take(whole, np.arange(700)) if name == "digits" else whole
    split = data.split(whole, (0.7, 0.3, 0), seed=seed)
    scaler = data.standardize.fit(split.train.x)
    scaled = [p._replace(x=data.standardize.apply(scaler, p.x)) for p in (split.train, split.dev)]
    if whole.y.dtype.kind == "f":
        mean, spread = split.train.y.mean(), split.train.y.std()
        scaled = [p._replace(y=data.column((p.y - mean) / spread)) for p in scaled]
    return scaled


def start(setting, train, seed):
    """The model and its first parameters."""
    classes = train.y.ndim == 1 and setting.loss == "softmax_cross_entropy"
    sizes = (train.x.shape[1], *setting.hidden, int(train.y.max()) + 1 if classes else 1)
    init = setting.init or ("he" if "relu" in setting.activation else "xavier")
    net = model(sizes, setting.activation, init)
    return net, net.init(jax.random.key(seed))


def of_weights(change, params):
    return [{"w": change(p["w"]), "b": p["b"]} for p in params]


def wrong_labels(rng, part, share=0.25):
    y, k = part.y.copy(), int(part.y.max()) + 1
    chosen = rng.random(len(y)) < share
    y[chosen] = (y[chosen] + rng.integers(1, k, chosen.sum())) % k
    return part._replace(y=y)


def with_answer(rng, part):
    answer = part.y.reshape(-1, 1) + 0.05 * rng.normal(size=(len(part.y), 1))
    names = (*part.feature_names, "answer") if part.feature_names else ()
    return part._replace(x=np.hstack([part.x, answer]).astype(np.float32), feature_names=names)


def run(setting, seed, plant=None):
    """`observe` with one of the eight pathologies planted, or with none."""
    rng = np.random.default_rng(seed)
    train, dev = parts(setting.name, seed)
    rate = setting.rate
    if plant == "label_noise":
        train, dev = wrong_labels(rng, train), wrong_labels(rng, dev) if seed % 2 else dev
    if plant == "leaked_feature":
        train, dev = with_answer(rng, train), with_answer(rng, dev)
    if plant == "unscaled_inputs":
        units = 10 ** rng.uniform(-2, 3, size=train.x.shape[1])
        units[rng.integers(len(units))] = 1000
        train, dev = (p._replace(x=(p.x * units).astype(np.float32)) for p in (train, dev))
    if plant == "dev_mismatch":
        moved = 1.2 * dev.x + 0.7 * rng.normal(size=dev.x.shape[1])
        dev = dev._replace(x=moved.astype(np.float32))
    if plant == "learning_rate_too_large":
        rate = 1000 * rate
    if setting.loss == "binary_cross_entropy":
        train, dev = (p._replace(y=data.column(p.y)) for p in (train, dev))
    net, params = start(setting, train, seed)
    if plant == "zero_init":
        params = jax.tree.map(np.zeros_like, params)
    if plant == "large_init":
        params = of_weights(lambda w: 100 * w, params)
    if plant == "dead_units":
        params[-2] = {"w": params[-2]["w"], "b": params[-2]["b"] - 30}
    return diagnose.observe(
        net,
        "squared_error" if train.y.ndim == 2 and setting.loss[:3] != "bin" else setting.loss,
        optimizer(setting.optimizer, rate),
        train,
        dev,
        params=params,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        key=jax.random.key(seed),
    )


PLANTS = (
    "zero_init",
    "large_init",
    "learning_rate_too_large",
    "dead_units",
    "label_noise",
    "leaked_feature",
    "unscaled_inputs",
    "dev_mismatch",
)

SICK = (
    Setting("digits", (64, 32), "relu", "adam", 1e-3),
    Setting("breast_cancer", (32, 16), "relu", "momentum", 0.05, loss="binary_cross_entropy"),
    Setting("wine", (16,), "relu", "sgd", 0.1),
    Setting("iris", (16, 16), "tanh", "adam", 1e-2),
)

HEALTHY = (
    Setting("digits", (64, 32), "relu", "adam", 1e-3),
    Setting("digits", (), "relu", "sgd", 0.05, init="zeros"),
    Setting("iris", (16,), "tanh", "sgd", 0.1, epochs=20),
    Setting("iris", (10, 10), "relu", "adam", 1e-2, epochs=20),
    Setting("wine", (32,), "tanh", "rmsprop", 3e-3),
    Setting("wine", (16, 16), "leaky_relu", "momentum", 0.05, batch_size=16),
    Setting("breast_cancer", (30, 10), "relu", "adam", 3e-3, loss="binary_cross_entropy"),
    Setting("breast_cancer", (), "relu", "sgd", 0.1, init="zeros", loss="binary_cross_entropy"),
    Setting("diabetes", (32, 16), "relu", "adam", 1e-3, epochs=20),
    Setting("diabetes", (), "relu", "sgd", 0.01, epochs=20),
    Setting("moons", (16, 16), "tanh", "adam", 1e-2, epochs=30),
    Setting("circles", (16,), "relu", "momentum", 0.1, epochs=30),
    Setting("easy", (64, 64, 32), "relu", "adamw", 1e-3),
    Setting("many", (64, 64, 64, 64), "relu", "adam", 1e-3),
    Setting("rare", (32,), "sigmoid", "adam", 1e-2, loss="binary_cross_entropy"),
    Setting("linear", (32,), "relu", "adam", 3e-3, epochs=20),
    Setting("friedman", (64, 32), "tanh", "nadam", 3e-3, epochs=20),
)


def everything():
    """Every pathology on every setting that can have it, then every healthy run."""
    for setting in SICK:
        for plant in PLANTS:
            if plant != "dead_units" or setting.activation == "relu":
                found = diagnose.report(run(setting, 0, plant), show=False)
                print(setting.name, plant, [f.name for f in found.findings], flush=True)
    for setting in HEALTHY:
        found = diagnose.report(run(setting, 7), show=False)
        print(setting.name, "healthy", [f.name for f in found.findings], flush=True)


if __name__ == "__main__":
    everything()
