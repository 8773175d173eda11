"""Classifiers of real images: the independent judges of generated ones."""

import torch
from torch import Tensor, nn


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class DigitClassifier(nn.Module):
    """A small convolutional network for 28 x 28 grey digits.

    Two stages of two 3 x 3 convolutions, a pooling after each, then a dense layer of 128 features
    and one of 10 logits.

    Args:
        width: channels of the first stage; the second has twice as many.
        dropout: before each of the last two layers, in [0, 1).
    """

    feature_dim = 128

    def __init__(self, width: int = 32, dropout: float = 0.3):
        super().__init__()
        self.convolutions = nn.Sequential(
            _block(1, width),
            _block(width, width),
            nn.MaxPool2d(2),
            _block(width, 2 * width),
            _block(2 * width, 2 * width),
            nn.MaxPool2d(2),
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


