"""Errors that a user can cause or repair: one clear sentence each, with the remedy.

The command line prints the sentence on standard error, without a traceback, and ends with the
error's ``exit_code``: 2 where the request was at fault, 1 where the world was.
"""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a clause about an unknown name: a question with the nearest ones, or a stop."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(near)}?" if near else "."


class GantutError(Exception):
    """Base of all errors that gantut raises on purpose."""

    exit_code = 1


class InputError(GantutError, ValueError):
    """A value outside what the function or command accepts."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe, or an override of one, that does not make sense."""


class DataError(GantutError):
    """Data that cannot be had, or files that cannot be read or written."""


class CheckpointError(GantutError):
    """A checkpoint or weights file that is missing, damaged, or of another recipe."""


class TrainingError(GantutError):
    """Training that cannot go on, for example because a loss is no longer a number."""
