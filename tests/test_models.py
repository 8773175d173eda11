"""The networks: shapes, sizes, initialisation, z, and one full update of both players by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from gantut import build, data, recipes
from gantut.errors import InputError
from gantut.models import classifier, mlp
from tests.byhand import Facts, one_round


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# --- what the descriptions of the systems say ------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "g_size", "d_size"),
    [
        ("mlp-mnist-published", 114_800, 110_849),
        ("mlp-minimal-mnist-published", 218_128, 100_609),
        ("mlp-minimal-mnist-misnormalised", 218_128, 100_609),
    ],
)
def test_parameter_counts_are_those_of_the_published_systems(recipe, g_size, d_size):
    loaded = recipes.load(recipe)
    assert count(build.generator(loaded, (1, 28, 28))) == g_size
    assert count(build.discriminator(loaded, (1, 28, 28))) == d_size


def test_the_course_s_own_nets_have_the_size_of_their_layers():
    loaded = recipes.load("mlp-mnist")
    dense = lambda *widths: sum(a * b + b for a, b in pairwise(widths))  # noqa: E731
    assert count(build.generator(loaded, (1, 28, 28))) == dense(64, 256, 512, 784) + 2 * (256 + 512)
    assert count(build.discriminator(loaded, (1, 28, 28))) == dense(784, 512, 256, 1)


def kinds(network: nn.Module) -> list:
    """The layers in order, as plain words."""
    words = []
    for layer in network.net:
        match layer:
            case nn.Linear():
                words.append((layer.in_features, layer.out_features))
            case nn.LeakyReLU():
                words.append(("lrelu", layer.negative_slope))
            case nn.Dropout():
                words.append(("dropout", layer.p))
            case nn.BatchNorm1d():
                words.append(("bn", layer.eps, layer.momentum))
            case _:
                words.append(type(layer).__name__)
    return words


def test_layers_of_the_published_net():
    loaded = recipes.load("mlp-mnist-published")
    after = [("lrelu", 0.2), ("dropout", 0.3)]
    g = [(100, 32), *after, (32, 64), *after, (64, 128), *after, (128, 784), "Tanh"]
    d = [(784, 128), *after, (128, 64), *after, (64, 32), *after, (32, 1)]
    assert kinds(build.generator(loaded, (1, 28, 28))) == g
    assert kinds(build.discriminator(loaded, (1, 28, 28))) == d


def test_layers_of_the_minimal_net():
    loaded = recipes.load("mlp-minimal-mnist-published")
    g = [(64, 256), ("lrelu", 0.1), (256, 784), "Tanh"]
    assert kinds(build.generator(loaded, (1, 28, 28))) == g
    assert kinds(build.discriminator(loaded, (1, 28, 28))) == [(784, 128), ("lrelu", 0.1), (128, 1)]


def test_batchnorm_comes_before_the_activation():
    net = mlp.Generator(latent_dim=3, hidden=(4,), image_shape=(1, 2, 2), batchnorm=True)
    assert kinds(net) == [(3, 4), ("bn", 1e-5, 0.1), ("lrelu", 0.2), (4, 4), "Tanh"]


# --- shapes and ranges -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 5)])
@pytest.mark.parametrize("n", [1, 7])
def test_shapes(shape, n):
    g = mlp.Generator(latent_dim=10, hidden=(6,), image_shape=shape)
    d = mlp.Discriminator(hidden=(6,), image_shape=shape)
    images = g(g.sample_z(n))
    assert images.shape == (n, *shape)
    assert d(images).shape == (n,)
    assert (g.latent_dim, g.num_classes, g.image_shape) == (10, None, shape)
    assert torch.equal(g(torch.ones(n, 10), torch.zeros(n).long()), g(torch.ones(n, 10)))


@pytest.mark.parametrize(("output", "low", "high"), [("tanh", -1, 1), ("sigmoid", 0, 1)])
def test_the_range_that_an_output_can_reach(output, low, high):
    g = mlp.Generator(latent_dim=10, hidden=(16,), output=output)
    with torch.no_grad():
        images = g(g.sample_z(200, torch.Generator().manual_seed(0)) * 1000)
    assert images.min() >= low
    assert images.max() <= high
    assert images.min() < low + 0.01
    assert images.max() > high - 0.01


def test_identity_output_has_no_limits():
    g = mlp.Generator(latent_dim=10, hidden=(16,), output="identity")
    assert g(g.sample_z(200, torch.Generator().manual_seed(0)) * 1000).abs().max() > 2


def test_the_discriminator_returns_logits_not_probabilities():
    d = mlp.Discriminator(hidden=(16,), image_shape=(1, 4, 4))
    with torch.no_grad():
        logits = d(100 * torch.randn(500, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert logits.min() < 0
    assert logits.max() > 1


def test_unknown_outputs_and_latents_are_refused_with_what_is_allowed():
    with pytest.raises(
        InputError, match=r"output must be one of tanh, sigmoid, identity, not 'relu'\."
    ):
        mlp.Generator(output="relu")
    with pytest.raises(InputError, match=r"latent must be one of normal, uniform, not 'cauchy'\."):
        mlp.Generator(latent="cauchy")


# --- z and initial weights -------------------------------------------------------------------


def test_normal_z_has_the_moments_and_quantiles_of_a_standard_normal():
    z = mlp.Generator(latent_dim=50).sample_z(4000, torch.Generator().manual_seed(1)).flatten()
    assert z.mean().abs() < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs((z.abs() < 1).float().mean() - math.erf(1 / math.sqrt(2))) < 0.005
    assert z.abs().max() > 3.5


def test_uniform_z_fills_minus_one_to_one_evenly():
    g = mlp.Generator(latent_dim=50, latent="uniform")
    z = g.sample_z(4000, torch.Generator().manual_seed(1)).flatten()
    assert z.min() >= -1
    assert z.max() <= 1
    shares = torch.histc(z, bins=10, min=-1, max=1) / len(z)
    assert (shares - 0.1).abs().max() < 0.005


def test_z_comes_from_the_generator_of_random_numbers_that_it_is_given():
    g = mlp.Generator(latent_dim=5)
    first, again, other = (g.sample_z(3, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    before = torch.get_rng_state()
    g.sample_z(3, torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("recipe", ["mlp-mnist-published", "mlp-mnist"])
def test_dense_layers_start_uniform_within_one_over_root_of_their_inputs(recipe):
    torch.manual_seed(0)
    loaded = recipes.load(recipe)
    for network in (build.generator(loaded, (1, 28, 28)), build.discriminator(loaded, (1, 28, 28))):
        for layer in network.net:
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                for tensor in (layer.weight, layer.bias):
                    assert tensor.abs().max() <= bound
                assert layer.weight.abs().max() > 0.9 * bound
                spread = bound / math.sqrt(3) / math.sqrt(layer.weight.numel())
                assert layer.weight.mean().abs() < 5 * spread
            if isinstance(layer, nn.BatchNorm1d):
                assert (layer.weight == 1).all()
                assert (layer.bias == 0).all()


# --- one full update of both players, against the one written out in tests/byhand.py -----------

S4 = Facts(lr=2e-3, slope=0.2, real_label=0.9, dropout=0.3)
S2 = Facts(lr=3e-4, slope=0.1, weight=0.5, reuse_fakes=True)
OWN = Facts(lr=1e-3, slope=0.2, beta1=0.5, real_label=0.9, batchnorm=True)


def changed(facts: Facts, **changes) -> Facts:
    return Facts(**{**vars(facts), **changes})


@pytest.fixture
def float64():
    """Double precision in the library too, so that the comparison can be tight."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def digits(n: int) -> data.ImageSet:
    rng = torch.Generator().manual_seed(5)
    strokes = torch.randint(0, 256, (n, 1, 28, 28), generator=rng, dtype=torch.uint8)
    ink = torch.rand(n, 1, 28, 28, generator=rng) < 0.2
    return data.ImageSet(torch.where(ink, strokes, 0).to(torch.uint8))


