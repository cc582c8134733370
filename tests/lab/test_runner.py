import dataclasses
import importlib
import json
import types

import altair as alt
import pandas as pd
import pytest
from rich.console import Console

import experiments
from jaxdl import lab, vega
from jaxdl.lab import record, runner, screen

KEYS = {
    "claim", "title", "quote", "section", "quantifier", "gamma", "estimate", "n_problems",
    "n_seeds", "strata", "arms", "effects", "figures", "data", "size", "config", "spec_sha256",
    "seconds", "versions", "platform", "commit",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    n: int = 3


def experiment(**changes):
    """A module with everything an experiment needs, and what a test wants to be different."""
    module = types.ModuleType("coin", "Claim: a <b>coin</b> lands.\n")
    module.__file__ = __file__
    module.CLAIM = lab.Claim("coin", "A <i>title</i>", "it lands & stays", "Coins </script>")
    module.Config, module.FULL, module.SMOKE = Config, Config(30), Config(1)
    module.run = lambda config: {"heads": config.n, "odd": float("nan")}
    module.judge = lambda config, measured: lab.Judgement(
        "supported",
        "3 < 4 of </script> them",
        lab.Estimate("share", 0.5, 0.25, 0.75),
        {"n": config.n},
    )
    module.chart = lambda config, measured: (
        alt.Chart(pd.DataFrame({"a": ["</script><b>"], "b": [1]})).mark_bar().encode(x="a", y="b")
    )
    for name, value in changes.items():
        setattr(module, name, value)
    return module


@pytest.fixture(autouse=True)
def source(monkeypatch):
    monkeypatch.setattr(record.inspect, "getsource", lambda module: "source")


def test_a_result_has_the_contracted_keys(tmp_path):
    result = runner.run_one(experiment(), "default", tmp_path)
    assert KEYS | {"verdict", "sentence"} <= set(result)
    on_disk = json.loads((tmp_path / "coin.json").read_text())
    assert on_disk == result
    assert json.loads((tmp_path / "coin.chart.json").read_text())["mark"]["type"] == "bar"
    assert on_disk["data"] == {"heads": 3, "odd": "nan"}
    assert on_disk["estimate"] == {"name": "share", "value": 0.5, "low": 0.25, "high": 0.75}


def test_a_smoke_run_never_has_a_verdict(tmp_path, capsys):
    module = experiment()
    result = runner.run_one(module, "smoke", tmp_path)
    assert set(result) >= KEYS and not {"verdict", "sentence"} & set(result)
    screen.show(Console(), result)
    shown = capsys.readouterr().out
    assert "supported" not in shown and "3 < 4" not in shown and "smoke run" in shown


def test_changing_the_specification_changes_the_hash():
    module = experiment()
    base = record.spec_sha256(module, Config(3))
    assert base == record.spec_sha256(module, Config(3))
    assert base != record.spec_sha256(module, Config(4))
    claim = dataclasses.replace(module.CLAIM, gamma=0.9)
    assert base != record.spec_sha256(experiment(CLAIM=claim), Config(3))


def test_one_that_raises_does_not_stop_the_others(tmp_path, capsys):
    def broken(config):
        raise RuntimeError("no coin")

    outcomes = runner.run_many([experiment(run=broken), experiment()], "default", tmp_path)
    assert outcomes[0] == runner.Failure("coin", "RuntimeError: no coin")
    assert outcomes[1]["verdict"] == "supported"
    assert "no coin" in capsys.readouterr().out


def test_interrupting_keeps_what_had_finished(tmp_path):
    def interrupted(config):
        raise KeyboardInterrupt

    modules = [experiment(), experiment(run=interrupted)]
    outcomes = runner.run_many(modules, "default", tmp_path, again=True)
    assert len(outcomes) == 1 and (tmp_path / "coin.json").exists()


def test_interrupting_the_ledger_says_what_writes_it(tmp_path, capsys, monkeypatch):
    def interrupted(results, evidence):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.ledger, "write", interrupted)
    code = runner._run_and_tell([experiment()], "default", tmp_path, False, tmp_path / "none")
    assert code == 1 and (tmp_path / "coin.json").exists()
    assert f"python -m jaxdl.lab.ledger --results {tmp_path} writes it" in capsys.readouterr().out


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = record.write_whole(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        record.write_whole(path, "half \ud800")
    assert path.read_text() == "old\n" and list(tmp_path.iterdir()) == [path]


def test_a_verdict_outside_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="'proved'"):
        lab.Judgement("proved", "", lab.Estimate.exact("", 0.0))


