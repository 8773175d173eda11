"""Images out of a generator, for looking at and for measuring."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gantut.errors import InputError
from gantut.labels import check_labels, every_class


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """The module in evaluation mode (no dropout, stored batch statistics), then as it was."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield module
    finally:
        for m, training in modes:
            m.training = training


@contextmanager
def evaluating_norms(module: nn.Module) -> Iterator[nn.Module]:
    """The module with stored batch statistics, which stay as they are; dropout as it was."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    modes = [m.training for m in norms]
    for m in norms:
        m.eval()
    try:
        yield module
    finally:
        for m, training in zip(norms, modes, strict=True):
            m.training = training


@torch.no_grad()
def sample(
    generator: nn.Module,
    n: int,
    labels: Tensor | None = None,
    seed: int = 0,
    mean: float = 0.5,
    std: float = 0.5,
    batch_size: int = 1000,
) -> Tensor:
    """``n`` images from a generator in evaluation mode: the first ``n`` of a seed, not a choice.

    Args:
        generator: a network with ``sample_z``, on any device.
        n: how many, at least 1.
        labels: classes, int64 ``[n]``, for a conditional generator; see
            :func:`gantut.labels.every_class`.
        seed: of the latent vectors, from 0 to 2^32 - 1.  The same seed gives the same ones, however
            many are asked for.
        mean, std: the space the generator works in; its output times ``std`` plus ``mean`` is a
            pixel in [0, 1].
        batch_size: images in each forward pass.

    Returns:
        float32 ``[n, C, H, W]`` in [-1, 1], on the generator's device.

    Raises:
        InputError: no images asked for, or none at a time, a seed out of range, or labels that do
            not fit.
    """
    if n < 1:
        raise InputError(f"The number of samples must be at least 1, not {n}.")
    return images_of(generator, _draw(generator, n, seed), labels, mean, std, batch_size)


def _draw(generator: nn.Module, n: int, seed: int) -> Tensor:
    """The first ``n`` latent vectors of a seed, however many are asked for."""
    if not 0 <= seed < 2**32:
        raise InputError(f"A seed is a whole number from 0 to {2**32 - 1}, not {seed}.")
    # Drawn on the CPU, so that a seed means the same images on every device.
    rng = torch.Generator().manual_seed(seed)
    # torch draws normal numbers in blocks of 16, and a last block that is not full otherwise.
    return generator.sample_z(-(-n // 16) * 16, generator=rng)[:n]


@torch.no_grad()
def images_of(
    generator: nn.Module,
    z: Tensor,
    labels: Tensor | None = None,
    mean: float = 0.5,
    std: float = 0.5,
    batch_size: int = 1000,
) -> Tensor:
    """The images of given latent vectors ``[n, latent_dim]``; all else as of `sample`.

    Returns:
        float32 ``[n, C, H, W]`` in [-1, 1], on the generator's device.

    Raises:
        InputError: no latent vectors, or of another size than the generator's; labels that do not fit.
    """
    size = getattr(generator, "latent_dim", None)
    if not z.numel() or (size is not None and z.shape[1:] != (size,)):
        wanted = "n" if size is None else f"n, {size}"
        raise InputError(f"This generator needs latent vectors [{wanted}], not {list(z.shape)}.")
    if batch_size < 1:
        raise InputError(f"A batch has at least one image, not {batch_size}.")
    labels = check_labels(labels, len(z), getattr(generator, "num_classes", None))
    device = next(generator.parameters()).device
    with evaluating(generator):
        parts = []
        for start in range(0, len(z), batch_size):
            part = slice(start, start + batch_size)
            y = None if labels is None else labels[part].to(device)
            parts.append(generator(z[part].to(device), y).float())
    return torch.cat(parts).mul(std).add(mean).clamp(0, 1).mul(2).sub(1)


def under_every_class(
    generator: nn.Module,
    rows: int | Tensor,
    seed: int = 0,
    mean: float = 0.5,
    std: float = 0.5,
) -> Tensor:
    """The same latent vectors under each class.

    Args:
        generator: a conditional one, with K classes.
        rows: how many latent vectors to draw, or the vectors themselves, ``[rows, latent_dim]``.
        seed: of those drawn, as of `sample`: more rows begin with the same ones.
        mean, std: the space the generator works in, as of `sample`.

    Returns:
        float32 ``[rows, K, C, H, W]`` in [-1, 1]: a row has one latent vector, a column one class.

    Raises:
        InputError: the generator knows no classes, no rows are asked for, a seed out of range, or
            vectors of another size than the generator's.
    """
    k = getattr(generator, "num_classes", None)
    if k is None:
        raise InputError(
            "This generator knows no classes, so there is nothing to put a vector under."
        )
    if not isinstance(rows, Tensor):
        if rows < 1:
            raise InputError("Of no latent vector there are no images.")
        rows = _draw(generator, rows, seed)
    z = rows.repeat_interleave(k, dim=0)
    images = images_of(generator, z, every_class(k, len(z)), mean, std)
    return images.unflatten(0, (len(rows), k))


def between(start: Tensor, stop: Tensor, positions: Tensor, normal: bool = True) -> Tensor:
    """Latent vectors on the way from one to another.

    Between normal vectors the way is an arc: a straight line would pass through lengths that
    training never saw (White 2016, "Sampling generative networks", section 2.1).  Between uniform
    vectors it is straight.

    Args:
        start, stop: the ends, ``[latent_dim]``.
        positions: ``[n]``; 0 is the start and 1 the stop.
        normal: whether the ends are drawn from a normal distribution.

    Returns:
        ``[n, latent_dim]``.

    Raises:
        InputError: ends that are not two vectors of one size.
    """
    if start.ndim != 1 or start.shape != stop.shape:
        raise InputError(
            f"A way has two ends [latent_dim], not {list(start.shape)} and {list(stop.shape)}."
        )
    positions = torch.as_tensor(positions, dtype=torch.float32)[:, None]
    angle = torch.arccos(nn.functional.cosine_similarity(start, stop, dim=0).clamp(-1, 1))
    # Ends in one line define no arc.
    if not normal or angle.sin() < 1e-3:
        return torch.lerp(start, stop, positions)
    parts = torch.sin((1 - positions) * angle) * start + torch.sin(positions * angle) * stop
    return parts / torch.sin(angle)
