"""The kernel distance of two sets of features: unbiased, so that few samples suffice.

With the 2015 Inception network's features this is the KID of Bińkowski et al. 2018 ("Demystifying
MMD GANs", section 4); with other features it is the same formula and another number.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gantut.errors import InputError
from gantut.metrics.tables import pair

SUBSET = 1000
"""Samples in a subset, as in the paper, where there are enough for ten of them."""


class Estimate(NamedTuple):
    """A value, and the standard error that its being computed from a sample leaves."""

    value: float
    standard_error: float


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """``(x . y / F + 1)^3`` of each row of ``x [N, F]`` with each of ``y [M, F]``: ``[N, M]``."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def unbiased_mmd(features_a: Tensor | np.ndarray, features_b: Tensor | np.ndarray) -> float:
    """Squared maximum mean discrepancy of ``[N, F]`` and ``[M, F]`` under the cubic kernel.

    Gretton et al. 2012, equation 3: the mean kernel within each set, over pairs of *different*
    samples, less twice the mean kernel across.  Its expectation is 0 for two samples of one
    distribution, so single values may be negative.  Holds three matrices of N x N, N x M, M x M.

    Raises:
        InputError: fewer than two samples, or features that do not go together.
    """
    a, b = (x.double() for x in pair(features_a, features_b, 2, "the kernel distance"))
    within = 0.0
    for x in (a, b):
        kernel = polynomial_kernel(x, x)
        # A sample is always like itself; counted in, that would make the estimate too large.
        within += (kernel.sum() - kernel.diagonal().sum()) / (len(x) * (len(x) - 1))
    return (within - 2 * polynomial_kernel(a, b).mean()).item()


def subset_size(n: int) -> int:
    """Samples in each subset where there are ``n`` in the smaller set: 1000, or a tenth of fewer."""
    return min(SUBSET, n // 10)


def kernel_distance(
    features_a: Tensor | np.ndarray,
    features_b: Tensor | np.ndarray,
    size: int | None = None,
    seed: int = 0,
) -> Estimate:
    """Mean of `unbiased_mmd` over subsets of ``[N, F]`` and ``[M, F]`` that share no sample.

    The paper draws its subsets at random, so that they overlap and their spread says little about
    the error.  Here both sets are shuffled and cut into blocks: the blocks are independent, and
    the spread of their values gives the standard error of the mean.

    Args:
        size: samples in each subset; 1000 if None, or a tenth of the smaller set.
        seed: of the shuffling.

    Returns:
        Value and standard error, in the kernel's units.  The value may be a little below 0.

    Raises:
        InputError: too few samples for two subsets, or features that do not go together.
    """
    a, b = pair(features_a, features_b, 20 if size is None else 4, "the kernel distance")
    n = min(len(a), len(b))
    size = subset_size(n) if size is None else size
    if not 2 <= size <= n // 2:
        raise InputError(
            f"{n} samples make no two subsets of {size}: a subset has at least 2 samples and at "
            f"most half of them, {n // 2}."
        )
    rng = torch.Generator().manual_seed(seed)
    order_a, order_b = (torch.randperm(len(x), generator=rng).to(x.device) for x in (a, b))
    values = [
        unbiased_mmd(a[order_a[start : start + size]], b[order_b[start : start + size]])
        for start in range(0, n - size + 1, size)
    ]
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5))
