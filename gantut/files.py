"""Files that are whole or absent: written aside, then renamed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gantut.errors import DataError, GantutError


@contextmanager
def writing(
    path: str | Path,
    kind: type[GantutError] = DataError,
    remedy: str = "Make room or choose another folder, and run the same command again.",
) -> Iterator[Path]:
    """Give the block a path to write to, and rename that file to ``path`` when the block is over.

    Where the block fails or is interrupted, the file that was at ``path`` stays as it was and
    nothing half-written stays behind.  The folder is made if need be.

    Raises:
        kind: the file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    # The process's number keeps two processes from writing the same file aside.
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise kind(f"Cannot write {path} ({error.strerror or error}). {remedy}") from None
    finally:
        # Also on Ctrl-C. On a path that cannot be, there is nothing to remove.
        if aside.parent.is_dir():
            aside.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process has left aside in a folder: files that `writing` names so."""
    for file in folder.glob("*.part"):
        if re.fullmatch(r".+\.\d+\.part", file.name) and file.is_file():
            file.unlink()
