"""Generator and discriminator made of dense layers only: the vanilla GAN.

Goodfellow et al. 2014, "Generative Adversarial Nets", section 5, used networks of this kind on
MNIST.  Two published projects that seeded the course are settings of these two classes:

===============================  =======================================  =========================
recipe                           generator                                discriminator
===============================  =======================================  =========================
``mlp-mnist-published``          100-32-64-128-784, LReLU .2, dropout .3  784-128-64-32-1, the same
``mlp-minimal-mnist-published``  64-256-784, LReLU .1                     784-128-1, LReLU .1
===============================  =======================================  =========================
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from gantut.models.blocks import LatentSpace, output_layer


def hidden_layers(
    widths: Sequence[int], slope: float, dropout: float, batchnorm: bool = False
) -> list[nn.Module]:
    """Dense layers from ``widths[0]`` to ``widths[-1]``, each followed by a leaky ReLU.

    Args:
        widths: features of the input and of each layer.
        slope: slope of the leaky ReLU for negative inputs; 0 is a plain ReLU.
        dropout: share of the features that is zeroed in training mode, in [0, 1).
        batchnorm: put a batch normalisation between each dense layer and its activation.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths[:-1], widths[1:]):
        layers.append(nn.Linear(inputs, outputs))
        if batchnorm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(nn.LeakyReLU(slope))
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return layers


class Generator(LatentSpace):
    """From a latent vector to an image, through dense layers.

    Args:
        latent_dim: coordinates of the latent vector z.
        hidden: widths of the hidden layers, from z to the image.
        image_shape: (channels, height, width) of an image.
        slope: of the leaky ReLU after every hidden layer.
        dropout: after every hidden layer, in [0, 1); active in training mode only.
        batchnorm: batch normalisation before every hidden activation.
        output: last activation: ``"tanh"`` for images in [-1, 1], ``"sigmoid"`` for [0, 1],
            ``"identity"`` for no limits.
        latent: distribution of z, ``"normal"`` or ``"uniform"``.

    Raises:
        InputError: another ``output`` or ``latent``.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        hidden: Sequence[int] = (32, 64, 128),
        image_shape: Sequence[int] = (1, 28, 28),
        slope: float = 0.2,
        dropout: float = 0.0,
        batchnorm: bool = False,
        output: str = "tanh",
        latent: str = "normal",
    ):
        super().__init__(latent_dim, latent)
        self.image_shape = tuple(image_shape)
        self.net = nn.Sequential(
            *hidden_layers([latent_dim, *hidden], slope, dropout, batchnorm),
            nn.Linear([latent_dim, *hidden][-1], math.prod(self.image_shape)),
            output_layer(output),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latent vectors ``[N, latent_dim]`` to images ``[N, C, H, W]``; labels are not used."""
        return self.net(z).unflatten(1, self.image_shape)


class Discriminator(nn.Module):
    """From an image to one number, the logit of "this image is real", through dense layers.

    The last layer has no sigmoid: the losses work on logits, which is exact where a sigmoid has
    long rounded to 0 or 1.

    Args:
        hidden: widths of the hidden layers, from the image to the logit.
        image_shape: (channels, height, width) of an image.
        slope, dropout: as in :class:`Generator`.
    """

    num_classes = None

    def __init__(
        self,
        hidden: Sequence[int] = (128, 64, 32),
        image_shape: Sequence[int] = (1, 28, 28),
        slope: float = 0.2,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.image_shape = tuple(image_shape)
        widths = [math.prod(self.image_shape), *hidden]
        self.net = nn.Sequential(*hidden_layers(widths, slope, dropout), nn.Linear(widths[-1], 1))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images ``[N, C, H, W]`` to logits ``[N]``; labels are not used."""
        return self.net(images.flatten(1)).squeeze(1)
