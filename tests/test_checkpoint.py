"""Checkpoints: every bit comes back, damage is found, the one before is used."""

import logging
import os
import shutil
import subprocess
import sys
import textwrap
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import checkpoint, optim

TREE = {
    "params": [{"w": jnp.arange(6.0).reshape(2, 3) / 7, "b": jnp.array([-0.0, jnp.nan, jnp.inf])}],
    "half": jnp.array([1.5, -2.0], jnp.bfloat16),
    "complex": jnp.array([1 + 2j], jnp.complex64),
    "count": jnp.int32(7),
    "flag": np.array(True),
    "key": jax.random.key(3),
    "empty": jnp.zeros((0, 4)),
    "none": (),
}


def bits(tree):
    leaves = [
        jax.random.key_data(a) if "key<" in str(a.dtype) else a for a in jax.tree.leaves(tree)
    ]
    return [(np.asarray(a).dtype, np.shape(a), np.asarray(a).tobytes()) for a in leaves]


def test_every_bit_comes_back_with_position_and_metadata(tmp_path):
    checkpoint.save(tmp_path, 12, TREE, metadata={"note": "β ≠ 0"})
    restored = checkpoint.restore(tmp_path, TREE)
    assert bits(restored.tree) == bits(TREE)
    assert jax.tree.structure(restored.tree) == jax.tree.structure(TREE)
    assert restored[1:] == (12, {"note": "β ≠ 0"}, ())


def test_keeps_the_last_k_replaces_the_same_step_and_leaves_nothing_else(tmp_path):
    for step in (1, 2, 3, 3, 10, 9):
        checkpoint.save(tmp_path, step, {"a": np.float32(step)}, keep=3)
    # 10 was left behind by going back to 9.
    assert checkpoint.steps(tmp_path) == [2, 3, 9]
    (tmp_path / ".writing-11-1").mkdir()
    checkpoint.save(tmp_path, 11, {"a": np.float32(11)}, keep=3)
    assert checkpoint.steps(tmp_path) == [3, 9, 11]
    assert sorted(os.listdir(tmp_path)) == ["step_00000003", "step_00000009", "step_00000011"]


def test_a_damaged_checkpoint_never_takes_the_place_of_a_good_one(tmp_path):
    for step in (10, 20):
        checkpoint.save(tmp_path, step, TREE)
    (tmp_path / "step_00000020" / "manifest.json").write_text("x")
    checkpoint.save(tmp_path, 15, TREE, keep=1)
    assert checkpoint.steps(tmp_path) == [15] and checkpoint.restore(tmp_path, TREE).step == 15


def test_names_and_places_that_are_hard_to_write(tmp_path):
    folder = tmp_path / "ü [1] *?" / "a b"
    tree = {"é \n%/": jnp.ones(2), "..": jnp.zeros(3), "x": [jnp.float32(i) for i in range(12)]}
    checkpoint.save(folder, 1, tree)
    assert bits(checkpoint.restore(folder, tree).tree) == bits(tree)
    for step, nothing in ((2, {}), (3, {"empty": jnp.zeros((0, 4))})):
        checkpoint.save(folder, step, nothing)
        assert bits(checkpoint.restore(folder, nothing).tree) == bits(nothing)


def test_numbers_of_64_bits_come_back_whole_without_x64(tmp_path):
    tree = {"n": np.int64([2**40]), "x": np.float64([0.1])}
    checkpoint.save(tmp_path, 1, tree)
    assert bits(checkpoint.restore(tmp_path, tree).tree) == bits(tree)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"step": -1}, ValueError, "step must be at least 0.*got -1"),
        ({"keep": 0}, ValueError, "keep at least 1, got 2 and 0"),
        ({"tree": {"a.b": 1.0, "a": {"b": 2.0}}}, ValueError, "both called 'a.b'"),
        ({"tree": {"a": "text"}}, TypeError, "got str at 'a'"),
        ({"tree": {"a": np.array([None])}}, TypeError, "got ndarray at 'a'"),
        ({"metadata": {"a": np.float32(1)}}, TypeError, "what JSON can hold"),
    ],
)
def test_what_cannot_be_saved_is_said_before_anything_is_written(
    arguments, error, message, tmp_path
):
    with pytest.raises(error, match=message):
        checkpoint.save(**({"folder": tmp_path, "step": 2, "tree": TREE} | arguments))
    assert not os.listdir(tmp_path)


def test_a_key_of_another_generator_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, {"k": jax.random.key(0, impl="rbg")})
    with pytest.raises(checkpoint.CheckpointError, match=r"\(rbg\).*\(unsafe_rbg\)"):
        checkpoint.restore(tmp_path, {"k": jax.random.key(0, impl="unsafe_rbg")})


