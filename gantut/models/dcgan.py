"""Generator and discriminator made of convolutions: the DCGAN.

Radford, Metz & Chintala 2016, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", section 3 and figure 1: strided convolutions instead of pooling,
batch normalisation everywhere but in the generator's last and the discriminator's first layer, ReLU
in the generator and leaky ReLU in the discriminator, weights from N(0, 0.02).

Every strided layer doubles or halves the side of its maps, so the number of ``widths`` is set by the
image: two of them lead from 7 x 7 to 28 x 28, three from 4 x 4 to 32 x 32.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from gantut.errors import InputError
from gantut.models.blocks import LatentSpace, output_layer


def initialise(network: nn.Module, std: float = 0.02) -> nn.Module:
    """Draw the weights as section 4 of the paper says, in place: N(0, ``std``); biases are 0.

    The factors of batch normalisation are N(1, ``std``), as in the authors' code.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0.0, std)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network


def small_side(side: int, halvings: int) -> int:
    """Side of the smallest maps: ``side`` halved so many times.

    Raises:
        InputError: it cannot be halved so often.
    """
    if side % 2**halvings or side < 2**halvings:
        raise InputError(
            f"Images of side {side} cannot be halved {halvings} times; give fewer widths, or resize "
            "the images."
        )
    return side // 2**halvings


def _image_side(image_shape: Sequence[int]) -> int:
    _, height, width = image_shape
    if height != width:
        raise InputError(f"A DCGAN makes square images, not {height} x {width}.")
    return height


def _padding(kernel_size: int) -> dict[str, int]:
    """What makes a stride of 2 double or halve a side exactly, whatever the kernel.

    A convolution gives floor((side + 2 p - k) / 2) + 1, a transposed one
    2 (side - 1) - 2 p + k + output_padding.
    """
    if kernel_size < 2:
        raise InputError(f"kernel_size must be at least 2, not {kernel_size}.")
    return {"padding": (kernel_size - 1) // 2, "stride": 2, "kernel_size": kernel_size}


class Generator(LatentSpace):
    """From a latent vector to an image: a projection to small maps, then transposed convolutions.

    Args:
        latent_dim: coordinates of the latent vector z.
        widths: channels of the maps, from the smallest and deepest to the last before the image.
            There are as many doublings as widths.
        image_shape: (channels, height, width) of an image, square.
        kernel_size: of the transposed convolutions, at least 2.  The paper has 5; 4 divides evenly
            by the stride, which leaves no checkerboard in the weights' overlap.
        batchnorm: batch normalisation before every activation but the last.
        slope: of the leaky ReLU; 0 is the paper's plain ReLU.
        output: last activation, ``"tanh"``, ``"sigmoid"`` or ``"identity"``.
        latent: distribution of z, ``"normal"`` or ``"uniform"`` (the paper's).

    Raises:
        InputError: the image is not square or cannot be halved so often, the kernel is smaller than
            2, or another ``output`` or ``latent``.
    """

    def __init__(
        self,
        latent_dim: int = 100,
        widths: Sequence[int] = (128, 64),
        image_shape: Sequence[int] = (1, 28, 28),
        kernel_size: int = 4,
        batchnorm: bool = True,
        slope: float = 0.0,
        output: str = "tanh",
        latent: str = "normal",
    ):
        super().__init__(latent_dim, latent)
        self.image_shape = tuple(image_shape)
        side = small_side(_image_side(self.image_shape), len(widths))

        def activated(channels: int) -> list[nn.Module]:
            norm = [nn.BatchNorm2d(channels)] if batchnorm else []
            return [*norm, nn.LeakyReLU(slope) if slope else nn.ReLU()]

        # A bias before a batch normalisation is subtracted again with the mean.
        doubling = {**_padding(kernel_size), "output_padding": kernel_size % 2}
        layers = [
            nn.Linear(latent_dim, widths[0] * side * side, bias=not batchnorm),
            nn.Unflatten(1, (widths[0], side, side)),
            *activated(widths[0]),
        ]
        for inputs, outputs in zip(widths[:-1], widths[1:]):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, **doubling, bias=not batchnorm),
                *activated(outputs),
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], self.image_shape[0], **doubling),
            output_layer(output),
        ]
        self.net = initialise(nn.Sequential(*layers))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latent vectors ``[N, latent_dim]`` to images ``[N, C, H, W]``; labels are not used."""
        return self.net(z)


class Discriminator(nn.Module):
    """From an image to the logit of "this image is real": strided convolutions, then one sum.

    Args:
        widths: channels of the maps, from the largest maps to the smallest.  There are as many
            halvings as widths.
        image_shape: (channels, height, width) of an image, square.
        kernel_size: of the convolutions, at least 2.
        batchnorm: batch normalisation before every activation but the first.
        slope: of the leaky ReLU.
        dropout: share of whole maps that is zeroed after every activation in training mode.

    Raises:
        InputError: the image is not square or cannot be halved so often, or the kernel is smaller
            than 2.
    """

    num_classes = None

    def __init__(
        self,
        widths: Sequence[int] = (64, 128),
        image_shape: Sequence[int] = (1, 28, 28),
        kernel_size: int = 4,
        batchnorm: bool = True,
        slope: float = 0.2,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.image_shape = tuple(image_shape)
        side = small_side(_image_side(self.image_shape), len(widths))
        layers: list[nn.Module] = []
        channels = [self.image_shape[0], *widths]
        for i, (inputs, outputs) in enumerate(zip(channels[:-1], channels[1:])):
            normalised = batchnorm and i > 0
            layers.append(nn.Conv2d(inputs, outputs, **_padding(kernel_size), bias=not normalised))
            if normalised:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(slope))
            if dropout > 0:
                layers.append(nn.Dropout2d(dropout))
        layers += [nn.Flatten(), nn.Linear(widths[-1] * side * side, 1)]
        self.net = initialise(nn.Sequential(*layers))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images ``[N, C, H, W]`` to logits ``[N]``; labels are not used."""
        return self.net(images).squeeze(1)
