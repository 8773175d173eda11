"""What came out of a recipe: a folder with weights, history, samples and measurements.

A run in the making lies under ``GANTUT_HOME/runs/NAME/seed-S``; a finished one that the course
exhibits lies in :mod:`gantut.zoo`.  :class:`Run` reads both.

==============================  ===================================================================
file                            what it holds
==============================  ===================================================================
``config.yaml``                 the whole recipe
``run.json``                    what it cost: device, seconds, images seen of the budget, versions
``history.csv``                 the scalars; see :class:`gantut.callbacks.History`
``generator.safetensors``       the weights to sample from, float16 (``classifier.safetensors``)
``snapshots/``                  the weights at some epochs before; of these the zoo keeps the best
``samples/``, ``progress.png``  sheets from the same latent vectors over time
``metrics.json``                a list of measurements; see :mod:`gantut.evaluate`
``checkpoint.pt``               all that is needed to go on (not in the zoo)
``tensorboard/``                the same scalars and sheets, where the recipe asks (not in the zoo)
``measured*.json``              what ``gantut reproduce`` has measured so far (not in the zoo)
``samples.png``                 the first samples (in the zoo only)
``seed-N/``                     cost, history and samples of another seed (in the zoo only)
``seeds.csv``                   the measurements of each seed (in the zoo only)
``card.md``                     a page about the run (in the zoo only)
==============================  ===================================================================
"""

import contextlib
import json
import math
import platform
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import filelock
import numpy as np
import torch
from torch import Tensor, nn

import gantut
from gantut import build, callbacks, data, grids, recipes, sources, weights
from gantut.errors import CheckpointError, DataError, InputError, RecipeError
from gantut.files import remove_leftovers, writing
from gantut.home import runs_dir
from gantut.labels import check_labels, every_class
from gantut.recipes import ClassifierRecipe, GANRecipe, RealRecipe
from gantut.recipes.schema import BaseRecipe
from gantut.sampling import sample


