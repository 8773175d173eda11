"""The convolutional networks: sizes, counts, initial weights, order of layers, output by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from gantut import build, recipes
from gantut.errors import InputError, RecipeError
from gantut.models import dcgan
from gantut.sampling import sample


def layers(network: nn.Module) -> list:
    """The layers in order, each with what a wrong network would have differently."""
    found = []
    for layer in network.net:
        name = type(layer).__name__
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            sizes = (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
            found.append((name, *sizes, "bias" if layer.bias is not None else "no bias"))
        elif isinstance(layer, nn.Linear):
            found.append((name, layer.in_features, layer.out_features))
        elif isinstance(layer, nn.LeakyReLU):
            found.append((name, layer.negative_slope))
        elif isinstance(layer, nn.BatchNorm2d):
            found.append((name, layer.num_features))
        else:
            found.append(name)
    return found


def test_the_recipe_s_networks_for_digits():
    recipe = recipes.load("dcgan-mnist")
    g, d = build.generator(recipe, (1, 28, 28)), build.discriminator(recipe, (1, 28, 28))
    assert layers(g) == [
        ("Linear", 100, 128 * 7 * 7),
        "Unflatten",
        ("BatchNorm2d", 128),
        "ReLU",
        ("ConvTranspose2d", 128, 64, 4, 2, "no bias"),
        ("BatchNorm2d", 64),
        "ReLU",
        ("ConvTranspose2d", 64, 1, 4, 2, "bias"),
        "Tanh",
    ]
    assert layers(d) == [
        ("Conv2d", 1, 64, 4, 2, "bias"),
        ("LeakyReLU", 0.2),
        ("Conv2d", 64, 128, 4, 2, "no bias"),
        ("BatchNorm2d", 128),
        ("LeakyReLU", 0.2),
        "Flatten",
        ("Linear", 128 * 7 * 7, 1),
    ]
    # Counted on paper: weights, biases, and two factors a channel for batch normalisation.
    on_paper = 100 * 6272 + 2 * 128 + 128 * 64 * 16 + 2 * 64 + 64 * 16 + 1
    assert sum(p.numel() for p in g.parameters()) == on_paper
    on_paper = (16 * 64 + 64) + 64 * 128 * 16 + 2 * 128 + 6272 + 1
    assert sum(p.numel() for p in d.parameters()) == on_paper


def test_the_recipe_s_networks_for_colour():
    recipe = recipes.load("dcgan-cifar10")
    g, d = build.generator(recipe, (3, 32, 32)), build.discriminator(recipe, (3, 32, 32))
    assert [name for name, *_ in (x for x in layers(g) if isinstance(x, tuple))].count(
        "ConvTranspose2d"
    ) == 3
    assert layers(g)[0] == ("Linear", 100, 256 * 4 * 4)
    assert layers(d)[-1] == ("Linear", 256 * 4 * 4, 1)
    assert g(g.sample_z(2)).shape == (2, 3, 32, 32)
    assert d(torch.zeros(2, 3, 32, 32)).shape == (2,)


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 64, 64)])
def test_every_layer_halves_or_doubles_whatever_the_kernel(kernel_size, shape):
    g = dcgan.Generator(10, (8, 4), shape, kernel_size)
    d = dcgan.Discriminator((4, 8), shape, kernel_size)
    sides = [shape[1] // 4, shape[1] // 2, shape[1]]
    x, seen = g.sample_z(2), []
    for layer in g.net:
        x = layer(x)
        if isinstance(layer, (nn.Unflatten, nn.ConvTranspose2d)):
            seen.append(x.shape[2])
    assert seen == sides
    seen = [x.shape[2]]
    for layer in d.net:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            seen.append(x.shape[2])
    assert seen == sides[::-1]
    assert x.shape == (2, 1)


def test_initial_weights_are_those_of_the_paper():
    torch.manual_seed(0)
    for network in (dcgan.Generator(), dcgan.Discriminator(widths=(64, 128))):
        for layer in network.modules():
            weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
            if weight is None:
                continue
            mean = 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
            n = weight.numel()
            assert abs(weight.mean().item() - mean) < 5 * 0.02 / n**0.5
            assert abs(weight.std().item() / 0.02 - 1) < 5 / (2 * n) ** 0.5
            assert bias is None or not bias.any()


def test_without_batch_normalisation_the_biases_are_back():
    g, d = dcgan.Generator(batchnorm=False), dcgan.Discriminator(batchnorm=False)
    for network in (g, d):
        assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
        weighted = [m for m in network.modules() if hasattr(m, "bias")]
        assert all(m.bias is not None for m in weighted)


def test_the_generator_s_image_by_hand():
    """A transposed convolution adds a copy of its kernel at every second pixel; nothing else."""
    torch.manual_seed(0)
    g = dcgan.Generator(3, (2,), (1, 4, 4), slope=0.1).eval()
    linear, _, norm, _, conv, _ = g.net
    norm.running_mean.copy_(torch.tensor([0.01, -0.02]))
    norm.running_var.copy_(torch.tensor([0.5, 2.0]))
    z = torch.randn(1, 3)
    numbers = lambda t: t.detach().double().numpy()  # noqa: E731
    small = (numbers(z) @ numbers(linear.weight).T).reshape(2, 2, 2)
    scale = numbers(norm.weight) / np.sqrt(numbers(norm.running_var) + 1e-5)
    small = (small - numbers(norm.running_mean)[:, None, None]) * scale[:, None, None]
    small = np.where(small > 0, small, 0.1 * small)
    sheet = np.zeros((6, 6))  # one pixel more on every side, which the padding cuts off
    for c in range(2):
        for row in range(2):
            for column in range(2):
                where = slice(2 * row, 2 * row + 4), slice(2 * column, 2 * column + 4)
                sheet[where] += small[c, row, column] * numbers(conv.weight)[c, 0]
    np.testing.assert_allclose(numbers(g(z))[0, 0], np.tanh(sheet[1:5, 1:5]), atol=1e-7)


def test_the_discriminator_s_logit_by_hand():
    torch.manual_seed(0)
    d = dcgan.Discriminator((2,), (1, 4, 4), slope=0.3)
    conv, _, _, last = d.net
    image = torch.rand(1, 1, 4, 4) * 2 - 1
    numbers = lambda t: t.detach().double().numpy()  # noqa: E731
    padded = np.pad(numbers(image)[0, 0], 1)
    maps = np.array(
        [
            [
                [
                    (
                        padded[2 * r : 2 * r + 4, 2 * k : 2 * k + 4] * numbers(conv.weight)[c, 0]
                    ).sum()
                    for k in range(2)
                ]
                for r in range(2)
            ]
            for c in range(2)
        ]
    )
    maps = np.where(maps > 0, maps, 0.3 * maps)
    logit = (maps.reshape(-1) * numbers(last.weight)[0]).sum() + numbers(last.bias)[0]
    assert d(image).item() == pytest.approx(logit, rel=1e-5)


def test_an_image_depends_on_its_batch_mates_in_training_mode_only():
    torch.manual_seed(0)
    g = dcgan.Generator(10, (8, 4), (1, 8, 8))
    z = g.sample_z(6)
    assert (g(z)[:2] - g(z[:2])).abs().max() > 1e-3
    g.eval()
    assert torch.allclose(g(z)[:2], g(z[:2]), atol=1e-6)


def test_a_sample_does_not_depend_on_how_many_are_drawn_with_it():
    torch.manual_seed(0)
    g = dcgan.Generator(10, (8, 4), (1, 8, 8))
    g(g.sample_z(64))
    few, many = sample(g, 2, seed=3), sample(g, 9, seed=3)
    assert torch.allclose(few, many[:2], atol=1e-6)
    assert g.training


def test_dropout_takes_whole_maps():
    torch.manual_seed(0)
    d = dcgan.Discriminator((16,), (1, 8, 8), dropout=0.5)
    maps = d.net[2](d.net[1](d.net[0](torch.randn(1, 1, 8, 8))))[0]
    gone = (maps == 0).flatten(1)
    assert (gone.all(1) == gone.any(1)).all()
    assert 0 < gone.all(1).sum() < 16


def test_sizes_that_cannot_be():
    with pytest.raises(InputError, match="Images of side 28 cannot be halved 3 times"):
        dcgan.Generator(widths=(8, 4, 2))
    with pytest.raises(InputError, match="Images of side 30 cannot be halved 2 times"):
        dcgan.Discriminator(image_shape=(3, 30, 30))
    with pytest.raises(InputError, match="makes square images, not 28 x 32"):
        dcgan.Discriminator(image_shape=(1, 28, 32))
    with pytest.raises(InputError, match="kernel_size must be at least 2, not 1"):
        dcgan.Generator(kernel_size=1)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "generator.width=[8]",
            "recipe dcgan-mnist: unknown key generator.width: did you mean generator.widths? "
            "Allowed here: family, latent_dim, widths, kernel_size, batchnorm, slope, output, "
            "latent.",
        ),
        (
            "discriminator.widths=[]",
            "recipe dcgan-mnist: discriminator.widths must be a list of one entry or more, not [].",
        ),
        (
            "generator.widths=[8, 2.5]",
            "recipe dcgan-mnist: generator.widths.1 must be a whole number, not 2.5.",
        ),
        (
            "generator.family=cnn",
            "recipe dcgan-mnist: generator.family must be one of 'mlp', 'dcgan', 'cgan', not 'cnn'.",
        ),
        ("generator={latent_dim: 8}", "recipe dcgan-mnist: the key generator.family is missing."),
    ],
)
def test_mistakes_in_a_recipe_name_the_key_that_was_written(override, sentence):
    with pytest.raises(RecipeError) as caught:
        recipes.load("dcgan-mnist", [override])
    assert str(caught.value) == sentence


def test_a_dcgan_and_an_mlp_can_play_each_other():
    recipe = recipes.load("dcgan-mnist", ["discriminator={family: mlp, hidden: [8]}"])
    assert len(layers(build.discriminator(recipe, (1, 28, 28)))) == 3
