"""The development corpus is what it says it is, and the checker agrees on a sample of it."""

import collections
import pathlib

import jax
import pytest

from jaxdl import gradcheck
from tests import gradcheck_corpus
from tests.gradcheck_corpus.oracle import disagreements

CORPUS = gradcheck_corpus.cases()
SAMPLE = CORPUS[3::37]


@pytest.fixture(autouse=True)
def users_settings():
    """Gradients as people write them: `x @ w + b`, NumPy arrays beside JAX arrays."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def assert_truth(case):
    """Right to 1e-9 at every point, or wrong by more than 1e-6 where the label says so."""
    found = disagreements(case, count=3)
    if case.correct:
        assert max(found) < 1e-9, case.name
    else:
        assert (next(found) > 1e-6) == case.visible, case.name
        assert case.visible or max(found) > 1e-6, f"{case.name} is the true gradient"


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_labels_are_true(case):
    assert_truth(case)


@pytest.mark.slow
def test_every_label_is_true():
    for case in CORPUS:
        assert_truth(case)


def test_names_are_unique_and_causes_are_words_of_the_vocabulary():
    names = collections.Counter(case.name for case in CORPUS)
    assert max(names.values()) == 1
    for case in CORPUS:
        assert case.correct == (case.cause is None)
        assert case.correct or {case.cause, *case.also} <= set(gradcheck.CAUSES), case.name


def test_every_family_has_mutants_and_controls():
    for family in {case.family for case in CORPUS} - {"controls"}:
        assert {case.correct for case in CORPUS if case.family == family} == {True, False}


def test_gradients_use_no_autodiff():
    for path in pathlib.Path(gradcheck_corpus.__file__).parent.glob("*.py"):
        text = path.read_text()
        used = [
            word for word in ("jax.grad(", "jax.vjp(", "jax.jvp(", "value_and_grad") if word in text
        ]
        assert path.name == "oracle.py" or not used, (path.name, used)


@pytest.mark.parametrize("case", CORPUS[5::61], ids=lambda case: case.name)
def test_the_checker_is_right_and_names_no_wrong_cause(case):
    with jax.enable_x64(True):
        report = gradcheck.check(
            case.loss, case.grad, case.params, *case.args, **case.check_options()
        )
    assert report.verdict == ("PASS" if case.correct else "FAIL"), str(report)
    if not case.correct:
        first = report.findings[0]
        truth = {"unknown", case.cause, *case.also}
        assert truth & {first.cause, *first.equivalent}, str(report)