class Run:
    """A run that was trained, read from its folder; each part when it is first asked for.

    Args:
        folder: of the run.
        epoch: an earlier one whose weights were kept, to sample from; None: as it ended.

    Raises:
        CheckpointError: the folder holds no run, or no weights of that epoch.
    """

    def __init__(self, folder: str | Path, epoch: int | None = None):
        self.folder = Path(folder)
        self._at = epoch
        if not (self.folder / "config.yaml").is_file():
            raise CheckpointError(f"There is no run in {self.folder}.")
        # The best one's weights may be unpublished; whoever samples from it is told.
        if epoch is not None and epoch != self.info.get("best_epoch"):
            _ = self.weights

    def __repr__(self) -> str:
        return f"Run({self.config.name!r}, seed {self.config.seed})"

    @cached_property
    def config(self) -> BaseRecipe:
        """The recipe it was trained by."""
        return recipes.load(self.folder / "config.yaml")

    @cached_property
    def info(self) -> dict:
        """What it cost: device, seconds, images seen and of how many, versions."""
        return self._json("run.json")

    @property
    def epoch(self) -> float:
        """The epoch that its samples are of."""
        return self.info["epochs"] if self._at is None else self._at

    @property
    def weights(self) -> Path:
        """The file of the generator's weights."""
        at = self._at
        earlier = f"snapshots/epoch-{at or 0:04d}.safetensors"
        return self._file("generator.safetensors" if at is None else earlier)

    @property
    def stages(self) -> list["Run"]:
        """The run as it was after each epoch whose weights were kept, then as it ended."""
        files = sorted((self.folder / "snapshots").glob("epoch-*.safetensors"))
        epochs = [int(f.stem.removeprefix("epoch-")) for f in files]
        earlier = [Run(self.folder, epoch) for epoch in epochs if epoch < self.info["epochs"]]
        return [*earlier, Run(self.folder)]

    @property
    def best_epoch(self) -> float:
        """The epoch at which it measured best; its last one, where nothing else is marked."""
        return self.info.get("best_epoch", self.info["epochs"])

    @property
    def best(self) -> "Run":
        """The run as it was when it measured best."""
        epoch = self.best_epoch
        return Run(self.folder, None if epoch == self.info["epochs"] else epoch)

    @cached_property
    def metrics(self) -> list[dict]:
        """Measurements: each with its value, sample count, network and reference set."""
        return self._json("metrics.json")

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """The scalars over the run: column name to array; see :class:`gantut.callbacks.History`."""
        file = self._file("history.csv")
        with _readable(file):
            return callbacks.read_csv(file)

    @cached_property
    def seeds(self) -> list[dict]:
        """One row of measurements for each seed of this recipe; nan where one was not measured.

        Raises:
            CheckpointError: there are none; only finished runs have them.
        """
        file = self._file("seeds.csv")
        number = lambda text: float(text or "nan")  # noqa: E731
        with _readable(file):
            table = file.read_text().splitlines()
            columns = table[0].split(",") if table else []
            return [dict(zip(columns, map(number, row.split(",")))) for row in table[1:]]

    @cached_property
    def card(self) -> str:
        """A page about the run, Markdown.

        Raises:
            CheckpointError: there is none; only finished runs have one.
        """
        return self._file("card.md").read_text(encoding="utf-8")

    @cached_property
    def generator(self) -> nn.Module:
        """The generator, in evaluation mode, on the CPU.

        Raises:
            InputError: the run is of a classifier, or of real images.
            CheckpointError: it has no weights.
        """
        if not isinstance(self.config, GANRecipe):
            kind = {"classifier": "a classifier", "real": "a set of real images"}[self.config.kind]
            raise InputError(f"{self.config.name} is {kind} and generates nothing.")
        shape, classes = tuple(self.info["image_shape"]), self.info.get("num_classes", 10)
        network = build.generator(self.config, shape, classes)
        return weights.load(network, self.weights).eval()

    def every_class(self, n: int) -> Tensor | None:
        """``n`` labels for :meth:`sample`: each class in turn; None where there are no classes."""
        is_gan = isinstance(self.config, GANRecipe)
        return every_class(getattr(self.generator, "num_classes", None) if is_gan else None, n)

    def label(self, text: str) -> int:
        """The label that a text names: a whole number, or a class of the run's data set ("ship").

        Raises:
            InputError: it is neither.
        """
        known = sources.SETS.get(self.config.data.source)
        names = known.classes if known else self.info.get("classes", ())
        if text in names:
            return list(names).index(text)
        try:
            return int(str(text))  # of a number that is not whole, not its beginning
        except ValueError:
            some = f", like {names[0]}" if names and not names[0].isdigit() else ""
            raise InputError(
                f"A label is a whole number or the name of a class{some}, not {text!r}."
            ) from None

    def sample(self, n: int, labels: Tensor | None = None, seed: int | None = None) -> Tensor:
        """``n`` images ``[n, C, H, W]`` in [-1, 1]: the first ``n`` of a seed.

        By default from the latent vectors that the run's sheets over time show
        (:meth:`gantut.trainer.Trainer.sample`).  Of real images, the first ``n``.

        Args:
            n: how many, at least 1.
            labels: for a conditional generator, int64 ``[n]`` from 0 to K - 1.
            seed: of the latent vectors, from 0 to 2^32 - 1.

        Raises:
            InputError: the run generates nothing, no images are asked for, or labels or a seed that
                do not fit.
            CheckpointError: there are no weights, or damaged ones.
        """
        d = self.config.data
        if isinstance(self.config, RealRecipe):
            check_labels(labels, n, None)
            if seed is not None:
                raise InputError(f"{self.config.name} is the first of some images; it has no seed.")
            return data.scale(build.image_set(self.config).subset(n).images)
        seed = build.seeds_of(self.config.seed)["torch"] if seed is None else seed
        return sample(self.generator, n, labels, seed, d.mean, d.std)

    @cached_property
    def samples(self) -> Tensor:
        """The images on a finished run's sheet, uint8 ``[n, C, H, W]``: the first of its seed.

        Raises:
            CheckpointError: there is no sheet, which only finished runs have, or a damaged one.
        """
        return self._sheet(tuple(self.info["image_shape"]), self.config.reproduce.sheet)

    @property
    def progress(self) -> tuple[list[int], Tensor]:
        """Samples over time: the epochs, and uint8 images ``[stages, n, C, H, W]``.

        Each column of images comes from one latent vector.

        Raises:
            CheckpointError: there are none.
        """
        shape = tuple(self.info["image_shape"])
        if (self.folder / "progress.png").is_file():
            epochs = self.info["progress_epochs"]
            images = grids.load(self.folder / "progress.png", shape)
            return epochs, images.view(len(epochs), -1, *shape)
        sheets = sorted((self.folder / "samples").glob("epoch-*.png"))
        if not sheets:
            remedy = ""
            if not self.config.reproduce.progress:
                remedy = self._unpublished
            raise CheckpointError(f"The run in {self.folder} has no samples over time{remedy}.")
        epochs = [int(s.stem.removeprefix("epoch-")) for s in sheets]
        # The last row of a sheet may be padded; a run may go on with sheets of another size.
        images = [grids.load(s, shape)[: self.config.log.samples] for s in sheets]
        count = min(map(len, images))
        return epochs, torch.stack([each[:count] for each in images])

    def at_seed(self, seed: int) -> "Run":
        """What the zoo keeps of another seed of the same recipe: no weights, but the rest.

        Raises:
            CheckpointError: it keeps none of that seed.
        """
        return self if seed == self.config.seed else _SeedOf(self, seed)

    def _sheet(self, shape: tuple[int, int, int], count: int) -> Tensor:
        file = self._file("samples.png")
        with _readable(file):
            return grids.load(file, shape, count)

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            remedy = ""
            if name == "metrics.json":
                remedy = f"; 'gantut evaluate {self.folder}' measures it"
            elif name.endswith(".safetensors") and not self.config.reproduce.publish_weights:
                remedy = self._unpublished
            elif name == "run.json":
                remedy = ": its training has not come to an end, and the same command goes on"
            raise CheckpointError(f"The run in {self.folder} has no {name}{remedy}.")
        return path

    @property
    def _unpublished(self) -> str:
        name = self.config.name
        return (
            f": none are published; 'gantut train {name}' trains it, and {name} then means your run"
        )

    def _json(self, name: str):
        file = self._file(name)
        with _readable(file):
            return json.loads(file.read_text(encoding="utf-8"))


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, DataError):
        raise CheckpointError(
            f"{file} is damaged; the command that wrote it writes it again."
        ) from None


