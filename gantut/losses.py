"""What do the two players play for?  Small objects with two methods, on logits.

``loss.discriminator(real_logits, fake_logits)`` and ``loss.generator(fake_logits)`` return one
number each, to be minimised.  With D(x) = sigmoid(logit), all of them are the binary cross-entropy
(BCE) of "real" (1) against "fake" (0); Goodfellow et al. 2014, equation 1 and section 3.

Smoothing changes the *discriminator's* targets only.  The generator's target is always 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gantut.errors import InputError


class NonSaturating:
    """BCE for the discriminator, -log D(G(z)) for the generator.

    Args:
        real_label: the discriminator's target for real images, in (0, 1].  0.9 is one-sided label
            smoothing (Salimans et al. 2016, section 3.4).
        smoothing: degree d of two-sided random smoothing: every target is drawn anew, for a real
            image from U(1 - d, 1), for a fake from U(0, d).  0 <= d < .5; not together with
            ``real_label``.
        reduction: ``"sum"``: D's loss is (loss on real) + (loss on fake); ``"mean"``: half of it.
        rng: source of randomness for the random targets; torch's default one if None.

    Raises:
        InputError: a setting outside these limits, or both kinds of smoothing.
    """

    def __init__(
        self,
        real_label: float = 1.0,
        smoothing: float = 0.0,
        reduction: str = "sum",
        rng: torch.Generator | None = None,
    ):
        if not 0 < real_label <= 1:
            raise InputError(f"real_label must lie in (0, 1], not {real_label}.")
        if not 0 <= smoothing < 0.5:
            raise InputError(f"smoothing must lie in [0, 0.5), not {smoothing}.")
        if smoothing and real_label != 1:
            raise InputError("Give real_label (one-sided) or smoothing (two-sided), not both.")
        if reduction not in ("sum", "mean"):
            raise InputError(f"reduction must be 'sum' or 'mean', not {reduction!r}.")
        self.real_label = real_label
        self.smoothing = smoothing
        self.weight = 1.0 if reduction == "sum" else 0.5
        self.rng = rng

    def targets(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's targets for a batch of real and a batch of fake logits."""
        if not self.smoothing:
            return torch.full_like(real_logits, self.real_label), torch.zeros_like(fake_logits)
        noise = [
            torch.empty_like(logits).uniform_(0, self.smoothing, generator=self.rng)
            for logits in (real_logits, fake_logits)
        ]
        return 1 - noise[0], noise[1]

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss, from logits ``[N]`` on real and ``[M]`` on fake images."""
        real_target, fake_target = self.targets(real_logits, fake_logits)
        on_real = F.binary_cross_entropy_with_logits(real_logits, real_target)
        on_fake = F.binary_cross_entropy_with_logits(fake_logits, fake_target)
        return self.weight * (on_real + on_fake)

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """mean of -log D(G(z)) = softplus(-logit), from logits ``[N]`` on fake images."""
        return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


class Minimax(NonSaturating):
    """The game as it is written in theory: the generator minimises log(1 - D(G(z))).

    Its slope vanishes where the discriminator is sure that a fake is fake, which is where a young
    generator starts: the reason why practice uses :class:`NonSaturating`.  Goodfellow et al. 2014,
    equation 1 and the remark at the end of section 3.
    """

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """mean of log(1 - D(G(z))) = -softplus(logit), from logits ``[N]`` on fake images."""
        return -F.softplus(fake_logits).mean()


LOSSES = {"non-saturating": NonSaturating, "minimax": Minimax}
