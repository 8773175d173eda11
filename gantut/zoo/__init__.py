"""What came out?  The finished runs that the course exhibits.

Everything in here was written by ``gantut reproduce``.

    run = load("mlp-mnist")
    run.sample(16)      # float [16, 1, 28, 28] in [-1, 1]
    print(run.card)     # device, images seen of the budget, time, measurements
"""

from importlib import resources
from pathlib import Path

from gantut.errors import InputError, did_you_mean
from gantut.runs import Run

FOLDER = Path(str(resources.files("gantut.zoo")))


def names() -> list[str]:
    """Names of the finished runs, in alphabetical order."""
    return sorted(f.parent.name for f in FOLDER.glob("[!.]*/config.yaml"))


def load(name: str) -> Run:
    """A finished run.

    Raises:
        InputError: there is none of that name.
    """
    if name not in names():
        hint = did_you_mean(name, names())
        raise InputError(
            f"The zoo has no finished run {name!r}{hint} gantut.zoo.names() lists all."
        )
    return Run(FOLDER / name)
