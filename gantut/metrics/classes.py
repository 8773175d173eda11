"""What a classifier of real images makes of generated ones."""

import torch
from torch import Tensor

from gantut.errors import InputError


def _checked(probabilities: Tensor) -> Tensor:
    sums_to_one = probabilities.ndim == 2 and torch.allclose(
        probabilities.sum(1), torch.ones(len(probabilities), device=probabilities.device), atol=1e-3
    )
    if not sums_to_one or len(probabilities) == 0 or (probabilities < 0).any():
        raise InputError("Class probabilities must be a table [N, K] whose rows sum to 1.")
    return probabilities


def confident_share(probabilities: Tensor, threshold: float = 0.9) -> float:
    """Share of images whose most probable class has a probability above ``threshold``, in [0, 1].

    It says how many images look like *some* class to the classifier.  It cannot see whether they
    are all alike; :func:`class_entropy` can.  A classifier can also be sure of nonsense: set the
    figure for noise beside it.

    Args:
        probabilities: ``[N, K]``.
    """
    return (_checked(probabilities).max(1).values > threshold).float().mean().item()


def class_entropy(probabilities: Tensor) -> float:
    """Entropy in bits of the predicted classes: log2(K) where all are equally frequent, 0 for one.

    Args:
        probabilities: ``[N, K]``; each image counts for its most probable class.
    """
    _, k = _checked(probabilities).shape
    counts = torch.bincount(probabilities.argmax(1), minlength=k).double()
    share = counts[counts > 0] / counts.sum()
    return -(share * share.log2()).sum().item() + 0.0
