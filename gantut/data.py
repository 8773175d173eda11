"""Where do the images come from, and in what range?

Images rest as bytes: uint8 ``[N, C, H, W]``, 0 for black and 255 for white or full colour. A
batch leaves that rest as float32 in the range that the discriminator is to see, ``[-1, 1]`` by
default, because that is what a generator ending in tanh can reach.

    train = load("mnist")                      # an ImageSet: 60,000 digits with labels
    batches = Batches(train, batch_size=64, seed=1)
    images, labels = batches.next()            # float32 [64, 1, 28, 28] in [-1, 1], int64 [64]
"""

import difflib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import sources
from .errors import CheckpointError, DataError, InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""What the file names of images end in; other files in a reader's folder are left alone."""

FOLDER_BYTES = 4 * 2**30
"""A folder whose images would fill more memory than this is refused, unless it is made smaller."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with or without labels, at rest.

    Args:
        images: uint8 ``[N, C, H, W]`` with N ≥ 1 and C = 1 (grey) or 3 (red, green, blue).
        labels: int64 ``[N]``, each the index of a class, or None.
        classes: the names of the classes, in the order of the labels.
        name, split: where the images are from, for titles and messages.

    Raises:
        InputError: a tensor of another shape or dtype, or a label that is no class.
    """

    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    name: str = "images"
    split: str = "train"

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(
                f"An ImageSet takes images as a uint8 tensor [N, C, H, W], not {_describe(images)}; "
                "to_uint8() turns images in [-1, 1] into that."
            )
        if images.shape[0] == 0 or images.shape[1] not in (1, 3):
            raise InputError(
                f"An ImageSet takes at least one image, of 1 or 3 channels, not a tensor {list(images.shape)}."
            )
        if labels is None:
            return
        if (
            not isinstance(labels, Tensor)
            or labels.dtype != torch.int64
            or labels.shape != images.shape[:1]
        ):
            raise InputError(
                f"{len(images)} images take labels as an int64 tensor [N], not {_describe(labels)}."
            )
        if labels.device != images.device:
            raise InputError(
                f"The images are on {images.device} and the labels on {labels.device}; move one of them."
            )
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= len(self.classes):
            wrong = low if low < 0 else high
            raise InputError(
                f"Label {wrong} has no class: there are {len(self.classes)}, counted from 0."
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of each image."""
        return tuple(self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Where the images are; batches are made there as well."""
        return self.images.device

    def subset(self, n: int) -> "ImageSet":
        """The first ``n`` images, which share memory with these.

        Raises `InputError` unless 1 ≤ n ≤ the number of images.
        """
        if not 1 <= n <= len(self):
            raise InputError(
                f"Asked for {n} images of {self.name} ({self.split}), which has {len(self)}."
            )
        labels = None if self.labels is None else self.labels[:n]
        return ImageSet(self.images[:n], labels, self.classes, self.name, self.split)

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same images on ``device``."""
        labels = None if self.labels is None else self.labels.to(device)
        return ImageSet(self.images.to(device), labels, self.classes, self.name, self.split)

    def __repr__(self) -> str:
        kinds = f", {len(self.classes)} classes" if self.labels is not None else ""
        return f"ImageSet({self.name}, {self.split}: {len(self):,} images {list(self.image_shape)}{kinds})"


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


# --- Ranges -----------------------------------------------------------------------------------


def _line(
    mean: float | Sequence[float], std: float | Sequence[float], channels: int, device: torch.device
) -> tuple[float, float] | tuple[Tensor, Tensor]:
    """``mean`` and ``std`` in bytes: where the scaled range has its 0, and how many bytes make 1.

    Two floats where one line serves all channels, else two tensors ``[C, 1, 1]``.
    """
    lines = []
    for name, value in (("mean", mean), ("std", std)):
        values = [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]
        if len(values) not in (1, channels):
            raise InputError(
                f"{name} has {len(values)} values for images of {channels} channel(s); "
                f"give 1 or {channels}."
            )
        if not all(map(math.isfinite, values)) or (name == "std" and min(values) <= 0):
            raise InputError(
                f"{name} = {value} does not scale an image; std must be positive, both finite."
            )
        lines.append([255 * v for v in values])
    if len(lines[0]) == len(lines[1]) == 1:
        return lines[0][0], lines[1][0]
    zero, unit = (torch.tensor(line, device=device)[:, None, None] for line in lines)
    return zero, unit


def scale(
    images: Tensor, mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.5
) -> Tensor:
    """Bytes to floats: ``(images / 255 - mean) / std``.

    Args:
        images: uint8 ``[..., C, H, W]``.
        mean, std: in units of full brightness; one for all channels, or one each. The default
            .5 and .5 gives [-1, 1], with 0 and 255 exactly at the ends; 0 and 1 gives [0, 1].

    Returns:
        float32 of the same shape. It is computed as one subtraction and one multiplication,
        ``(images - 255 mean) * (1 / 255 std)``. That differs from the exact value by less than
        2e-7 of the largest one, as the formula in its first form does too, and unlike
        ``images * (1 / 255 std) - mean / std`` it cannot end at 1.0000001, out of tanh's reach.

    Raises:
        InputError: images that are not uint8, or a mean or std that fits no image.
    """
    if images.dtype != torch.uint8:
        raise InputError(f"scale() takes uint8 images, in 0 to 255, not {_describe(images)}.")
    zero, unit = _line(mean, std, _channels(images), images.device)
    return torch.sub(images, zero).mul_(1 / unit)


def unscale(
    images: Tensor, mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.5
) -> Tensor:
    """Back from what `scale` gave, for display: floats in [0, 1], clipped to that.

    Args:
        images: float ``[..., C, H, W]`` in the range of ``mean`` and ``std``.

    Returns:
        The same shape and dtype, 0 for black and 1 for white.

    Raises:
        InputError: images that are no floats, or a mean or std that fits no image.
    """
    if not images.is_floating_point():
        raise InputError(f"unscale() takes what scale() gave, floats, not {_describe(images)}.")
    zero, unit = _line(mean, std, _channels(images), images.device)
    return images.mul(unit).add_(zero).div_(255).clamp_(0, 1)


def _channels(images: Tensor) -> int:
    return images.shape[-3] if images.ndim >= 3 else 1


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] to bytes: rounded to the nearest of 0 to 255, clipped where they lie outside.

    Args:
        images: float, of any shape.

    Raises:
        InputError: images that are no floats.
    """
    if not images.is_floating_point():
        raise InputError(f"to_uint8() takes floats in [-1, 1], not {_describe(images)}.")
    return images.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


# --- Loading ----------------------------------------------------------------------------------


def load(
    name_or_folder: str | Path = "mnist",
    split: str = "train",
    limit: int | None = None,
    image_size: int | None = None,
    channels: int | None = None,
) -> ImageSet:
    """Load a data set, or a folder of one's own images.

    ``"mnist"`` (60,000 + 10,000 digits, ``[1, 28, 28]``) and ``"cifar10"`` (50,000 + 10,000
    photos, ``[3, 32, 32]``) are fetched once and then kept in the cache. Anything else is the
    path of a folder that holds either images, or one folder of images for each class; or folders
    ``train`` and ``test`` of that form.

    Args:
        split: ``"train"`` or ``"test"``.
        limit: only so many images, the first. In a folder with classes the classes take turns,
            so that the first few hundred have some of each.
        image_size: for a folder: height and width of all images; larger and smaller ones are
            resized by their shorter side, and their middle is cut out.
        channels: for a folder: 1 to make all images grey, 3 to make them all colour.

    Returns:
        An `ImageSet` on the CPU.

    Raises:
        InputError: no such data set or folder, a folder that is empty or whose images do not go
            together, or an argument outside what is allowed.
        DataError: the data cannot be had, or a file cannot be read.
    """
    if split not in sources.SPLITS:
        raise InputError(f"split must be 'train' or 'test', not {split!r}.")
    for key, value, allowed in (
        ("limit", limit, None),
        ("image_size", image_size, None),
        ("channels", channels, (1, 3)),
    ):
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < 1
            or (allowed and value not in allowed)
        ):
            wanted = " or ".join(map(str, allowed)) if allowed else "a whole number from 1"
            raise InputError(f"{key} must be {wanted}, not {value!r}.")
    if name_or_folder in sources.SETS:
        whole = _load_set(name_or_folder, split)
        native = whole.image_shape
        if (image_size or native[1], channels or native[0]) != (native[1], native[0]):
            raise InputError(
                f"{whole.name} has images of {native[1]} × {native[2]} pixels and {native[0]} channel(s); "
                "image_size and channels are for a folder of your own."
            )
        _check_limit(limit, whole.name, split, len(whole))
        return whole if limit is None else whole.subset(limit)
    return _load_folder(Path(name_or_folder).expanduser(), split, limit, image_size, channels)


