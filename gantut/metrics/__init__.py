"""How good is it?  Pure functions on features, probabilities or images; nothing here trains.

==============================  ================================================================
:mod:`.frechet`                 distance of two sets of features, each taken for a Gaussian (FID)
:mod:`.classes`                 what a classifier sees: how sure it is, how many classes there are
:mod:`.features`                which network's eyes the images are seen with
==============================  ================================================================
"""

from gantut.metrics.classes import class_entropy, confident_share
from gantut.metrics.frechet import frechet_distance, frechet_from_moments

__all__ = ["class_entropy", "confident_share", "frechet_distance", "frechet_from_moments"]
