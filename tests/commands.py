"""Commands of the library in processes of their own that start in a moment.

Importing torch takes seconds, so one server imports it once and every command is a fork of it: a
process with its own environment, folder, limits and exit status, as a new interpreter would be.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import textwrap
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
# Dynamo is what torch imports at the first optimiser, and the slowest part of all.
_server.set_forkserver_preload(["gantut.cli", "gantut.evaluate", "gantut.build", "torch._dynamo"])


class Command:
    """A running ``gantut ARGUMENTS``, with what is used here of :class:`subprocess.Popen`."""

    def __init__(self, arguments, environment, folder, output: Path, code="", limit=None):
        self.args = arguments
        self._files = [output / "stdout", output / "stderr"]
        self._process = _server.Process(
            target=_command, args=(arguments, environment, folder, self._files, code, limit)
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; standard output and standard error."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"{self.args} did not end within {timeout} seconds.")
        return tuple(file.read_text() for file in self._files)


def _command(arguments, environment, folder, files, code, limit) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(files, start=1):
        written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, number)
        os.close(written)
    if limit:
        # The largest file that it may write, in bytes: what a full disk looks like from inside.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["gantut", *arguments]
    exec(textwrap.dedent(code), {"__name__": "__main__"})
    from gantut.cli import main

    main()
