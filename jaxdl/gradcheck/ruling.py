"""Put autodiff before the referee and draw the consequences."""

from dataclasses import replace

from jaxdl.gradcheck import judge
from jaxdl.gradcheck import referee as rules
from jaxdl.gradcheck.judge import Comparison
from jaxdl.gradcheck.problem import Finding
from jaxdl.gradcheck.referee import Referee, Ruling
from jaxdl.gradcheck.run import Run

MOST_LEAVES = 40
"""How many leaves are refereed at one point; of more, an even selection."""


def referee(run: Run) -> None:
    """Check autodiff by finite differences at the given and one perturbed point."""
    shadow, settings = run.shadow, run.settings
    if shadow.mode == "numpy":
        run.referee = "the gradient is compared with finite differences themselves"
        return
    if settings.oracle == "ad":
        run.referee = "not asked (oracle='ad')"
        return
    rulings = []
    for i, point in enumerate(run.compared[:2]):
        court = Referee(shadow, point.theta, point.data, settings.seed + i)
        # Leaf by leaf is asked at the given point; elsewhere only if something is wrong.
        together = court.rule_all(point.auto, point.here.hand) if i else None
        if together is not None:
            rulings.append(together)
            continue
        for k in _selected(len(point.theta)):
            ruling = court.rule(k, point.auto, point.here.hand)
            if ruling.word == "disagrees" and _taken_apart(run):
                ruling = court.rule(k, point.auto, point.here.hand)
            rulings.append(ruling)
            _draw(run, point, ruling)
    run.referee = _sentence(rulings)


def _taken_apart(run: Run) -> bool:
    """Whether a gradient is another one operation by operation; all points then have that one.

    Fused code may compute the operand of a maximum twice, rounded in two ways, so that it equals
    its maximum nowhere: a fault of the compiled code, not of either formula.
    """
    shadow = run.shadow
    if not shadow.is_fused(run.compared[0].theta, run.compared[0].data):
        return False
    for point in run.compared:
        judge.measure_noise(point, shadow, run.settings.seed)
    shadow.apart = True
    apart = [shadow(point.theta, point.data) for point in run.compared]
    changed = {
        k
        for point, here in zip(run.compared, apart, strict=True)
        for k in replace(point, here=here).differs(point)
    }
    if not changed:
        shadow.apart = False
        return False
    for point, here in zip(run.compared, apart, strict=True):
        point.here = here
        if point.wrong():
            judge.settle(point, shadow, run.settings.seed)
    names = ", ".join(run.call.names[k] for k in sorted(changed))
    run.notes.append(
        f"{names}: compiled as a whole, a gradient comes out wrong that is right operation by "
        "operation (fused code computes the operand of a maximum twice, rounded in two ways); the "
        "latter is compared here. Code under jax.jit may suffer from it."
    )
    return True


def _selected(n: int) -> list[int]:
    return (
        list(range(n)) if n <= MOST_LEAVES else [n * i // MOST_LEAVES for i in range(MOST_LEAVES)]
    )


def _draw(run: Run, point: Comparison, ruling: Ruling) -> None:
    name, k = run.call.names[ruling.leaf], ruling.leaf
    if ruling.word == "frozen":
        _note_once(run, _stopped(run, point))
    elif k in point.kinks and ruling.word in ("kink", "disagrees"):
        return  # said where the entries are left out
    elif ruling.word == "kink":
        _note_once(run, f"kink: at the {point.label} point the loss has no derivative in {name}.")
    elif ruling.word == "noisy":
        _note_once(run, f"Finite differences are too noisy to check autodiff on {name}.")
    elif ruling.word == "disagrees" and k not in point.wrong():
        run.doubts.append(
            f"{name}: both gradients agree, but at the {point.label} point the loss changes by "
            f"{ruling.numeric:.6g} along a direction where they say {ruling.auto:.6g}"
            f"{_suspects(run, point)}."
        )
    elif ruling.word == "disagrees" and ruling.hand_is_right:
        _blame_autodiff(run, point, ruling, name)


def _blame_autodiff(run: Run, point: Comparison, ruling: Ruling, name: str) -> None:
    run.explained.add(ruling.leaf)
    if any(f.cause == "autodiff_path" and name in f.leaves for f in run.findings):
        return
    text = (
        f"{name}: the hand-derived gradient is the derivative of the loss "
        f"({ruling.numeric:.6g} along a random direction, by finite differences), jax.grad's is "
        f"not ({ruling.auto:.6g}){_suspects(run, point)}."
    )
    run.findings.append(Finding("autodiff_path", (), (name,), text, ruling.difference))


def _suspects(run: Run, point: Comparison) -> str:
    """What in the loss may make autodiff differ from the function, with places."""
    oracle, _ = run.shadow.traced(point.theta, point.data)
    if oracle is None:
        return ""
    stops, custom = rules.suspects(run.shadow, point.theta, point.data)
    parts = [f"stop_gradient at {', '.join(stops)}"] if stops else []
    parts += [f"a custom derivative rule at {', '.join(custom)}"] if custom else []
    return f" ({'; '.join(parts)})" if parts else ""


def _stopped(run: Run, point: Comparison) -> str:
    stops, _ = rules.suspects(run.shadow, point.theta, point.data)
    where = f" at {', '.join(stops)}" if stops else ""
    return (
        f"The loss holds values fixed with stop_gradient{where}: both gradients are those of the "
        "loss with these values held fixed, not of the loss as a whole."
    )


def _note_once(run: Run, text: str) -> None:
    if text not in run.notes:
        run.notes.append(text)


def _sentence(rulings: list[Ruling]) -> str:
    good = [r.difference for r in rulings if r.word in ("agrees", "frozen")]
    kinks = sum(r.word == "kink" for r in rulings)
    bad = sum(r.word == "disagrees" for r in rulings)
    parts = []
    if good:
        count = "1 direction" if len(good) == 1 else f"{len(good)} directions"
        parts.append(f"agrees with finite differences to {max(good):.0e} ({count})")
    parts += [f"{kinks} on a kink"] if kinks else []
    parts += [f"disagrees in {bad} of {len(rulings)}"] if bad else []
    return ", ".join(parts)