def test_a_file_in_the_place_of_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "step_00000007").write_text("hello")
    with pytest.raises(checkpoint.CheckpointError, match="cannot be read"):
        checkpoint.restore(tmp_path, TREE)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with the checkpoints of steps 1 and 2, and the files of the second."""
    folder = tmp_path_factory.mktemp("two")
    small = {"w": jnp.linspace(0.0, 1.0, 50), "n": jnp.int32(1)}
    for step in (1, 2):
        checkpoint.save(folder, step, {**small, "n": jnp.int32(step)})
    return folder, small


def damaged_copies(folder, target):
    """Copies of the folder, each with one file of step 2 damaged in one way."""
    rng = np.random.default_rng(0)
    for file in sorted((folder / "step_00000002").rglob("*")):
        if not file.is_file():
            continue
        content = file.read_bytes()
        position = int(rng.integers(len(content))) if content else 0
        flipped = bytearray(content)
        if content:
            flipped[position] ^= 1 << int(rng.integers(8))
        for name, new in (("flip", bytes(flipped)), ("cut", content[:position]), ("gone", None)):
            if new == content:
                continue
            copy = target / f"{name}-{file.name}-{len(os.listdir(target))}"
            shutil.copytree(folder, copy)
            victim = copy / file.relative_to(folder)
            victim.unlink() if new is None else victim.write_bytes(new)
            yield copy


def test_any_damaged_file_is_found_and_the_checkpoint_before_is_used(two, tmp_path):
    folder, like = two
    copies = list(damaged_copies(folder, tmp_path))
    assert len(copies) > 15
    for copy in copies:
        restored = checkpoint.restore(copy, like)
        assert restored.step == 1 and int(restored.tree["n"]) == 1, copy.name
        (sentence,) = restored.refused
        assert "step_00000002 is refused" in sentence


def test_every_single_bit_of_the_manifest_matters(two, tmp_path):
    source = two[0] / "step_00000002"
    shutil.copytree(source, tmp_path / "c")
    content = (source / "manifest.json").read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.integers(len(content), size=60):
        changed = bytearray(content)
        changed[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "c" / "manifest.json").write_bytes(changed)
        try:
            assert checkpoint.verify(tmp_path / "c") == checkpoint.verify(source)
        except checkpoint.CheckpointError:
            continue
        # Only a bit that JSON does not look at, such as the kind of white space, may pass.
        assert bytes([content[position]]).isspace()


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": jnp.zeros(51), "n": jnp.int32(0)}, r"'w'.*float32\(50,\).*float32\(51,\)"),
        ({"w": jnp.zeros(50, jnp.bfloat16), "n": jnp.int32(0)}, "bfloat16"),
        ({"w": jnp.zeros(50)}, "'n' it holds int32.*needs nothing"),
        ({"w": jnp.zeros(50), "n": jnp.int32(0), "v": jnp.zeros(2)}, "'v' it holds nothing"),
        ({"w": jnp.zeros(50), "n": jax.random.key(0)}, "needs a random key"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(two, like, message):
    with pytest.raises(checkpoint.CheckpointError, match="belongs to another model.*" + message):
        checkpoint.restore(two[0], like)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing has been saved"):
        checkpoint.restore(tmp_path, TREE)


def test_optimizer_states_and_free_leaves(tmp_path):
    params = TREE["params"]
    state = optim.adam(0.1).init(params)
    checkpoint.save(tmp_path, 0, {"s": state, "h": np.arange(5)})
    restored = checkpoint.restore(tmp_path, {"s": state, "h": checkpoint.ANY})
    assert bits(restored.tree["s"]) == bits(state)
    np.testing.assert_array_equal(restored.tree["h"], np.arange(5))


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(tmp_path):
    # A limit on the size of files stands in for the end of the disk: the write itself fails.
    program = f"""
        import resource, signal
        import numpy as np
        from jaxdl import checkpoint
        folder, noise = {str(tmp_path)!r}, np.random.default_rng(0)
        checkpoint.save(folder, 1, {{"w": np.float32(1)}})
        many = {{str(i): noise.normal(size=50_000) for i in range(20)}}
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            checkpoint.save(folder, 2, many)
        except checkpoint.CheckpointError as error:
            print(error)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    out = ended.stdout
    assert ended.stderr == "", ended.stderr  # what orbax's threads say of it is not for the user
    assert "step 2 could not be written" in out and "step 1 is untouched" in out
    assert checkpoint.steps(tmp_path) == [1]
    assert os.listdir(tmp_path) == ["step_00000001"]
    assert checkpoint.restore(tmp_path, {"w": np.float32(0)}).step == 1


def test_hooks_that_a_failure_leaves_are_gone_after_the_next_save(tmp_path, monkeypatch):
    hook, filters = sys.unraisablehook, list(logging.getLogger("asyncio").filters)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_checkpointer", lambda: 1 / 0)
        for step in (1, 2):
            with pytest.raises(checkpoint.CheckpointError, match="could not be written"):
                checkpoint.save(tmp_path, step, TREE)
    assert sys.unraisablehook is not hook
    checkpoint.save(tmp_path, 3, TREE)
    assert sys.unraisablehook is hook
    assert logging.getLogger("asyncio").filters == filters


def test_more_bytes_than_are_free_is_refused_before_writing(tmp_path):
    with pytest.raises(OSError, match="the disk is full"):
        checkpoint._check_space(tmp_path, [1, 2**52])


def test_many_small_arrays_take_a_block_each(tmp_path, monkeypatch):
    free = 100 * 2**12
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free))
    checkpoint._check_space(tmp_path, [4] * 20)
    with pytest.raises(OSError, match="the disk is full"):
        checkpoint._check_space(tmp_path, [4] * 40)
