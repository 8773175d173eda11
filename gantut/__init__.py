"""gantut: the library behind a hands-on course on generative adversarial networks.

Every submodule answers one question a learner asks (where do the images come from, what do the
two networks look like, what do they play for, how do they take turns, ...).  They are imported on
first use, so ``import gantut`` is quick and pulls in neither torch nor matplotlib::

    import gantut
    run = gantut.zoo.load("mlp-mnist")
    images = run.sample(16)          # float tensor [16, 1, 28, 28] in [-1, 1]
"""

import importlib

__version__ = "0.1.0"

_SUBMODULES = (
    "build",
    "callbacks",
    "classify",
    "cli",
    "data",
    "errors",
    "evaluate",
    "files",
    "grids",
    "home",
    "labels",
    "losses",
    "metrics",
    "models",
    "plots",
    "recipes",
    "reproduce",
    "runs",
    "sampling",
    "sources",
    "steps",
    "toys",
    "trainer",
    "weights",
    "widgets",
    "zoo",
)

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name: str):
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
