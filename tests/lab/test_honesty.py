"""The machine that gives verdicts: how often is it wrong where the truth is known?"""

import dataclasses
import importlib
import itertools

import jax
import numpy as np
import pytest

import experiments
from jaxdl import lab, stats
from jaxdl.lab import record, runner, shares

WRONG, COVERED = 0.05, 0.93
CLAIMS = 2000
GAMMAS = (0.5, 0.75, 0.9, 0.99)
PLACES = ("exactly γ", "just below γ", "no difference", "clearly true", "clearly false", "anywhere")


@dataclasses.dataclass(frozen=True)
class World:
    """A simulated claim: what is true, and what was drawn from it.

    `truth[name][level]` is the true share of a moderator's level; a problem that ties counts ½.
    """

    place: str
    gamma: float
    share: float
    truth: dict[str, dict[str, float]]
    holds: np.ndarray
    families: np.ndarray
    moderators: dict[str, np.ndarray]
    protocols: dict[str, np.ndarray]
    margin_kept: bool
    equivalent: bool


def share_at(place, gamma, rng):
    """The true share of problems in which the claim holds."""
    return {
        "exactly γ": gamma,
        "just below γ": gamma - 0.01,
        "no difference": 0.5,
        "clearly true": min(1.0, gamma + 0.25),
        "clearly false": max(0.0, gamma - 0.25),
        "anywhere": rng.uniform(),
    }[place]


def scores(share, ties, rng):
    """1, 0, or ½ for a tie, with the given means; ties as often as the means allow."""
    ties = np.minimum(ties, 2 * np.minimum(share, 1 - share))
    rest = (share - ties / 2) / np.maximum(1 - ties, 1e-12)
    won = rng.random(share.shape) < rest
    return np.where(rng.random(share.shape) < ties, 0.5, won)


