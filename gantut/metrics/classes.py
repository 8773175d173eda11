"""What a classifier of real images makes of generated ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from gantut.errors import InputError
from gantut.metrics.tables import distributions


class Score(NamedTuple):
    """Mean and standard deviation over splits of a set of images."""

    mean: float
    std: float


def confident_share(probabilities: Tensor, threshold: float = 0.9) -> float:
    """Share of images whose most probable class has a probability above ``threshold``, in [0, 1].

    It says how many images look like *some* class to the classifier.  It cannot see whether they
    are all alike; :func:`class_entropy` can.  A classifier can also be sure of nonsense: set the
    figure for noise beside it.

    Args:
        probabilities: ``[N, K]``.

    Raises:
        InputError: no table of probabilities.
    """
    return (distributions(probabilities).max(1).values > threshold).float().mean().item()


def class_entropy(probabilities: Tensor) -> float:
    """Entropy in bits of the predicted classes: log2(K) where all are equally frequent, 0 for one.

    Args:
        probabilities: ``[N, K]``; each image counts for its most probable class.

    Raises:
        InputError: no table of probabilities.
    """
    _, k = distributions(probabilities).shape
    counts = torch.bincount(probabilities.argmax(1), minlength=k).double()
    share = counts[counts > 0] / counts.sum()
    return -(share * share.log2()).sum().item() + 0.0


def classifier_score(probabilities: Tensor, splits: int = 10) -> Score:
    """The Inception Score's formula, with whatever classifier the probabilities are of.

    ``exp(mean KL(p(y|x) || p(y)))``: 1 where all images get the same probabilities, K where each
    is certain and the K classes are equally frequent.  Salimans et al. 2016 (section 4) use the
    Inception network's 1,008 classes, and only that is called the Inception Score.

    Args:
        probabilities: ``[N, K]``.
        splits: parts of equal size, in the order given; what is left over is not used.

    Returns:
        Mean and standard deviation (divided by ``splits``, as published scores are) over the parts.

    Raises:
        InputError: no table of probabilities, or fewer than two images in a part.
    """
    n = len(distributions(probabilities))
    if splits < 1 or n < 2 * splits:
        raise InputError(
            f"{n} images cannot be split into {splits} parts of at least 2; take more images, or "
            "fewer parts."
        )
    parts = probabilities.double()[: n - n % splits].chunk(splits)
    scores = []
    for p in parts:
        mean = p.mean(0, keepdim=True)
        # xlogy: a class of probability 0 adds nothing.
        divergence = (torch.xlogy(p, p) - torch.xlogy(p, mean)).sum(1)
        scores.append(divergence.mean().exp())
    values = torch.stack(scores)
    return Score(values.mean().item(), values.std(correction=0).item())
