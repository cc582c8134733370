"""The whole recipe on tiny tables: what it finds, that it repeats, what a user gets."""

import json

import numpy as np
import pandas as pd
import pytest

from jaxdl import cli, recipe
from jaxdl.recipe import budget, choose, training
from jaxdl.recipe.loop import FIRST
from tests.recipe.problems import line, mixed, xor


@pytest.fixture(autouse=True)
def short_fits(monkeypatch):
    monkeypatch.setattr(training, "STEPS", 300)


@pytest.fixture(autouse=True, scope="module")
def compile_once():
    """Runs on the same rows share their programs: compiling is most of what these tests cost."""
    known, compile_program = {}, training.compile_program

    def compiled(problem, family):
        arrays = (problem.x, problem.y, problem.rows.train, problem.rows.dev)
        key = (family, problem.loss, *(a.tobytes() for a in arrays))
        if key not in known:
            known[key] = compile_program(problem, family)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "compile_program", compiled)
        yield


def go(x, y, **more):
    return recipe.run(x, y, **{"seed": 0, "rounds": (2, 2)} | more)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "STEPS", 300)
        return go(*xor())


def test_what_a_line_cannot_do_a_network_does(found):
    assert [r.move.name for r in found.rounds][:2] == ["linear", "network"]
    linear, network = found.rounds[:2]
    assert linear.best.error.mean() > 0.3 and network.best.error.mean() < 0.2
    assert network.better and all(t.family.hidden for t in found.trials)
    assert found.counts == (2,) * len(found.rounds)
    assert found.test.scores["accuracy"].value > 0.75 and found.test.rows == 24


def test_the_model_answers_in_the_users_words(found):
    x, y = xor(200, seed=7)
    answers = found.model.predict(x)
    assert set(answers) <= {"same", "other"} and np.mean(answers == y) > 0.8
    assert found.model.outputs(x).shape == (200, 2)
    np.testing.assert_array_equal(found.model.predict(pd.DataFrame(x)), answers)
    x[0, 0] = np.nan  # the training part had no gap
    assert found.model.predict(x)[1:].tolist() == answers[1:].tolist()


def test_the_same_seed_and_rounds_give_the_same_bits(found):
    again = go(*xor(), rounds=found.counts)
    assert again.test == found.test
    for a, b in zip(again.model.networks, found.model.networks, strict=True):
        for one, other in zip(a.params, b.params, strict=True):
            np.testing.assert_array_equal(one["w"], other["w"])


def test_a_line_stays_a_line(monkeypatch):
    monkeypatch.setattr(training, "STEPS", 1000)  # enough for the linear fits to converge
    monkeypatch.setattr(choose, "BEYOND_NOISE", 3.0)  # one standard error may be chance
    found = go(*line(), rounds=(2, 2), test=line(40, seed=1))
    assert all(not t.family.hidden for t in found.trials)
    assert [n.sizes for n in found.model.networks] == [(2, 1)]
    assert found.test.scores["R²"].value > 0.98 and found.test.rows == 40
    slopes = np.diff(found.model.predict(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])))
    np.testing.assert_allclose(slopes, [30, -10], atol=1.5)


def test_a_round_ends_with_the_time_and_the_counts_repeat_it(found, monkeypatch):
    left = iter([100.0])  # asked for the plan of the first round, then the time is up
    monkeypatch.setattr(budget.Clock, "left", lambda clock: next(left, -1.0))
    cut = recipe.run(*xor(), seed=0, seconds=100)
    assert [r.move.name for r in cut.rounds] == ["linear"] and cut.counts[0] < FIRST
    assert cut.ended.startswith("The time is up") and "no time to try" in cut.why
    monkeypatch.undo()
    monkeypatch.setattr(training, "STEPS", 300)
    again = go(*xor(), rounds=cut.counts)
    assert again.test == cut.test and again.ended == "These were the rounds asked for."


def test_two_rows_of_a_class_and_a_gap_do_no_harm():
    x, y = xor(40)
    y[:2], x[5, 1] = "third", np.nan
    found = go(x, y, rounds=(2,), test=None)
    assert found.test is None and found.model.preparation.classes == ("other", "same", "third")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("recipe")
    mixed().to_csv(out / "staff.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "STEPS", 300)
        arguments = ["recipe", str(out / "staff.csv"), "--target", "left", "--rounds", "2", "2"]
        assert cli.main([*arguments, "--out", str(out / "run")]) == 0
    return out


def test_the_folder_of_a_run_and_its_log(folder):
    run = folder / "run"
    assert {p.name for p in run.iterdir()} == {
        "config.json", "split.json", "rounds.json", "model.npz", "log.txt",
    }  # fmt: skip
    log = (run / "log.txt").read_text()
    for words in ("round 1", "linear model", "'id' numbers the rows", "looked at once", "seed"):
        assert words in log
    assert "--target left --seed 0 --rounds 2 2" in log
    rounds = json.loads((run / "rounds.json").read_text())["rounds"]
    assert [r["move"] for r in rounds] == ["linear", "network"]
    assert all(r["why"] and r["diagnosis"] for r in rounds)
    split = json.loads((run / "split.json").read_text())
    assert sorted(split["train"] + split["test"]) == list(range(80))


def test_predict_takes_new_tables_with_gaps_and_new_words(folder, capsys):
    new = mixed(6, seed=3).drop(columns="left")
    new.loc[0, "city"], new.loc[1, "age"], new.loc[2, "joined"] = "Tokyo", np.nan, None
    new[["joined", "city", "always", "age", "id"]].to_csv(folder / "new.csv", index=False)
    assert cli.main(["predict", str(folder / "run"), str(folder / "new.csv")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6 and set(out.split()) <= {"yes", "no"}
    assert "'city' holds 'Tokyo'" in err


def test_train_takes_the_same_tables(folder, capsys):
    arguments = ["train", "--data", str(folder / "staff.csv"), "--target", "left", "--epochs", "2"]
    assert cli.main([*arguments, "--out", str(folder / "train")]) == 0
    capsys.readouterr()
    assert cli.main(["predict", str(folder / "train"), str(folder / "staff.csv")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 80 and not err


MISTAKES = [
    (["--target", "lefd"], "Did you mean 'left'"),
    (["--target", "left", "--seconds", "0"], "--seconds must be positive"),
    (["--target", "left", "--test", "1"], "--test must be a share in (0, 1)"),
    (["--target", "left", "--optimal-error", "15"], "--optimal-error must be a share"),
    (["--target", "left", "--rounds", "2", "0"], "--rounds must be at least 1"),
    (["--target", "left", "--task", "regression"], "no regression"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda a: str(a)[:40])
def test_mistakes_are_one_sentence_and_status_2(folder, arguments, message, capsys):
    out = ["--out", str(folder / "none")]
    assert cli.main(["recipe", str(folder / "staff.csv"), *arguments, *out]) == 2
    err = capsys.readouterr().err
    assert message in err and err.startswith("jaxdl: ") and len(err.splitlines()) == 1
    assert not (folder / "none").exists()