def simulate(number):
    """A world by its number: families that agree or not, moderators that matter or not."""
    rng = np.random.default_rng([7, number])
    place, gamma = PLACES[number % len(PLACES)], GAMMAS[number // len(PLACES) % len(GAMMAS)]
    count, size = int(rng.choice((1, 3, 6))), int(rng.choice((16, 32, 64)))
    share = share_at(place, gamma, rng)
    room = min(share, 1 - share)
    apart = rng.uniform(0, room / 2) * rng.integers(2) * np.linspace(-1, 1, count)
    of_family = share + (apart if count > 1 else np.zeros(1))
    matters = rng.uniform(0, room / 2) * rng.integers(2)
    side = np.tile([1, -1], count * size // 2)
    idle = rng.integers(4, size=count * size).astype(str)
    mean = np.repeat(of_family, size) + matters * side
    holds = scores(mean, rng.choice((0.0, 0.2)), rng)
    families = np.repeat([f"family {i}" for i in range(count)], size)
    protocols, truth_of_protocols = {}, {}
    if number % 3 == 0:
        other = rng.uniform()
        protocols = {"tuned": holds, "same": scores(np.full(len(holds), other), 0.0, rng)}
        truth_of_protocols = {"tuned": share, "same": other}
    margin_kept = bool(rng.integers(2))
    # Differences whose median lies at the edge of a margin of 1 or well inside.
    edge = rng.normal(0.0 if margin_kept else 1.0, 1.0, size=60)
    return World(
        place, gamma, share,
        {
            "matters": {"high": share + matters, "low": share - matters},
            "idle": {i: float(mean[idle == i].mean()) for i in set(idle.tolist())},
            "family": {f"family {i}": p for i, p in enumerate(of_family)},
            "protocol": truth_of_protocols,
        },
        holds, families,
        {"matters": np.where(side > 0, "high", "low"), "idle": idle, "family": families},
        protocols, margin_kept,
        number % 5 == 0 and stats.equivalence(edge, 1.0).equivalent,
    )  # fmt: skip


def decide(world):
    return shares.decide(
        world.holds, world.gamma, world.moderators, world.families, world.protocols,
        world.equivalent,
    )  # fmt: skip


def wrong(world, found):
    """Whether the verdict contradicts what is true; "inconclusive" contradicts nothing."""
    near = 1e-9
    if found.verdict == "depends":
        (name, above), (_, below) = (next(iter(s["by"].items())) for s in found.split)
        truth = world.truth[name]
        return not truth[above] > 0.5 + near > 0.5 - near > truth[below]
    return {
        "supported": world.share < world.gamma - near,
        "contradicted": world.share >= world.gamma - near,
        "equivalent": not world.margin_kept,
        "inconclusive": False,
    }[found.verdict]


@pytest.fixture(scope="module")
def judged():
    """Every world with its verdict."""
    return [(world, decide(world)) for world in map(simulate, range(CLAIMS))]


def test_wrong_verdicts_are_at_most_one_in_twenty(judged):
    assert np.mean([wrong(*pair) for pair in judged]) <= WRONG


@pytest.mark.parametrize("place", PLACES)
def test_nor_are_there_more_where_it_is_hardest(judged, place):
    assert np.mean([wrong(*pair) for pair in judged if pair[0].place == place]) <= WRONG


@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_claim_that_is_just_true_is_not_contradicted(gamma):
    """At a true share of exactly γ, whatever the number of problems and of families."""
    rng = np.random.default_rng(0)
    for count, size in itertools.product((1, 4), (20, 50, 100)):
        families = np.repeat(np.arange(count), size)
        draws = rng.random((CLAIMS // 8, count * size)) < gamma
        found = [shares.decide(d, gamma, None, families).verdict for d in draws]
        assert found.count("contradicted") / len(found) <= WRONG, (count, size)


def test_where_the_truth_is_clear_it_says_so(judged):
    """Otherwise "inconclusive" for all would pass."""
    said = {"clearly true": "supported", "clearly false": "contradicted"}
    for place, verdict in said.items():
        clear = [
            found.verdict == verdict or (found.verdict in ("depends", "equivalent"))
            for world, found in judged
            if world.place == place and len(world.holds) >= 96 and world.gamma != 0.99
        ]
        assert len(clear) > 100 and np.mean(clear) >= 0.9
    verdicts = {found.verdict for _, found in judged}
    assert verdicts == {"supported", "contradicted", "depends", "equivalent", "inconclusive"}


def test_moderators_that_matter_are_found():
    rng = np.random.default_rng(1)
    side = np.tile(["high", "low"], 100)
    share = np.where(side == "high", 0.8, 0.2)
    found = [shares.decide(rng.random(200) < share, 0.9, {"side": side}) for _ in range(200)]
    assert all(f.verdict == "depends" for f in found)


def test_the_interval_of_the_share_covers_the_truth(judged):
    covered = [f.share.low <= w.share + 1e-9 and w.share - 1e-9 <= f.share.high for w, f in judged]
    assert np.mean(covered) >= COVERED
    for place in PLACES:
        here = [c for c, (w, _) in zip(covered, judged, strict=True) if w.place == place]
        assert np.mean(here) >= COVERED, place


def test_the_intervals_of_effect_and_runs_cover_a_planted_effect():
    """Three families, two seeds a problem; the effect varies between problems, and runs with it."""
    from scipy.stats import norm

    rng, families = np.random.default_rng(2), np.repeat(["a", "b", "c"], 20)
    covered = []
    for i in range(400):
        effect = rng.uniform(-1, 1)
        of_problem = effect + rng.normal(size=(60, 1))
        difference = of_problem + rng.normal(size=(60, 2))
        found = stats.compare(
            difference, np.zeros((60, 2)), families, key=jax.random.key(i), resamples=1000
        )
        truth = {
            "effect": (found.effect, effect),
            "run": (found.run, norm.cdf(effect / 2**0.5)),
            "problem": (found.problem, norm.cdf(effect / 1.5**0.5)),
        }
        covered.append([e.low <= t <= e.high for e, t in truth.values()])
    assert (np.mean(covered, axis=0) >= COVERED).all(), np.mean(covered, axis=0)


def test_swapping_the_arms_mirrors_share_and_effect_exactly(judged):
    opposite = {"supported": "contradicted"}
    for world, found in judged[:300]:
        back = shares.decide(1 - world.holds, world.gamma, world.moderators, world.families)
        assert back.share == (1 - found.share.value, 1 - found.share.high, 1 - found.share.low)
        if found.verdict in opposite and world.gamma > 0.5:
            assert back.verdict in (opposite[found.verdict], "depends")
    d = np.random.default_rng(3).normal(0.2, 1, size=(40, 3)).round(1)  # some ties
    there, back = (
        stats.compare(a, b, key=jax.random.key(0), resamples=500)
        for a, b in ((d, 0 * d), (0 * d, d))
    )
    for estimate in ("problem", "run"):
        e, m = getattr(there, estimate), getattr(back, estimate)
        assert m == (1 - e.value, 1 - e.high, 1 - e.low)
    assert back.effect == (-there.effect.value, -there.effect.high, -there.effect.low)


NAMES = runner.names(experiments)


@pytest.mark.parametrize("name", NAMES)
def test_any_change_of_the_specification_changes_the_hash(name, monkeypatch):
    module = importlib.import_module(f"experiments.{name}")
    usual = module.Config()
    configs = {usual, module.FULL, module.SMOKE, dataclasses.replace(usual, **_one_more(usual))}
    hashes = [record.spec_sha256(module, config) for config in configs]
    changed = dataclasses.replace(module.CLAIM, gamma=0.123)
    with monkeypatch.context() as patch:
        patch.setattr(module, "CLAIM", changed)
        hashes.append(record.spec_sha256(module, usual))
    source = record.inspect.getsource(module)
    monkeypatch.setattr(record.inspect, "getsource", lambda _: source + "# another threshold")
    hashes.append(record.spec_sha256(module, usual))
    assert len(set(hashes)) == len(configs) + 2 >= 5


def _one_more(config):
    """One number of the configuration changed by one."""
    numbers = {n: v for n, v in dataclasses.asdict(config).items() if isinstance(v, (int, float))}
    name = "seed" if "seed" in numbers else next(iter(numbers))
    return {name: numbers[name] + 1}


def test_a_smoke_run_prints_and_writes_no_verdict(tmp_path, capsys):
    code = runner.main_of_package(
        experiments, ["symmetry", "ewa_bias_correction", "--size", "smoke", "--out", str(tmp_path)]
    )
    printed = capsys.readouterr().out.lower()
    assert code == 0 and printed.count("a smoke run concludes nothing") == 2
    written = "".join(path.read_text() for path in tmp_path.glob("*.json"))
    assert '"verdict"' not in written and '"sentence"' not in written
    for verdict in lab.VERDICTS:
        assert verdict not in printed.replace("the ledger", "")
    assert {path.name.split(".")[1] for path in tmp_path.iterdir()} == {"smoke"}