def _check_limit(limit: int | None, where: object, split: str, size: int) -> None:
    if limit is not None and limit > size:
        raise InputError(
            f"Asked for {limit} images of {where} ({split}), which has {size}; take fewer, or all of "
            "them (in a recipe: data.limit=null)."
        )


def _load_set(name: str, split: str) -> ImageSet:
    arrays = sources.read(name, (split,))
    images = torch.from_numpy(arrays[f"{split}_images"])
    labels = torch.from_numpy(arrays[f"{split}_labels"]).long()
    return ImageSet(images, labels, sources.SETS[name].classes, name, split)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _images_in(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]


def _load_folder(
    folder: Path, split: str, limit: int | None, image_size: int | None, channels: int | None
) -> ImageSet:
    if not folder.is_dir():
        near = difflib.get_close_matches(str(folder).lower(), sources.SETS, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]}?" if near else ""
        what = (
            "is a file, not a folder" if folder.exists() else "is neither a data set nor a folder"
        )
        raise InputError(f"{folder} {what}; the data sets are {', '.join(sources.SETS)}.{hint}")
    try:
        files, labels, classes = _list_folder(folder, split)
        _check_limit(limit, folder, split, len(files))
        images = _read_images(files[:limit], image_size, channels)
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be read: {error.strerror or error}."
        ) from error
    kinds = torch.tensor(labels[:limit]) if classes else None
    return ImageSet(torch.from_numpy(images), kinds, classes, folder.resolve().name, split)


