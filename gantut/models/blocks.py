"""What the families of networks share."""

import torch
from torch import Tensor, nn

from gantut.errors import InputError

OUTPUTS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}
LATENTS = ("normal", "uniform")


def output_layer(name: str) -> nn.Module:
    """The last activation of a generator.

    Args:
        name: ``"tanh"`` for images in [-1, 1], ``"sigmoid"`` for [0, 1], ``"identity"`` for no
            limits.

    Raises:
        InputError: another name.
    """
    if name not in OUTPUTS:
        raise InputError(f"output must be one of {', '.join(OUTPUTS)}, not {name!r}.")
    return OUTPUTS[name]()


class LatentSpace(nn.Module):
    """Base of the generators: knows where its latent vectors z come from.

    Args:
        latent_dim: coordinates of z.
        latent: each of them is N(0, 1) if ``"normal"``, U(-1, 1) if ``"uniform"``.

    Raises:
        InputError: another distribution.
    """

    num_classes: int | None = None

    def __init__(self, latent_dim: int, latent: str = "normal"):
        super().__init__()
        if latent not in LATENTS:
            raise InputError(f"latent must be one of {', '.join(LATENTS)}, not {latent!r}.")
        self.latent_dim = latent_dim
        self.latent = latent

    def sample_z(
        self,
        n: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw ``n`` latent vectors, float32 ``[n, latent_dim]``.

        Args:
            n: how many.
            generator: source of randomness (on ``device``); torch's default one if None.
            device: where the result lies; the CPU if None.
        """
        z = torch.empty(n, self.latent_dim, device=device)
        if self.latent == "normal":
            return z.normal_(generator=generator)
        return z.uniform_(-1, 1, generator=generator)
