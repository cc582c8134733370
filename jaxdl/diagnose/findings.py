"""From evidence to findings: each pathology a name, what was seen, why it matters, what to do.

Every threshold is a constant with its reason. A finding that another one explains is listed under
it, so that the first name is the cause and not its loudest consequence.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.diagnose.evidence import RISE, STUCK, Evidence, highest, worst_start
from jaxdl.diagnose.tables import SHIFT_P
from jaxdl.diagnose.watch import Run

LARGE_GAIN = 5.0
"""√n_in · rms(w) at the start: He gives 1.4, Xavier 1, the largest usual ones about 2."""

LARGE_NUMBERS = 20.0
"""Root mean square of a feature or target. Standardised ones have 1, pixels of 0 to 16 up to 14,
lengths in centimetres about 6; at 20 the first layer's outputs are 20 times what weights expect."""

DEAD = 0.5
"""Share of dead units in a layer. Training kills some; one that lost half has lost its width."""

SATURATED = 0.8
"""Share of flat activations in a layer: trained tanh networks reach a third, seldom a half."""

VANISHED = 1e-4
"""First over last layer's gradient: four sigmoid layers, which still learn, give 10⁻³."""

EXPLODED = 1e4
"""The same the other way."""

FASTER = 0.5
"""Smaller steps must at least halve the cost for the steps to have been too large."""

DOUBTFUL = 0.05
"""Contradicted labels among the easy examples, at the lower end of the interval; honest data have
0 to 4 %."""

EVEN = 0.45
"""Among easy examples at least 0.45 times as many as among all: wrong labels are everywhere, while
where classes overlap the easy ones have a third or less."""

TELLS = 0.98
"""Skill of one feature alone. The best of iris has 0.96, of breast cancer 0.69."""

APART = 0.25
"""What it leaves unexplained must be at most a quarter of what the next best feature leaves."""

TOLD_APART = 0.6
"""AUC of telling dev from train; a difference beyond chance may still be too small to matter."""

WORSE_ON_DEV = 0.05
"""A forest's dev error above its out-of-bag error, at the lower end of a 99.9 % interval."""


class Finding(NamedTuple):
    """One pathology: `name` for programs, three sentences for people.

    `since` is the epoch from which it holds, 0 at the start. `consequences` are findings that this
    one explains.
    """

    name: str
    seen: str
    why: str
    advice: str
    since: int = 0
    consequences: tuple["Finding", ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.seen} {self.why} {self.advice}"


TEXTS = {
    "zero_init": (
        "Units that start equal get equal gradients and stay equal for ever: each hidden layer is "
        "one unit wide, if it learns at all.",
        "Start hidden weights at random (init=“he” for ReLU, “xavier” for tanh); biases may be 0.",
    ),
    "symmetric_init": (
        "Units that start equal get equal gradients and stay equal for ever.",
        "Start hidden weights at random (init=“he” for ReLU, “xavier” for tanh); biases may be 0.",
    ),
    "unscaled_inputs": (
        "Large inputs make large outputs and gradients, and features of different size need "
        "different learning rates: the cost is a narrow valley.",
        "Scale them with data.standardize, fitted on the training part only.",
    ),
    "unscaled_targets": (
        "The network starts near 0 and has to reach targets far away by small steps, with huge "
        "errors on the way.",
        "Standardise the targets (data.standardize) and invert the predictions.",
    ),
    "large_init": (
        "Every layer multiplies what it gets: outputs and gradients grow with depth, tanh units "
        "start saturated, and the first loss is enormous.",
        "Use init=“he” for ReLU or “xavier” for tanh; their standard deviations are √(2/n_in) and "
        "√(1/n_in).",
    ),
    "dead_units": (
        "A ReLU unit that is 0 for every example gets no gradient and cannot come back.",
        "Start biases at 0, lower the learning rate, or use activation=“leaky_relu”.",
    ),
    "learning_rate_too_large": (
        "Steps that overshoot the valley throw the cost up, and may kill ReLU units for good.",
        "Take a smaller rate; diagnose.learning_rate_range shows which.",
    ),
    "vanishing_gradients": (
        "The first layers hardly learn.",
        "Use init=“he” with ReLU or “xavier” with tanh, fewer layers, or ReLU instead of sigmoid.",
    ),
    "exploding_gradients": (
        "One step that suits the last layers throws the first ones far away.",
        "Use smaller initial weights (“he”, “xavier”), and optim.clip_by_global_norm.",
    ),
    "saturated_units": (
        "Where an activation is flat its derivative is almost 0, and nothing is learnt through it.",
        "Use smaller initial weights (init=“xavier”), scaled inputs, or ReLU.",
    ),
    "leaked_feature": (
        "A feature that knows the answer is usually made from it, or known only after it; then the "
        "model is useless where it has to predict.",
        "Ask how and when this column comes about. If it is not known when the prediction is made, "
        "remove it.",
    ),
    "label_noise": (
        "Wrong labels set a floor under the error, and a network large enough learns them by "
        "heart. Labels that depend on what is not among the inputs look the same.",
        "Read some of the contradicted examples; correct or remove wrong labels; regularise, stop "
        "early, or use losses.label_smoothing.",
    ),
    "dev_mismatch": (
        "The dev error then says nothing about the data that the network was trained for, and "
        "variance cannot be told from mismatch.",
        "Draw train and dev part from one pool (data.split), or collect training data like the "
        "dev data.",
    ),
    "initial_loss": (
        "A network that has seen nothing should be sure of nothing.",
        "Look at the scale of the weights of the last layer, of the inputs and of the targets.",
    ),
    "cannot_overfit_one_batch": (
        "What cannot learn a few examples by heart will not learn many: model, loss and targets do "
        "not fit together.",
        "Check the loss against the targets, and the backward pass by gradcheck.check.",
    ),
}
"""name → (why it matters, what to do), causes before consequences: the order of the report."""

