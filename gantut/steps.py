"""How do the players take turns?  One function per way of playing a round.

A round reads real images from ``next_batch()``, updates both players once (the discriminator
``n_dis`` times) and returns what it saw, as detached tensors on the training device:

===============  =========================================================================
``d_loss``       the discriminator's loss, a scalar, before its last update of the round
``g_loss``       the generator's loss, a scalar, before its update
``real_logits``  the discriminator's logits ``[N]`` on real images, from its own turn
``fake_logits``  the same on fakes
===============  =========================================================================

Nothing in here reads a value back from the device: that would make a GPU wait in every round.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gantut.errors import InputError
from gantut.sampling import evaluating, evaluating_norms

NextBatch = Callable[[], tuple[Tensor, Tensor | None]]


@dataclass
class Game:
    """The two players, their optimisers and what they play for.

    Args:
        generator: called as ``generator(z, labels)``; has ``sample_z(n, generator, device)``.
        discriminator: called as ``discriminator(images, labels)``; returns logits ``[N]``.
        g_optimizer, d_optimizer: each over the parameters of its own player.
        loss: an object with the two methods of :mod:`gantut.losses`.
        z_rng: source of randomness for z, on the training device.
        reuse_fakes: the generator's turn uses the fakes that the discriminator has just seen,
            instead of fresh ones; saves a forward pass.  Needs ``n_dis`` = 1.
        stack: the discriminator sees real and fake images as one batch, in one pass.  Exact for a
            discriminator without batch statistics, another game for one with BatchNorm.
        n_dis: the discriminator's updates in each alternating round.
        fake_labels: ``"real"``: fakes are made with the labels of the real batch; ``"uniform"``:
            with labels drawn by chance, each class as likely.  Only of conditional players.
        mismatched: share of what the discriminator's loss has against fakes that goes to real
            images under wrong labels: it sees the real batch once more, each image under a label
            that is not its own, and is to call that fake.  0: no such thing; 1/2: Reed et al. 2016,
            "Generative Adversarial Text to Image Synthesis", algorithm 1.  Only of conditional
            players; not with ``stack``.
        g_batch: fakes in the generator's turn; as many as there are real images if None.  Needs
            ``fake_labels="uniform"`` where the players are conditional.
        frozen_norm: in the generator's turn, D's batch normalisation takes its stored statistics.
        settled_fakes: fakes for the discriminator's turn come from the generator in evaluation
            mode.  This and the two before are of alternating rounds: simultaneous ones have no
            turns.
        autocast: makes the context in which networks run forward; for mixed precision.

    Raises:
        InputError: settings that exclude each other, a number out of range, or players of unlike classes.
    """

    generator: nn.Module
    discriminator: nn.Module
    g_optimizer: torch.optim.Optimizer
    d_optimizer: torch.optim.Optimizer
    loss: object
    z_rng: torch.Generator | None = None
    reuse_fakes: bool = False
    stack: bool = False
    n_dis: int = 1
    fake_labels: str = "real"
    mismatched: float = 0.0
    g_batch: int | None = None
    frozen_norm: bool = False
    settled_fakes: bool = False
    autocast: Callable = field(default=nullcontext)

    def __post_init__(self):
        if self.n_dis < 1:
            raise InputError(f"n_dis must be at least 1, not {self.n_dis}.")
        if self.reuse_fakes and self.n_dis > 1:
            raise InputError(
                "Fakes can be reused only if the discriminator has one turn (n_dis=1)."
            )
        self.num_classes = getattr(self.generator, "num_classes", None)
        if self.num_classes != getattr(self.discriminator, "num_classes", None):
            raise InputError(
                "Either both players know about labels, of equally many classes, or none."
            )
        if self.fake_labels not in ("real", "uniform"):
            raise InputError(f"fake_labels must be real or uniform, not {self.fake_labels!r}.")
        if self.fake_labels == "uniform" and not self.num_classes:
            raise InputError(
                "Labels of fakes drawn by chance (fake_labels='uniform') need players that know "
                "about labels."
            )
        if not 0 <= self.mismatched < 1:
            raise InputError(f"mismatched must lie in [0, 1), not {self.mismatched}.")
        if self.mismatched and (not self.num_classes or self.stack):
            raise InputError(
                "Real images under wrong labels (mismatched) need players that know about labels, "
                "and real and fake images in passes of their own (stack=False)."
            )
        if self.mismatched and self.num_classes < 2:
            raise InputError("Where there is one class, no label is wrong (mismatched).")
        if self.g_batch is not None and (
            self.reuse_fakes or (self.num_classes and self.fake_labels == "real")
        ):
            raise InputError(
                "A batch of its own in G's turn (g_batch) has no real images beside it: it needs "
                "fresh fakes, with labels drawn by chance."
            )
        self.g_parameters = [p for p in self.generator.parameters() if p.requires_grad]
        self.d_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    @property
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": self.g_optimizer, "discriminator": self.d_optimizer}

    @property
    def generators(self) -> dict[str, torch.Generator]:
        """Sources of randomness of the game's own, whose state a checkpoint keeps."""
        sources = {"z": self.z_rng, "targets": getattr(self.loss, "rng", None)}
        return {name: rng for name, rng in sources.items() if rng is not None}

    @staticmethod
    def scalars(rounds: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """What is worth a curve, from some rounds: name to ``[K]``.

        ``d_real`` and ``d_fake`` are means of D(x) and D(G(z)), probabilities in [0, 1].
        ``acc_real`` and ``acc_fake`` are the shares of images that D puts on the right side of
        1/2: its accuracy against hard labels, whatever targets it is trained on.
        """
        real = _rows([r["real_logits"] for r in rounds])
        fake = _rows([r["fake_logits"] for r in rounds])
        return {
            "d_loss": torch.stack([r["d_loss"] for r in rounds]),
            "g_loss": torch.stack([r["g_loss"] for r in rounds]),
            "d_real": _mean(real, torch.sigmoid),
            "d_fake": _mean(fake, torch.sigmoid),
            "acc_real": _mean(real, lambda logits: (logits > 0).float()),
            "acc_fake": _mean(fake, lambda logits: (logits < 0).float()),
        }

    def labels_of_fakes(self, labels: Tensor | None, n: int, device) -> Tensor | None:
        """What ``n`` fakes are to show, int64 ``[n]``: the real batch's labels, or others."""
        if self.num_classes is None or self.fake_labels == "real":
            return labels
        return torch.randint(self.num_classes, (n,), generator=self.z_rng, device=device)

    def fakes(self, n: int, labels: Tensor | None, device: torch.device | str | None) -> Tensor:
        """``n`` generated images from a fresh z."""
        z = self.generator.sample_z(n, generator=self.z_rng, device=device)
        with self.autocast():
            return self.generator(z, labels)

    def judge(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, fake_labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The discriminator's logits ``[N]`` on real and on fake images, in float32."""
        with self.autocast():
            if self.stack:
                both = None if labels is None else torch.cat([labels, fake_labels])
                logits = self.discriminator(torch.cat([real, fake]), both).float()
                return logits[: len(real)], logits[len(real) :]
            return (
                self.discriminator(real, labels).float(),
                self.discriminator(fake, fake_labels).float(),
            )

    def discriminator_loss(
        self, real: Tensor, labels: Tensor | None, real_logits: Tensor, fake_logits: Tensor
    ) -> Tensor:
        """The discriminator's loss, a scalar, from its logits on a real and on a fake batch.

        Where the game has ``mismatched``, D sees the real batch once more under wrong labels.
        """
        loss = self.loss.discriminator(real_logits, fake_logits)
        if not self.mismatched:
            return loss
        shift = torch.randint(
            1, self.num_classes, labels.shape, generator=self.z_rng, device=labels.device
        )
        with self.autocast():
            wrong_logits = self.discriminator(real, (labels + shift) % self.num_classes).float()
        against = self.loss.discriminator(real_logits, wrong_logits)
        return torch.lerp(loss, against, self.mismatched)

    def judge_fake(self, fake: Tensor, labels: Tensor | None) -> Tensor:
        """The discriminator's logits ``[N]`` on fakes, for the generator's turn."""
        frozen = evaluating_norms(self.discriminator) if self.frozen_norm else nullcontext()
        with self.autocast(), frozen:
            return self.discriminator(fake, labels).float()

    def update_discriminator(self, d_loss: Tensor) -> None:
        """One step of the discriminator's optimiser down the gradient of ``d_loss``."""
        self.d_optimizer.zero_grad(set_to_none=True)
        d_loss.backward()
        self.d_optimizer.step()

    def backward_generator(self, g_loss: Tensor) -> None:
        """Gradients of ``g_loss`` into the generator's parameters.

        They flow *through* the discriminator, but its own gradients are neither wanted nor
        computed: ``inputs`` ends the work at the generator, which saves a third of this pass.
        """
        self.g_optimizer.zero_grad(set_to_none=True)
        g_loss.backward(inputs=self.g_parameters)


def alternating(game: Game, next_batch: NextBatch) -> dict[str, Tensor]:
    """The discriminator moves ``n_dis`` times, then the generator, against the D just updated.

    Goodfellow et al. 2014, algorithm 1.
    """
    for _ in range(game.n_dis):
        real, labels = next_batch()
        n, device = len(real), real.device
        fake_labels = game.labels_of_fakes(labels, n, device)
        if game.reuse_fakes:
            fake = game.fakes(n, fake_labels, device)
        else:
            # No graph is recorded: D's turn must not send gradients into G, and would waste them.
            settled = evaluating(game.generator) if game.settled_fakes else nullcontext()
            with torch.no_grad(), settled:
                fake = game.fakes(n, fake_labels, device)
        real_logits, fake_logits = game.judge(real, fake.detach(), labels, fake_labels)
        d_loss = game.discriminator_loss(real, labels, real_logits, fake_logits)
        game.update_discriminator(d_loss)

    if not game.reuse_fakes:
        n = game.g_batch or n
        fake_labels = game.labels_of_fakes(labels, n, device)
        fake = game.fakes(n, fake_labels, device)
    g_loss = game.loss.generator(game.judge_fake(fake, fake_labels))
    game.backward_generator(g_loss)
    game.g_optimizer.step()
    return _seen(d_loss, g_loss, real_logits, fake_logits)


def simultaneous(game: Game, next_batch: NextBatch) -> dict[str, Tensor]:
    """Both losses come from one forward pass, against the D before its update; then both move.

    The gradient step of the theory's dynamical system (Mescheder et al. 2018, section 2), and what
    a framework does that records both losses before it applies either.

    Raises:
        InputError: a game with settings that speak of turns.
    """
    if game.n_dis > 1 or game.g_batch or game.frozen_norm or game.settled_fakes:
        raise InputError(
            "n_dis above 1, g_batch, frozen_norm and settled_fakes are of alternating rounds; in "
            "simultaneous ones nobody has a turn."
        )
    real, labels = next_batch()
    fake_labels = game.labels_of_fakes(labels, len(real), real.device)
    fake = game.fakes(len(real), fake_labels, real.device)
    real_logits, fake_logits = game.judge(real, fake, labels, fake_labels)
    d_loss = game.discriminator_loss(real, labels, real_logits, fake_logits)
    g_loss = game.loss.generator(fake_logits)
    # Each loss sends gradients to its own player only, although both share one graph.
    game.d_optimizer.zero_grad(set_to_none=True)
    d_loss.backward(inputs=game.d_parameters, retain_graph=True)
    game.backward_generator(g_loss)
    game.d_optimizer.step()
    game.g_optimizer.step()
    return _seen(d_loss, g_loss, real_logits, fake_logits)


def _seen(d_loss: Tensor, g_loss: Tensor, real_logits: Tensor, fake_logits: Tensor):
    return {
        "d_loss": d_loss.detach(),
        "g_loss": g_loss.detach(),
        "real_logits": real_logits.detach(),
        "fake_logits": fake_logits.detach(),
    }


def _rows(logits: list[Tensor]) -> list[Tensor]:
    """Logits of rounds, as few stacks ``[K, N]`` as their sizes allow: the last batch of an epoch
    may be smaller than the others."""
    stacks: list[list[Tensor]] = []
    for one in logits:
        if stacks and stacks[-1][-1].shape == one.shape:
            stacks[-1].append(one)
        else:
            stacks.append([one])
    return [torch.stack(stack) for stack in stacks]


def _mean(stacks: list[Tensor], function: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([function(stack).mean(1) for stack in stacks])


STEPS = {"alternating": alternating, "simultaneous": simultaneous}