def record(game):
    """Notes the z, the real images and the dropout masks of every pass, while a round is played."""
    seen = {"z": [], "generator": [], "discriminator": [], "images": []}
    draw = game.generator.sample_z

    def drawing(*args, **kwargs):
        seen["z"].append(draw(*args, **kwargs))
        return seen["z"][-1]

    game.generator.sample_z = drawing
    for player in ("generator", "discriminator"):
        network = getattr(game, player)
        network.register_forward_pre_hook(
            lambda module, inputs, player=player: seen[player].append([])
        )
        for layer in network.net:
            if isinstance(layer, nn.Dropout):
                layer.register_forward_hook(
                    lambda module, inputs, out, player=player: seen[player][-1].append(
                        (out / inputs[0]).detach().numpy()
                    )
                )
    game.discriminator.register_forward_pre_hook(
        lambda module, inputs: seen["images"].append(inputs[0].detach().flatten(1).numpy())
    )
    return seen


def numbers(network: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in network.parameters()]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("recipe", "overrides", "facts"),
    [
        ("mlp-mnist-published", [], S4),
        (
            "mlp-mnist-published",
            ["generator.dropout=0", "discriminator.dropout=0"],
            changed(S4, dropout=0),
        ),
        ("mlp-mnist-published", ["loss.real_label=1"], changed(S4, real_label=1)),
        ("mlp-mnist-published", ["step.order=simultaneous"], changed(S4, simultaneous=True)),
        ("mlp-mnist-published", ["loss.name=minimax"], changed(S4, minimax=True)),
        ("mlp-mnist-published", ["step.reuse_fakes=true"], changed(S4, reuse_fakes=True)),
        ("mlp-minimal-mnist-published", [], S2),
        ("mlp-minimal-mnist-published", ["step.stack=true"], S2),
        ("mlp-minimal-mnist-published", ["step.reuse_fakes=false"], changed(S2, reuse_fakes=False)),
        (
            "mlp-minimal-mnist-published",
            ["step.order=simultaneous", "step.reuse_fakes=false"],
            changed(S2, reuse_fakes=False, simultaneous=True),
        ),
        ("mlp-minimal-mnist-misnormalised", [], S2),
        ("mlp-mnist", [], changed(OWN, dropout=0.3)),
        ("mlp-mnist", ["step.order=simultaneous"], changed(OWN, dropout=0.3, simultaneous=True)),
        ("mlp-mnist", ["discriminator.dropout=0"], OWN),
        ("mlp-mnist-live", [], changed(OWN, dropout=0.3, lr=3e-3)),
    ],
)
def test_one_full_update_of_both_players_by_hand(recipe, overrides, facts):
    loaded = recipes.load(recipe, overrides)
    batch = loaded.train.batch_size
    trainer = build.trainer(loaded, device="cpu", images=digits(batch))
    game = trainer.game
    g_before, d_before = numbers(game.generator), numbers(game.discriminator)
    seen = record(game)
    trainer.fit(iterations=1)

    mean, std = (0.1307, 0.3081) if "misnormalised" in recipe else (0.5, 0.5)
    if loaded.step.stack:
        seen["images"][0] = seen["images"][0][:batch]
        seen["discriminator"].insert(0, [])
    real = seen["images"][0]
    bytes_ = trainer.batches.image_set.images.flatten(1).numpy()
    if loaded.data.shuffle:
        # In whatever order, each of the images once.
        back = ((real * std + mean) * 255).round().astype(np.uint8)
        order = [next(i for i, row in enumerate(bytes_) if (row == one).all()) for one in back]
        assert sorted(order) == list(range(batch))
        bytes_ = bytes_[order]
    np.testing.assert_allclose(real, (bytes_ / 255 - mean) / std, atol=1e-6)

    for masks in (*seen["generator"], *seen["discriminator"]):
        for mask in masks:
            assert set(np.unique(mask.round(9))) <= {0, round(1 / 0.7, 9)}
    every = [m.ravel() for masks in seen["discriminator"] for m in masks]
    assert (
        (np.concatenate(every) == 0).mean() == pytest.approx(0.3, abs=0.03)
        if every
        else (facts.dropout == 0)
    )
    d_loss, g_loss, d_slopes, g_slopes, new_d, new_g = one_round(
        facts,
        g_before,
        d_before,
        real,
        [z.numpy() for z in seen["z"]],
        seen["generator"],
        seen["discriminator"],
    )
    assert len(seen["z"]) == (1 if facts.reuse_fakes or facts.simultaneous else 2)
    assert trainer.latest["d_loss"] == pytest.approx(d_loss, rel=1e-6)
    assert trainer.latest["g_loss"] == pytest.approx(g_loss, rel=1e-6)
    for network, slopes, new, optimizer in (
        (game.discriminator, d_slopes, new_d, game.d_optimizer),
        (game.generator, g_slopes, new_g, game.g_optimizer),
    ):
        assert len(slopes) == len(list(network.parameters()))
        # A bias before a batch normalisation changes nothing: all of its slopes are rounding errors.
        useless = sum(np.abs(slope).max() < 1e-12 for slope in slopes)
        is_generator = network is game.generator
        assert useless == (len(loaded.generator.hidden) if facts.batchnorm and is_generator else 0)
        for p, slope, moved in zip(network.parameters(), slopes, new, strict=True):
            first_moment = optimizer.state[p]["exp_avg"].numpy()
            np.testing.assert_allclose(
                first_moment, (1 - facts.beta1) * slope, rtol=1e-4, atol=1e-9
            )
            # Adam's first step is almost the sign of the slope, so only slopes that are not
            # rounding errors fix it; the others are held to its size.
            clear = np.abs(slope) > 1e-5
            np.testing.assert_allclose(
                p.detach().numpy()[clear], moved[clear], rtol=0, atol=2e-3 * facts.lr
            )
            assert np.abs(p.detach().numpy() - moved).max() <= 2.01 * facts.lr
            assert clear.any() or np.abs(slope).max() < 1e-12