TRAINING = {"dead_units", "saturated_units", "exploding_gradients", "vanishing_gradients"}
STARTING = {"initial_loss", "cannot_overfit_one_batch", "learning_rate_too_large", *TRAINING}
EXPLAINS = {
    "zero_init": STARTING,
    "symmetric_init": STARTING,
    "unscaled_inputs": STARTING,
    "unscaled_targets": STARTING,
    "large_init": STARTING,
    "dead_units": {"vanishing_gradients", "cannot_overfit_one_batch"},
    "learning_rate_too_large": TRAINING,
    "vanishing_gradients": {"cannot_overfit_one_batch"},
    "saturated_units": {"vanishing_gradients", "cannot_overfit_one_batch"},
    "exploding_gradients": {"initial_loss", "cannot_overfit_one_batch", "saturated_units"},
}
"""cause → what it brings about. Of those that a learning rate brings, only what came after it."""


def findings(run: Run, evidence: Evidence) -> tuple[Finding, ...]:
    """The pathologies of a run, causes first, each with the consequences it explains."""
    seen = dict(_seen(run, evidence))
    found = [Finding(n, text, *TEXTS[n], since) for n in TEXTS for text, since in seen.get(n, ())]
    causes, explained = [], set()
    for cause in found:
        if cause.name in explained:
            continue
        effects = [
            f
            for f in found
            if f.name in EXPLAINS.get(cause.name, ()) and f.name not in explained
            and (cause.name != "learning_rate_too_large" or f.since > 0)
        ]  # fmt: skip
        explained |= {f.name for f in effects}
        causes.append(cause._replace(consequences=tuple(effects)))
    return tuple(c for c in causes if c.name not in explained)


def _seen(run: Run, e: Evidence) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """name → [(what was seen, since when)], for what is there."""
    for name, looked in (
        ("unscaled_inputs", _inputs(e)),
        ("unscaled_targets", _targets(e)),
        ("large_init", _large_init(run)),
        ("dead_units", _dead(run)),
        ("saturated_units", _saturated(run)),
        ("vanishing_gradients", _gradient_ratio(run, lambda r: r < VANISHED)),
        ("exploding_gradients", _gradient_ratio(run, lambda r: r > EXPLODED)),
        ("learning_rate_too_large", _large_steps(run, e)),
        ("leaked_feature", _leak(e)),
        ("label_noise", _label_noise(e)),
        ("dev_mismatch", _dev_mismatch(e)),
        ("initial_loss", None if e.first_loss.ok else (e.first_loss.sentence, 0)),
        ("cannot_overfit_one_batch", _not_by_heart(e)),
        *_symmetric(run),
    ):
        if looked is not None:
            yield name, [looked]


def _symmetric(run: Run):
    twins = _hidden(run, "twins")[:1] > 0
    if not twins.any():
        return
    names = _names(run, twins[0])
    if (_hidden(run, "zero")[0] > 0)[twins[0]].all():
        yield "zero_init", (f"All weights of hidden {names} start at 0.", 0)
    else:
        yield "symmetric_init", (f"All units of hidden {names} start with the same weights.", 0)


def _inputs(e: Evidence):
    s = e.scales
    if s.largest <= LARGE_NUMBERS:
        return None
    return (
        f"The network sees inputs of very different or large size: {s.feature} has root mean "
        f"square {s.largest:.3g}, the median feature {s.median:.3g}.",
        0,
    )


def _targets(e: Evidence):
    if e.scales.targets <= LARGE_NUMBERS:
        return None
    return f"The targets have root mean square {e.scales.targets:.3g}.", 0


def _large_init(run: Run):
    gain = run.layers.values["gain"][0] if run.layers.blocks else np.zeros(0)
    if not (gain > LARGE_GAIN).any():
        return None
    worst = int(gain.argmax())
    return (
        f"The initial weights are large: {_names(run, gain > LARGE_GAIN)} multiply the size of "
        f"what they get by up to {gain[worst]:.3g} (He: 1.4, Xavier: 1).",
        0,
    )


def _dead(run: Run):
    return _units(
        run, "dead", DEAD, "are up to {} % dead: ReLU units that are 0 for every example."
    )


def _saturated(run: Run):
    said = "are saturated: up to {} % of their activations lie where the function is flat."
    return _units(run, "saturated", SATURATED, said)


