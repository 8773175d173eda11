"""How good is it?  Pure functions on features, probabilities or images; nothing here trains.

==============================  ================================================================
:mod:`.frechet`                 distance of two sets of features, each taken for a Gaussian (FID)
:mod:`.kernel`                  distance of two sets of features without bias (KID)
:mod:`.neighbours`              precision and recall, density and coverage, nearest neighbours
:mod:`.classes`                 what a classifier sees: how sure it is, how many classes there are
:mod:`.features`                which network's eyes the images are seen with
==============================  ================================================================
"""

from gantut.metrics.classes import class_entropy, classifier_score, confident_share
from gantut.metrics.frechet import frechet_distance, frechet_from_moments
from gantut.metrics.kernel import kernel_distance
from gantut.metrics.neighbours import density_coverage, nearest, precision_recall

__all__ = [
    "class_entropy",
    "classifier_score",
    "confident_share",
    "density_coverage",
    "frechet_distance",
    "frechet_from_moments",
    "kernel_distance",
    "nearest",
    "precision_recall",
]