TRAIN_INSTEAD = ", or measure against the training images ('gantut evaluate': --reference train)"


def _list_folder(folder: Path, split: str) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """The image files of a split, their labels, and the classes; no classes in a flat folder."""
    inside = [path for path in _visible(folder) if path.is_dir()]
    classes = [path.name for path in inside]
    if inside and {path.name for path in inside} <= set(sources.SPLITS):
        if not (folder / split).is_dir():
            raise InputError(
                f"{folder} has no folder {split!r}; put the {split} images there"
                f"{TRAIN_INSTEAD if split == 'test' else ''}."
            )
        # A class has the number that it has among the training images, also where a test lacks some.
        first = folder / "train" if (folder / "train").is_dir() else folder / split
        classes = [path.name for path in _visible(first) if path.is_dir()]
        folder = folder / split
        inside = [path for path in _visible(folder) if path.is_dir()]
        unknown = [path.name for path in inside if path.name not in classes]
        if unknown:
            raise InputError(f"{folder} has a class {unknown[0]!r}, and {first} has none.")
    elif split == "test":
        raise InputError(
            f"{folder} has no test split; put its images into folders 'train' and 'test' inside "
            f"it{TRAIN_INSTEAD}."
        )
    flat = _images_in(folder)
    if flat and inside:
        raise InputError(
            f"{folder} holds both images ({flat[0].name}) and folders ({inside[0].name}); "
            "keep either images, or one folder of images for each class."
        )
    if not inside:
        if not flat:
            raise InputError(f"{folder} holds no images; those end in {', '.join(SUFFIXES)}.")
        return flat, [], ()
    by_class = []
    for part in inside:
        deeper = [path for path in _visible(part) if path.is_dir()]
        if deeper:
            raise InputError(
                f"{deeper[0]} lies too deep; keep one folder of images for each class, and none in those."
            )
        by_class.append(_images_in(part))
        if not by_class[-1]:
            raise InputError(
                f"{part} holds no images, so class {part.name!r} would be empty; fill or remove it."
            )
    # Sorted by their place in the class first: the classes take turns.
    order = sorted(
        (place, part) for part, files in enumerate(by_class) for place in range(len(files))
    )
    files = [by_class[part][place] for place, part in order]
    labels = [classes.index(inside[part].name) for _, part in order]
    return files, labels, tuple(classes)


