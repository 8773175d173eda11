"""Classifiers of real images: the independent judges of generated ones."""

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

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[N, 1, 28, 28]`` in [-1, 1] to class logits ``[N, 10]``."""
        return self.head(self.dropout(self.features(images)))


def _block(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that pads to keep the size (but for its stride), batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
