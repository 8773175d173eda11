"""Which network's eyes: from images to the features and class probabilities that metrics take.

``network("inception")`` sees with the Inception network of 2015, as every published FID does;
``network("classifier", "mnist")`` with one of our own, trained on the very data set.  Both take
float images in [-1, 1] and give features; classifiers give class probabilities as well.
"""

import difflib
import hashlib
import sys
from collections.abc import Callable
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from tqdm import tqdm

from gantut import sources, weights
from gantut.data import ImageSet, scale, to_uint8
from gantut.errors import CheckpointError, InputError
from gantut.files import writing
from gantut.home import home
from gantut.metrics.frechet import moments
from gantut.metrics.neighbours import nearest_others
from gantut.models.inception import Inception
from gantut.sampling import evaluating

JUDGES = {"mnist": "classifier-mnist", "cifar10": "classifier-cifar10"}
"""The classifier that knows each data set."""

CHUNK = 1000
"""Reference images whose features are kept in one file."""

NEIGHBOURS = 5
"""How many nearest others of each reference image are looked for: as many as any metric needs."""


# --- Networks that look at images -------------------------------------------------------------


class Eyes:
    """A network that looks at images.

    Args:
        network: with ``feature_dim``.
        name: how it is called in results; contains a hash of the weights.
        image_shape: what it takes, (channels, height, width); None: any, grey or colour.
        device: where it computes; what it returns is on the CPU.
    """

    kind = "eyes"
    batch_size = 100
    keeps = False
    """Whether it looks so slowly that what it makes of reference images is kept on disk."""

    def __init__(
        self,
        network: nn.Module,
        name: str,
        image_shape: tuple[int, int, int] | None,
        device: torch.device | str = "cpu",
    ):
        # On a CPU this layout saves a quarter to a half of the time; on a GPU it costs nothing.
        self.network = network.eval().to(device, memory_format=torch.channels_last)
        self.name = name
        self.image_shape = image_shape
        self.device = torch.device(device)

    @property
    def feature_dim(self) -> int:
        """F of the features ``[N, F]``."""
        return self.network.feature_dim

    def features(
        self, images: Tensor, batch_size: int | None = None, progress: bool = False
    ) -> Tensor:
        """Images ``[N, C, H, W]`` in [-1, 1] to features ``[N, F]``, float32.

        Args:
            batch_size: images in each forward pass; what suits the network if None.
            progress: show a progress bar on standard error.

        Raises:
            InputError: images of another shape or range.
        """
        return self._look(self._features, self.check(images), batch_size, progress)

    def features_of_bytes(self, images: Tensor) -> Tensor:
        """The same of uint8 images, whose range is known."""
        return self._look(self._features, scale(images))

    def _features(self, images: Tensor) -> Tensor:
        return self.network.features(images)

    @torch.no_grad()
    def _look(
        self, function, images: Tensor, batch_size: int | None = None, progress: bool = False
    ) -> Tensor:
        parts = []
        # Reduced precision, which GPUs use by default, moves Inception features by percents.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with evaluating(self.network), exact, _bar(len(images), self.name, progress) as bar:
            for batch in images.split(batch_size or self.batch_size):
                batch = batch.to(self.device).contiguous(memory_format=torch.channels_last)
                parts.append(function(batch).float().cpu())
                bar.update(len(batch))
        return torch.cat(parts)

    def check(self, images: Tensor) -> Tensor:
        """The images, where this network can look at them; otherwise an `InputError`."""
        if self.image_shape is not None and tuple(images.shape[1:]) != self.image_shape:
            raise InputError(
                f"{self.name} looks at images of shape {self.image_shape}, "
                f"not {tuple(images.shape[1:])}."
            )
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(
                f"{self.name} looks at images [N, C, H, W] of 1 or 3 channels, not at a tensor of "
                f"shape {tuple(images.shape)}."
            )
        if len(images) == 0:
            raise InputError(f"{self.name} was given no images.")
        if not images.isfinite().all():
            raise InputError(
                f"{self.name} was given images with pixels that are not finite numbers."
            )
        if images.dtype == torch.uint8 or images.min() < -1.001 or images.max() > 1.001:
            raise InputError(f"{self.name} takes float images in [-1, 1]; scale them first.")
        if images.min() >= 0:
            raise InputError(
                f"{self.name} takes images in [-1, 1], and none of these pixels is below 0: "
                "they seem to lie in [0, 1]."
            )
        return images


