"""The one-player game: train a classifier, with the same loop that trains a GAN."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantut.sampling import evaluating


@dataclass
class Classification:
    """A classifier, its optimiser, and how its images are varied.

    Args:
        classifier: images ``[N, C, H, W]`` to logits ``[N, K]``.
        optimizer: over its parameters.
        shift: random shifts of each image, at most so many pixels in each direction.
        rotate: random turns of each image, at most so many degrees either way.
        autocast: makes the context of the forward pass; for mixed precision.
    """

    classifier: nn.Module
    optimizer: torch.optim.Optimizer
    shift: int = 0
    rotate: float = 0.0
    autocast: Callable = nullcontext

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"classifier": self.classifier}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"classifier": self.optimizer}

    @property
    def generators(self) -> dict[str, torch.Generator]:
        return {}

    @staticmethod
    def scalars(rounds: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {key: torch.stack([r[key] for r in rounds]) for key in rounds[0]}


def play(game: Classification, next_batch: Callable) -> dict[str, Tensor]:
    """One step down the cross-entropy on one batch; a step in the sense of :mod:`gantut.steps`."""
    images, labels = next_batch()
    # Channels last: convolutions on a CPU are about a quarter faster on that layout.
    images = vary(images, game.shift, game.rotate).contiguous(memory_format=torch.channels_last)
    with game.autocast():
        logits = game.classifier(images).float()
    loss = F.cross_entropy(logits, labels)
    game.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    game.optimizer.step()
    correct = (logits.argmax(1) == labels).float().mean()
    return {"loss": loss.detach(), "accuracy": correct.detach()}


def vary(images: Tensor, shift: int, rotate: float) -> Tensor:
    """Shift and turn each image ``[N, C, H, W]`` in [-1, 1] by a random amount of its own.

    What comes in from outside the picture is -1, the background of MNIST.
    """
    if not shift and not rotate:
        return images
    n, _, h, w = images.shape
    angle = torch.empty(n, device=images.device).uniform_(-rotate, rotate) * math.pi / 180
    move = torch.empty(n, 2, device=images.device).uniform_(-shift, shift)
    cos, sin = angle.cos(), angle.sin()
    # In the grid's units the picture is 2 wide, so one pixel is 2 / w.
    rows = [
        torch.stack([cos, -sin, move[:, 0] * 2 / w], 1),
        torch.stack([sin, cos, move[:, 1] * 2 / h], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    # Shifted up by 1 so that the zeros which grid_sample puts outside mean "background".
    return F.grid_sample(images + 1, grid, align_corners=False) - 1


@torch.no_grad()
def accuracy(
    classifier: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000
) -> float:
    """Share of images ``[N, C, H, W]`` in [-1, 1] that are given their label, in [0, 1]."""
    with evaluating(classifier):
        parts = zip(images.split(batch_size), labels.split(batch_size))
        hits = sum((classifier(x).argmax(1) == y).sum().item() for x, y in parts)
    return hits / len(images)
