"""Labels: whole numbers that say which class an image has, or is to have."""

import torch
from torch import Tensor

from gantut.errors import InputError


def every_class(num_classes: int | None, n: int) -> Tensor | None:
    """``n`` labels, int64 ``[n]``: each class in turn.  None for a model without classes."""
    return None if num_classes is None else torch.arange(max(n, 0)) % num_classes


def check_labels(labels: Tensor | None, n: int, num_classes: int | None) -> Tensor | None:
    """The labels, where a generator can draw ``n`` images by them, int64 ``[n]``.

    Raises:
        InputError: labels of another type, number or range; labels for a model without classes, or
            none for one that has them.
    """
    if num_classes is None:
        if labels is not None:
            raise InputError("This generator knows no classes; sample from it without labels.")
        return None
    if labels is None:
        known = whole(num_classes)
        raise InputError(f"This generator draws what it is told to: give it labels, {known}.")
    return table(labels, n, num_classes)


def table(labels: Tensor, n: int, num_classes: int | None = None) -> Tensor:
    """Labels of ``n`` images, int64 ``[n]``, from a tensor, an array or a list.

    Args:
        labels: whole numbers, at least 0.
        n: how many there must be.
        num_classes: they are below it; no limit if None.

    Raises:
        InputError: labels of another type, number or range.
    """
    known = whole(num_classes)
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"Labels are {known}, in a tensor or a list of {n}.") from None
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"Labels are {known}, not of type {str(labels.dtype).split('.')[-1]}.")
    if tuple(labels.shape) != (n,):
        raise InputError(f"{n} images need {n} labels, not labels of shape {tuple(labels.shape)}.")
    wrong = labels < 0 if num_classes is None else (labels < 0) | (labels >= num_classes)
    if wrong.any():
        raise InputError(f"Labels are {known}; {labels[wrong][0].item()} is none.")
    return labels.long()


def whole(num_classes: int | None) -> str:
    """What labels are, for a message: "whole numbers from 0 to 9"."""
    return "whole numbers from 0" + ("" if num_classes is None else f" to {num_classes - 1}")
