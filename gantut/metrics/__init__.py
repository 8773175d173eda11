"""How good is it?  Pure functions on features, probabilities or images; nothing here trains.

==============================  ================================================================
:mod:`.frechet`                 distance of two sets of features, each taken for a Gaussian (FID)
:mod:`.kernel`                  distance of two sets of features without bias (KID)
:mod:`.neighbours`              precision and recall, density and coverage, nearest neighbours
:mod:`.classes`                 what a classifier sees: how sure it is, how many classes there are
:mod:`.labels`                  does a conditional generator obey, does its label matter, how varied
                                is each class
:mod:`.features`                which network's eyes the images are seen with
==============================  ================================================================
"""

from gantut.metrics.classes import class_entropy, classifier_score, confident_share
from gantut.metrics.frechet import frechet_distance, frechet_from_moments
from gantut.metrics.kernel import kernel_distance
from gantut.metrics.labels import (
    class_separation,
    intra_class_frechet,
    label_agreement,
    one_minus_pixel_mse,
    within_class_diversity,
)
from gantut.metrics.neighbours import density_coverage, nearest, precision_recall

__all__ = [
    "class_entropy",
    "class_separation",
    "classifier_score",
    "confident_share",
    "density_coverage",
    "frechet_distance",
    "frechet_from_moments",
    "intra_class_frechet",
    "kernel_distance",
    "label_agreement",
    "nearest",
    "one_minus_pixel_mse",
    "precision_recall",
    "within_class_diversity",
]
