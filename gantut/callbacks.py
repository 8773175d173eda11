"""What do we write down while a run goes on?

A callback has any of four methods, each given the trainer: ``start`` before the first iteration of
a ``fit``, ``read`` each time the scalars have been read from the device, ``epoch`` after each epoch
and ``end`` when ``fit`` returns or is interrupted.
"""

import csv
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gantut import grids, weights
from gantut.data import to_uint8
from gantut.errors import InputError
from gantut.files import writing
from gantut.labels import every_class

if TYPE_CHECKING:
    from gantut.trainer import Trainer


class Callback:
    """Does nothing; a base to override."""

    def start(self, trainer: "Trainer") -> None: ...

    def read(self, trainer: "Trainer") -> None: ...

    def epoch(self, trainer: "Trainer") -> None: ...

    def end(self, trainer: "Trainer") -> None: ...


class History:
    """The scalars of a run, bounded: at most ``max_rows`` rows, however long the run.

    A row covers an interval of iterations and holds, for each scalar, the mean, the minimum and the
    maximum over them.  Where the rows would become too many, neighbours are joined and the interval
    doubles.  Nothing is thrown away but resolution: no spike hides between two rows.

    Raises:
        InputError: fewer than two rows.
    """

    POSITION = ("iteration", "epoch", "images", "seconds")

    def __init__(self, max_rows: int = 2000):
        if max_rows < 2:
            raise InputError(f"A history needs at least 2 rows, not {max_rows}.")
        self.max_rows = max_rows
        self.interval = 1
        self.keys: list[str] = []
        self._rows: list[list[float]] = []  # position, then mean, min, max of each key
        self._open: list[list[float]] = []  # iterations of a row that is not full yet

    def add(self, positions: np.ndarray, scalars: dict[str, np.ndarray]) -> None:
        """Take in the scalars of some iterations.

        Args:
            positions: float ``[K, 4]``: iteration, epoch, images seen and seconds of each.
            scalars: name to float ``[K]``.
        """
        self.keys = self.keys or list(scalars)
        values = np.stack([scalars[key] for key in self.keys], axis=1)
        for position, value in zip(positions.tolist(), values.tolist()):
            self._open.append([*position, *value])
            if len(self._open) == self.interval:
                self._rows.append(self._joined(self._open))
                self._open = []
                if len(self._rows) == self.max_rows:
                    self._halve()

    def _joined(self, iterations: list[list[float]]) -> list[float]:
        values = np.asarray(iterations)[:, 4:]
        stats = np.stack([values.mean(0), values.min(0), values.max(0)], axis=1)
        return [*iterations[-1][:4], *stats.ravel().tolist()]

    def _halve(self) -> None:
        """Joins neighbouring rows in pairs; an odd last row stays alone."""
        rows = np.asarray(self._rows)
        counts = np.diff(rows[:, 0], prepend=0.0)  # iterations in each row
        even = len(rows) // 2 * 2
        pairs, weights = rows[:even].reshape(even // 2, 2, -1), counts[:even].reshape(-1, 2, 1)
        merged = pairs[:, 1].copy()  # the position is that of the later row
        merged[:, 4::3] = (pairs[:, :, 4::3] * weights).sum(1) / weights.sum(1)
        merged[:, 5::3] = pairs[:, :, 5::3].min(1)
        merged[:, 6::3] = pairs[:, :, 6::3].max(1)
        self._rows = [*merged.tolist(), *rows[even:].tolist()]
        self.interval *= 2

    @property
    def columns(self) -> list[str]:
        """Names of the columns: the position, then ``key, key_min, key_max`` of each scalar."""
        return [*self.POSITION, *(k + end for k in self.keys for end in ("", "_min", "_max"))]

    def rows(self) -> list[list[float]]:
        """The rows so far, the last one over what its interval has seen yet."""
        return [*self._rows, *([self._joined(self._open)] if self._open else [])]

    def as_dict(self) -> dict[str, np.ndarray]:
        """Column name to float64 array ``[rows]``, as :mod:`gantut.plots` takes it."""
        table = np.asarray(self.rows()).reshape(-1, len(self.columns))
        return {name: table[:, i] for i, name in enumerate(self.columns)}

    def __len__(self) -> int:
        return len(self._rows) + bool(self._open)

    def write_csv(self, path: str | Path, max_rows: int | None = None) -> Path:
        """Write the table, coarsened to at most ``max_rows`` rows if asked for."""
        history = self if max_rows is None else self.coarsened(max_rows)
        path = Path(path)
        with writing(path) as aside, aside.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(history.columns)
            for row in history.rows():
                whole = [int(row[0]), f"{row[1]:.6g}", int(row[2]), f"{row[3]:.6g}"]
                writer.writerow([*whole, *(f"{value:.5g}" for value in row[4:])])
        return path

    def coarsened(self, max_rows: int) -> "History":
        """A copy with at most ``max_rows`` rows."""
        copy = History(max_rows)
        copy.load_state_dict(self.state_dict())
        while len(copy) > max_rows:
            copy._halve()
        return copy

    def state_dict(self) -> dict[str, Any]:
        return {
            "interval": self.interval,
            "keys": list(self.keys),
            "rows": [list(r) for r in self._rows],
            "open": [list(r) for r in self._open],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.interval = state["interval"]
        self.keys = list(state["keys"])
        self._rows = [list(r) for r in state["rows"]]
        self._open = [list(r) for r in state["open"]]


def read_csv(path: str | Path) -> dict[str, np.ndarray]:
    """A history that was written as CSV: column name to float64 array."""
    with Path(path).open(newline="") as file:
        columns, *rows = csv.reader(file)
    table = np.asarray(rows, dtype=float).reshape(-1, len(columns))
    return {name: table[:, i] for i, name in enumerate(columns)}


class CSVLog(Callback):
    """``history.csv`` in the run folder, rewritten after each epoch and at the end."""

    def epoch(self, trainer: "Trainer") -> None:
        trainer.history.write_csv(trainer.run_dir / "history.csv")

    end = epoch


def _samples(trainer: "Trainer", n: int) -> Tensor:
    return trainer.sample(n, every_class(getattr(trainer.generator, "num_classes", None), n))


class SampleGrid(Callback):
    """A sheet of samples from the same latent vectors after each epoch, and before the first.

    ``samples/epoch-0012.png`` in the run folder; :func:`gantut.grids.load` reads it back.
    """

    def __init__(self, n: int = 64, columns: int = 8):
        self.n, self.columns = n, columns

    def start(self, trainer: "Trainer") -> None:
        if trainer.iteration == 0:
            self.epoch(trainer)

    def epoch(self, trainer: "Trainer") -> None:
        path = trainer.run_dir / "samples" / f"epoch-{trainer.epoch:04d}.png"
        # Of a conditional generator, a column for each class.
        columns = getattr(trainer.generator, "num_classes", None) or self.columns
        grids.save(_samples(trainer, self.n), path, columns)


class Snapshots(Callback):
    """The generator's weights after some epochs, float16, to be measured later.

    ``snapshots/epoch-0050.safetensors`` in the run folder.

    Args:
        epochs: after which ones.
    """

    def __init__(self, epochs: Iterable[int]):
        self.epochs = set(epochs)

    def epoch(self, trainer: "Trainer") -> None:
        if trainer.epoch in self.epochs:
            file = f"epoch-{trainer.epoch:04d}.safetensors"
            weights.save(trainer.generator, trainer.run_dir / "snapshots" / file, half=True)


class TensorBoard(Callback):
    """Scalars, learning rates, and grids of real and generated images, for TensorBoard.

    Event files go to ``tensorboard/`` in the run folder; ``tensorboard --logdir RUN`` shows them.
    """

    def __init__(self, n: int = 32):
        self.n = n
        self._writer = None

    def start(self, trainer: "Trainer") -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(trainer.run_dir / "tensorboard")
        real = trainer.real_images(self.n)
        self._writer.add_image("images/real", self._sheet(real), trainer.iteration)

    def read(self, trainer: "Trainer") -> None:
        for key, value in trainer.latest.items():
            self._writer.add_scalar(f"scalars/{key}", value, trainer.iteration)
        for name, optimizer in trainer.game.optimizers.items():
            rate = optimizer.param_groups[0]["lr"]
            self._writer.add_scalar(f"learning_rate/{name}", rate, trainer.iteration)

    def epoch(self, trainer: "Trainer") -> None:
        fake = self._sheet(_samples(trainer, self.n))
        self._writer.add_image("images/fake", fake, trainer.iteration)

    def end(self, trainer: "Trainer") -> None:
        self._writer.close()

    @staticmethod
    def _sheet(images: Tensor) -> Tensor:
        return grids.tile(to_uint8(images).cpu(), columns=8)


class Progress(Callback):
    """A progress bar over the iterations of a ``fit``; plain lines where there is no terminal.

    Args:
        file: where plain lines and the bar of a terminal go; standard error if None.
        seconds: the least time between two plain lines.
    """

    def __init__(self, file=None, seconds: float = 5.0):
        self.file = file
        self.seconds = seconds
        self._bar = None
        self._last = -math.inf

    def start(self, trainer: "Trainer") -> None:
        file = self.file or sys.stderr
        self._last = -math.inf
        if not file.isatty() and not _in_notebook():
            self._bar = None
            return
        from tqdm.auto import tqdm

        self._bar = tqdm(total=trainer.target, initial=trainer.iteration, file=file, unit="it")

    def read(self, trainer: "Trainer") -> None:
        text = ", ".join(f"{k} {v:.3f}" for k, v in list(trainer.latest.items())[:2])
        if self._bar is not None:
            self._bar.set_postfix_str(f"epoch {trainer.exact_epoch:.1f}, {text}", refresh=False)
            self._bar.update(trainer.iteration - self._bar.n)
        elif time.monotonic() - self._last >= self.seconds:
            self._line(trainer, text)

    def end(self, trainer: "Trainer") -> None:
        if self._bar is not None:
            self._bar.update(trainer.iteration - self._bar.n)
            self._bar.close()
        else:
            self._line(trainer, ", ".join(f"{k} {v:.3f}" for k, v in trainer.latest.items()))

    def _line(self, trainer: "Trainer", text: str) -> None:
        self._last = time.monotonic()
        place = (
            f"iteration {trainer.iteration} of {trainer.target}, epoch {trainer.exact_epoch:.2f}"
        )
        print(
            f"{place}: {text}" if text else place,
            file=self.file or sys.stderr,
            flush=True,
        )


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and "IPKernelApp" in getattr(shell.get_ipython(), "config", {})
