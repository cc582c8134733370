"""Augmentation: exact where pixels only move, smooth elsewhere, one key one result."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import backprop, losses, models, tree
from jaxdl.data import augment
from tests import compiling

KEY = jax.random.key(0)
GEOMETRIC = {
    "flip": augment.flip,
    "shift": partial(augment.shift, pixels=1),
    "rotate": partial(augment.rotate, degrees=15.0),
    "elastic": partial(augment.elastic, alpha=8.0, sigma=2.0),
}
NOISE = partial(augment.noise, scale=0.1)
AUGMENTATIONS = {**GEOMETRIC, "noise": NOISE, "composed": augment.compose(augment.flip, NOISE)}
JITTED = {name: compiling.once(f) for name, f in AUGMENTATIONS.items()}  # all on 40 images of 8 × 8
IMAGES = jax.random.uniform(jax.random.key(9), (40, 8, 8))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_one_key_one_result_of_the_same_shape(name):
    f = JITTED[name]
    once, again, other = f(IMAGES, key=KEY), f(IMAGES, key=KEY), f(IMAGES, key=jax.random.key(1))
    assert once.shape == IMAGES.shape and once.dtype == IMAGES.dtype
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other) and not np.array_equal(once, IMAGES)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_channels_move_together(name):
    colour = jnp.stack([IMAGES, 2 * IMAGES], axis=3)
    grey = JITTED[name](IMAGES, key=KEY)
    out = JITTED[name](colour, key=KEY)
    np.testing.assert_allclose(out, jnp.stack([grey, 2 * grey], axis=3), atol=1e-6)


@pytest.mark.parametrize("name, kinds", [("flip", 2), ("shift", 9), ("rotate", 40)])
def test_examples_draw_their_own(name, kinds):
    out = np.asarray(JITTED[name](jnp.tile(IMAGES[:1], (40, 1, 1)), key=KEY))
    assert len(np.unique(out.reshape(40, -1), axis=0)) == kinds


def test_flip_is_a_mirror_in_half_the_cases():
    out, x = np.asarray(JITTED["flip"](IMAGES, key=KEY)), np.asarray(IMAGES)
    mirrored = (out == x[:, :, ::-1]).all(axis=(1, 2))
    kept = (out == x).all(axis=(1, 2))
    assert (mirrored ^ kept).all() and 10 <= mirrored.sum() <= 30
    up = augment.flip(IMAGES, key=KEY, probability=1.0, axis=1)
    np.testing.assert_array_equal(up, x[:, ::-1])


def test_shift_moves_whole_pixels_and_fills():
    # A single bright pixel lands on each of the 9 places around it.
    x = jnp.zeros((40, 8, 8)).at[:, 2, 5].set(7.0)
    out = np.asarray(JITTED["shift"](x, key=KEY))
    assert {tuple(np.argwhere(image)[0]) for image in out} == {
        (i, j) for i in (1, 2, 3) for j in (4, 5, 6)
    }
    assert set(np.unique(out)) == {0, 7}
    filled = compiling.once(partial(augment.shift, pixels=1, fill=-1.0))(
        jnp.ones((40, 8, 8)), key=KEY
    )
    assert set(np.unique(filled)) == {-1, 1}


def test_turning_by_right_angles_is_exact():
    angle = jnp.full((40, 1, 1), jnp.pi / 2)
    quarter = compiling.once(lambda x: augment._warp(x, augment._turned(x, angle), 0.0))(IMAGES)
    expected = [np.rot90(IMAGES, k, axes=(1, 2)) for k in (1, 3)]
    # Corners may be read a rounding error outside the image.
    inner = (slice(None), slice(1, -1), slice(1, -1))
    assert min(np.abs(quarter[inner] - e[inner]).max() for e in expected) < 1e-5


def test_elastic_is_smooth_and_scales_with_alpha():
    ramp = jnp.tile(jnp.arange(16.0)[None, None], (8, 16, 1))  # reads off the shift across
    distort = compiling.once(lambda alpha: augment.elastic(ramp, alpha, 3.0, key=KEY) - ramp)
    moved, double, still = (np.asarray(distort(a))[:, 4:-4, 4:-4] for a in (4.0, 8.0, 0.0))
    assert 0.05 < moved.std() < 1
    assert np.abs(np.diff(moved, axis=1)).max() < 0.5 * np.abs(moved).max()
    np.testing.assert_allclose(double, 2 * moved, atol=1e-4)
    np.testing.assert_allclose(still, 0, atol=1e-6)


def test_noise_has_its_scale():
    out = augment.noise(jnp.zeros((100, 100)), 0.3, key=KEY)
    assert out.std() == pytest.approx(0.3, rel=0.05) and abs(out.mean()) < 0.02


def test_gradients_through_an_augmented_objective(x64):
    """The hand-derived gradient equals autodiff's, and evaluation sees the plain images."""
    model = models.logistic_regression(64)
    distort = AUGMENTATIONS["composed"]
    plain = losses.objective(model, "binary_cross_entropy", l2=0.1)
    hand = backprop.value_and_grad(model, "binary_cross_entropy", l2=0.1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 64)), (np.arange(10.0) % 2)[:, None]
    params = [{"w": rng.normal(size=(64, 1)), "b": np.zeros(1)}]
    shape = (8, 8)
    auto = compiling.once(jax.value_and_grad(augment.augmented(plain, distort, shape)))
    cost, gradient = auto(params, x, y, KEY)
    by_hand = compiling.once(augment.augmented(hand, distort, shape))(params, x, y, KEY)
    np.testing.assert_allclose(cost, by_hand[0], rtol=1e-12)
    assert tree.norm(tree.subtract(gradient, by_hand[1])) < 1e-12
    evaluated = plain(params, x, y)
    assert augment.augmented(plain, distort, shape)(params, x, y) == evaluated != cost


@pytest.mark.parametrize("bad", [(6, 64), (6,), (1, 2, 3, 4, 5)])
def test_not_images(bad):
    with pytest.raises(ValueError, match="Expected images"):
        augment.flip(jnp.zeros(bad), key=KEY)
    with pytest.raises(TypeError, match="got uint8"):
        augment.shift(jnp.zeros((2, 4, 4), jnp.uint8), 1, key=KEY)


@pytest.mark.parametrize(
    "f",
    [
        partial(augment.flip, probability=1.5),
        partial(augment.shift, pixels=-1),
        partial(augment.elastic, alpha=8.0, sigma=0.0),
    ],
    ids=["probability", "pixels", "sigma"],
)
def test_values_out_of_range(f):
    with pytest.raises(ValueError, match=r"Expected (probability|pixels|sigma) between"):
        f(IMAGES, key=KEY)
