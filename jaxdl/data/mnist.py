"""The 10,000-image MNIST file: found or fetched, checked by its hash, parsed by hand."""

import gzip
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxdl.data.dataset import Dataset

FILES = {
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""File name -> sha256."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def mnist10k() -> Dataset:
    """10,000 handwritten digits, 28 × 28 grey values in 0..255, labels 0..9.

    The two files come from the folder named by the environment variable JAXDL_DATA (or its
    subfolder `mnist`), else from the user's cache folder, else from a public mirror. Nothing
    is used before its sha256 is right.

    Raises:
        ValueError: if a file found on disk has the wrong hash; it is renamed `.corrupt`.
        OSError: if a file is nowhere and no mirror serves it.
    """
    images, labels = (read_idx(fetch(name, sha256)) for name, sha256 in FILES.items())
    return Dataset(
        x=images.reshape(len(images), -1).astype(np.float32),
        y=labels.astype(np.int64),
        name="mnist10k",
        feature_names=tuple(f"pixel_{i}_{j}" for i in range(28) for j in range(28)),
        target_names=tuple("0123456789"),
        image_shape=(28, 28),
    )


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file, gzipped when the name ends in `.gz`.

    Two zero bytes, a type code, the number of axes, their lengths as big-endian 32-bit
    integers, then the numbers, last axis fastest.

    Raises:
        ValueError: if the file is not IDX, or is shorter or longer than its header says.
    """
    try:
        raw = Path(path).read_bytes()
        raw = gzip.decompress(raw) if str(path).endswith(".gz") else raw
    except (EOFError, gzip.BadGzipFile) as broken:
        raise ValueError(f"{path} is not a whole gzip file ({broken}): fetch it again.") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(f"{path} is not an IDX file: its first four bytes are {raw[:4]!r}.")
    dtype, start = np.dtype(_IDX_TYPES[raw[2]]), 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], ">u4"))
    expected = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(raw) != expected:
        raise ValueError(
            f"{path} announces shape {shape}, {expected} bytes in all, but holds {len(raw)}: "
            "fetch it again."
        )
    values = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def fetch(name: str, sha256: str) -> Path:
    """The path of the checked file `name`: in JAXDL_DATA, in the cache, or downloaded there.

    Raises:
        ValueError: if the file on disk has another hash; it is renamed `.corrupt` first.
        OSError: if the file is nowhere and no mirror serves it, with each mirror's reason.
    """
    for path in (place / name for place in _places()):
        if path.is_file():
            complaint = _set_aside_unless(path, sha256)
            if complaint:
                raise ValueError(f"{complaint} Run again to fetch a fresh copy.")
            return path
    return _download(name, sha256)


def _places() -> Iterator[Path]:
    folder = os.environ.get("JAXDL_DATA")
    if folder and not Path(folder).is_dir():
        raise ValueError(
            f"JAXDL_DATA must name a folder; got {folder!r}. Correct it, or unset it to use the "
            "cache or a download."
        )
    if folder:
        yield Path(folder)
        yield Path(folder) / "mnist"
    yield _cache()


def _cache() -> Path:
    return _pooch().os_cache("jaxdl")


def _pooch():
    try:
        import pooch
    except ImportError:
        raise ImportError(
            "mnist10k is fetched with pooch: pip install 'jaxdl-foundations[lab]'."
        ) from None
    return pooch


def _set_aside_unless(path: Path, sha256: str) -> str:
    """Empty if the file has this hash; else rename it to `.corrupt` and say so."""
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got == sha256:
        return ""
    what = f"{path} ({path.stat().st_size} bytes) has sha256 {got}, expected {sha256}: "
    aside = path.with_name(path.name + ".corrupt")
    try:
        path.replace(aside)
    except OSError:
        return what + "truncated or not the original, and it could not be renamed: remove it."
    return what + f"truncated or not the original, so it was set aside as {aside.name}."


def _download(name: str, sha256: str) -> Path:
    """Fetch from the first mirror that serves the right bytes; they appear whole or not at all."""
    target, reasons = _cache() / name, []
    target.parent.mkdir(parents=True, exist_ok=True)
    for mirror in MIRRORS:
        part = target.with_name(f"{name}.{os.getpid()}.part")
        try:
            _pooch().HTTPDownloader(timeout=30)(mirror + name, str(part), None)
        except OSError as failure:  # every exception of requests is one
            part.unlink(missing_ok=True)
            reasons.append(f"{mirror}: {failure}")
            continue
        complaint = _set_aside_unless(part, sha256)
        if not complaint:
            part.replace(target)
            return target
        reasons.append(f"{mirror}: {complaint}")
    raise OSError(
        f"{name} is neither in the folder JAXDL_DATA nor in {target.parent}, and could not be "
        f"downloaded. Put the file into one of them. " + " ".join(reasons)
    )