class Judge(Eyes):
    """One of our own classifiers, used to look at images.

    Its network has ``features(images)`` and ``classify(features)``, which gives class logits.
    """

    kind = "classifier"

    @property
    def keeps(self) -> bool:
        """Of photographs: they cost fifty times as much as digits."""
        return self.image_shape is not None and self.image_shape[0] == 3

    def probabilities(self, images: Tensor, batch_size: int | None = None) -> Tensor:
        """Images ``[N, C, H, W]`` in [-1, 1] to class probabilities ``[N, K]``, float32."""
        return self.probabilities_of(self.features(images, batch_size))

    @torch.no_grad()
    def probabilities_of(self, features: Tensor) -> Tensor:
        """This network's features ``[N, F]`` to class probabilities ``[N, K]``, float32.

        Whoever has the features need not look at the images again.
        """
        with evaluating(self.network):
            return self.network.classify(features.to(self.device)).float().cpu().softmax(1)


class InceptionEyes(Eyes):
    """The Inception network of 2015, fed as it was when FID was defined.

    Images are rounded to bytes, grey ones repeated in three channels, enlarged with
    `resize_as_tensorflow_1`, and scaled to ``(byte - 128) / 128``.

    Args:
        network: images ``[N, 3, 299, 299]`` to features.
        name, device: as of any `Eyes`.
    """

    kind = "inception"
    batch_size = 16  # more fall out of a processor's cache; on two cores, 7% slower at 50
    keeps = True

    def __init__(self, network: nn.Module, name: str, device: torch.device | str = "cpu"):
        super().__init__(network, name, None, device)

    def _features(self, images: Tensor) -> Tensor:
        prepared = inception_input(images).contiguous(memory_format=torch.channels_last)
        return self.network(prepared)

    def probabilities(self, images: Tensor, batch_size: int | None = None) -> Tensor:
        """Always an `InputError`: these weights end at the features."""
        raise InputError(
            f"{self.name} gives features and no class probabilities; take those of a classifier."
        )


def inception_input(images: Tensor) -> Tensor:
    """What the Inception network is fed: ``[N, 1 or 3, H, W]`` in [-1, 1] to ``[N, 3, 299, 299]``.

    The range of the result is -1 to 127/128, as in TensorFlow's graph.
    """
    size = Inception.image_size
    pixels = to_uint8(images).float().expand(-1, 3, -1, -1)
    return (resize_as_tensorflow_1(pixels, (size, size)) - 128) / 128


