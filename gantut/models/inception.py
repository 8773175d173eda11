"""The Inception network of 2015-12-05, whose features every published FID is computed in.

Szegedy et al. 2016 ("Rethinking the Inception Architecture"), in the form in which TensorFlow
shipped it.  It differs from torchvision's ``inception_v3`` in its weights and in three details: its
average pooling leaves the padding out of the mean, its last block pools by the maximum, and its
batch normalisation has no scale.  :func:`gantut.sources.inception_weights` fetches the weights;
their names are those of TensorFlow's graph.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Inception(nn.Module):
    """Images ``[N, 3, 299, 299]`` in [-1, 1] to features ``[N, 2048]``, none of them negative.

    The features are the means over the 8 x 8 places of the last block, TensorFlow's ``pool_3``.
    Weights are made empty; load some.
    """

    feature_dim = 2048
    image_size = 299

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            OrderedDict(
                conv=Convolution(3, 32, 3, stride=2),  # 149 x 149
                conv_1=Convolution(32, 32, 3),  # 147 x 147
                conv_2=Convolution(32, 64, 3, padding=1),
                pool=nn.MaxPool2d(3, stride=2),  # 73 x 73
                conv_3=Convolution(64, 80, 1),
                conv_4=Convolution(80, 192, 3),  # 71 x 71
                pool_1=nn.MaxPool2d(3, stride=2),  # 35 x 35
                mixed=_block_a(192, pooled=32),
                mixed_1=_block_a(256, pooled=64),
                mixed_2=_block_a(288, pooled=64),
                mixed_3=_block_b(288),  # 17 x 17
                mixed_4=_block_c(768, 128),
                mixed_5=_block_c(768, 160),
                mixed_6=_block_c(768, 160),
                mixed_7=_block_c(768, 192),
                mixed_8=_block_d(768),  # 8 x 8
                mixed_9=LastBlock(1280, _mean_pool()),
                mixed_10=LastBlock(2048, nn.MaxPool2d(3, stride=1, padding=1)),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean((2, 3))


class Convolution(nn.Module):
    """Convolution, batch normalisation with stored statistics and no scale, ReLU.

    The normalisation is folded into the convolution: one pass over the maps instead of two.
    """

    def __init__(self, inputs: int, outputs: int, kernel, stride: int = 1, padding=0):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.empty(outputs, inputs, height, width), False)
        for name in ("beta", "mean", "var"):
            self.register_parameter(name, nn.Parameter(torch.empty(outputs), False))

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.var + 1e-3).rsqrt()
        weight = self.weight * scale[:, None, None, None]
        bias = self.beta - self.mean * scale
        return F.conv2d(x, weight, bias, self.stride, self.padding).relu_()


class Branches(nn.Module):
    """Each branch sees the same maps; the channels of their answers are put one after another."""

    def __init__(self, **branches: nn.Module):
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


class LastBlock(nn.Module):
    """The two blocks at 8 x 8, in which a branch forks once more."""

    def __init__(self, inputs: int, pool: nn.Module):
        super().__init__()
        self.conv = Convolution(inputs, 320, 1)
        self.tower_conv = Convolution(inputs, 384, 1)
        self.tower_mixed_conv = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.tower_mixed_conv_1 = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.tower_1_conv = Convolution(inputs, 448, 1)
        self.tower_1_conv_1 = Convolution(448, 384, 3, padding=1)
        self.tower_1_mixed_conv = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.tower_1_mixed_conv_1 = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.tower_2_pool = pool
        self.tower_2_conv = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.tower_conv(x)
        b = self.tower_1_conv_1(self.tower_1_conv(x))
        return torch.cat(
            [
                self.conv(x),
                self.tower_mixed_conv(a),
                self.tower_mixed_conv_1(a),
                self.tower_1_mixed_conv(b),
                self.tower_1_mixed_conv_1(b),
                self.tower_2_conv(self.tower_2_pool(x)),
            ],
            1,
        )


def _mean_pool() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _chain(*layers: Convolution, pool: nn.Module | None = None) -> nn.Sequential:
    """Layers one after another, named as in TensorFlow's graph: conv, conv_1, conv_2, ..."""
    named = OrderedDict() if pool is None else OrderedDict(pool=pool)
    for i, layer in enumerate(layers):
        named[f"conv_{i}" if i else "conv"] = layer
    return nn.Sequential(named)


def _block_a(inputs: int, pooled: int) -> Branches:
    return Branches(
        conv=Convolution(inputs, 64, 1),
        tower=_chain(Convolution(inputs, 48, 1), Convolution(48, 64, 5, padding=2)),
        tower_1=_chain(
            Convolution(inputs, 64, 1),
            Convolution(64, 96, 3, padding=1),
            Convolution(96, 96, 3, padding=1),
        ),
        tower_2=_chain(Convolution(inputs, pooled, 1), pool=_mean_pool()),
    )


def _block_b(inputs: int) -> Branches:
    return Branches(
        conv=Convolution(inputs, 384, 3, stride=2),
        tower=_chain(
            Convolution(inputs, 64, 1),
            Convolution(64, 96, 3, padding=1),
            Convolution(96, 96, 3, stride=2),
        ),
        pool=nn.MaxPool2d(3, stride=2),
    )


def _wide(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (1, 7), padding=(0, 3))


def _tall(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (7, 1), padding=(3, 0))


def _block_c(inputs: int, inner: int) -> Branches:
    return Branches(
        conv=Convolution(inputs, 192, 1),
        tower=_chain(Convolution(inputs, inner, 1), _wide(inner, inner), _tall(inner, 192)),
        tower_1=_chain(
            Convolution(inputs, inner, 1),
            _tall(inner, inner),
            _wide(inner, inner),
            _tall(inner, inner),
            _wide(inner, 192),
        ),
        tower_2=_chain(Convolution(inputs, 192, 1), pool=_mean_pool()),
    )


def _block_d(inputs: int) -> Branches:
    return Branches(
        tower=_chain(Convolution(inputs, 192, 1), Convolution(192, 320, 3, stride=2)),
        tower_1=_chain(
            Convolution(inputs, 192, 1),
            _wide(192, 192),
            _tall(192, 192),
            Convolution(192, 192, 3, stride=2),
        ),
        pool=nn.MaxPool2d(3, stride=2),
    )
