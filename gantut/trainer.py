"""The loop: batches in, rounds played, scalars read now and then, checkpoints written aside.

It knows no particular network, data set or loss.  A *game* (:class:`gantut.steps.Game`, or
:class:`gantut.classify.Classification`) brings the networks and their optimisers, a *step* plays one
round of it.
"""

import copy
import hashlib
import io
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gantut.callbacks import Callback, History
from gantut.data import Batches, scale
from gantut.errors import CheckpointError, InputError, TrainingError
from gantut.files import writing
from gantut.sampling import sample
from gantut.steps import alternating

# At most so many iterations, and hardly more than so many seconds, lie between two readings of the
# scalars from the device; progress, deadlines and checkpoints go by the readings.
READ_EVERY, READ_SECONDS = 100, 10.0


class Trainer:
    """Trains the networks of a game.

    Args:
        game: networks, optimisers and loss; see :class:`gantut.steps.Game`.
        batches: where real images come from, on the training device.
        step: how a round is played, ``step(game, next_batch)``; see :mod:`gantut.steps`.
        seed: of torch's default generators during training (dropout, for example); a call of
            ``fit`` leaves the state that they have outside as it was.
        ema_half_life: images seen after which an old weight of the generator counts half in the
            average that is sampled from; None: no average.
        schedules: learning-rate schedulers, stepped after every iteration.
        callbacks: see :mod:`gantut.callbacks`.
        run_dir: folder for checkpoints and whatever callbacks write.
        fingerprint: what a checkpoint must agree in to be resumed from; a recipe's text.
        checkpoint_seconds: least time between two checkpoints; only with ``run_dir``.
        threads: CPU threads while training; unchanged if None.
    """

    def __init__(
        self,
        game,
        batches: Batches,
        step: Callable = alternating,
        seed: int = 0,
        ema_half_life: float | None = None,
        schedules: Iterable = (),
        callbacks: Iterable[Callback] = (),
        run_dir: str | Path | None = None,
        fingerprint: str = "",
        checkpoint_seconds: float = 30.0,
        threads: int | None = None,
    ):
        self.game = game
        self.batches = batches
        self.step = step
        self.seed = seed
        self.schedules = list(schedules)
        self.callbacks = list(callbacks)
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.fingerprint = fingerprint
        self.checkpoint_seconds = checkpoint_seconds
        self.threads = threads
        self.history = History()
        self.latest: dict[str, float] = {}
        self.iteration = 0
        self.seconds = 0.0
        self.target = 0
        self.stop_requested = False
        self.iterations_per_epoch = math.ceil(batches.batches_per_epoch / getattr(game, "n_dis", 1))
        self.ema = None
        self.ema_decay = 0.0
        if ema_half_life is not None:
            self.ema = copy.deepcopy(game.generator).eval().requires_grad_(False)
            images = batches.batch_size * getattr(game, "n_dis", 1)  # of an iteration
            self.ema_decay = 0.5 ** (images / ema_half_life)
            pairs = [
                (network.parameters(), network.buffers()) for network in (self.ema, game.generator)
            ]
            # Looked up once: walking through the modules takes longer than the average itself.
            self._averaged, self._trained = [(list(p), list(b)) for p, b in pairs]
        self._unread: list[dict[str, Tensor]] = []
        self._unread_images: list[int] = []
        self._started = self._last_saved = self._last_read = time.monotonic()
        self._training = False
        self._random = _default_random_state()
        with self._random_state():
            torch.manual_seed(seed)

    # ------------------------------------------------------------------ the loop

    def fit(self, epochs: float | None = None, iterations: int | None = None) -> "Trainer":
        """Train until the run has seen so many epochs, or iterations, in all.

        A run that was resumed counts what it had seen before, so that the same call finishes it.

        Raises:
            InputError: both epochs and iterations were given, or neither.
            TrainingError: a loss is no longer a finite number.  The last checkpoint stays.
            CheckpointError: a checkpoint cannot be written.
        """
        if (epochs is None) == (iterations is None):
            raise InputError("Give either epochs or iterations.")
        in_epochs = epochs is not None
        self.target = round(epochs * self.iterations_per_epoch) if in_epochs else iterations
        self._started = time.monotonic() - self.seconds
        self._last_saved = self._last_read = time.monotonic()
        for module in self.game.modules.values():
            module.train()
        with self._random_state(), self._cpu_threads():
            self._call("start")
            try:
                while self.iteration < self.target and not self.stop_requested:
                    self._iterate()
                self._read()
            finally:
                # Not at the start: a request that comes before the first iteration counts too.
                self.stop_requested = False
                self._call("end")
            if self.run_dir is not None:
                self.save()
        return self

    def _iterate(self) -> None:
        seen = self.step(self.game, self.batches.next)
        self.iteration += 1
        for schedule in self.schedules:
            schedule.step()
        if self.ema is not None:
            self._average()
        self._unread.append(seen)
        self._unread_images.append(self.batches.seen)
        epoch_is_over = self.iteration % self.iterations_per_epoch == 0
        overdue = time.monotonic() - self._last_read >= READ_SECONDS
        if epoch_is_over or overdue or len(self._unread) == READ_EVERY:
            self._read()
            self._call("read")
            if epoch_is_over:
                self._call("epoch")
            late = time.monotonic() - self._last_saved >= self.checkpoint_seconds
            if late and self.run_dir is not None:
                self.save()

    @torch.no_grad()
    def _average(self) -> None:
        """Moves the averaged generator towards the trained one.

        Early on the decay is smaller, so that the average forgets the untrained weights; the rule
        is that of TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self.ema_decay, (1 + self.iteration) / (10 + self.iteration))
        (averaged, kept), (trained, current) = self._averaged, self._trained
        torch._foreach_lerp_(averaged, trained, 1 - decay)
        for old, new in zip(kept, current, strict=True):
            old.copy_(new)

    def _read(self) -> None:
        """Fetches the scalars of the iterations since the last reading, in one transfer each."""
        if not self._unread:
            return
        scalars = self.game.scalars(self._unread)
        keys, k = list(scalars), len(self._unread)
        values = torch.stack([scalars[key] for key in keys]).cpu().numpy()
        images, self._unread, self._unread_images = self._unread_images, [], []
        self._last_read = time.monotonic()
        self.seconds = self._last_read - self._started
        iterations = np.arange(self.iteration - k + 1, self.iteration + 1)
        finite = np.isfinite(values).all(0)
        if not finite.all():
            first = iterations[~finite][0]
            raise TrainingError(
                f"A loss is no longer a finite number at iteration {first} (epoch "
                f"{first / self.iterations_per_epoch:.2f}); training stopped, and the last "
                "checkpoint from before was kept. Try a smaller learning rate."
            )
        positions = np.stack(
            [
                iterations,
                iterations / self.iterations_per_epoch,
                images,
                np.full(k, self.seconds),
            ],
            axis=1,
        )
        self.history.add(positions, dict(zip(keys, values)))
        self.latest = {key: float(value[-1]) for key, value in zip(keys, values)}

    def _call(self, moment: str) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self)

    # ------------------------------------------------------------------ what it has

    @property
    def epoch(self) -> int:
        """Epochs that are over."""
        return self.iteration // self.iterations_per_epoch

    @property
    def exact_epoch(self) -> float:
        return self.iteration / self.iterations_per_epoch

    @property
    def images_seen(self) -> int:
        """Real images that the discriminator has been shown."""
        return self.batches.seen

    @property
    def generator(self) -> torch.nn.Module:
        """The generator to sample from: the averaged one where there is one."""
        return self.game.generator if self.ema is None else self.ema

    def sample(self, n: int, labels: Tensor | None = None, seed: int | None = None) -> Tensor:
        """``n`` images ``[n, C, H, W]`` in [-1, 1]; the same latent vectors at every call.

        ``seed`` is that of the latent vectors; the run's own seed if None.
        """
        seed = self.seed if seed is None else seed
        return sample(self.generator, n, labels, seed, self.batches.mean, self.batches.std)

    def real_images(self, n: int) -> Tensor:
        """The first ``n`` real images, ``[n, C, H, W]`` in [-1, 1]."""
        return scale(self.batches.image_set.images[:n])

    # ------------------------------------------------------------------ stop and resume

    def state_dict(self) -> dict:
        """Everything that the rest of the run depends on, as tensors and plain values."""
        self._read()
        state = {
            "fingerprint": self.fingerprint,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "modules": {k: m.state_dict() for k, m in self.game.modules.items()},
            "optimizers": {k: o.state_dict() for k, o in self.game.optimizers.items()},
            "schedules": [s.state_dict() for s in self.schedules],
            "ema": None if self.ema is None else self.ema.state_dict(),
            "batches": self.batches.state_dict(),
            "history": self.history.state_dict(),
            "latest": dict(self.latest),
            "random": _default_random_state() if self._training else self._random,
            "game_random": {k: r.get_state() for k, r in self.game.generators.items()},
        }
        return state

    def load_state_dict(self, state: dict) -> None:
        """Goes on from a state; what follows equals the run that was never stopped.

        From a state of another kind of device (a CPU, a GPU) it goes on with other random numbers.

        Raises:
            CheckpointError: the state is of other networks, or of another recipe.
        """
        if state["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                "it is of another recipe, or of other settings of this one; train into another "
                "folder (--out), or remove the old run first (--fresh)"
            )
        try:
            for name, module in self.game.modules.items():
                module.load_state_dict(state["modules"][name])
            for name, optimizer in self.game.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
                schedule.load_state_dict(saved)
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self.batches.load_state_dict(state["batches"])
            self.history.load_state_dict(state["history"])
            self.latest = dict(state["latest"])
            self.iteration = state["iteration"]
            self.seconds = state["seconds"]
            self._random |= {k: v.cpu() for k, v in state["random"].items()}
            for name, rng in self.game.generators.items():
                _set_random_state(rng, state["game_random"][name].cpu())
        except KeyError as error:
            raise CheckpointError(f"it lacks {error}; remove it to start anew") from None
        except (RuntimeError, TypeError, ValueError):
            raise CheckpointError(
                "it is of other networks or optimisers; train into another folder"
            ) from None

    def save(self, path: str | Path | None = None) -> Path:
        """Write a checkpoint: aside first, then renamed, so that the old one is whole until then.

        Args:
            path: of the file; ``checkpoint.pt`` in the run folder if None.

        Raises:
            CheckpointError: it cannot be written, for example because the disk is full.
        """
        path = self._checkpoint(path)
        state = self.state_dict()
        self._must_be_finite()
        # Into memory first: what can then go wrong on the way to the disk is the disk's own doing.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        remedy = "The one from before is whole: make room and run the same command again."
        with writing(path, CheckpointError, remedy) as aside, aside.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        self._last_saved = time.monotonic()
        return path

    def load(self, path: str | Path | None = None) -> "Trainer":
        """Read a checkpoint back, without running any code that it might hold.

        Raises:
            CheckpointError: there is none, it is damaged, or it is of another recipe.
        """
        path = self._checkpoint(path)
        if not path.is_file():
            raise CheckpointError(f"There is no checkpoint {path}.")
        try:
            # torch reads past a flipped bit; the checksums of the archive do not.
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise zipfile.BadZipFile(broken)
            state = torch.load(path, map_location="cpu", weights_only=True)
            state["fingerprint"]
        except Exception:  # of many kinds for a damaged file
            raise CheckpointError(
                f"The checkpoint {path} is damaged; remove it to start anew."
            ) from None
        try:
            self.load_state_dict(state)
        except CheckpointError as error:
            raise CheckpointError(
                f"The checkpoint {path} cannot be gone on from: {str(error).rstrip('.')}."
            ) from None
        return self

    def _must_be_finite(self) -> None:
        """Raises TrainingError where a weight is not a finite number: no run can go on from there."""
        parameters = [p for m in self.game.modules.values() for p in m.parameters()]
        norms = torch._foreach_norm(parameters, ord=math.inf) if parameters else [torch.zeros(())]
        if not torch.stack(norms).isfinite().all():
            raise TrainingError(
                f"A weight is no longer a finite number at iteration {self.iteration} (epoch "
                f"{self.exact_epoch:.2f}); training stopped, and the last checkpoint from before "
                "was kept. Try a smaller learning rate."
            )

    def _checkpoint(self, path: str | Path | None) -> Path:
        if path is None and self.run_dir is None:
            raise InputError("Give a path: this trainer has no run folder.")
        return Path(path) if path is not None else self.run_dir / "checkpoint.pt"

    # ------------------------------------------------------------------ randomness, threads

    @contextmanager
    def _random_state(self) -> Iterator[None]:
        """The run's own state of torch's default generators inside, the caller's outside."""
        outside = _default_random_state()
        _set_default_random_state(self._random)
        self._training = True
        try:
            yield
        finally:
            self._training = False
            self._random = _default_random_state()
            _set_default_random_state(outside)

    @contextmanager
    def _cpu_threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _set_random_state(rng: torch.Generator, state: Tensor) -> None:
    """Where the state is of another kind of device and does not fit, it becomes a seed."""
    try:
        rng.set_state(state)
    except RuntimeError:
        digest = hashlib.sha256(state.numpy().tobytes()).digest()
        rng.manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def _default_random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_default_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
