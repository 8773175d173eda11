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
        crop: random shifts by whole pixels, see :func:`crop`.
        flip: turn each image round, left to right, with probability 1/2.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        autocast: makes the context of the forward pass; for mixed precision.
    """

    classifier: nn.Module
    optimizer: torch.optim.Optimizer
    shift: int = 0
    rotate: float = 0.0
    crop: int = 0
    flip: bool = False
    label_smoothing: float = 0.0
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
    images = vary(images, game.shift, game.rotate)
    images = crop(flip(images) if game.flip else images, game.crop)
    images = images.contiguous(memory_format=torch.channels_last)
    with game.autocast():
        logits = game.classifier(images).float()
    loss = F.cross_entropy(logits, labels, label_smoothing=game.label_smoothing)
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


def flip(images: Tensor) -> Tensor:
    """Each image ``[N, C, H, W]`` as it is or, with probability 1/2, its mirror image."""
    turned = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(turned, images.flip(3), images)


def crop(images: Tensor, pixels: int) -> Tensor:
    """Shift each image ``[N, C, H, W]`` by whole pixels of its own, at most so many either way.

    What comes in from outside the picture is what lies inside its edge, mirrored; so ``pixels`` must
    be below H and W.
    """
    if not pixels:
        return images
    n, _, h, w = images.shape
    padded = F.pad(images, [pixels] * 4, mode="reflect").permute(0, 2, 3, 1)
    top, left = torch.randint(2 * pixels + 1, (2, n, 1), device=images.device)
    rows = top + torch.arange(h, device=images.device)
    columns = left + torch.arange(w, device=images.device)
    each = torch.arange(n, device=images.device)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def accuracy(
    classifier: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 1000
) -> float:
    """Share of images ``[N, C, H, W]`` in [-1, 1] that are given their label, in [0, 1]."""
    with evaluating(classifier):
        parts = zip(images.split(batch_size), labels.split(batch_size))
        hits = sum((classifier(x).argmax(1) == y).sum().item() for x, y in parts)
    return hits / len(images)