def test_the_running_statistics_follow_every_pass_through_the_generator():
    g = mlp.Generator(latent_dim=4, hidden=(3,), image_shape=(1, 2, 2), batchnorm=True)
    z = g.sample_z(16, torch.Generator().manual_seed(0))
    g(z)
    a = g.net[0](z).detach()
    assert torch.allclose(g.net[1].running_mean, 0.1 * a.mean(0))
    assert torch.allclose(g.net[1].running_var, 0.9 + 0.1 * a.var(0, unbiased=True))
    g.eval()
    normal = (a - g.net[1].running_mean) / torch.sqrt(g.net[1].running_var + 1e-5)
    hidden = torch.where(normal > 0, normal, 0.2 * normal)
    assert torch.allclose(g(z).flatten(1), torch.tanh(g.net[3](hidden)), atol=1e-6)


# --- the judge -------------------------------------------------------------------------------


def test_the_classifier_s_features_and_logits():
    torch.manual_seed(0)
    net = classifier.DigitClassifier(width=4).eval()
    images = torch.rand(5, 1, 28, 28) * 2 - 1
    features, logits = net.features(images), net(images)
    assert features.shape == (5, net.feature_dim) == (5, 128)
    assert logits.shape == (5, 10)
    assert features.min() >= 0
    assert torch.allclose(logits, features @ net.head.weight.T + net.head.bias, atol=1e-6)