def _units(run: Run, kind: str, most: float, said: str):
    """Hidden layers in which a larger share of units than `most` is of that kind."""
    share = _hidden(run, kind)
    since = _since(share > most)
    if since is None:
        return None
    row = share[since]
    percent = f"{100 * row.max():.0f}"
    return f"{_when(since)}{_names(run, row > most)} {said.format(percent)}", since


def _gradient_ratio(run: Run, broken):
    delta = run.layers.values.get("delta_rms", np.ones((1, 1)))
    last = np.where(delta[:, -1:] > 0, delta[:, -1:], np.nan)
    ratio = (delta / last)[:, :1]
    with np.errstate(invalid="ignore"):
        since = _since(broken(np.where(np.isfinite(ratio), ratio, 1.0)))
    if since is None:
        return None
    return (
        f"{_when(since)}the gradient in the first layer is {ratio[since, 0]:.1g} times that in the "
        f"last, {len(run.layers.blocks)} layers up.",
        since,
    )


def _since(bad: np.ndarray) -> int | None:
    """The first snapshot from which a layer is bad to the end; None if it is well at the end."""
    rows = np.atleast_1d(np.asarray(bad.any(axis=1) if bad.size else False))
    if not rows[-1]:
        return None
    return int(len(rows) - np.argmin(rows[::-1])) if not rows.all() else 0


def _when(since: int) -> str:
    return "From the start " if since == 0 else f"After epoch {since} "


def _large_steps(run: Run, e: Evidence):
    if e.slower is None:
        return None
    rose = run.diverged_at >= 0 or highest(run) > RISE * worst_start(run)
    stuck = not e.slower[1.0] <= STUCK * run.constant_cost
    best = min(e.slower, key=lambda f: e.slower[f])  # pyright: ignore
    better = best < 1 and e.slower[best] <= FASTER * e.slower[1.0]
    if not (better and (rose or stuck) and e.slower[best] < run.constant_cost):
        return None
    if run.diverged_at >= 0:
        what = f"The cost became infinite or NaN at step {run.diverged_at}."
    else:
        what = f"The cost went from {run.first_cost:.3g} to up to {highest(run):.3g} in an epoch."
    cost = e.slower[1.0]
    end = f"ends at {cost:.3g}" if np.isfinite(cost) else "does not end"
    more = f" With steps {best:g} times as large it ends at {e.slower[best]:.3g}, where this one "
    return what + more + end + ".", 0


def _leak(e: Evidence):
    suspects = [
        f for f in e.telling if f.skill >= TELLS and 1 - f.skill <= APART * (1 - f.others)
    ]  # fmt: skip
    if not suspects:
        return None
    worst = suspects[0]
    return (
        f"{worst.feature} alone predicts the target almost perfectly (skill {worst.skill:.3f} out "
        f"of sample, of at most 1); the next best feature has {max(worst.others, 0):.2f}.",
        0,
    )


def _label_noise(e: Evidence):
    doubtful, gap = e.opinion.doubtful, e.opinion.gap
    if doubtful is None or e.opinion.overall is None:
        return None
    if doubtful.low > DOUBTFUL and doubtful.value >= EVEN * e.opinion.overall:
        return (
            f"{100 * doubtful.value:.0f} % ({100 * doubtful.low:.0f} to {100 * doubtful.high:.0f}) "
            "of the training labels contradict what the inputs say, even among the examples where "
            "that should be easiest to tell.",
            0,
        )
    if gap is not None and gap.high < 0:
        return (
            f"A forest contradicts {100 * e.opinion.overall:.0f} % of the training labels and only "
            f"{100 * (e.opinion.overall + gap.value):.0f} % of the dev labels.",
            0,
        )
    return None


def _dev_mismatch(e: Evidence):
    s, gap = e.shift, e.opinion.gap
    if s is None:
        return None
    if s.p_value < SHIFT_P and s.auc > TOLD_APART:
        return (
            f"Train and dev inputs can be told apart (AUC {s.auc:.2f}, chance 0.5, p = "
            f"{s.p_value:.1g}), most of all by {s.feature}.",
            0,
        )
    if s.targets_p_value < SHIFT_P:
        return f"The targets differ between train and dev part (p = {s.targets_p_value:.1g}).", 0
    if gap is not None and gap.low > WORSE_ON_DEV:
        return (
            f"Inputs and targets look alike, but belong together differently: a forest errs "
            f"{100 * gap.value:.0f} points more on the dev part than on held-out training data.",
            0,
        )
    return None


def _not_by_heart(e: Evidence):
    return None if e.by_heart is None or e.by_heart.ok else (e.by_heart.sentence, 0)


def _hidden(run: Run, name: str) -> np.ndarray:
    """(T, L − 1) values of the hidden blocks."""
    values = run.layers.values.get(name)
    return np.zeros((1, 0)) if values is None else values[:, :-1]


def _names(run: Run, chosen: np.ndarray) -> str:
    paths = [b.path for b, c in zip(run.layers.blocks, chosen, strict=False) if c]
    return ("layer " if len(paths) == 1 else "layers ") + ", ".join(paths)
