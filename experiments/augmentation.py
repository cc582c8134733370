"""Claim: flips, rotations and distortions of images regularise a network.

Section:  "Other regularization methods".
Setting:  a ReLU network on 150 real digits of 8 × 8 pixels, 150 others for the error, drawn anew;
          Adam, 80 epochs, no other regulariser. With and without augmentation, from the same
          weights and batches: horizontal flips, shifts, rotations, elastic distortion or noise,
          each weak, middle or strong. Measured: the error on the other examples at the end.
          (A pilot on other problems had 30 epochs.)
Predicts: depends on the transform. Small shifts and rotations help in three of four problems or
          more; horizontal flips hurt, because a mirrored digit is often no digit.
Refuted:  if the interval of the share of problems in which augmentation lowers the error lies
          below 0.75 (a method that is listed without a qualification is taken as "usually"). The
          dependence is refuted if flips help. Declared moderators: transform, and strength.
Command:  python -m experiments augmentation
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import data, lab, optim
from jaxdl.data import augment
from jaxdl.lab import problems, scores

CLAIM = lab.Claim(
    name="augmentation",
    title="Augmentation of digits, transform by transform",
    quote="data augmentation : flipping it horizontally, random rotations and distortions",
    section="Other regularization methods",
    quantifier="usually",
    number="34",
    literature=(
        lab.Source(
            "Simard, Steinkraus and Platt 2003, Best practices for convolutional neural networks "
            "applied to visual document analysis",
            "affine and elastic distortions of handwritten digits lower the test error",
            "agrees",
        ),
    ),
)

STRENGTHS = ("weak", "middle", "strong")
TRANSFORMS = {
    "horizontal flip": (augment.flip, "probability", (0.1, 0.25, 0.5)),
    "shift": (augment.shift, "pixels", (1, 2, 3)),
    "rotation": (augment.rotate, "degrees", (10.0, 20.0, 40.0)),
    "elastic distortion": (
        functools.partial(augment.elastic, sigma=1.5),
        "alpha",
        (4.0, 8.0, 16.0),
    ),
    "noise": (augment.noise, "scale", (2.0, 4.0, 8.0)),
}
"""Each with its argument and three doses: a share, pixels, degrees, pixels × 10, levels of 16."""

NETWORK = problems.networks(
    "digits", (32,), epochs=80, examples=300, most_batch=32, batch=problems.choice(32.0)
)


@functools.cache
def scale():
    """Mean and deviation of every pixel, by which the study standardises."""
    x = data.load("digits").x
    deviation = x.std(axis=0)
    return x.mean(axis=0)[None], np.where(deviation == 0, 1, deviation)[None].astype(np.float32)


def distorted(problem, on, key, x):
    """Standardised rows, of which the images are transformed if `on`."""
    mean, deviation = scale()
    images = (x * deviation + mean).reshape(-1, 8, 8)

    def branch(transform, argument, doses):
        dose = jnp.array(doses)[problem["strength"].astype(int)]
        return lambda images: transform(images, **{argument: dose}, key=key)

    branches = [lambda images: images, *(branch(*t) for t in TRANSFORMS.values())]
    which = jnp.where(on > 0, problem["transform"].astype(int) + 1, 0)
    images = jax.lax.switch(which, branches, images)
    return (images.reshape(x.shape) - mean) / deviation


def trial(problem, keys, data, *, on, lr):
    """The network with augmentation or without, the same in all else."""
    change = functools.partial(distorted, problem, on)
    return NETWORK.trial(problem, keys, data, optimizer=optim.adam(lr), augment=change)


FAMILY = dataclasses.replace(
    NETWORK,
    trial=trial,
    draws={
        **NETWORK.draws,
        "transform": problems.choice(*range(len(TRANSFORMS))),
        "strength": problems.choice(*range(len(STRENGTHS))),
    },
)


def ingredients(s):
    """Whether to augment, and the rate."""
    return {"on": s["on"], "lr": s["lr"]}


RATE = {"lr": 0.01}
STUDY = lab.Study(
    families=(FAMILY,),
    arms=(
        lab.Arm("augmentation", ingredients, (RATE,), RATE, {"on": 1}),
        lab.Arm("none", ingredients, (RATE,), RATE, {"on": 0}),
    ),
    better="augmentation",
    than="none",
    score=scores.last("dev_error"),
    unit="share of wrong answers",
    protocols=("default",),
    moderators={
        "transform": lambda p: list(TRANSFORMS)[int(p["transform"])],
        "strength": lambda p: STRENGTHS[int(p["strength"])],
    },
    crossed=(("transform", "strength"),),
)


@dataclasses.dataclass(frozen=True)
class Config(lab.Sizes):
    """Many problems, since they are split by transform and strength."""

    problems: int = 240
    seed: int = 1


FULL = Config(problems=1500)
SMOKE = Config(problems=2, seeds=1, families=1)

run, judge, chart = lab.experiment(CLAIM, STUDY)

if __name__ == "__main__":
    sys.exit(lab.main(__name__))