def _read_image(path: Path, image_size: int | None, channels: int | None) -> np.ndarray:
    """One image as uint8 ``[H, W]`` (grey) or ``[H, W, 3]``, transparent parts on white."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode in ("I", "F") or ";" in image.mode:
                raise InputError(
                    f"{path} has more than 8 bits a channel ({image.mode}); save it with 8."
                )
            image = ImageOps.exif_transpose(image)
            grey = image.mode in ("1", "L", "LA", "La")
            if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            image = image.convert("L" if channels == 1 or (channels is None and grey) else "RGB")
            if image_size is not None and image.size != (image_size, image_size):
                image = ImageOps.fit(
                    image, (image_size, image_size), method=Image.Resampling.BICUBIC
                )
            return np.asarray(image)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image; replace or remove it.") from error


def _read_images(files: list[Path], image_size: int | None, channels: int | None) -> np.ndarray:
    """All images as uint8 ``[N, C, H, W]``; they must agree in size and channels."""
    first, whole = None, None
    readers = ThreadPoolExecutor(4)
    try:
        for i, pixels in enumerate(
            readers.map(lambda path: _read_image(path, image_size, channels), files)
        ):
            if first is None:
                first = pixels
                if first.nbytes * len(files) > FOLDER_BYTES:
                    raise InputError(
                        f"{len(files)} images of {first.shape[1]} × {first.shape[0]} pixels do not fit into memory; "
                        "give a smaller image_size (in a recipe: data.image_size=64)."
                    )
                whole = np.empty((len(files), *first.shape), np.uint8)
            if pixels.shape[:2] != first.shape[:2]:
                raise InputError(
                    f"{files[0]} has {first.shape[1]} × {first.shape[0]} pixels and {files[i]} "
                    f"{pixels.shape[1]} × {pixels.shape[0]}; give an image_size (in a recipe: data.image_size=32)."
                )
            if pixels.ndim != first.ndim:
                kinds = ("grey", "colour") if first.ndim == 2 else ("colour", "grey")
                raise InputError(
                    f"{files[0]} is {kinds[0]} and {files[i]} {kinds[1]}; "
                    "give the number of channels (in a recipe: data.channels=1, or 3)."
                )
            whole[i] = pixels
    finally:
        readers.shutdown(cancel_futures=True)
    if whole.ndim == 3:
        return whole[:, None]
    return np.ascontiguousarray(whole.transpose(0, 3, 1, 2))


# --- Batches ----------------------------------------------------------------------------------


class Batches:
    """Batches without end, pass after pass over an `ImageSet`, scaled on its device.

    Args:
        image_set: the images; batches are made on the device where they are.
        batch_size: images a batch, from 1 to the number of images.
        shuffle: whether each pass goes through the images in a new random order.
        seed: of the order. The generator is the batches' own: nothing else draws from it.
        mean, std: the range, see `scale`.
        drop_last: whether a pass leaves out the images that do not fill a last batch; otherwise
            the last batch is smaller.
        replacement: a pass is as many images drawn by chance, each from all of them, so that some
            come twice and others not at all.  Needs ``shuffle``.

    Attributes:
        epoch: how many passes are complete.
        position: how many images of the present pass were handed out; 0 between passes.
        batches_per_epoch: batches in a pass.

    Raises:
        InputError: a batch size or a range that does not fit the images.
    """

    def __init__(
        self,
        image_set: ImageSet,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        drop_last: bool = False,
        replacement: bool = False,
    ) -> None:
        size = len(image_set)
        if replacement and not shuffle:
            raise InputError("Images drawn with replacement come in no fixed order: set shuffle.")
        if not 1 <= batch_size <= size:
            raise InputError(
                f"batch_size must be from 1 to the number of images, {size}; it is {batch_size} "
                "(in a recipe: train.batch_size)."
            )
        self.image_set = image_set
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.replacement = replacement
        self.mean, self.std = mean, std
        self.batches_per_epoch = size // batch_size if drop_last else math.ceil(size / batch_size)
        self.epoch = 0
        self.position = 0
        self._end = min(size, self.batches_per_epoch * batch_size)
        # On the CPU wherever the images are, so that the order is the same on every device.
        self._generator = torch.Generator().manual_seed(seed)
        self._before_order = self._generator.get_state()
        self._order = None
        zero, unit = _line(mean, std, image_set.image_shape[0], image_set.device)
        self._zero, self._factor = zero, 1 / unit

    @property
    def seen(self) -> int:
        """Images handed out so far, in all passes."""
        return self.epoch * self._end + self.position

    def images_in(self, batches: int) -> int:
        """Images in the first so many batches, of as many passes as they make."""
        passes, rest = divmod(batches, self.batches_per_epoch)
        return passes * self._end + rest * self.batch_size

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch: images float32 ``[B, C, H, W]``, and labels int64 ``[B]`` or None."""
        images, labels = self.image_set.images, self.image_set.labels
        start = self.position
        stop = min(start + self.batch_size, self._end)
        if self.shuffle:
            if start == 0:
                self._draw_order()
            chosen = self._order[start:stop]
            images = images.index_select(0, chosen)
            labels = None if labels is None else labels.index_select(0, chosen)
        else:
            images = images[start:stop]
            labels = None if labels is None else labels[start:stop]
        if stop == self._end:
            self.epoch += 1
            self.position = 0
        else:
            self.position = stop
        # The arithmetic of scale(), its constants computed once.
        return torch.sub(images, self._zero).mul_(self._factor), labels

    def _draw_order(self) -> None:
        self._before_order = self._generator.get_state()
        n = len(self.image_set)
        order = (
            torch.randint(n, (n,), generator=self._generator)
            if self.replacement
            else torch.randperm(n, generator=self._generator)
        )
        self._order = order.to(self.image_set.device)

    def state_dict(self) -> dict[str, int | Tensor]:
        """All that is needed to go on from here, in plain numbers and one byte tensor.

        It keeps the generator as it was before the present order was drawn, which is 5 kB, rather
        than the order itself, which would be half a megabyte.
        """
        return {
            "size": len(self.image_set),
            "batch_size": self.batch_size,
            "epoch": self.epoch,
            "position": self.position,
            "generator": self._before_order.clone()
            if self.position
            else self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, int | Tensor]) -> None:
        """Go on exactly where the batches that gave ``state`` were, mid-pass or between passes.

        Raises `CheckpointError` if they went over another number of images or in other batches.
        """
        for key, mine in (("size", len(self.image_set)), ("batch_size", self.batch_size)):
            if int(state[key]) != mine:
                what = "images" if key == "size" else "images a batch"
                raise CheckpointError(
                    f"The saved state is of {int(state[key])} {what}, and these batches have {mine}; "
                    "go on with the settings that it was saved with."
                )
        self.epoch = int(state["epoch"])
        self.position = int(state["position"])
        self._generator.set_state(state["generator"].cpu())
        if self.shuffle and self.position:
            self._draw_order()
