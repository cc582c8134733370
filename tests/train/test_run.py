"""`train.run`: the numbers of `fit` in segments; watched, interrupted, resumed."""

import itertools
import os
import signal

import jax
import numpy as np
import pytest

from jaxdl import checkpoint, optim, train
from tests import compiling
from tests.train.problems import accuracy, classes, network

pytestmark = pytest.mark.usefixtures("as_users_do")

KEY = jax.random.key(5)
MODEL, OBJECTIVE, PARAMS = network(keep_prob=0.8, l2=0.1)
OPTIMIZER = optim.adam(0.01)
# Each number of epochs is a program of its own: the tests share 10, 20 and 40.
OPTIONS = {"epochs": 40, "batch_size": 4, "key": KEY, "dev": classes(6, seed=1)}
OPTIONS |= {"metrics": {"accuracy": accuracy(MODEL)}}


def run(**options):
    return train.run(OBJECTIVE, PARAMS, OPTIMIZER, classes(), **(OPTIONS | options))


@pytest.fixture(scope="module")
def whole():
    return train.fit(OBJECTIVE, PARAMS, OPTIMIZER, classes(), **OPTIONS)


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


class StopAt:
    """A watcher that does something once when the run reaches an epoch, and remembers all."""

    def __init__(self, epoch, action):
        self.epoch, self.action, self.seen = epoch, action, []

    def __call__(self, progress):
        self.seen.append(progress)
        if progress.epoch >= self.epoch and self.action:
            action, self.action = self.action, None
            action()


def test_segments_give_the_bits_of_one_scan_and_report_every_epoch_once(whole):
    watch = StopAt(0, None)
    ended = run(watch=watch)
    assert ended.ended == "finished"
    assert_same_bits(ended.result, whole)
    spans = [(p.start, p.epoch) for p in watch.seen]
    assert spans[0] == (0, 0) and spans[-1][1] == 40 and len(spans) > 2
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    np.testing.assert_array_equal(watch.seen[-1].history["cost"], whole.history["cost"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_saves_and_the_resumed_run_has_the_same_bits(number, whole, tmp_path):
    before = signal.getsignal(number)
    stopped = run(folder=tmp_path, watch=StopAt(3, lambda: os.kill(os.getpid(), number)))
    assert stopped.ended == "interrupted"
    assert 3 <= int(stopped.result.epochs) < 40
    assert len(stopped.result.history["cost"]) == int(stopped.result.epochs)
    assert checkpoint.steps(tmp_path) == [int(stopped.result.epochs)]
    assert signal.getsignal(number) is before
    watch = StopAt(0, None)
    ended = run(folder=tmp_path, resume=True, watch=watch)
    assert (watch.seen[0].start, watch.seen[0].epoch) == (0, int(stopped.result.epochs))
    assert ended.ended == "finished"
    assert_same_bits(ended.result, whole)
    # A finished run has nothing left to do.
    again = run(folder=tmp_path, resume=True)
    assert again.ended == "finished"
    assert_same_bits(again.result, whole)


def test_an_exception_at_any_moment_loses_at_most_what_was_not_saved(whole, tmp_path):
    def crash():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(folder=tmp_path, save_seconds=0.0, watch=StopAt(12, crash))
    assert max(checkpoint.steps(tmp_path)) < 40
    assert_same_bits(run(folder=tmp_path, resume=True).result, whole)


def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(whole, tmp_path):
    run(folder=tmp_path, epochs=10)
    run(folder=tmp_path, epochs=20, resume=True)
    assert checkpoint.steps(tmp_path) == [10, 20]
    victim = next((tmp_path / "step_00000020" / "arrays" / "0").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    watch = StopAt(0, None)
    ended = run(folder=tmp_path, resume=True, watch=watch)
    assert watch.seen[0].epoch == 10
    assert "step_00000020 is refused" in watch.seen[0].refused[0]
    assert_same_bits(ended.result, whole)


def test_another_model_is_refused(tmp_path):
    run(folder=tmp_path, epochs=10)
    with pytest.raises(checkpoint.CheckpointError, match="another model or optimizer"):
        train.run(
            OBJECTIVE, PARAMS, optim.sgd(0.1), classes(), **OPTIONS, folder=tmp_path, resume=True
        )


@compiling.quickly()
def test_time_limit_patience_and_divergence_end_a_run():
    assert run(epochs=10**6, time_limit=0.3).ended == "time limit"
    early = run(epochs=400, patience=1, monitor="dev_accuracy", maximize=True)
    assert early.ended == "patience" and int(early.result.epochs) < 400

    def exploding(params, x, y, key=None, weights=None):
        return OBJECTIVE(params, x, y, key, weights) / (params[1]["b"][0] * 0.0)

    lost = train.run(exploding, PARAMS, optim.sgd(0.1), classes(), epochs=9, key=KEY)
    assert lost.ended == "diverged"
    assert (int(lost.result.epochs), int(lost.result.diverged_at)) == (1, 0)


def test_a_folder_with_checkpoints_is_neither_mixed_up_nor_cut(tmp_path):
    run(folder=tmp_path, epochs=10)
    with pytest.raises(ValueError, match="already holds checkpoints, the last one of epoch 10"):
        run(folder=tmp_path, epochs=20)
    with pytest.raises(ValueError, match=r"at epoch 10 already.*got 2"):
        run(folder=tmp_path, epochs=2, resume=True)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    def second():
        with pytest.raises(checkpoint.CheckpointError, match="Another process is training in"):
            run(folder=tmp_path, resume=True)

    run(folder=tmp_path, epochs=10, watch=StopAt(0, second))
    run(folder=tmp_path, epochs=20, resume=True)  # the lock is gone with its holder


@pytest.mark.parametrize(
    ("options", "message"),
    [({"resume": True}, "needs the folder"), ({"time_limit": 0}, "positive number of seconds")],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


@pytest.mark.parametrize("train_with", [train.run, train.fit])
@compiling.quickly()
def test_an_epoch_is_traced_once(train_with):
    traced = []

    def objective(params, x, y, key=None, weights=None):
        traced.append(len(x))
        return OBJECTIVE(params, x, y, key, weights)

    train_with(objective, PARAMS, OPTIMIZER, classes(), **(OPTIONS | {"patience": 40}))
    assert traced.count(OPTIONS["batch_size"]) == 1
