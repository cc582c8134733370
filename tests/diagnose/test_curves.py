"""Learning curves of models whose error is known, and power laws whose constants are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import data, diagnose, losses, metrics, models, optim, train

KEY = jax.random.key(0)


def nearest_mean(x, y, key):
    return np.stack([x[y == c].mean(axis=0) for c in range(3)])


def share_wrong(means, x, y):
    distances = np.square(x[:, None] - means[None]).sum(axis=2)
    return (distances.argmin(axis=1) != y).mean()


def iris():
    return data.split(data.load("iris"), (0.7, 0.3, 0), seed=0)


def test_any_fit_function_will_do():
    parts = iris()
    curve = diagnose.learning_curve(
        nearest_mean, share_wrong, parts.train, parts.dev, repeats=2, key=KEY
    )
    assert curve.sizes.tolist() == [13, 26, 52, 105] and curve.dev_error.shape == (4, 2)
    whole = nearest_mean(parts.train.x, parts.train.y, KEY)
    np.testing.assert_allclose(curve.dev_error[-1], share_wrong(whole, parts.dev.x, parts.dev.y))
    assert list(curve.table.columns) == ["size", "repeat", "train_error", "dev_error"]
    assert curve.table.query("size == 26 and repeat == 1").dev_error.item() == curve.dev_error[1, 1]


def test_subsets_are_nested_and_keep_the_classes():
    parts, seen = iris(), []
    diagnose.learning_curve(
        lambda x, y, key: seen.append((x, np.asarray(y))),
        lambda fitted, x, y: 0.5,
        parts.train,
        parts.dev,
        sizes=[9, 30],
        repeats=1,
        key=KEY,
    )
    (few, labels), (many, _) = seen
    np.testing.assert_array_equal(few, many[:9])
    assert np.bincount(labels).min() >= 2


MODEL = models.logistic_regression(4)
COST = losses.objective(MODEL, "binary_cross_entropy")


def trained(x, y, key):
    start = MODEL.init(key)
    return train.fit(COST, start, optim.adam(0.1), (x, y), epochs=20, key=key).params


ERROR = metrics.of(MODEL, metrics.error_rate)


def versicolor_or_not():
    parts = iris()
    return [(p.x, data.column(p.y == 1)) for p in (parts.train, parts.dev)]


def test_one_program_for_all_repeats_gives_the_same_curve():
    parts, options = versicolor_or_not(), {"sizes": [20, 80], "repeats": 2, "key": KEY}
    one_by_one = diagnose.learning_curve(trained, ERROR, *parts, **options)
    compiled = diagnose.learning_curve(trained, ERROR, *parts, compiled=True, **options)
    np.testing.assert_allclose(compiled.dev_error, one_by_one.dev_error, atol=0.03)
    np.testing.assert_allclose(compiled.train_error, one_by_one.train_error, atol=0.03)


def test_a_bigger_model_fits_a_curve_better():
    x = np.linspace(-1, 1, 60)[:, None]
    y = np.sin(4 * x)

    def polynomial(x, y, key, degree):
        powers = x ** jnp.arange(degree + 1.0)[None]
        return jnp.linalg.lstsq(powers, y)[0]

    def squared(w, x, y):
        return jnp.square(x ** jnp.arange(float(len(w)))[None] @ w - y).mean()

    parts = (x[::2], y[::2]), (x[1::2], y[1::2])
    curve = diagnose.model_size_curve(
        polynomial, squared, *parts, sizes=[1, 3, 5, 7], repeats=1, key=KEY, compiled=True
    )
    assert curve.what == "size of the model" and curve.sizes.tolist() == [1, 3, 5, 7]
    assert (np.diff(curve.train_error[:, 0]) < 0).all() and curve.dev_error[-1, 0] < 1e-3


SIZES = np.array([50, 100, 200, 400, 800, 1600])


def drawn(a, b, c, seed, repeats=5, noise=0.02, sizes=SIZES):
    means = (a + b * sizes ** -float(c))[:, None]
    noise = noise * np.random.default_rng(seed).normal(size=(len(sizes), repeats))
    return np.maximum(means + noise * np.sqrt(means), 0)


@pytest.mark.parametrize("a, b, c", [(0.02, 1.0, 0.5), (0.0, 0.8, 0.35), (0.1, 2.0, 1.0)])
def test_an_exact_power_law_is_found(a, b, c):
    law = diagnose.power_law(SIZES, drawn(a, b, c, 0, noise=0), key=KEY, resamples=100)
    np.testing.assert_allclose([law.a.value, law.b.value, law.c.value], [a, b, c], atol=0.03)
    target = a + b * 3000.0**-c
    answer = diagnose.more_data(law, target)
    assert answer.status == "estimate" and answer.n is not None
    assert answer.n.value == pytest.approx(3000, rel=0.02) and "about 3,0" in answer.sentence
    assert diagnose.predict_error(law, 3000).value == pytest.approx(target, rel=0.01)


def test_how_much_more_data_holds_the_truth():
    """Over 100 noisy curves: of the numbers given, at least 90 % of intervals hold the truth."""
    given = []
    for seed in range(100):
        law = diagnose.power_law(
            SIZES, drawn(0.0, 0.8, 0.35, seed), key=jax.random.key(seed), resamples=300
        )
        answer = diagnose.more_data(law, 0.8 * 4800**-0.35)
        assert answer.status in ("estimate", "cannot say")
        if answer.n is not None:
            given.append(answer.n.low <= 4800 <= answer.n.high)
    assert len(given) > 50 and np.mean(given) >= 0.9


@pytest.mark.parametrize(
    "sizes, points, status, words",
    [
        (SIZES, drawn(0.02, 1.0, 0.5, 0), "reached", "already"),
        (SIZES, drawn(0.1, 2.0, 0.8, 0, noise=0.001), "unreachable", "levels off"),
        (SIZES[:3], drawn(0.0, 1.0, 0.5, 0)[:3], "cannot say", "3 sizes"),
        (SIZES[-4:] // 400 + 99, drawn(0.0, 1.0, 0.5, 0)[:4], "cannot say", "factor of 4"),
        (SIZES, drawn(0.2, 0.0, 0.5, 0), "cannot say", "does not clearly fall"),
        (SIZES, drawn(0.0, 1.0, 0.1, 0, noise=1e-4), "cannot say", "further out"),
        (SIZES, drawn(0.05, 1.0, 0.5, 0, noise=0.1), "cannot say", "may level off"),
        (SIZES, drawn(0.0, 1.0, 0.5, 0, noise=1e-3) + 0.1 * (SIZES == 400)[:, None], "cannot say",
         "do not lie"),
    ],
    ids=["reached", "levels off", "few", "narrow", "flat", "far", "noisy", "no power law"],
)  # fmt: skip
def test_it_says_when_it_cannot_say(sizes, points, status, words):
    law = diagnose.power_law(sizes, points, key=KEY)
    target = {"reached": 0.2, "unreachable": 0.05}.get(status, 0.03)
    answer = diagnose.more_data(law, target)
    assert answer.status == status and answer.n is None
    assert words in answer.sentence


def test_no_extrapolation_without_grounds():
    law = diagnose.power_law(SIZES, drawn(0.2, 0.0, 0.5, 0), key=KEY)
    with pytest.raises(ValueError, match=r"No extrapolation to n = 5000: .*does not clearly fall"):
        diagnose.predict_error(law, 5000)
    law = diagnose.power_law(SIZES, drawn(0.0, 1.0, 0.5, 0), key=KEY)
    with pytest.raises(ValueError, match="as far again"):
        diagnose.predict_error(law, 1e6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sizes": [10, 400]}, "from 1 to 105; got"),
        ({"sizes": [20, 10]}, "ascending"),
        ({"sizes": []}, "whole numbers"),
        ({"repeats": 0}, "repeats must be at least 1; got 0"),
    ],
)
def test_wrong_sizes(options, message):
    parts = iris()
    with pytest.raises(ValueError, match=message):
        diagnose.learning_curve(
            nearest_mean, share_wrong, parts.train, parts.dev, key=KEY, **options
        )


def test_a_fit_that_diverged_is_said():
    parts = iris()
    with pytest.raises(ValueError, match=r"at examples 13 they are .*Has the fit diverged"):
        diagnose.learning_curve(
            nearest_mean, lambda *_: float("nan"), parts.train, parts.dev, repeats=1, key=KEY
        )


@pytest.mark.parametrize(
    "sizes, points, message",
    [
        ([1, 2], [0.1, 0.2, 0.3], "at least four points"),
        (SIZES, [0.1] * 5 + [np.inf], "finite"),
        (SIZES[::-1], [0.1] * 6, "ascending"),
    ],
)
def test_wrong_points(sizes, points, message):
    with pytest.raises(ValueError, match=message):
        diagnose.power_law(sizes, points, key=KEY)


@pytest.mark.parametrize("ask", [diagnose.more_data, diagnose.predict_error])
def test_only_a_fitted_law_answers(ask):
    with pytest.raises(TypeError, match="the PowerLaw that power_law returns, got float"):
        ask(0.1, 100)