def test_the_classifier_uses_dropout_in_training_only():
    torch.manual_seed(0)
    net = classifier.DigitClassifier(width=4, dropout=0.5)
    images = torch.rand(5, 1, 28, 28) * 2 - 1
    net.train()
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


def test_the_classifier_s_step_by_hand():
    from gantut.classify import Classification, play

    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    images, labels = torch.rand(5, 1, 4, 4) * 2 - 1, torch.tensor([0, 2, 1, 1, 0])
    w, b = (p.detach().double().numpy().copy() for p in net.parameters())
    x = images.flatten(1).double().numpy()
    scores = np.exp(x @ w.T + b)
    p = scores / scores.sum(1, keepdims=True)
    wanted = np.eye(3)[labels.numpy()]
    seen = play(
        Classification(net, torch.optim.SGD(net.parameters(), 0.5)), lambda: (images, labels)
    )
    assert seen["loss"].item() == pytest.approx(-np.log((p * wanted).sum(1)).mean(), rel=1e-5)
    assert seen["accuracy"].item() == pytest.approx((p.argmax(1) == labels.numpy()).mean())
    np.testing.assert_allclose(net[1].weight.detach(), w - 0.5 * (p - wanted).T @ x / 5, atol=1e-6)
    np.testing.assert_allclose(net[1].bias.detach(), b - 0.5 * (p - wanted).mean(0), atol=1e-6)


def test_label_smoothing_spreads_a_share_of_the_target_over_all_classes():
    from gantut.classify import Classification, play

    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    images, labels = torch.randn(3, 1, 2, 2), torch.tensor([0, 3, 1])
    log_p = net(images).log_softmax(1).detach()
    target = 0.8 * nn.functional.one_hot(labels, 4) + 0.2 / 4
    game = Classification(net, torch.optim.SGD(net.parameters(), 0.1), label_smoothing=0.2)
    loss = play(game, lambda: (images, labels))["loss"].item()
    assert loss == pytest.approx(-(target * log_p).sum(1).mean().item(), rel=1e-6)


