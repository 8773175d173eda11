"""What lies in the cache: its parts with their sizes, and removing them."""

import shutil
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, InputError
from ..home import data_dir, home, runs_dir
from .fetching import size_of


class Part(NamedTuple):
    """A part of the cache: a data set, a run, or whatever else lies in it."""

    name: str
    path: Path
    bytes: int


def usage() -> list[Part]:
    """The parts of the cache with their sizes in bytes: data sets first, then runs, then others.

    A data set goes by its name (``mnist``), a run by its recipe (``runs/mlp-mnist``, all seeds).
    """
    parts = []
    for path in _entries(data_dir()):
        parts.append(Part(path.name.removesuffix(".safetensors"), path, size_of(path)))
    for path in _entries(runs_dir()):
        parts.append(Part(f"runs/{path.name}", path, size_of(path)))
    for path in _entries(home()):
        if path not in (data_dir(), runs_dir()):
            parts.append(Part(path.name, path, size_of(path)))
    return [part for part in parts if part.bytes > 0]


def _entries(folder: Path) -> list[Path]:
    try:
        # Lock files stay out of it; what a killed download left behind (.fetch-…) does not.
        return sorted(path for path in folder.iterdir() if path.suffix != ".lock")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error


def remove(part: str) -> list[Part]:
    """Remove a part of the cache by its name in `usage`; ``runs`` removes all runs.

    Returns what was removed. Raises `InputError` for a name that `usage` does not list,
    `DataError` where the file system refuses.
    """
    parts = usage()
    chosen = [each for each in parts if each.name == part or each.name.startswith(f"{part}/")]
    if not chosen:
        names = ", ".join(each.name for each in parts) or "it is empty"
        raise InputError(f"The cache has no part called {part!r}; there is: {names}.")
    for each in chosen:
        try:
            if each.path.is_dir() and not each.path.is_symlink():
                shutil.rmtree(each.path)
            else:
                each.path.unlink()
        except OSError as error:
            raise DataError(f"{each.path} cannot be removed: {error.strerror or error}.") from error
    return chosen
