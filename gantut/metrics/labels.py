"""Does a conditional generator do as it is told, and how varied is what it makes of each class?"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gantut.errors import InputError
from gantut.labels import table
from gantut.metrics.frechet import frechet_distance
from gantut.metrics.tables import distributions, pair


class Agreement(NamedTuple):
    """How often a classifier sees the class that was asked for.

    ``overall`` in [0, 1]; ``per_class`` ``[K]``, nan for a class that was not asked for;
    ``confusion`` int64 ``[K, K]``: images of each asked class (rows) by the class seen (columns).
    """

    overall: float
    per_class: Tensor
    confusion: Tensor


def label_agreement(probabilities: Tensor, labels: Tensor) -> Agreement:
    """Does the classifier see what was asked for?

    The classifier must not have seen the generator: one that was trained with it would agree with
    its habits.  Even on real images an independent classifier is not always right; its accuracy is
    the most that can be expected.

    Args:
        probabilities: ``[N, K]``, of a classifier; its rows sum to 1.
        labels: int64 ``[N]``, the classes asked for.

    Raises:
        InputError: tables that do not go together, or labels outside 0 to K - 1.
    """
    k = distributions(probabilities).shape[1]
    labels = table(labels, len(probabilities), k)
    seen = probabilities.argmax(1)
    confusion = torch.bincount(labels * k + seen, minlength=k * k).view(k, k)
    right = confusion.diagonal().double()
    return Agreement(
        overall=(right.sum() / len(labels)).item(),
        per_class=right / confusion.sum(1),
        confusion=confusion,
    )


def _by_class(features, labels, real_features, real_labels, at_least, why):
    fakes, real = pair(features, real_features, 2, why)
    labels, real_labels = table(labels, len(fakes)), table(real_labels, len(real))
    for label in torch.cat([labels, real_labels]).unique().tolist():
        mine, theirs = fakes[labels == label], real[real_labels == label]
        if min(len(mine), len(theirs)) < at_least:
            raise InputError(
                f"{why[0].upper()}{why[1:]} needs at least {at_least} images of each class, and of "
                f"class {label} there are {len(mine)} and {len(theirs)} real ones."
            )
        yield mine, theirs


def intra_class_frechet(
    features: Tensor | np.ndarray,
    labels: Tensor,
    real_features: Tensor | np.ndarray,
    real_labels: Tensor,
) -> Tensor:
    """The Fréchet distance within each class, float64 ``[K]``, in the order of the labels.

    Their mean is the intra-class FID where the features are the Inception network's (Miyato &
    Koyama 2018, section 5).  It sees what the distance of all classes together does not: a class
    whose images are those of another.

    Args:
        features: ``[N, F]`` of fakes, and ``real_features`` ``[M, F]`` of real images.
        labels, real_labels: int64 ``[N]`` and ``[M]``.

    Raises:
        InputError: tables that do not go together, or a class with fewer images than features, on
            either side.
    """
    need = torch.as_tensor(features).shape[-1] + 1
    why = "the Fréchet distance within classes"
    classes = _by_class(features, labels, real_features, real_labels, need, why)
    return torch.tensor([frechet_distance(a, b) for a, b in classes], dtype=torch.float64)


def within_class_diversity(
    features: Tensor | np.ndarray,
    labels: Tensor,
    real_features: Tensor | np.ndarray,
    real_labels: Tensor,
) -> Tensor:
    """How far apart two images of a class lie, compared with real ones, float64 ``[K]``.

    The mean squared distance of two fakes of the class over that of two real images: 1 for a
    perfect generator, 0 for one that has a single image for each class.

    Args, and the errors raised, as in :func:`intra_class_frechet`; two images of a class suffice.
    """
    classes = _by_class(
        features, labels, real_features, real_labels, 2, "the diversity within classes"
    )
    # The mean squared distance of two independent rows is twice the sum of the variances.
    ratios = [
        a.double().var(0).sum() / b.double().var(0).sum().clamp(min=1e-12) for a, b in classes
    ]
    return torch.stack(ratios)


def class_separation(features: Tensor | np.ndarray, labels: Tensor) -> float:
    """The share of the features' variance that labels explain: 1 if they decide everything.

    0 is expected, and less can be found, where labels make no difference; a generator may ignore
    its labels, or obey none and still make something of its own under each.  The statistic is
    Kelley's epsilon squared (1935): 1 - (variance within classes) / (variance of all), each
    without bias and summed over the features.

    Args:
        features: ``[N, F]``.
        labels: int64 ``[N]``, of two classes or more, and of fewer than N.

    Raises:
        InputError: labels that are not as many as features, or too few or too many classes.
    """
    x = torch.as_tensor(features).double()
    if x.ndim != 2:
        raise InputError(f"Separation needs features [N, F], not {list(x.shape)}.")
    labels = table(labels, len(x))
    classes = labels.unique()
    if not 1 < len(classes) < len(x):
        raise InputError(
            f"Separation needs labels of 2 to N - 1 classes, not {len(x)} of {len(classes)}."
        )
    groups = [x[labels == label] for label in classes]
    within = sum((group - group.mean(0)).square().sum() for group in groups)
    in_all = (x - x.mean(0)).square().sum()
    if in_all == 0:
        return 0.0  # a single image, whatever the label
    return 1 - (within / (len(x) - len(groups)) / (in_all / (len(x) - 1))).item()


def one_minus_pixel_mse(images: Tensor, labels: Tensor, real: Tensor, real_labels: Tensor) -> float:
    """1 - the mean squared error of pixels in [0, 1], each fake against a real image of its class.

    Published conditional GANs have called this an accuracy.  It is none: a blur scores more than a
    real image, and a wrong class nearly as much (chapter 7).

    Args:
        images: fakes ``[N, C, H, W]`` in [-1, 1]; ``labels`` int64 ``[N]``.
        real: ``[M, C, H, W]`` in [-1, 1]; ``real_labels`` int64 ``[M]``.  The fakes of a class are
            paired with its real images in the order given, over and over.

    Raises:
        InputError: no images, images of different shapes or outside [-1, 1], or a class without
            real images.
    """
    for pixels in (images, real):
        if not pixels.numel() or not pixels.abs().max() <= 1 + 1e-4:
            raise InputError(
                "The pixel error is that of images [N, C, H, W] in [-1, 1], at least one."
            )
    if images.shape[1:] != real.shape[1:]:
        raise InputError(
            f"Images of {list(images.shape[1:])} and of {list(real.shape[1:])} have no pixels in common."
        )
    labels, real_labels = table(labels, len(images)), table(real_labels, len(real))
    total = 0.0
    for label in labels.unique():
        of_class = (real_labels == label).nonzero()[:, 0]
        mine = images[labels == label]
        if not len(of_class):
            raise InputError(f"There are no real images of class {label.item()}.")
        partners = of_class.repeat(-(-len(mine) // len(of_class)))[: len(mine)]
        total += ((mine - real[partners]) / 2).square().sum().item()
    return 1 - total / images.numel()