def test_crops_are_whole_shifts_mirrored_at_the_edge_and_flips_mirror_images():
    from gantut.classify import crop, flip

    image = torch.arange(3 * 6 * 6.0).view(1, 3, 6, 6)
    images = image.expand(200, -1, -1, -1)
    assert crop(images, 0) is images
    torch.manual_seed(0)
    padded = np.pad(image[0].numpy(), [(0, 0), (2, 2), (2, 2)], mode="reflect")
    places = {(r, c): padded[:, r : r + 6, c : c + 6] for r in range(5) for c in range(5)}
    seen = set()
    for one in crop(images, 2).numpy():
        seen |= {place for place, wanted in places.items() if np.array_equal(one, wanted)}
    assert seen == set(places)
    turned = flip(images)
    mirrored = (turned == image.flip(3)).flatten(1).all(1)
    assert ((turned == image).flatten(1).all(1) | mirrored).all()
    assert 60 < mirrored.sum() < 140


def test_the_classifier_of_objects_whitens_first_and_adds_a_residual_path():
    torch.manual_seed(0)
    net = classifier.ObjectClassifier((4, 6, 8)).eval()
    rng = torch.Generator().manual_seed(1)
    # Neighbouring pixels of photographs agree: so do those of enlarged noise.
    images = torch.rand(300, 3, 8, 8, generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = nn.functional.avg_pool2d(images, 3, 1, 1) * 2 - 1
    net.prepare(images, eps=0.0)
    seen = net.whitening(images).permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(seen[:12].cov(), torch.eye(12), atol=0.02)
    kernel = net.whitening.weight
    assert torch.equal(kernel[:12], -kernel[12:])
    assert not kernel.requires_grad
    assert all(
        p is not kernel
        for p in build.optimizer(recipes.load("classifier-cifar10").optimizer, net).param_groups[0][
            "params"
        ]
    )
    features, logits = net.features(images[:5]), net(images[:5])
    assert features.shape == (5, net.feature_dim) == (5, 8)
    assert torch.allclose(8 * logits, net.head(features), atol=1e-6)
    # In training an image is seen as it is; a verdict is the mean over it and its mirror image.
    net.eval()
    sides = [nn.functional.gelu(net.whitening(x)) for x in (images[:5], images[:5].flip(3))]
    sides = [net.blocks(x).flatten(2).max(2).values for x in sides]
    assert torch.allclose(net.features(images[:5]), (sides[0] + sides[1]) / 2, atol=1e-6)
    assert not torch.allclose(sides[0], sides[1], atol=1e-3)
    net.train()
    statistics = net.blocks[0].norms[0].num_batches_tracked.item()
    net.features(images[:5])
    assert net.blocks[0].norms[0].num_batches_tracked == statistics + 1
    block = net.blocks[0]
    maps = torch.rand(2, 24, 10, 10)
    nn.init.zeros_(block.second.weight)
    first = nn.functional.gelu(block.norms[0](nn.functional.max_pool2d(block.first(maps), 2)))
    assert torch.allclose(block(maps), first)
    assert block(maps).shape == (2, 4, 5, 5)


def test_images_are_varied_a_little_each_by_its_own_amount_and_padded_with_background():
    from gantut.classify import vary

    images = torch.full((40, 1, 28, 28), -1.0)
    images[:, :, 13:15, 13:15] = 1.0
    assert vary(images, 0, 0.0) is images
    torch.manual_seed(0)
    moved = vary(images, 2, 0.0)
    assert moved.min() >= -1
    assert moved.max() <= 1
    ink = (moved + 1).sum((1, 2, 3)) / 2
    assert torch.allclose(ink, torch.full((40,), 4.0), atol=1e-3)
    place = torch.arange(28.0)
    rows = ((moved + 1) / 2).sum((1, 3)) @ place / ink - 13.5
    columns = ((moved + 1) / 2).sum((1, 2)) @ place / ink - 13.5
    for shift in (rows, columns):
        assert shift.abs().max() <= 2.001
        assert shift.min() < -1
        assert shift.max() > 1
    # A turn about the middle leaves a mark in the middle where it is.
    turned = vary(images, 0, 30.0)
    assert ((turned + 1).sum((1, 2, 3)) / 2 - 4).abs().max() < 0.8
    assert (turned[:, :, :11] == -1).all()
