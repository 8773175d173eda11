"""Which network's eyes: from images to the features and class probabilities that metrics take."""

from functools import cache
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from gantut import weights
from gantut.errors import CheckpointError, InputError
from gantut.models.classifier import DigitClassifier
from gantut.sampling import evaluating


class Judge:
    """One of our own classifiers, used to look at images.

    Args:
        network: with ``features(images)`` and ``forward(images)``.
        name: how it is called in results; contains a hash of the weights.
        image_shape: what it takes, (channels, height, width).
    """

    def __init__(self, network: nn.Module, name: str, image_shape: tuple[int, int, int]):
        self.network = network.eval()
        self.name = name
        self.image_shape = image_shape

    def _checked(self, images: Tensor) -> Tensor:
        if tuple(images.shape[1:]) != self.image_shape:
            raise InputError(
                f"{self.name} looks at images of shape {self.image_shape}, "
                f"not {tuple(images.shape[1:])}."
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

    @torch.no_grad()
    def features(self, images: Tensor, batch_size: int = 500) -> Tensor:
        """Images ``[N, C, H, W]`` in [-1, 1] to features ``[N, F]``, float32."""
        with evaluating(self.network):
            parts = [self.network.features(x) for x in self._checked(images).split(batch_size)]
        return torch.cat(parts)

    @torch.no_grad()
    def probabilities(self, images: Tensor, batch_size: int = 500) -> Tensor:
        """Images ``[N, C, H, W]`` in [-1, 1] to class probabilities ``[N, K]``, float32."""
        with evaluating(self.network):
            parts = [self.network(x) for x in self._checked(images).split(batch_size)]
        return torch.cat(parts).softmax(1)


@cache
def judge(name: str = "classifier-mnist") -> Judge:
    """The classifier of a finished run.

    Raises:
        CheckpointError: that run is not in the zoo.
    """
    from gantut import recipes

    if name not in ("classifier-mnist",):
        raise InputError(f"There is no judge {name!r}; there is classifier-mnist.")
    file = Path(str(resources.files("gantut.zoo"))) / name / "classifier.safetensors"
    if not file.is_file():
        raise CheckpointError(f"The zoo lacks {name}; 'gantut reproduce {name}' trains it.")
    section = recipes.load(name).classifier.model_dump(exclude={"family"})
    network = weights.load(DigitClassifier(**section), file)
    return Judge(network, f"{name}@{weights.sha256(file)[:8]}", (1, 28, 28))
