"""Classifiers of real images: the independent judges of generated ones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DigitClassifier(nn.Module):
    """A small convolutional network for 28 x 28 grey digits.

    A 5 x 5 convolution of stride 2, two 3 x 3 ones with a pooling between them, then a dense layer
    of 128 features and one of 10 logits.

    Args:
        width: channels of the first convolution; the others have twice as many.
        dropout: before each of the two dense layers, in [0, 1).
    """

    image_shape = (1, 28, 28)
    num_classes = 10
    feature_dim = 128

    def __init__(self, width: int = 32, dropout: float = 0.3):
        super().__init__()
        self.convolutions = nn.Sequential(
            _block(1, width, kernel_size=5, stride=2),  # 14 x 14
            _block(width, 2 * width),
            nn.MaxPool2d(2),  # 7 x 7
            _block(2 * width, 2 * width),
        )
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(2 * width * 7 * 7, self.feature_dim)
        self.head = nn.Linear(self.feature_dim, 10)

    def features(self, images: Tensor) -> Tensor:
        """Images ``[N, 1, 28, 28]`` in [-1, 1] to features ``[N, 128]``, none of them negative."""
        maps = self.dropout(self.convolutions(images).flatten(1))
        return torch.relu(self.dense(maps))

    def classify(self, features: Tensor) -> Tensor:
        """Features ``[N, 128]`` to class logits ``[N, 10]``."""
        return self.head(self.dropout(features))

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N, 1, 28, 28]`` in [-1, 1] to class logits ``[N, 10]``."""
        return self.classify(self.features(images))


class ObjectClassifier(nn.Module):
    """A small residual network for 32 x 32 colour images, in the manner of cifar10-airbench.

    Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3: a first convolution
    that only whitens 2 x 2 patches and is set from the data instead of trained, then three blocks
    that halve the maps early, then one dense layer.  Where that network starts its second
    convolutions as the identity, this one adds a residual path.  As there, an image is judged by
    the mean over it and its mirror image (in evaluation mode only).

    Args:
        widths: channels of the three blocks.
    """

    image_shape = (3, 32, 32)
    num_classes = 10

    def __init__(self, widths: Sequence[int] = (64, 256, 256)):
        super().__init__()
        patch = 3 * 2 * 2
        self.whitening = nn.Conv2d(3, 2 * patch, kernel_size=2)  # 31 x 31
        self.whitening.weight.requires_grad_(False)
        channels = [2 * patch, *widths]
        self.blocks = nn.Sequential(  # 15 x 15, 7 x 7, 3 x 3
            *(_Halving(i, o) for i, o in zip(channels[:-1], channels[1:]))
        )
        self.feature_dim = widths[-1]
        self.head = nn.Linear(self.feature_dim, self.num_classes)

    @torch.no_grad()
    def prepare(self, images: Tensor, eps: float = 1e-3) -> None:
        """Set the first convolution so that its outputs are uncorrelated, with variance 1.

        Args:
            images: real ones, ``[N, 3, 32, 32]`` in [-1, 1]; a few thousand are enough.
            eps: is added to the variances, so that hardly used directions are not blown up.
        """
        patches = nn.functional.unfold(images, 2).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(patches.T.cov().double())
        rows = (vectors / (values + eps).sqrt()).T.float().unflatten(1, (3, 2, 2))
        # Both signs: the activation that follows keeps one side of each.
        self.whitening.weight.copy_(torch.cat([rows, -rows]))

    def features(self, images: Tensor) -> Tensor:
        """Images ``[N, 3, 32, 32]`` in [-1, 1] to features ``[N, widths[-1]]``."""
        if self.training:
            return self._one_side(images)
        # The head is linear: the logits of mean features are the mean logits.
        return (self._one_side(images) + self._one_side(images.flip(3))) / 2

    def _one_side(self, images: Tensor) -> Tensor:
        return self.blocks(nn.functional.gelu(self.whitening(images))).amax((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Features ``[N, widths[-1]]`` to class logits ``[N, 10]``."""
        # Small logits at first: a rate that suits the convolutions would overshoot in the head.
        return self.head(features) / 8

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N, 3, 32, 32]`` in [-1, 1] to class logits ``[N, 10]``."""
        return self.classify(self.features(images))


class _Halving(nn.Module):
    """Two convolutions, the first followed by a pooling that halves the maps."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        maps = nn.functional.gelu(self.norms[0](nn.functional.max_pool2d(self.first(maps), 2)))
        return maps + nn.functional.gelu(self.norms[1](self.second(maps)))


def _block(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that pads to keep the size (but for its stride), batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