class _SeedOf(Run):
    """Another seed of a finished run, from the folder within the run's own."""

    def __init__(self, run: Run, seed: int):
        self.folder = run.folder / f"seed-{seed}"
        self._at = None
        self._run = run
        self._seed = seed
        if not self.folder.is_dir():
            raise CheckpointError(f"The run in {run.folder} has no seed {seed}.")

    @cached_property
    def config(self) -> BaseRecipe:
        return self._run.config.model_copy(update={"seed": self._seed})

    @cached_property
    def info(self) -> dict:
        whole = self._run.info
        of_seed = [row["seconds"] for row in self._run.seeds if row["seed"] == self._seed]
        if (self.folder / "run.json").is_file() or "best_epoch" in whole or not of_seed:
            return self._json("run.json")
        # Published at once with the others, before seeds had files of their own.
        if not whole["complete"]:
            raise CheckpointError(f"What seed {self._seed} of {self._run} cost was not kept.")
        return whole | {"seed": self._seed, "seconds": of_seed[0]}

    @cached_property
    def metrics(self) -> list[dict]:
        return [row for row in self._run.metrics if row["seed"] == self._seed]

    @cached_property
    def samples(self) -> Tensor:
        shape = tuple(self._run.info["image_shape"])
        return self._sheet(shape, self.config.reproduce.other_sheets)


def folder_of(recipe: BaseRecipe) -> Path:
    """Where a recipe's run lies while it is made."""
    return runs_dir() / recipe.name / f"seed-{recipe.seed}"


