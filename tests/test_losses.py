"""What the players play for, against closed forms."""

import math

import pytest
import torch

from gantut.errors import InputError
from gantut.losses import LOSSES, Minimax, NonSaturating

LOG2 = math.log(2)
real = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
fake = torch.tensor([-3.0, 0.25, 1.0], dtype=torch.float64)


def bce(p: torch.Tensor, target: float) -> torch.Tensor:
    return -(target * p.log() + (1 - target) * (1 - p).log())


@pytest.mark.parametrize("label", [1.0, 0.9, 0.7])
@pytest.mark.parametrize(("reduction", "weight"), [("sum", 1.0), ("mean", 0.5)])
def test_the_discriminator_s_loss(label, reduction, weight):
    loss = NonSaturating(real_label=label, reduction=reduction)
    on_real = bce(torch.sigmoid(real), label).mean()
    on_fake = bce(torch.sigmoid(fake), 0.0).mean()
    assert loss.discriminator(real, fake).item() == pytest.approx(
        weight * (on_real + on_fake).item()
    )


def test_both_players_at_a_discriminator_that_does_not_know():
    zero = torch.zeros(5)
    assert NonSaturating().discriminator(zero, zero).item() == pytest.approx(2 * LOG2)
    assert NonSaturating(reduction="mean").discriminator(zero, zero).item() == pytest.approx(LOG2)
    assert NonSaturating().generator(zero).item() == pytest.approx(LOG2)
    assert Minimax().generator(zero).item() == pytest.approx(-LOG2)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize(
    "options", [{}, {"real_label": 0.9}, {"smoothing": 0.2}, {"reduction": "mean"}]
)
def test_the_generator_s_target_is_always_one(name, options):
    expected = {
        "non-saturating": -torch.sigmoid(fake).log(),
        "minimax": (1 - torch.sigmoid(fake)).log(),
    }
    loss = LOSSES[name](**options).generator(fake)
    assert loss.item() == pytest.approx(expected[name].mean().item())


def test_slopes_of_the_generator_s_losses():
    logits = fake.clone().requires_grad_()
    NonSaturating().generator(logits).backward()
    assert torch.allclose(logits.grad, (torch.sigmoid(fake) - 1) / 3)
    logits = fake.clone().requires_grad_()
    Minimax().generator(logits).backward()
    assert torch.allclose(logits.grad, -torch.sigmoid(fake) / 3)


def test_the_generator_is_pushed_towards_being_called_real():
    for loss in (NonSaturating(), Minimax()):
        logits = fake.clone().requires_grad_()
        loss.generator(logits).backward()
        assert (logits.grad < 0).all()


def test_the_discriminator_is_pushed_up_on_real_and_down_on_fakes():
    a, b = real[:3].clone().requires_grad_(), fake.clone().requires_grad_()
    NonSaturating().discriminator(a, b).backward()
    assert torch.allclose(a.grad, (torch.sigmoid(real[:3]) - 1) / 3)
    assert torch.allclose(b.grad, torch.sigmoid(fake) / 3)


def test_minimax_and_non_saturating_share_the_discriminator_s_loss():
    assert Minimax().discriminator(real, fake) == NonSaturating().discriminator(real, fake)


def test_one_sided_smoothing_changes_the_targets_of_real_images_only():
    on_real, on_fake = NonSaturating(real_label=0.9).targets(real, fake)
    assert torch.equal(on_real, torch.full_like(real, 0.9))
    assert torch.equal(on_fake, torch.zeros_like(fake))


def test_the_floor_under_one_sided_smoothing_is_the_entropy_of_the_label():
    best = torch.full((4,), math.log(0.9 / 0.1), dtype=torch.float64)
    far = torch.full((4,), -40.0, dtype=torch.float64)
    floor = NonSaturating(real_label=0.9).discriminator(best, far).item()
    assert floor == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)), abs=1e-12)
    assert round(floor, 3) == 0.325
    for shift in (-0.3, 0.3):
        assert NonSaturating(real_label=0.9).discriminator(best + shift, far).item() > floor


@pytest.mark.parametrize("degree", [0.1, 0.3])
def test_two_sided_smoothing_fills_its_ranges_evenly(degree):
    loss = NonSaturating(smoothing=degree, rng=torch.Generator().manual_seed(0))
    on_real, on_fake = loss.targets(torch.zeros(20_000), torch.zeros(10_000))
    assert on_real.shape == (20_000,)
    assert on_fake.shape == (10_000,)
    for values, low in ((on_real, 1 - degree), (on_fake, 0.0)):
        assert values.min() >= low
        assert values.max() <= low + degree
        shares = torch.histc(values, bins=5, min=low, max=low + degree) / len(values)
        assert (shares - 0.2).abs().max() < 0.02


def test_two_sided_targets_are_drawn_anew_from_the_given_source_only():
    loss = NonSaturating(smoothing=0.1, rng=torch.Generator().manual_seed(0))
    outside = torch.get_rng_state()
    first, second = loss.targets(real, fake), loss.targets(real, fake)
    assert torch.equal(torch.get_rng_state(), outside)
    assert not torch.equal(first[0], second[0])
    same = NonSaturating(smoothing=0.1, rng=torch.Generator().manual_seed(0)).targets(real, fake)
    assert torch.equal(first[0], same[0])
    assert torch.equal(first[1], same[1])


def test_two_sided_loss_is_the_cross_entropy_of_its_targets():
    make = lambda: NonSaturating(smoothing=0.1, rng=torch.Generator().manual_seed(3))  # noqa: E731
    on_real, on_fake = make().targets(real[:3], fake)
    p, q = torch.sigmoid(real[:3]), torch.sigmoid(fake)
    expected = torch.stack([bce(a, t) for a, t in zip(p, on_real, strict=True)]).mean()
    expected += torch.stack([bce(a, t) for a, t in zip(q, on_fake, strict=True)]).mean()
    assert make().discriminator(real[:3], fake).item() == pytest.approx(expected.item())


def test_losses_stay_exact_where_a_sigmoid_has_rounded():
    a, b = torch.tensor([-200.0]), torch.tensor([200.0])
    assert NonSaturating().discriminator(a, b).item() == pytest.approx(400)
    assert NonSaturating().generator(a).item() == pytest.approx(200)
    assert Minimax().generator(b).item() == pytest.approx(-200)
    # A sure discriminator leaves the minimax generator without a slope.
    logits = torch.tensor([-100.0], requires_grad=True)
    Minimax().generator(logits).backward()
    assert logits.grad.abs().item() < 1e-30


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"real_label": 0}, r"real_label must lie in \(0, 1\], not 0\."),
        ({"real_label": 1.1}, r"real_label must lie in \(0, 1\], not 1\.1\."),
        ({"smoothing": 0.5}, r"smoothing must lie in \[0, 0\.5\), not 0\.5\."),
        ({"smoothing": -0.1}, r"smoothing must lie in \[0, 0\.5\), not -0\.1\."),
        (
            {"smoothing": 0.1, "real_label": 0.9},
            r"Give real_label \(one-sided\) or smoothing \(two-sided\), not both\.",
        ),
        ({"reduction": "none"}, r"reduction must be 'sum' or 'mean', not 'none'\."),
    ],
)
def test_impossible_settings_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        NonSaturating(**options)
