"""MNIST from a folder, the cache or a server; broken files are set aside, never used."""

import contextlib
import gzip
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from jaxdl import data
from jaxdl.data import mnist

IMAGES, LABELS = mnist.FILES
BESIDE = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def real():
    """The folder with the real files, or a skip that says where they were looked for."""
    for folder in [Path(os.environ.get("JAXDL_DATA", BESIDE)), BESIDE]:
        if (folder / "mnist" / IMAGES).is_file():
            return folder / "mnist"
    pytest.skip(f"the MNIST files are neither in JAXDL_DATA nor in {BESIDE}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, no JAXDL_DATA and no mirror."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(mnist, "_cache", lambda: folder)
    monkeypatch.setattr(mnist, "MIRRORS", ())
    monkeypatch.delenv("JAXDL_DATA", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return folder


@contextlib.contextmanager
def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def files(tmp_path, monkeypatch):
    """Two tiny files in the real format, the loader told to expect their hashes."""
    import hashlib

    folder = tmp_path / "server"
    folder.mkdir()
    rng = np.random.default_rng(0)
    write_idx(folder / IMAGES, rng.integers(0, 256, (5, 28, 28)).astype(np.uint8))
    write_idx(folder / LABELS, np.arange(5, dtype=np.uint8))
    hashes = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in mnist.FILES}
    monkeypatch.setattr(mnist, "FILES", hashes)
    return folder


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_the_real_file(real, cache, monkeypatch):
    monkeypatch.setenv("JAXDL_DATA", str(real.parent))
    d = data.load("mnist10k")
    assert d.x.shape == (10_000, 784) and d.x.dtype == np.float32
    assert (d.x.min(), d.x.max(), d.image_shape) == (0, 255, (28, 28))
    # The known beginning and class counts of the MNIST test set.
    assert d.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(d.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_download_lands_in_the_cache_and_is_used_again(tmp_path, cache, monkeypatch):
    folder = files(tmp_path, monkeypatch)
    with serve(folder) as url:
        monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/", url))  # the first is dead
        first = data.load("mnist10k")
    assert sorted(p.name for p in cache.iterdir()) == sorted(mnist.FILES)
    again = data.load("mnist10k")  # the server is gone
    np.testing.assert_array_equal(first.x, again.x)
    assert first.y.tolist() == [0, 1, 2, 3, 4]


def test_a_mirror_with_wrong_bytes_is_passed_over(tmp_path, cache, monkeypatch):
    folder = files(tmp_path, monkeypatch)
    bad = tmp_path / "bad"
    bad.mkdir()
    for name in mnist.FILES:
        (bad / name).write_bytes((folder / name).read_bytes()[:-3])
    with serve(bad) as wrong, serve(folder) as right:
        monkeypatch.setattr(mnist, "MIRRORS", (wrong, right))
        assert len(data.load("mnist10k").y) == 5
        for path in cache.glob("*ubyte.gz"):
            path.unlink()
        monkeypatch.setattr(mnist, "MIRRORS", (wrong,))
        with pytest.raises(
            OSError, match=r"could not be downloaded.*truncated or not the original"
        ):
            data.load("mnist10k")
    assert not list(cache.glob("*ubyte.gz"))  # nothing half-fetched is left under the real name


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
@pytest.mark.parametrize("where", ["JAXDL_DATA", "cache"])
def test_a_broken_file_is_set_aside(where, damage, tmp_path, cache, monkeypatch):
    folder = files(tmp_path, monkeypatch)
    if where == "cache":
        folder.rename(cache)
        folder = cache
    else:
        monkeypatch.setenv("JAXDL_DATA", str(folder))
    whole = (folder / IMAGES).read_bytes()
    broken = {"truncated": whole[:-9], "flipped": whole[:-1] + b"!", "empty": b""}[damage]
    (folder / IMAGES).write_bytes(broken)
    with pytest.raises(ValueError, match=r"has sha256 .* expected .*set aside as .*\.corrupt"):
        data.load("mnist10k")
    assert not (folder / IMAGES).exists()
    assert (folder / f"{IMAGES}.corrupt").read_bytes() == broken
    with pytest.raises(OSError, match=r"neither in the folder JAXDL_DATA nor in"):
        data.load("mnist10k")  # still not used the second time


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", ">i4", ">f4", ">f8"])
def test_idx_round_trip(dtype, tmp_path):
    code = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}[dtype]
    array = np.arange(12).reshape(3, 2, 2).astype(dtype)
    header = bytes([0, 0, code, 3]) + np.array(array.shape, ">u4").tobytes()
    (tmp_path / "a.idx").write_bytes(header + array.tobytes())
    back = data.read_idx(tmp_path / "a.idx")
    np.testing.assert_array_equal(back, array)
    assert back.dtype.isnative


def test_idx_refuses_what_is_not_one(tmp_path):
    path = tmp_path / "a.idx"
    for content, message in [
        (b"", "not an IDX file"),
        (b"\x89PNG1234", "not an IDX file"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 9, 1, 2]), r"announces shape \(9,\), 17 bytes in all"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            data.read_idx(path)
    whole = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    for content in (whole[:-4], b"plain"):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(ValueError, match="not a whole gzip file"):
            data.read_idx(tmp_path / "a.gz")


def test_a_folder_that_is_none_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXDL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"JAXDL_DATA must name a folder.*nowhere"):
        data.load("mnist10k")
