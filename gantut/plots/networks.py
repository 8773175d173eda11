"""Diagrams of networks, drawn from the networks themselves."""

from dataclasses import dataclass

import matplotlib as mpl
import torch
from torch import Tensor, nn

from gantut.errors import InputError
from gantut.plots.figures import D_COLOR, G_COLOR, INK, STYLE, Figure, darker
from gantut.sampling import evaluating

# A layer that is named after one of these belongs to the stage before it.
_FOLLOWERS = {
    "BatchNorm1d": "batch norm",
    "BatchNorm2d": "batch norm",
    "ReLU": "ReLU",
    "LeakyReLU": "leaky ReLU",
    "GELU": "GELU",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Dropout": "dropout",
    "Dropout2d": "dropout of maps",
    "MaxPool2d": "max pooling",
    "Unflatten": "reshape",
    "Flatten": "flatten",
}


@dataclass
class Stage:
    """What one weighted layer and those that follow it make of their input.

    Attributes:
        words: the layers in order, in words.
        shape: of the result for one example, ``(C, H, W)`` or ``(F,)``.
        parameters: of all these layers.
    """

    words: list[str]
    shape: tuple[int, ...]
    parameters: int


def _words(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return "dense"
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        (size, other), stride = layer.kernel_size, layer.stride[0]
        kind = "transposed conv" if isinstance(layer, nn.ConvTranspose2d) else "conv"
        return f"{kind} {size}×{other}" + (f", stride {stride}" if stride > 1 else "")
    if type(layer).__name__ in _FOLLOWERS:
        slope = getattr(layer, "negative_slope", None)
        return _FOLLOWERS[type(layer).__name__] + ("" if slope is None else f" {slope:g}")
    return type(layer).__name__


def stages(network: nn.Module, example: Tensor) -> list[Stage]:
    """What happens to an example on its way through a network, found by sending it through.

    Args:
        network: any; its leaves are listed in the order in which they run.
        example: a batch that it takes.

    Returns:
        The input as a stage of its own, then one for each layer with weights of more than one
        dimension; activations, normalisations and reshapings belong to the stage before them.

    Raises:
        InputError: the network has no layers to draw.
    """
    found = [Stage(["input"], tuple(example.shape[1:]), 0)]

    def note(layer, inputs, output):
        name = type(layer).__name__
        parameters = sum(p.numel() for p in layer.parameters())
        if name in _FOLLOWERS:
            found[-1].words.append(_words(layer))
            found[-1].parameters += parameters
            if name != "Flatten":
                found[-1].shape = tuple(output.shape[1:])
        elif name != "Identity":
            found.append(Stage([_words(layer)], tuple(output.shape[1:]), parameters))

    leaves = [m for m in network.modules() if not list(m.children())]
    handles = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        with evaluating(network), torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    if len(found) == 1:
        raise InputError("The network has no layers to draw.")
    return found


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(f"{n:,}" for n in ((*shape[1:], shape[0]) if len(shape) == 3 else shape)) or "1"


def architecture(
    network: nn.Module, example: Tensor, title: str | None = None, alt: str | None = None
) -> Figure:
    """A network as a row of blocks: as high as the maps, as thick as there are channels of them.

    Vectors are thin and tall.  Above each block stand its layers, below it the size of what it
    gives, height × width × channels, and the number of its parameters.

    Args:
        network: generator or discriminator of the library, or any network whose leaves run in a row.
        example: a batch that it takes; only its shape matters.

    Raises:
        InputError: the network has no layers.
    """
    row = stages(network, example)
    sides = [s.shape[-1] for s in row if len(s.shape) == 3] or [1]
    channels = [s.shape[0] for s in row if len(s.shape) == 3] or [1]
    color = D_COLOR if len(row[-1].shape) == 1 else G_COLOR
    pitch, high, thick, edge = 1.55, 1.7, 0.75, 0.0
    with mpl.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(pitch * len(row), 3.9))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, pitch * len(row)), ylim=(-1.75, 2.15))
        axes.set_axis_off()
        for i, stage in enumerate(row):
            if len(stage.shape) == 3:
                height = max(0.12, high * stage.shape[-1] / max(sides))
                width = max(0.07, thick * (stage.shape[0] / max(channels)) ** 0.5)
            else:
                height, width = (0.14, 0.14) if stage.shape in ((), (1,)) else (0.9 * high, 0.07)
            middle = pitch * (i + 0.5)
            axes.add_patch(
                mpl.patches.Rectangle(
                    (middle - width / 2, -height / 2),
                    width,
                    height,
                    facecolor="#E6E6E6" if i == 0 else color,
                    edgecolor=INK,
                    alpha=0.85,
                )
            )
            if i:
                axes.annotate(
                    "",
                    (middle - width / 2 - 0.04, 0),
                    (edge + 0.04, 0),
                    arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.1},
                )
            edge = middle + width / 2
            axes.text(
                middle,
                0.95,
                "\n".join(stage.words).replace("transposed ", "transposed\n"),
                ha="center",
                va="bottom",
                fontsize=9,
            )
            axes.text(middle, -0.98, _size(stage.shape), ha="center", va="top", fontsize=10)
            if stage.parameters:
                axes.text(
                    middle,
                    -1.25,
                    f"{stage.parameters:,}\nparameters",
                    ha="center",
                    va="top",
                    fontsize=9,
                    color=darker(color),
                )
        if title:
            axes.text(0.1, 2.1, title, ha="left", va="top", fontsize=12)
    figure.colors = 64
    figure.alt = alt or (
        f"{title or type(network).__name__}: "
        + "; ".join(f"{', '.join(s.words)} gives {_size(s.shape)}" for s in row)
        + "."
    )
    return figure
