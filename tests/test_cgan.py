"""The conditional networks: the published ones layer by layer, and how a label gets into them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gantut import build, data, recipes
from gantut.errors import InputError, RecipeError
from gantut.models import cgan, mlp
from gantut.sampling import between, evaluating, images_of, sample, under_every_class
from tests import byhand_cgan, small

SHAPES = {"cgan-mnist-published": (1, 28, 28), "cgan-cifar10-published": (3, 32, 32)}
SHAPES["sn-cgan-mnist-published"] = (1, 28, 28)
PUBLISHED = {
    # Of the generator: trainable, in all; of the discriminator: the same.
    "cgan-mnist-published": (1_179_418, 1_192_572, 198_853, 200_933),
    "cgan-cifar10-published": (6_075_847, 6_085_095, 1_500_597, 1_503_797),
    "sn-cgan-mnist-published": (1_069_522, 1_074_159, 1_895_077, 1_899_634),
}
LABELS = torch.tensor([3, 1, 4, 1, 5, 9])


def players(name: str) -> tuple[nn.Module, nn.Module]:
    recipe, shape = recipes.load(name), SHAPES[name]
    torch.manual_seed(0)
    return build.generator(recipe, shape), build.discriminator(recipe, shape)


def record(network: nn.Module) -> list:
    """Shapes that go into its convolutions and dense layers, its poolings and its label's map, and
    those that come out, once it is called."""
    seen = []

    def hook(_, inputs, out):
        seen.append((inputs[0].shape[1:], out.shape[1:]))

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.MaxPool2d, nn.Flatten, cgan.LabelMap)
    for layer in network.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(hook)
    return seen


def narrow(**options) -> cgan.Generator:
    torch.manual_seed(1)
    return cgan.Generator(latent_dim=3, embed_dim=2, widths=(4, 4, 4), **options)


# --- the published networks ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_the_published_networks(name):
    found = []
    for player in players(name):
        trainable = sum(p.numel() for p in player.parameters())
        # Running means and deviations, and the vectors of the power iterations.
        kept = sum(
            b.numel()
            for key, b in player.named_buffers()
            if key.endswith(("running_mean", "running_var", ".u"))
        )
        found += [trainable, trainable + kept]
    assert tuple(found) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "generator", "discriminator", "joined"),
    [
        (
            "cgan-mnist-published",
            [(6272,), (49,), (1, 7, 7), (128, 14, 14), (128, 28, 28), (1, 28, 28)],
            [(784,), (1, 28, 28), (128, 14, 14), (128, 7, 7), (6272,), (1,)],
            (129, 7, 7),
        ),
        (
            "cgan-cifar10-published",
            [(4096,), (16,), (1, 4, 4), (256, 8, 8), (128, 16, 16), (128, 32, 32), (3, 32, 32)],
            [
                *((1024,), (1, 32, 32)),
                *((64, 32, 32), (128, 16, 16), (128, 8, 8), (256, 4, 4), (4096,), (1,)),
            ],
            (257, 4, 4),
        ),
        (
            "sn-cgan-mnist-published",
            [(1152,), (9,), (1, 3, 3), (128, 6, 6), (128, 14, 14), (128, 28, 28), (1, 28, 28)],
            [
                *((784,), (1, 28, 28)),
                *((128, 26, 26), (128, 13, 13), (128, 11, 11), (128, 9, 9), (128, 4, 4), (2048,)),
                *((600,), (400,), (200,), (20,), (1,)),
            ],
            (129, 3, 3),
        ),
    ],
)
def test_the_shape_of_every_layer_s_output(name, generator, discriminator, joined):
    g, d = players(name)
    of_g, of_d = record(g), record(d)
    images = g(g.sample_z(6), LABELS)
    assert images.shape == (6, *SHAPES[name])
    assert d(images.detach(), LABELS).shape == (6,)
    assert [tuple(out) for _, out in of_g] == generator
    assert [tuple(out) for _, out in of_d] == discriminator
    # What the first convolution takes in: the label's map is one channel more.
    assert tuple(of_g[3][0]) == joined
    channels, side, _ = SHAPES[name]
    assert tuple(of_d[2][0]) == (channels + 1, side, side)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_first_weights_are_those_of_keras(name):
    for player in players(name):
        for key, layer in player.named_modules():
            if isinstance(layer, nn.Embedding):
                w = layer.weight.detach()
                assert w.abs().max() <= 0.05
                assert w.std() == pytest.approx(0.1 / 12**0.5, rel=0.1)
            elif isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                w, places = layer.weight.detach(), layer.weight[0, 0].numel()
                limit = (6 / (places * (w.shape[0] + w.shape[1]))) ** 0.5
                assert w.abs().max() <= limit, key
                if w.numel() > 1000:
                    assert w.std() == pytest.approx(limit / 3**0.5, rel=0.05), key
                assert not layer.bias.any()
            elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                assert (layer.eps, layer.momentum) == (1e-3, 0.01)
                assert (layer.weight == 1).all(), key
                assert not layer.bias.any(), key


@pytest.mark.parametrize("player", [cgan.Generator, cgan.Discriminator])
def test_first_weights_of_the_dcgan(player):
    """N(0, .02) in layers, N(1, .02) in normalisations, and N(0, 1) in tables, of which it has none."""
    torch.manual_seed(0)
    network = player(init="normal")
    for key, layer in network.named_modules():
        if isinstance(layer, nn.Embedding):
            assert layer.weight.std().item() == pytest.approx(1, rel=0.1)
        elif isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1), key
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.02), key
            assert 0.01 < layer.weight.std() < 0.03, key


def test_activation_comes_before_normalisation_as_published():
    g, d = players("cgan-mnist-published")
    blocks = [[type(m).__name__ for m in b] for b in g.modules() if isinstance(b, cgan.Block)]
    assert blocks == [
        ["Linear", "ReLU", "BatchNorm1d"],
        ["Linear", "BatchNorm1d"],
        ["SameConvTranspose2d", "ReLU", "BatchNorm2d"],
        ["SameConvTranspose2d", "ReLU", "BatchNorm2d"],
    ]
    assert [type(m).__name__ for m in d.net] == ["Block", "Block", "Flatten", "Dropout", "Linear"]
    assert [type(m).__name__ for m in d.net[1]] == ["SameConv2d", "LeakyReLU", "BatchNorm2d"]
    assert d.net[3].p == 0.4
    _, d = players("sn-cgan-mnist-published")
    assert [type(m).__name__ for m in d.net] == [
        *("Block", "MaxPool2d", "Dropout2d", "Conv2d", "Block", "MaxPool2d", "Dropout2d"),
        *("Flatten", *["Block", "Dropout"] * 4, "Linear"),
    ]
    d = cgan.Discriminator(
        widths=(4, 4), pool=(0, 1), hidden=(5,), dropout=0.1, spatial_dropout=0.3
    )
    rates = {type(m): m.p for m in d.net if isinstance(m, (nn.Dropout, nn.Dropout2d))}
    assert rates == {nn.Dropout: 0.1, nn.Dropout2d: 0.3}
    # Without pooling, each convolution is a block of its own.
    d = cgan.Discriminator(widths=(4, 4), spatial_dropout=0.3)
    assert [type(m).__name__ for m in d.net][:4] == ["Block", "Dropout2d", "Block", "Dropout2d"]
    before = narrow(norm="before")
    assert [type(m).__name__ for m in before.net[0]][1:] == ["BatchNorm2d", "ReLU"]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in narrow(norm="none").modules())


# --- padding --------------------------------------------------------------------------------------


def kernel_rows(n: int, kernel: int, stride: int) -> np.ndarray:
    """A one-dimensional convolution with "same" padding as a matrix of which tap reads what."""
    outputs = -(-n // stride)
    total = max((outputs - 1) * stride + kernel - n, 0)
    rows = np.zeros((outputs, n))
    for o in range(outputs):
        for tap in range(kernel):
            at = o * stride + tap - total // 2
            if 0 <= at < n:
                rows[o, at] = tap + 1
    return rows


def test_the_first_layer_can_stay_without_normalisation_as_in_the_dcgan():
    """Then a batch with half the contrast looks different from the batch itself."""
    found = {}
    for first in (True, False):
        d = cgan.Discriminator(norm="before", norm_eps=1e-12, first_norm=first)
        d.net[0][0].bias.data.zero_()
        found[first] = [type(layer).__name__ for layer in d.net[0]]
        maps = torch.randn(4, 2, 28, 28, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.allclose(d.net[0](maps), d.net[0](maps / 2), atol=1e-4) == first
        assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in d.net.modules()) == 1 + first
    assert found == {
        True: ["SameConv2d", "BatchNorm2d", "LeakyReLU"],
        False: ["SameConv2d", "LeakyReLU"],
    }


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7, 10])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_is_that_of_keras_and_transposes(kernel, stride):
    taps = torch.zeros(1, 1, kernel, kernel)
    taps[0, 0, :, 0] = torch.arange(1.0, kernel + 1)
    for n in (7, 8, 28):
        conv = cgan.SameConv2d(1, 1, kernel, stride, bias=False)
        # The kernel has one column of taps, so that columns are only sampled: look along the rows.
        conv.weight.data = taps.clone()
        x = torch.eye(n).view(n, 1, n, 1).expand(-1, -1, -1, n)
        out = conv(x)
        assert out.shape[-2:] == (-(-n // stride),) * 2
        total = max((out.shape[-1] - 1) * stride + kernel - n, 0)
        inside = -(-(total // 2) // stride)  # a column whose tap reads inside the image
        assert np.allclose(out[:, 0, :, inside].detach().T, kernel_rows(n, kernel, stride))
        if kernel >= stride and n % stride == 0:
            up = cgan.SameConvTranspose2d(1, 1, kernel, stride, bias=False)
            weight = torch.randn(1, 1, kernel, kernel)
            up.weight.data = conv.weight.data = weight
            y, x = torch.randn(1, 1, n // stride, n // stride), torch.randn(1, 1, n, n)
            # <conv(x), y> = <x, up(y)> for the transpose, and for nothing else.
            assert up(y).shape == x.shape
            assert torch.allclose((conv(x) * y).sum(), (x * up(y)).sum(), atol=1e-3)


# --- the label --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_both_players_see_the_label_of_each_image(name):
    g, d = players(name)
    z = g.sample_z(6)
    with evaluating(g), evaluating(d), torch.no_grad():
        images = g(z, LABELS)
        other = LABELS.clone()
        other[2] = 7
        assert [torch.equal(a, b) for a, b in zip(images, g(z, other))] == [
            i != 2 for i in range(6)
        ]
        logits = d(images, LABELS)
        assert ((logits - d(images, other)).abs() > 1e-7).tolist() == [i == 2 for i in range(6)]
        # Alone, an image is what it is in company.
        assert torch.allclose(g(z[2:3], LABELS[2:3]), images[2:3], atol=1e-5)


def test_the_label_s_map_is_its_embedding_through_a_dense_layer():
    g = narrow()
    with evaluating(g), torch.no_grad():
        maps = g.label_map(LABELS)
        assert maps.shape == (6, 1, 7, 7)
        dense, norm = g.label_map.dense
        for label, found in zip(LABELS, maps):
            numbers = dense.weight @ g.label_map.embedding.weight[label] + dense.bias
            by_hand = (numbers - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
            assert torch.allclose(found.flatten(), by_hand, atol=1e-5)
        seen = []
        g.net[0].register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
        z = g.sample_z(6)
        g(z, LABELS)
        assert torch.equal(seen[0][:, -1:], maps)
        assert torch.equal(seen[0][:, :-1].flatten(1), g.project(z))
    one, other = (p.label_map.embedding.weight for p in players("cgan-mnist-published"))
    assert one is not other
    assert not torch.equal(one, other)


# --- spectral normalisation -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reparametrise", "renormalise"])
def test_every_layer_has_a_spectral_norm_of_one(how):
    torch.manual_seed(2)
    options = {"widths": (8, 8), "spectral": how, "norm": "none"}
    d = cgan.Discriminator(embed_dim=3, **options)
    g = narrow(spectral=how)
    x, y = torch.randn(4, 1, 28, 28), torch.tensor([0, 1, 2, 3])
    for _ in range(200):  # passes in training mode: one power iteration each
        d(x, y), g(g.sample_z(4), y)
    for player, count in ((d, 4), (g, 5)):
        layers = [
            m for m in player.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
        ]
        assert len(layers) == count
        for layer in layers:
            norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
            assert norm == pytest.approx(1, abs=2e-2)
    free = cgan.Discriminator(embed_dim=3, **options, spectral_label=False)
    dense = free.label_map.dense[0]
    assert not parametrize.is_parametrized(dense)
    assert not hasattr(dense, "u")


@pytest.mark.parametrize("how", ["reparametrise", "renormalise"])
def test_layers_can_be_chosen_for_spectral_normalisation(how):
    constrained = lambda layer: parametrize.is_parametrized(layer) or hasattr(layer, "u")  # noqa: E731
    layers = lambda *parts: [  # noqa: E731
        m
        for part in parts
        for m in part.modules()
        if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))
    ]
    for chosen in ((0,), (1, 2), (0, 1, 2)):
        d = cgan.Discriminator(
            embed_dim=3, widths=(8, 8), spectral=how, spectral_layers=chosen, spectral_label=False
        )
        assert [constrained(m) for m in layers(d.net)] == [i in chosen for i in range(3)]
        assert not constrained(d.label_map.dense[0])
        g = narrow(spectral=how, spectral_layers=chosen)
        of_image = [constrained(m) for m in layers(g.project, g.net)]
        assert of_image == [i in chosen for i in range(4)]
        assert constrained(g.label_map.dense[0])


def test_renormalising_is_for_good_and_in_training_mode_only():
    torch.manual_seed(3)
    layer = nn.Linear(5, 4)
    cgan.Renormalise(layer)
    before = layer.weight.detach().clone()
    layer.eval()(torch.zeros(1, 5))
    assert torch.equal(layer.weight, before)
    u = layer.u.clone()
    layer.train()(torch.zeros(1, 5))
    v = F.normalize(before.T @ u, dim=0)
    u = F.normalize(before @ v, dim=0)
    assert torch.allclose(layer.weight, before / (u @ before @ v), atol=1e-6)
    assert torch.allclose(layer.u, u, atol=1e-6)
    # Gradients do not see the division; those of the reparametrisation do.
    layer(torch.ones(1, 5)).sum().backward()
    assert torch.allclose(layer.weight.grad, torch.ones(4, 5))


# --- sampling and mistakes ------------------------------------------------------------------------


def test_a_label_gives_its_class_from_the_same_latent_vectors():
    g = narrow().eval()
    images = sample(g, 20, torch.arange(20) % 10)
    sevens = sample(g, 20, torch.full((20,), 7))
    same = [torch.equal(a, b) for a, b in zip(images, sevens)]
    assert same == [i % 10 == 7 for i in range(20)]


def test_one_latent_vector_under_every_class():
    G = narrow()
    z = G.sample_z(16, generator=torch.Generator().manual_seed(4))[:3]
    found = under_every_class(G, 3, seed=4)
    for rows in (1, 2, 5):  # the same vectors, however many are asked for
        shared = min(rows, 3)
        more = under_every_class(G, rows, seed=4)
        assert torch.allclose(more[:shared], found[:shared], atol=1e-6)
    assert found.shape == (3, 10, 1, 28, 28)
    with evaluating(G), torch.no_grad():
        expected = G(z[1:2].expand(10, -1), torch.arange(10))
    assert torch.allclose(found[1], expected, atol=1e-6)
    assert torch.equal(under_every_class(G, z), found)
    # From the space of the generator to [-1, 1], as of all samples.
    other = under_every_class(G, z, mean=0.0, std=1.0)
    assert torch.allclose(other, (2 * found.clamp(0, 1) - 1), atol=1e-6)
    with pytest.raises(InputError, match="knows no classes"):
        under_every_class(mlp.Generator(4, (8,), (1, 8, 8)), 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda G: images_of(G, torch.zeros(0, 3)), r"vectors \[n, 3\], not \[0, 3\]"),
        (lambda G: images_of(G, torch.zeros(2, 4)), r"vectors \[n, 3\], not \[2, 4\]"),
        (lambda G: images_of(G, torch.zeros(3)), r"vectors \[n, 3\], not \[3\]"),
        (lambda G: under_every_class(G, 0), "Of no latent vector"),
        (lambda G: under_every_class(G, torch.zeros(0, 3)), r"vectors \[n, 3\], not \[0, 3\]"),
        (lambda G: sample(G, 2, [1, 2], batch_size=0), "A batch has at least one image, not 0"),
        (lambda _: between(torch.ones(2), torch.ones(3), [0.5]), r"not \[2\] and \[3\]"),
    ],
)
def test_vectors_and_numbers_that_no_images_come_of(call, message):
    with pytest.raises(InputError, match=message):
        call(narrow())


def test_images_of_latent_vectors_need_a_label_each():
    G = narrow()
    with pytest.raises(InputError, match="2 images need 2 labels"):
        images_of(G, torch.zeros(2, 3), torch.tensor([1]))
    parts = images_of(G, torch.eye(3), torch.tensor([1, 2, 3]), batch_size=2)
    assert torch.allclose(parts, images_of(G, torch.eye(3), torch.tensor([1, 2, 3])), atol=1e-6)


def test_the_way_between_latent_vectors():
    start, stop = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    arc = between(start, stop, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose(arc, torch.tensor([[2, 0], [2**0.5, 2**0.5], [0, 2]]), atol=1e-6)
    line = between(start, stop, torch.tensor([0.25]), normal=False)
    assert torch.allclose(line, torch.tensor([[1.5, 0.5]]))
    # Opposite ends: there is no shortest arc.
    assert torch.allclose(between(start, -start, torch.tensor([0.5])), torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "give it labels, whole numbers from 0 to 9"),
        (torch.tensor([0, 10]), "Labels are whole numbers from 0 to 9; 10 is none"),
        (torch.tensor([-1, 0]), "-1 is none"),
        (torch.tensor([0.0, 1.0]), "Labels are whole numbers from 0 to 9, not of type float32"),
        (torch.tensor([True, False]), "not of type bool"),
        (torch.tensor([1, 2, 3]), r"2 images need 2 labels, not labels of shape \(3,\)"),
        (torch.tensor([[1, 2]]), r"not labels of shape \(1, 2\)"),
        ("77", "Labels are whole numbers from 0 to 9, in a tensor or a list of 2"),
        (["7", "7"], "in a tensor or a list of 2"),
        ([None, 1], "in a tensor or a list of 2"),
        ([10**20, 1], "in a tensor or a list of 2"),
    ],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(InputError, match=message):
        sample(narrow(), 2, labels)


def test_labels_may_be_a_list():
    assert torch.equal(sample(narrow(), 2, [3, 4]), sample(narrow(), 2, torch.tensor([3, 4])))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((), "needs labels, whole numbers from 0 to 9, in an int64 tensor, not NoneType"),
        (([1, 2],), "in an int64 tensor, not list"),
        ((torch.tensor([1.0, 2.0]),), "in an int64 tensor, not float32"),
        ((torch.tensor([0, 10]),), "Labels are whole numbers from 0 to 9; some are none"),
        ((torch.tensor([-1, 1]),), "Labels are whole numbers from 0 to 9; some are none"),
        ((torch.tensor([1, 2, 3]),), r"A batch of 2 needs 2 labels, not labels of shape \(3,\)"),
        ((torch.tensor([[1], [2]]),), r"2 labels, not labels of shape \(2, 1\)"),
        ((torch.tensor(1),), r"2 labels, not labels of shape \(\)"),
    ],
)
def test_players_called_with_labels_that_do_not_fit(labels, message):
    D = cgan.Discriminator(widths=(2, 2))
    for player, given in ((narrow(), torch.zeros(2, 3)), (D, torch.zeros(2, 1, 28, 28))):
        with pytest.raises(InputError, match=message):
            player(given, *labels)


def test_labels_to_a_generator_without_classes():
    trainer = small.trainer()
    with pytest.raises(InputError, match="knows no classes; sample from it without labels"):
        trainer.sample(2, torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": (4,)}, "kernels needs 2 values here, one for each layer, not 1"),
        ({"side": 6}, "end at 24 x 24, and an image has 28 x 28"),
        ({"norm": "between"}, "norm must be one of after, before, none, not 'between'"),
        ({"spectral": "yes"}, "spectral must be one of None, reparametrise, renormalise"),
        ({"spectral": "renormalise", "spectral_layers": [4]}, r"numbers from 0 to 3, not \[4\]"),
        ({"spectral": "renormalise", "spectral_layers": []}, r"numbers from 0 to 3, not \[\]"),
        ({"spectral_layers": [1]}, r"from 0 to 3, and goes with spectral, not \[1\]"),
        ({"paddings": ("same", "full")}, "paddings must be one of same, valid, not 'full'"),
        ({"kernels": (1, 4)}, "A kernel of 1 leaves gaps at a stride of 2"),
    ],
)
def test_layers_that_do_not_fit(options, message):
    with pytest.raises(InputError, match=message):
        narrow(**options)


@pytest.mark.parametrize("pool", [(2,), (0, 2), (-1,), ()])
def test_pooling_after_a_convolution_that_is_not_there(pool):
    with pytest.raises(InputError, match="pool names convolutions by numbers from 0 to 1, not"):
        cgan.Discriminator(widths=(2, 2), pool=pool)


def test_a_discriminator_with_more_pooling_than_pixels():
    widths = {"widths": (2,) * 6, "kernels": (3,) * 6, "strides": (1,) * 6}
    with pytest.raises(InputError, match="Nothing is left of the maps"):
        cgan.Discriminator(**widths, padding="valid", pool=range(6))


def test_one_conditional_player_alone_is_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="a conditional generator needs a conditional discr"):
        recipes.load("mlp-mnist", ["generator={family: cgan}"])


def test_weights_that_change_in_each_pass_need_one_pass():
    with pytest.raises(
        RecipeError, match=r"published: discriminator\.spectral: renormalise changes"
    ):
        recipes.load("sn-cgan-mnist-published", ["step.stack=false"])
    assert recipes.load("sn-cgan-mnist", ["step.stack=false"])


def test_images_without_labels_are_refused():
    recipe = recipes.load("cgan-mnist-published", ["train.batch_size=16"])
    with pytest.raises(InputError, match="is conditional and needs labels"):
        build.trainer(recipe, images=small.images(32), device="cpu")


def test_the_number_of_classes_is_that_of_the_data():
    images = small.images(32)
    three = data.ImageSet(images.images, torch.arange(32) % 3, ("a", "b", "c"))
    recipe = recipes.load("cgan-mnist-published", ["train.batch_size=16"])
    trainer = build.trainer(recipe, images=three, device="cpu")
    assert trainer.game.num_classes == 3
    assert copy.deepcopy(trainer.game.generator).label_map.embedding.num_embeddings == 3
    with pytest.raises(InputError, match="whole numbers from 0 to 2"):
        trainer.sample(1, torch.tensor([3]))


# --- one full update of both players, against the one written out in tests/byhand_cgan.py ----------


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    trained = dict(network.named_parameters())
    return {
        key: value.detach().clone().requires_grad_(key in trained)
        for key, value in network.state_dict().items()
    }


NARROW = {
    "cgan-mnist-published": ["generator.widths=[3, 3, 3]", "discriminator.widths=[3, 3]"],
    "cgan-cifar10-published": [
        "generator.widths=[3, 3, 3, 2]",
        "discriminator.widths=[2, 3, 3, 3]",
    ],
    "sn-cgan-mnist-published": [
        *("generator.widths=[3, 3, 3, 3]", "discriminator.widths=[3, 3, 3]"),
        *("discriminator.hidden=[6, 5, 4, 3]", "step.g_batch=16"),
    ],
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", PUBLISHED)
def test_full_updates_of_both_players_by_hand(name):
    """Two rounds: in the first, a step of Adam does not depend on how long it remembers."""
    small_batch = ["train.batch_size=8", "generator.embed_dim=4"]
    recipe = recipes.load(name, [*NARROW[name], *small_batch, "discriminator.embed_dim=4"])
    channels, side, _ = SHAPES[name]
    rng = torch.Generator().manual_seed(6)
    pixels = torch.randint(0, 256, (8, channels, side, side), generator=rng, dtype=torch.uint8)
    images = data.ImageSet(pixels, torch.arange(8), tuple("0123456789"))
    trainer = build.trainer(recipe, device="cpu", images=images)
    game = trainer.game
    g, d = state(game.generator), state(game.discriminator)
    of_g, of_d, kept = [], [], []
    game.generator.register_forward_pre_hook(lambda _, inputs: of_g.append(inputs))
    game.discriminator.register_forward_pre_hook(lambda _, inputs: of_d.append(inputs))
    for layer in game.discriminator.modules():
        if isinstance(layer, (nn.Dropout, nn.Dropout2d)):
            layer.register_forward_hook(lambda _, inputs, out: kept.append(out != 0))
    chance = torch.Generator()
    system, memories = byhand_cgan.SYSTEMS[name], ({}, {})
    for i in (1, 2):
        of_g.clear(), of_d.clear(), kept.clear()
        chance.set_state(game.loss.rng.get_state())
        trainer.fit(iterations=i)
        assert 0.2 < torch.cat([mask.flatten() for mask in kept]).double().mean() < 0.8
        real, labels = (x[:8].detach() for x in of_d[0])
        if name.startswith("sn-"):
            assert [len(z) for z, _ in of_g] == [8, 16]
            assert 0 <= real.min() < 0.1 < 0.9 < real.max() <= 1
            # One draw for each image: real ones from .9 to 1, fakes from 0 to .1.
            # Logits are float32 in a loss, and so are its targets.
            draws = torch.zeros(2, 8, dtype=torch.float32)
            for row in draws:
                row.uniform_(0, 0.1, generator=chance)
            targets = torch.cat([1 - draws[0], draws[1]])
            d_loss, g_loss = byhand_cgan.stacked_round(
                g, d, real, labels, of_g, iter(kept), targets, system, memories
            )
        else:
            ((z, y),) = of_g
            assert torch.equal(y, labels)
            d_loss, g_loss = byhand_cgan.simultaneous_round(
                g, d, real, labels, z, iter(kept), system, memories
            )
        # Adam's first step is almost the sign of a slope; where that is a rounding error, the weight
        # may have gone either way, and the second round starts from there.
        near = {"rel": 1e-6 if i == 1 else 1e-4}
        assert trainer.latest["d_loss"] == pytest.approx(d_loss.item(), **near)
        assert trainer.latest["g_loss"] == pytest.approx(g_loss.item(), **near)
        for network, expected in ((game.generator, g), (game.discriminator, d)):
            found = network.state_dict()
            for key, value in expected.items():
                if key.endswith("num_batches_tracked"):
                    continue
                apart = (found[key] - value.detach()).abs()
                assert (apart <= 2.1 * i * system["lr"]).all(), key
                assert (apart > 0.02 * system["lr"]).double().mean() < 0.02, key


def test_a_run_resumed_in_the_middle_of_its_decay_equals_the_one_never_stopped(tmp_path):
    every = ["g_optimizer.schedule.every=1", "d_optimizer.schedule.every=1"]
    rates = ["g_optimizer.lr=2e-4", "d_optimizer.lr=1e-4", "d_optimizer.schedule.factor=0.5"]
    settings = [*NARROW["sn-cgan-mnist-published"], *every, *rates, "train.batch_size=8"]
    recipe = recipes.load("sn-cgan-mnist-published", [*settings, "discriminator.dropout=0.3"])

    def fresh(folder):
        return build.trainer(recipe, folder, "cpu", images=small.images(40, labels=True))

    whole = fresh(tmp_path / "whole").fit(epochs=4)
    # Epochs have five rounds, and the rates fall after 2 + 5, 2 + 10 and 2 + 15 of them.
    assert recipe.g_optimizer.schedule.delay == recipe.d_optimizer.schedule.delay == 0.5
    fresh(tmp_path / "part").fit(iterations=13)
    rest = fresh(tmp_path / "part").load()
    lr = {name: o.param_groups[0]["lr"] for name, o in rest.game.optimizers.items()}
    assert lr == pytest.approx({"generator": 2e-4 * 0.8**2, "discriminator": 1e-4 * 0.5**2})
    rest.fit(epochs=4)
    lr = {name: o.param_groups[0]["lr"] for name, o in rest.game.optimizers.items()}
    assert lr == pytest.approx({"generator": 2e-4 * 0.8**3, "discriminator": 1e-4 * 0.5**3})
    for network, other in zip(whole.game.modules.values(), rest.game.modules.values()):
        assert small.same(small.weights(network), small.weights(other))
    ours, theirs = whole.history.as_dict(), rest.history.as_dict()
    assert all(np.array_equal(ours[k], theirs[k]) for k in ours if k != "seconds")