def train(
    recipe: BaseRecipe,
    folder: str | Path | None = None,
    device: str = "auto",
    progress: bool = False,
    max_minutes: float | None = None,
    on_start=lambda trainer: None,
    fresh: bool = False,
) -> Run:
    """Train a recipe in a run folder, or go on where a checkpoint in it leaves off.

    Args:
        recipe: from :func:`gantut.recipes.load`.
        folder: of the run; ``GANTUT_HOME/runs/NAME/seed-S`` if None.
        device: ``"auto"`` or a torch device.
        progress: show a progress bar.
        max_minutes: stop after so long, with a checkpoint to go on from; 0: do not train; None:
            finish.
        on_start: called with the trainer before it starts, for example to keep hold of it; not
            where there is nothing left to train.
        fresh: remove the run that is in the folder, and start anew.

    Raises:
        CheckpointError: the folder holds a run of another recipe or one that has gone beyond this
            budget, a damaged checkpoint, or, where there is no time to train, none.
        TrainingError: the losses are no longer numbers.
        DataError: the data cannot be had, the folder not be written, or another process trains in it.
    """
    folder = folder_of(recipe) if folder is None else Path(folder)
    with _alone_in(folder):
        _check_free(folder)
        if fresh:
            _remove_run(folder)
        if isinstance(recipe, RealRecipe):
            return _real(recipe, folder)
        return _train(recipe, folder, device, progress, max_minutes, on_start)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second process from training in the same folder; tidies up after a killed one."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        for place in (folder, folder / "samples", folder / "snapshots"):
            remove_leftovers(place)
    except filelock.Timeout:
        raise DataError(
            f"Another process is training in {folder}; wait for it, or train into another folder "
            "(--out)."
        ) from None
    except OSError as error:
        raise DataError(
            f"Cannot write into {folder} ({error.strerror or error}); choose another folder (--out), "
            "or set GANTUT_HOME to one that you may write to."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _check_free(folder: Path) -> None:
    """Somebody else's ``config.yaml`` is not overwritten."""
    config = folder / "config.yaml"
    if not config.is_file() or any((folder / n).is_file() for n in ("checkpoint.pt", "run.json")):
        return
    try:
        recipes.load(config)
    except RecipeError:
        raise DataError(
            f"{config} is no recipe's; train into another folder than {folder} (--out)."
        ) from None


def _remove_run(folder: Path) -> None:
    """Remove what a run writes, and nothing else that may be in the folder."""
    files = ("config.yaml", "run.json", "history.csv", "metrics.json", "checkpoint.pt")
    files += ("measured.json", "measured-inception.json")
    files += ("generator.safetensors", "classifier.safetensors")
    sheets = ("samples/epoch-*.png", "snapshots/epoch-*.safetensors", "tensorboard/events.*")
    for file in [folder / name for name in files] + [f for s in sheets for f in folder.glob(s)]:
        file.unlink(missing_ok=True)


def _train(recipe, folder, device, progress, max_minutes, on_start) -> Run:
    trainer = build.trainer(recipe, folder, device, progress=progress)
    budget = recipe.train.epochs * trainer.iterations_per_epoch
    if (folder / "checkpoint.pt").is_file():
        trainer.load()
        if trainer.iteration > budget:
            raise CheckpointError(
                f"The run in {folder} has had {trainer.exact_epoch:.4g} epochs, and train.epochs is "
                f"{recipe.train.epochs}; train into another folder (--out), or remove the old run "
                "first (--fresh)."
            )
    elif max_minutes == 0:
        raise CheckpointError(f"There is no run in {folder} yet, and no time to train one.")
    with writing(folder / "config.yaml") as aside:
        aside.write_text(recipes.to_yaml(recipe), encoding="utf-8")
    begun = trainer.iteration
    deadline = Deadline(math.inf if max_minutes is None else 60 * max_minutes)
    trainer.callbacks.append(deadline)
    if trainer.iteration < budget:
        on_start(trainer)
        trainer.fit(epochs=recipe.train.epochs)
    kind = "classifier" if isinstance(recipe, ClassifierRecipe) else "generator"
    network = trainer.game.classifier if kind == "classifier" else trainer.generator
    weights.save(network, folder / f"{kind}.safetensors", half=True)
    info = _info(recipe, trainer)
    if trainer.iteration == begun and (folder / "run.json").is_file():
        # Nothing was trained: it remains a run of the machine that trained it.
        before = Run(folder).info
        kept = ("device", "threads", "versions", "best_epoch")
        info |= {key: before[key] for key in kept if key in before}
    if not info["complete"]:
        info["stopped_by"] = "deadline" if deadline.passed else "request"
    write_json(folder / "run.json", info)
    return Run(folder)


def _real(recipe: RealRecipe, folder: Path) -> Run:
    """The folder of a run that has nothing to train."""
    images = build.image_set(recipe)
    with writing(folder / "config.yaml") as aside:
        aside.write_text(recipes.to_yaml(recipe), encoding="utf-8")
    info = {"name": recipe.name, "seed": recipe.seed, "complete": True, "epochs": 0, "seconds": 0.0}
    info |= {"image_shape": list(images.image_shape), "versions": _versions()}
    write_json(folder / "run.json", info)
    return Run(folder)


class Deadline(callbacks.Callback):
    """Asks the trainer to stop once so many seconds are over."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.passed = False

    def start(self, trainer) -> None:
        self._end = time.monotonic() + self.seconds
        if self.seconds <= 0:  # not even until the first reading
            self.read(trainer)

    def read(self, trainer) -> None:
        if time.monotonic() >= self._end:
            self.passed = trainer.stop_requested = True


def _info(recipe: BaseRecipe, trainer) -> dict:
    budget = recipe.train.epochs * trainer.iterations_per_epoch
    images = trainer.batches.image_set
    device = images.device
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    classes = getattr(trainer.game, "num_classes", None)
    return {
        "name": recipe.name,
        "seed": recipe.seed,
        "iterations": trainer.iteration,
        "iterations_of_budget": budget,
        "complete": trainer.iteration >= budget,
        "epochs": trainer.exact_epoch,
        "images_seen": trainer.images_seen,
        "images_of_budget": trainer.batches.images_in(budget * getattr(trainer.game, "n_dis", 1)),
        "seconds": round(trainer.seconds, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": recipe.train.threads or torch.get_num_threads(),
        "parameters": {name: count(m) for name, m in trainer.game.modules.items()},
        "image_shape": list(images.image_shape),
        **({} if classes is None else {"num_classes": classes}),
        **({"classes": list(images.classes)} if classes and recipe.data.path else {}),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {
        "gantut": gantut.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write_json(path: Path, value) -> None:
    """Write JSON aside and rename it."""
    with writing(path) as aside:
        aside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
