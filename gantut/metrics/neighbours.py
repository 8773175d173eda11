"""Are the samples good, and do they cover the data?  Two questions, two numbers, by neighbours.

Around each point of a set lies a ball that reaches to its k-th nearest neighbour in the same set;
together the balls stand for the places where the set is.  Precision and recall: Kynkäänniemi et al.
2019 ("Improved Precision and Recall Metric", equations 1 and 2).  Density and coverage, which a
single outlier moves less: Naeem et al. 2020 ("Reliable Fidelity and Diversity Metrics", section 3).

All distances are Euclidean.  Tables of N x M distances are made some rows at a time, so memory
grows with M.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gantut.errors import InputError
from gantut.metrics.tables import pair

CHUNK = 1000
"""Rows of a table of distances that are in memory at a time."""


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: generated images that look real, real ones that could be generated."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density is 1 for two samples of one distribution and may be more; coverage lies in [0, 1]."""

    density: float
    coverage: float


def nearest(
    queries: Tensor | np.ndarray, reference: Tensor | np.ndarray, k: int = 1
) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest rows of ``reference [M, F]`` to each row of ``queries [N, F]``.

    Returns:
        Distances, and indices into ``reference``, each ``[N, k]``, the nearest first.

    Raises:
        InputError: ``k`` is below 1 or above M, or the features do not go together.
    """
    x, y = pair(queries, reference, 1, "a search for neighbours")
    _check_k(k, len(y))
    found = [d.topk(k, largest=False) for _, d in _distances(x, y)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def nearest_others(features: Tensor | np.ndarray, k: int) -> Tensor:
    """Distances of each row of ``[N, F]`` to its ``k`` nearest others, the nearest first: ``[N, k]``.

    Raises:
        InputError: ``k`` is below 1, or there are not more rows than ``k``.
    """
    x, _ = pair(features, features, 2, "a neighbour")
    _check_k(k, len(x) - 1)
    parts = []
    for start, d in _distances(x, x):
        rows = torch.arange(len(d), device=d.device)
        d[rows, start + rows] = torch.inf
        parts.append(d.topk(k, largest=False).values)
    return torch.cat(parts)


def precision_recall(
    generated: Tensor | np.ndarray,
    real: Tensor | np.ndarray,
    k: int = 3,
    others: Tensor | None = None,
) -> PrecisionRecall:
    """Precision: share of generated points inside some real point's ball; recall: the reverse.

    Args:
        generated: features ``[N, F]``.
        real: features ``[M, F]``.
        k: which neighbour a ball reaches to.
        others: `nearest_others` of ``real``, ``[M, k]`` or wider, where they are known already.

    Raises:
        InputError: not more than ``k`` samples in either set, or features that do not go together.
    """
    g, r = pair(generated, real, 2, "a neighbour")
    return PrecisionRecall(
        precision=_inside(g, r, _reach(r, k, others)).bool().double().mean().item(),
        recall=_inside(r, g, _reach(g, k)).bool().double().mean().item(),
    )


def density_coverage(
    generated: Tensor | np.ndarray,
    real: Tensor | np.ndarray,
    k: int = 5,
    others: Tensor | None = None,
) -> DensityCoverage:
    """Density: in how many real balls a generated point lies, over ``k``, on average.

    Coverage: share of the real balls that hold a generated point.

    Args and errors as in `precision_recall`.
    """
    g, r = pair(generated, real, 2, "a neighbour")
    reach = _reach(r, k, others)
    held = torch.zeros(len(r), dtype=torch.bool, device=r.device)
    count = 0
    for _, d in _distances(g, r):
        inside = d <= reach
        count += inside.sum().item()
        held |= inside.any(0)
    return DensityCoverage(count / (k * len(g)), held.double().mean().item())


def _reach(features: Tensor, k: int, others: Tensor | None = None) -> Tensor:
    """How far the ball around each row of ``[N, F]`` reaches: ``[N]``."""
    _check_k(k, len(features) - 1)
    if others is None:
        others = nearest_others(features, k)
    elif len(others) != len(features) or others.shape[1] < k:
        raise InputError(
            f"The distances to nearest others are of shape {tuple(others.shape)}; "
            f"{len(features)} real samples and k = {k} need at least ({len(features)}, {k})."
        )
    return others[:, k - 1]


def _inside(points: Tensor, centres: Tensor, reach: Tensor) -> Tensor:
    """In how many balls each point lies, ``[N]``."""
    return torch.cat([(d <= reach).sum(1) for _, d in _distances(points, centres)])


def _distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Distances ``[CHUNK, M]`` of some rows of x to all of y, with the first row's number."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x, y = x.to(dtype), y.to(dtype)
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y is one matrix product, but the difference of large numbers:
    # moving the origin into the data keeps them small.
    centre = y.mean(0)
    x, y = x - centre, y - centre
    square_y = y.square().sum(1)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK]
        sizes = part.square().sum(1)[:, None] + square_y
        square = sizes - 2 * part @ y.T
        # What is left of two equal points is rounding; taken for a distance it would put a copy
        # outside its own original's ball.
        square[square < 8 * torch.finfo(dtype).eps * sizes] = 0
        yield start, square.sqrt_()


def _check_k(k: int, most: int) -> None:
    if not 1 <= k <= most:
        raise InputError(f"k must be from 1 to {most}, the neighbours that there are, not {k}.")


__all__ = [
    "DensityCoverage",
    "PrecisionRecall",
    "density_coverage",
    "nearest",
    "nearest_others",
    "precision_recall",
]
