"""The Fréchet distance between two sets of features, each taken for a Gaussian.

With the 2015 Inception network's features this is the FID of Heusel et al. 2017 (equation 6); with
other features it is the same formula and another number, so say which network it was.
"""

import numpy as np
import scipy.linalg
import torch

from gantut.errors import InputError


def moments(features: torch.Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``[F]`` and covariance ``[F, F]`` (divided by n - 1) of features ``[N, F]``, float64.

    Raises:
        InputError: not a table of finite numbers with at least two rows.
    """
    x = np.asarray(features.detach().cpu() if torch.is_tensor(features) else features, np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise InputError(f"Features must be a table [N, F] with N >= 2, not of shape {x.shape}.")
    if not np.isfinite(x).all():
        raise InputError("The features hold numbers that are not finite.")
    return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))


def frechet_from_moments(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """Squared Fréchet (Wasserstein-2) distance of two Gaussians; Dowson & Landau 1982.

    ``|mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 (cov_a cov_b)^(1/2))``.

    Args:
        mean_a, mean_b: ``[F]``.
        cov_a, cov_b: ``[F, F]``, symmetric and positive semi-definite.

    Returns:
        At least 0, in squared units of the features.

    Raises:
        InputError: means or covariances of two different dimensions.
    """
    mean_a, mean_b, cov_a, cov_b = (
        np.asarray(m, np.float64) for m in (mean_a, mean_b, cov_a, cov_b)
    )
    if mean_a.shape != mean_b.shape or cov_a.shape != cov_b.shape:
        raise InputError("The two Gaussians live in spaces of different dimension.")
    # The trace of the root of cov_a cov_b is the sum of the roots of its eigenvalues, which are
    # those of the symmetric matrix root_a cov_b root_a: real, and >= 0 but for rounding.
    values, vectors = scipy.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = scipy.linalg.eigvalsh(root_a @ cov_b @ root_a)
    trace_of_root = np.sqrt(np.clip(product, 0, None)).sum()
    distance = (
        ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * trace_of_root
    )
    return float(max(distance, 0.0))


def frechet_distance(
    features_a: torch.Tensor | np.ndarray, features_b: torch.Tensor | np.ndarray
) -> float:
    """Squared Fréchet distance of two sets of features ``[N, F]`` and ``[M, F]``.

    Few samples bias it upwards: compare numbers of the same N and M only.

    Raises:
        InputError: no tables of finite numbers with the same F, or no more samples than features
            in either set.  Its covariance would have no full rank, and the distance would measure
            that.
    """
    gaussians = [moments(features) for features in (features_a, features_b)]
    for features, (mean, _) in zip((features_a, features_b), gaussians):
        check_enough(len(features), len(mean))
    return frechet_from_moments(*gaussians[0], *gaussians[1])


def check_enough(samples: int, dimension: int) -> None:
    """Raise `InputError` where ``samples`` give no covariance of full rank in ``dimension``."""
    if samples <= dimension:
        raise InputError(
            f"{samples} samples are too few for features of dimension "
            f"{dimension}: take more samples than dimensions, better ten times more."
        )