def test_a_finding_of_the_same_specification_is_kept(tmp_path):
    runs = []

    def counted(config):
        runs.append(config)
        return {"heads": config.n}

    module = experiment(run=counted)
    first = runner.run_many([module], "default", tmp_path)
    assert runner.run_many([module], "default", tmp_path) == first and len(runs) == 1
    changed = dataclasses.replace(module.CLAIM, gamma=0.6)
    runner.run_many([experiment(run=counted, CLAIM=changed)], "default", tmp_path)
    assert len(runs) == 2
    runner.run_many([experiment(run=counted, CLAIM=changed)], "default", tmp_path, again=True)
    assert len(runs) == 3
    runner.run_many([experiment(run=counted, CLAIM=changed)], "full", tmp_path)
    assert len(runs) == 4


def test_another_draw_has_other_problems_and_is_another_finding(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Seeded(Config):
        seed: int = 5

    module = experiment(Config=Seeded, FULL=Seeded(), SMOKE=Seeded())
    seeds = [runner.config_of(module, "default", draw).seed for draw in (0, 1, 2)]
    assert seeds == [5, 5 + runner.APART, 5 + 2 * runner.APART]
    assert runner.config_of(experiment(), "default", 3) == Config()  # nothing random in it
    for draw in (0, 1):
        assert (
            runner._run_and_tell([module], "default", tmp_path, False, tmp_path / "no", draw) == 0
        )
    first, second = (
        json.loads((folder / "coin.json").read_text()) for folder in (tmp_path, tmp_path / "draw-1")
    )
    assert (first["draw"], second["draw"]) == (0, 1)
    assert first["spec_sha256"] != second["spec_sha256"]


@pytest.mark.parametrize("damaged", ["coin.json", "coin.chart.json"])
@pytest.mark.parametrize("text", ["[1, 2]", "{", ""])
def test_a_damaged_finding_is_measured_again(tmp_path, damaged, text):
    (first,) = runner.run_many([experiment()], "default", tmp_path)
    (tmp_path / damaged).write_text(text)
    (again,) = runner.run_many([experiment()], "default", tmp_path)
    assert again["verdict"] == first["verdict"]
    assert isinstance(json.loads((tmp_path / damaged).read_text()), dict)


def test_unknown_experiment_suggests_the_nearest(capsys):
    assert lab.main_of_package(experiments, ["symetry"]) == 2
    assert "Did you mean 'symmetry'?" in capsys.readouterr().err


def test_a_copied_file_that_kept_the_name_of_the_first_is_refused(capsys, tmp_path, monkeypatch):
    module = importlib.import_module("experiments.symmetry")
    kept = dataclasses.replace(module.CLAIM, name="momentum")
    monkeypatch.setattr(module, "CLAIM", kept)
    assert lab.main_of_package(experiments, ["symmetry", "--out", str(tmp_path)]) == 2
    assert "CLAIM.name is 'momentum'; write 'symmetry'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "results")
    assert lab.main_of_package(experiments, ["symmetry", "--out", out]) == 2
    assert "Choose another --out" in capsys.readouterr().err


def test_a_smoke_run_never_replaces_a_finding(tmp_path):
    module = experiment()
    runner.run_one(module, "default", tmp_path)
    runner.run_one(module, "smoke", tmp_path)
    assert json.loads((tmp_path / "coin.json").read_text())["verdict"] == "supported"


def test_a_file_that_cannot_be_imported_is_named_and_the_others_are_listed(
    capsys, tmp_path, monkeypatch
):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "__init__.py").write_text("")
    (tmp_path / "trials" / "broken.py").write_text("import nothing_of_that_name")
    works = "from experiments import symmetry as s\nimport dataclasses\n"
    works += "CLAIM = dataclasses.replace(s.CLAIM, name='works', title='It works')"
    (tmp_path / "trials" / "works.py").write_text(works)
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("trials")
    assert lab.main_of_package(package, ["--list"]) == 2
    shown = capsys.readouterr()
    assert "It works" in shown.out
    assert "broken.py is left out: ModuleNotFoundError" in shown.err


def test_the_list_names_every_experiment(capsys):
    assert lab.main_of_package(experiments, ["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in runner.names(experiments))


def test_the_javascript_is_made_once_and_kept(tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    made = vega.bundle()
    assert "vegaEmbed" in made and "</script" not in made
    (kept,) = (tmp_path / "jaxdl").iterdir()
    kept.write_text("kept")
    assert vega.bundle() == "kept"
