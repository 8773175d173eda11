"""Tables of features and of probabilities, checked before anything is computed from them."""

import numpy as np
import torch
from torch import Tensor

from gantut.errors import InputError


def pair(
    features_a: Tensor | np.ndarray, features_b: Tensor | np.ndarray, at_least: int, why: str
) -> tuple[Tensor, Tensor]:
    """Two tables ``[N, F]`` and ``[M, F]`` of finite numbers, as tensors without a gradient.

    Args:
        at_least: rows that each must have.
        why: what needs them, for the message.

    Raises:
        InputError: no such tables.
    """
    a, b = (torch.as_tensor(x).detach() for x in (features_a, features_b))
    for x in (a, b):
        if x.ndim != 2 or x.shape[1] == 0 or not x.is_floating_point():
            raise InputError(
                f"Features must be a table [N, F] of floats, not {str(x.dtype).removeprefix('torch.')} "
                f"of shape {tuple(x.shape)}."
            )
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"The two sets of features have different dimensions, {a.shape[1]} and {b.shape[1]}: "
            "they are of two networks."
        )
    for x in (a, b):
        if len(x) < at_least:
            raise InputError(f"{len(x)} samples are too few: {why} needs at least {at_least}.")
        if not x.isfinite().all():
            raise InputError("The features hold numbers that are not finite.")
    return a, b


def distributions(probabilities: Tensor) -> Tensor:
    """Class probabilities ``[N, K]``, as they are.

    Raises:
        InputError: no such table, one without rows, or rows that do not sum to 1.
    """
    sums_to_one = probabilities.ndim == 2 and bool(((probabilities.sum(1) - 1).abs() < 1e-3).all())
    if not sums_to_one or len(probabilities) == 0 or (probabilities < 0).any():
        raise InputError("Class probabilities must be a table [N, K] whose rows sum to 1.")
    return probabilities