def resize_as_tensorflow_1(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resizing ``[N, C, H, W]`` to ``[N, C, *size]`` as TensorFlow 1 did it.

    Output pixel i reads the input at i H / size, so the first pixels coincide and the picture sits
    half a pixel off the centre.  Today's libraries take (i + 1/2) H / size - 1/2 instead, and some
    smooth when they shrink; each gives other features.  No value leaves the input's range.
    """
    rows, columns = (
        _bilinear(n, m).to(images) for n, m in zip(images.shape[-2:], size, strict=True)
    )
    return rows @ images @ columns.T


@cache
def _bilinear(n: int, m: int) -> Tensor:
    """The matrix ``[m, n]`` that reads ``n`` values at ``m`` places, two at a time."""
    place = torch.arange(m, dtype=torch.float64) * n / m
    left = place.floor().long()
    right = (left + 1).clamp(max=n - 1)
    share = place - left
    matrix = torch.zeros(m, n, dtype=torch.float64)
    row = torch.arange(m)
    matrix[row, left] += 1 - share
    matrix[row, right] += share
    return matrix


def _bar(total: int, title: str, show: bool) -> tqdm:
    # In a log file a line every half minute will do.
    every = 0.2 if sys.stderr.isatty() else 30
    return tqdm(
        total=total, desc=title, unit="image", disable=not show, mininterval=every, file=sys.stderr
    )


# --- By name ----------------------------------------------------------------------------------


def network(
    features: str = "classifier", data: str = "mnist", device: torch.device | str = "cpu"
) -> Eyes:
    """The network whose features are asked for.

    Args:
        features: ``"classifier"``, ours for the data set ``data``, or ``"inception"``.
        data: name of a data set; the Inception network is the same for all.
        device: where it computes.

    Raises:
        InputError: no such network, or no classifier that knows the data.
        CheckpointError: that classifier's run is not in the zoo.
        DataError: the Inception network's weights cannot be had.
    """
    check_network(features, data)
    return inception(str(device)) if features == "inception" else judge(JUDGES[data], str(device))


def check_network(features: str, data: str) -> None:
    """Raise the `InputError` that `network` would, without loading anything."""
    if features not in ("classifier", "inception"):
        raise InputError(f"features must be classifier or inception, not {features!r}.")
    if features == "classifier" and data not in JUDGES:
        near = difflib.get_close_matches(str(data).lower(), JUDGES, n=1)
        if near and not Path(data).is_dir():
            hint = f"Did you mean {near[0]}?"
        else:
            hint = (
                "The Inception network takes any, more than 2,048 of them (--features inception)."
            )
        raise InputError(
            f"There is no judge for images of {data}; there is one for {_and(JUDGES)}. {hint}"
        )


@cache
def inception(device: str = "cpu") -> InceptionEyes:
    """The Inception network of 2015-12-05, its weights fetched if need be (81 MB).

    Raises:
        DataError: they cannot be had, or are other ones.
    """
    arrays = sources.inception_weights()
    with torch.device("meta"):
        made = Inception()
    made.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, assign=True)
    spec = sources.INCEPTION
    return InceptionEyes(made, f"{spec.name}@{spec.sha256[:8]}", device)


@cache
def judge(name: str = "classifier-mnist", device: str = "cpu") -> Judge:
    """The classifier of a finished run.

    Raises:
        InputError: no classifier is called that.
        CheckpointError: that run is not in the zoo.
    """
    from gantut import build, recipes

    if name not in JUDGES.values():
        raise InputError(f"There is no judge {name!r}; there is {_and(JUDGES.values())}.")
    folder = Path(str(resources.files("gantut.zoo"))) / name
    file = folder / "classifier.safetensors"
    if not file.is_file():
        raise CheckpointError(f"The zoo lacks {name}; 'gantut reproduce {name}' trains it.")
    # As it was trained, whatever the recipe says today.
    recipe = recipes.load(folder / "config.yaml")
    section = recipe.classifier
    made = build.CLASSIFIERS[section.family](**section.model_dump(exclude={"family"}))
    shape = sources.lookup(recipe.data.name).image_shape
    return Judge(weights.load(made, file), f"{name}@{weights.sha256(file)[:8]}", shape, device)


def _and(names) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


# --- Images as a network sees them ------------------------------------------------------------


class FeatureSet:
    """The features of some images, their mean and covariance, and how far apart they lie, each
    computed when first asked.

    What a slow network makes of them (minutes to hours) is kept in ``GANTUT_HOME/features``,
    under the network's name with its hash, the images' name and split, and a hash of their pixels.
    Features lie in files of 1,000 images: an interrupted computation goes on, and a larger count
    begins with what a smaller one left.

    Args:
        images: whose.
        eyes: the network.
        progress: show progress bars.
    """

    def __init__(self, images: ImageSet, eyes: Eyes, progress: bool = False):
        self.images, self.eyes, self.progress = images, eyes, progress

    def __str__(self) -> str:
        return f"{self.images.name} {self.images.split}, {len(self.images)} images"

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def features(self) -> Tensor:
        """``[N, F]``, float32, on the CPU.

        Raises:
            CheckpointError: a file in the cache is of another network, or cannot be written.
        """
        chunks = self.images.images.split(CHUNK)
        if not self.eyes.keeps:
            return torch.cat([self.eyes.features_of_bytes(chunk) for chunk in chunks])
        parts = []
        with _bar(len(self), f"{self}", self.progress) as bar:
            for number, chunk in enumerate(chunks):
                file = self._file(f"features-{CHUNK * number:06}", chunk)
                found = self._read(file, {"features": (len(chunk), self.eyes.feature_dim)})
                if found is None:
                    found = {"features": self._of(chunk, bar)}
                    self._write(file, found)
                else:
                    bar.update(len(chunk))
                parts.append(found["features"])
        return torch.cat(parts)

    def forget(self) -> None:
        """Remove what the cache holds of these images."""
        for number, chunk in enumerate(self.images.images.split(CHUNK)):
            self._file(f"features-{CHUNK * number:06}", chunk).unlink(missing_ok=True)
        for whole in ("moments", "others"):
            self._file(f"{whole}-{len(self):06}", self.images.images).unlink(missing_ok=True)

    def _of(self, chunk: Tensor, bar: tqdm) -> Tensor:
        parts = []
        for batch in chunk.split(self.eyes.batch_size):
            parts.append(self.eyes.features_of_bytes(batch))
            bar.update(len(batch))
        return torch.cat(parts)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean ``[F]`` and covariance ``[F, F]``, float64."""
        if not self.eyes.keeps:
            return moments(self.features)
        f = self.eyes.feature_dim

        def compute():
            mean, covariance = (torch.from_numpy(m) for m in moments(self.features))
            return {"mean": mean, "covariance": covariance}

        found = self._kept("moments", {"mean": (f,), "covariance": (f, f)}, compute)
        return found["mean"].numpy(), found["covariance"].numpy()

    @cached_property
    def others(self) -> Tensor:
        """`nearest_others` of the features, ``[N, NEIGHBOURS]``."""
        if not self.eyes.keeps:
            return nearest_others(self.features, NEIGHBOURS)
        shapes = {"others": (len(self), NEIGHBOURS)}
        found = self._kept(
            "others", shapes, lambda: {"others": nearest_others(self.features, NEIGHBOURS)}
        )
        return found["others"]

    def _kept(
        self,
        name: str,
        shapes: dict[str, tuple[int, ...]],
        compute: Callable[[], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Tensors about all of the images: those in the cache, or else computed and left there."""
        file = self._file(f"{name}-{len(self):06}", self.images.images)
        found = self._read(file, shapes)
        if found is None:
            found = compute()
            self._write(file, found)
        return found

    def _file(self, name: str, pixels: Tensor) -> Path:
        digest = hashlib.sha256(str(tuple(pixels.shape)).encode())
        digest.update(pixels.cpu().contiguous().numpy())
        folder = home() / "features" / self.eyes.name / f"{self.images.name}-{self.images.split}"
        return folder / f"{name}-{digest.hexdigest()[:12]}.safetensors"

    def _read(self, file: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor] | None:
        """What the cache holds; None where it holds nothing, or a file that is not whole."""
        if not file.is_file():
            return None
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                network = (opened.metadata() or {}).get("network")
                found = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError):
            return None
        if network != self.eyes.name:
            raise CheckpointError(
                f"{file} holds features of {network or 'an unknown network'}, not of "
                f"{self.eyes.name}; remove it, and they are computed again."
            )
        whole = {key: tuple(value.shape) for key, value in found.items()} == shapes
        return found if whole else None

    def _write(self, file: Path, tensors: dict[str, Tensor]) -> None:
        with writing(file, CheckpointError) as aside:
            aside.write_bytes(save_tensors(tensors, {"network": self.eyes.name}))
