"""`jaxdl train` and `jaxdl predict` from the outside: files, output, exit status."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxdl import checkpoint, cli, data
from jaxdl.run import folder
from tests import compiling

pytestmark = pytest.mark.usefixtures("as_users_do")

WINE = ["train", "--data", "wine", "--layers", "13", "8", "3", "--lr", "0.01", "--seed", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "wine"
    assert cli.main([*WINE, "--epochs", "30", "--out", str(out)]) == 0
    return out


def parameters(out):
    return {name: a.tobytes() for name, a in folder.read_model(out / "model.npz").params.items()}


def test_the_folder_holds_what_was_promised(run):
    assert {p.name for p in run.iterdir()} == {
        "config.json", "split.json", "metrics.jsonl", "model.npz", "chart.html", "checkpoints",
    }  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert set(rows[0]) == {"epoch", "cost", "accuracy", "dev_cost", "dev_accuracy"}
    split = json.loads((run / "split.json").read_text())
    assert sorted(split["train"] + split["dev"] + split["test"]) == list(range(178))
    page = (run / "chart.html").read_text()
    assert "vegaEmbed" in page and 'src="http' not in page


@compiling.quickly()
def test_a_run_compiles_few_programs(tmp_path):
    """Every operation outside of a program would be one, and a start takes as long as they all."""
    names = []

    def note(name, seconds, **more):
        if name == "/jax/core/compile/backend_compile_duration":
            names.append(more.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        sizes = ["--layers", "13", "7", "5", "3"]  # that no other test has compiled
        assert cli.main(["train", "--data", "wine", *sizes, "--out", str(tmp_path / "few")]) == 0
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert 1 <= len(names) <= 6, names


def test_predict_prints_one_prediction_a_row_and_nothing_else(run, tmp_path, capsys):
    wine = data.load("wine")
    assert cli.main(["predict", str(run), "wine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 178
    named = np.array(wine.target_names)[wine.y]
    assert np.mean(np.array(lines) == named) > 0.9
    # A table with the features in another order, and one column more.
    order = list(reversed(range(13)))
    header = ",".join(["extra", *(wine.feature_names[i] for i in order)])
    rows = [",".join(["0", *(repr(float(row[i])) for i in order)]) for row in wine.x]
    (tmp_path / "new.csv").write_text("\n".join([header, *rows]) + "\n")
    assert cli.main(["predict", str(run), str(tmp_path / "new.csv")]) == 0
    assert capsys.readouterr().out.splitlines() == lines


@compiling.quickly()
def test_row_numbers_are_named_left_out_and_not_asked_for_again(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [f"{i},{x:.3f},{2 * x:.3f}\n" for i, x in enumerate(rng.normal(size=40), 1)]
    (tmp_path / "new.csv").write_text("".join(["x\n", *(r.split(",")[1] + "\n" for r in rows)]))
    (tmp_path / "t.csv").write_text("".join(["nth,x,y\n", *rows]))
    arguments = ["train", "--data", str(tmp_path / "t.csv"), "--target", "y", "--epochs", "2"]
    predicted = []
    for out, *more in (("without",), ("dropped", "--drop", "nth"), ("with", "--keep-row-numbers")):
        assert cli.main([*arguments, "--out", str(tmp_path / out), *more]) == 0
        told = "'nth' numbers the rows, so it is left out" in " ".join(
            capsys.readouterr().out.split()
        )
        assert told == (out == "without")
        for table in ("t.csv", "new.csv") if out != "with" else ("t.csv",):
            assert cli.main(["predict", str(tmp_path / out), str(tmp_path / table)]) == 0
            predicted.append(capsys.readouterr().out)
    assert len(set(predicted[:4])) == 1 and predicted[4] != predicted[0]
    assert cli.main(["predict", str(tmp_path / "with"), str(tmp_path / "new.csv")]) == 2
    assert "'nth'" in capsys.readouterr().err


@compiling.quickly()
def test_a_blank_line_of_one_column_has_a_prediction_of_its_own(tmp_path, capsys):
    rows = "".join(f"{x / 10},{x / 5}\n" for x in range(40))
    (tmp_path / "t.csv").write_text("x,y\n" + rows)
    arguments = ["--data", str(tmp_path / "t.csv"), "--target", "y", "--epochs", "2"]
    assert cli.main(["train", *arguments, "--out", str(tmp_path / "run")]) == 0
    predicted = []
    for text in ("x\n0.5\n2.5\n", "x\n0.5\n\n2.5\n"):
        (tmp_path / "new.csv").write_text(text)
        capsys.readouterr()
        assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv")]) == 0
        predicted.append(capsys.readouterr().out.splitlines())
    whole, gap = predicted
    assert len(gap) == 3 and [gap[0], gap[2]] == whole


def test_resuming_continues_with_the_same_bits(run, tmp_path):
    out = tmp_path / "again"
    arguments = [*WINE, "--out", str(out), "--resume"]  # in an empty folder: starts anew
    assert cli.main([*arguments, "--epochs", "11"]) == 0
    # Lines after the last checkpoint, as a crash leaves them, are done again.
    with open(out / "metrics.jsonl", "a") as stream:
        stream.write('{"epoch": 12, "cost": 1.0}\n{"epoch": 13, "co')
    assert cli.main([*arguments, "--epochs", "30"]) == 0
    assert parameters(out) == parameters(run)
    assert (out / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()
    before = (out / "model.npz").stat().st_mtime_ns
    assert cli.main([*arguments, "--epochs", "30"]) == 0  # finished: nothing to do
    assert parameters(out) == parameters(run) and (out / "model.npz").stat().st_mtime_ns >= before


def test_a_run_is_resumed_without_repeating_its_options(run, tmp_path, capsys):
    out = tmp_path / "a [b]"
    assert cli.main([*WINE, "--epochs", "5", "--out", str(out)]) == 0
    assert cli.main(["train", "--out", str(out), "--resume"]) == 0  # nothing left to do
    assert cli.main(["train", f"--out={out}", "--resume", "--epochs", "30"]) == 0
    assert parameters(out) == parameters(run)
    assert json.loads((out / "config.json").read_text())["options"]["epochs"] == 30
    assert "a [b]" in capsys.readouterr().out.replace("\n", "")  # and not as markup
    assert cli.main(["train", "--out", str(out), "--resume", "--epochs", "7"]) == 2
    assert "at epoch 30 already" in capsys.readouterr().err


def test_tensorboard_is_asked_for_before_anything_is_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    assert cli.main([*WINE, "--tensorboard", "--out", str(tmp_path / "out")]) == 2
    assert "pip install tensorboard" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tensorboard_shows_the_curves_of_the_metrics_also_when_resumed(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arguments = [*WINE, "--tensorboard", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--epochs", "3"]) == 0
    assert cli.main([*arguments, "--epochs", "6", "--resume"]) == 0
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"), {"tensors": 0}).Reload()
    rows = folder.rows(tmp_path / "metrics.jsonl")
    assert set(events.Tags()["tensors"]) == set(rows[0]) - {"epoch"}
    for name in ("cost", "dev_accuracy"):
        found = [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors(name)]
        assert found == [(row["epoch"], row[name]) for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--lr", "0.02"], "started with --lr 0.01, now it is 0.02"),
        (["--seed", "4"], "--seed 3, now it is 4"),
        (["--layers", "13", "9", "3"], "--layers (13, 8, 3), now it is (13, 9, 3)"),
    ],
)
def test_another_run_is_not_resumed(run, change, message, capsys):
    assert cli.main([*WINE, *change, "--out", str(run), "--resume"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Did you mean 'train'"),
        ([*WINE, "--optimizer", "adan"], "Did you mean 'adam'"),
        ([*WINE, "--activation", "rellu"], "Did you mean 'relu'"),
        ([*WINE, "--layers", "12", "3"], "13 features to the 3 outputs"),
        ([*WINE, "--keep-prob", "0"], "--keep-prob must be in (0, 1], got 0.0"),
        ([*WINE, "--lr", "-1"], "--lr must be positive"),
        ([*WINE, "--split", "50/20"], "50/20"),
        ([*WINE, "--resume"], "--resume needs --out"),
        ([*WINE, "--process-id", "1"], "belong to --distributed"),
        ([*WINE, "--distributed"], "no cluster's manager knows them"),
        ([*WINE, "--distributed", "--coordinator-address", "here"], "HOST:PORT, got 'here'"),
        (
            [*WINE, "--distributed", "--num-processes", "2", "--process-id", "5"],
            "got number 5 of 2",
        ),
        (["train", "--data", "wine.csv", "--target", "y"], "There is no file wine.csv"),
        (["predict", "nowhere", "wine"], "not the folder of a run"),
    ],
    ids=lambda a: a if isinstance(a, str) else " ".join(a[-2:]),
)
def test_mistakes_are_one_sentence_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err and err.startswith("jaxdl: ") and len(err.splitlines()) == 1
    assert "Traceback" not in out + err


def test_a_finished_run_is_not_overwritten_and_damage_is_said(run, tmp_path, capsys):
    assert cli.main([*WINE, "--out", str(run)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert cli.main(["predict", str(run), "iris"]) == 2
    assert "takes 13 features a row, iris has 4" in capsys.readouterr().err
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_text((run / "config.json").read_text())
    (copy / "model.npz").write_bytes((run / "model.npz").read_bytes()[:-100])
    assert cli.main(["predict", str(copy), "wine"]) == 2
    assert "damaged" in capsys.readouterr().err


def start(out, *extra):
    command = [sys.executable, "-m", "jaxdl.cli", *WINE, "--out", str(out), "--resume", *extra]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signals_save_and_exit_cleanly(number, tmp_path):
    process = start(tmp_path, "--epochs", "1000000")
    rows = tmp_path / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not (rows.exists() and rows.stat().st_size) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (130, "")
    assert any((tmp_path / "checkpoints").iterdir()) and (tmp_path / "model.npz").exists()


@pytest.mark.slow
def test_killed_at_twenty_random_moments_and_resumed_the_bits_are_the_same(tmp_path):
    killed, options = tmp_path / "killed", ["--batch-size", "8", "--save-seconds", "0"]
    command = [sys.executable, "-m", "tests.cli.killing", str(killed), *WINE[1:], *options]
    moments = subprocess.run(
        [*command, "--epochs", "100000"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    moments = json.loads(moments)
    assert len(moments) == 20
    assert sum(unfinished for _, unfinished in moments) >= 3  # while a checkpoint was written
    # It ends a little after the last of its checkpoints, wherever that is; so does another run.
    epochs = checkpoint.steps(killed / "checkpoints")[-1] + 40
    for out in (killed, tmp_path / "whole"):
        more = ["--epochs", str(epochs), "--out", str(out), "--resume"]
        assert cli.main([*WINE, *options, *more]) == 0
    assert parameters(killed) == parameters(tmp_path / "whole")
    assert (killed / "metrics.jsonl").read_text() == (
        tmp_path / "whole" / "metrics.jsonl"
    ).read_text()


def test_a_limit_on_files_ends_the_run_with_a_sentence_and_leaves_the_checkpoint(
    run, tmp_path, capsys
):
    resource = pytest.importorskip("resource")
    out = tmp_path / "out"
    assert cli.main([*WINE, "--epochs", "12", "--out", str(out)]) == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))  # as if the disk ended there
    try:
        assert cli.main([*WINE, "--epochs", "3000", "--out", str(out), "--resume"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    err = capsys.readouterr().err
    assert "Nothing can be written, a file has reached the largest size" in err
    assert len(err.splitlines()) == 1
    assert checkpoint.steps(out / "checkpoints") == [12]
    assert cli.main([*WINE, "--epochs", "30", "--out", str(out), "--resume"]) == 0
    assert parameters(out) == parameters(run)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_said_in_a_sentence(number, tmp_path, capsys, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    assert cli.main([*WINE, "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("jaxdl: Nothing can be written to") and "--out" in err
    assert "Errno" not in err and len(err.splitlines()) == 1
