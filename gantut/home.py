"""Where gantut keeps what it downloads and trains: one folder, moved by ``GANTUT_HOME``."""

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder of the cache: ``GANTUT_HOME`` if set, else the user's cache folder for gantut.

    Read anew at each call, so a change of the variable counts at once. The folder need not exist.
    """
    chosen = os.environ.get("GANTUT_HOME", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("gantut", appauthor=False)


def data_dir() -> Path:
    """The folder of the data sets, ``home()/data``."""
    return home() / "data"


def runs_dir() -> Path:
    """The folder of the training runs, ``home()/runs``."""
    return home() / "runs"
