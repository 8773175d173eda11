"""What conditional generators are measured by, against cases with a known answer."""

import pytest
import torch

from gantut.errors import InputError
from gantut.metrics import (
    class_separation,
    frechet_distance,
    intra_class_frechet,
    label_agreement,
    one_minus_pixel_mse,
    within_class_diversity,
)

ASKED = torch.tensor([0, 0, 0, 1, 1, 2])
SEEN = torch.tensor([0, 0, 1, 1, 1, 0])


def test_agreement_counts_what_was_asked_for_and_what_was_seen():
    probabilities = 0.1 + 0.6 * torch.nn.functional.one_hot(SEEN, 4)
    found = label_agreement(probabilities, ASKED)
    assert found.overall == pytest.approx(4 / 6)
    assert found.confusion.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert found.per_class[:3].tolist() == pytest.approx([2 / 3, 1, 0])
    assert found.per_class[3].isnan()


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (
            torch.full((3, 2), 0.5),
            torch.tensor([0, 1]),
            r"3 images need 3 labels, not labels of shape \(2,\)",
        ),
        (
            torch.ones(3),
            torch.tensor([0, 1, 0]),
            r"a table \[N, K\] whose rows sum to 1",
        ),
        (torch.full((2, 2), 0.5), torch.tensor([0, 2]), "whole numbers from 0 to 1"),
        (torch.full((2, 2), 0.5), torch.tensor([0, -1]), "whole numbers from 0 to 1; -1 is none"),
        (torch.full((2, 2), 0.5), torch.tensor([0.0, 1.0]), "whole numbers from 0 to 1"),
        (torch.full((2, 2), 0.5), torch.tensor([False, True]), "from 0 to 1, not of type bool"),
        (
            torch.ones(0, 2),
            torch.tensor([], dtype=torch.long),
            r"a table \[N, K\] whose rows sum to 1",
        ),
        (torch.full((2, 2), torch.nan), torch.tensor([0, 1]), "whose rows sum to 1"),
        (torch.tensor([[3.0, -1.0]]), torch.tensor([0]), "whose rows sum to 1"),
    ],
)
def test_agreement_of_tables_that_do_not_go_together(probabilities, labels, message):
    with pytest.raises(InputError, match=message):
        label_agreement(probabilities, labels)


def features(seed: int, n: int, shift=(0.0, 0.0), scale=(1.0, 1.0)):
    """Two classes in three dimensions, by turns; each with its own shift and deviation."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    x = torch.randn(n, 3, generator=rng, dtype=torch.float64)
    x *= torch.tensor(scale, dtype=torch.float64)[labels][:, None]
    x[:, 0] += torch.tensor(shift, dtype=torch.float64)[labels]
    return x, labels


def test_the_frechet_distance_within_classes_sees_exchanged_ones():
    real, fakes = features(0, 4000, (-2, 2)), features(1, 4000, (2, -2))
    assert frechet_distance(fakes[0], real[0]) < 0.02
    within = intra_class_frechet(*fakes, *real)
    assert within.tolist() == pytest.approx([16, 16], rel=0.05)
    mine, theirs = fakes[0][fakes[1] == 1], real[0][real[1] == 1]
    assert within[1] == pytest.approx(frechet_distance(mine, theirs))
    assert intra_class_frechet(*real, *real).abs().max() < 1e-6


def test_diversity_is_the_ratio_of_mean_squared_distances():
    real, fakes = features(2, 2000), features(3, 2000, scale=(0.5, 1.0))
    found = within_class_diversity(*fakes, *real)
    assert found.tolist() == pytest.approx([0.25, 1], rel=0.1)
    by_hand = []
    for label in (0, 1):
        far = [torch.pdist(x[y == label]).square().mean() for x, y in (fakes, real)]
        by_hand.append(far[0] / far[1])
    assert torch.allclose(found, torch.stack(by_hand), rtol=1e-9)
    single = fakes[0].clone()
    single[fakes[1] == 0] = 7.0
    assert within_class_diversity(single, fakes[1], *real)[0] < 1e-9


def test_separation_is_the_share_of_variance_between_classes():
    """Two classes whose means are 2 apart: variance 1 within, and 1 more between, in one of three."""
    x, y = features(5, 20_000, shift=(-1.0, 1.0))
    assert class_separation(x, y) == pytest.approx(1 / 4, abs=0.01)
    assert class_separation(3 * x + 7, y) == pytest.approx(class_separation(x, y))
    centred = x - torch.stack([x[y == k].mean(0) for k in (0, 1)])[y]
    ratio = (centred.square().sum() / (len(x) - 2)) / x.var(0).sum()
    assert class_separation(x, y) == pytest.approx(1 - ratio.item())


def test_separation_without_a_difference_is_zero_on_average_even_for_few_images():
    found = [class_separation(*features(seed, 6)) for seed in range(400)]
    assert sum(found) / len(found) == pytest.approx(0, abs=0.02)
    assert min(found) < -0.1 < 0.1 < max(found)


def test_separation_at_its_ends():
    y = torch.arange(10).repeat(3)
    decided = torch.eye(10)[y]
    assert class_separation(decided, y) == pytest.approx(1)
    assert class_separation(torch.ones(30, 4), y) == 0
    assert class_separation(decided.numpy(), y) == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.ones(4, 2), torch.zeros(4, dtype=torch.long), "2 to N - 1 classes, not 4 of 1"),
        (torch.ones(4, 2), torch.arange(4), "2 to N - 1 classes, not 4 of 4"),
        (torch.ones(4, 2), torch.tensor([0, 1, 0]), "4 images need 4 labels"),
        (torch.ones(4, 2), torch.tensor([0.0, 1, 0, 1]), "whole numbers from 0, not of type float"),
        (torch.ones(4), torch.tensor([0, 1, 0, 1]), r"features \[N, F\], not \[4\]"),
    ],
)
def test_separation_of_tables_that_say_nothing(x, y, message):
    with pytest.raises(InputError, match=message):
        class_separation(x, y)


def test_labels_that_are_missing_or_too_few():
    x, y = features(4, 8)
    with pytest.raises(InputError, match="8 images need 8 labels, not labels of shape"):
        within_class_diversity(x, y[:-1], x, y)
    with pytest.raises(InputError, match="not of type float32"):
        within_class_diversity(x, y, x, y.float())
    with pytest.raises(InputError, match="needs at least 4 images of each class, and of class 1"):
        intra_class_frechet(x[:7], y[:7], x, y)
    with pytest.raises(InputError, match="of class 1 there are 0 and 4 real ones"):
        within_class_diversity(x, torch.zeros(8, dtype=torch.long), x, y)
    with pytest.raises(InputError, match="of class 1 there are 4 and 0 real ones"):
        within_class_diversity(x, y, x, torch.zeros(8, dtype=torch.long))


def test_the_pixel_score_pairs_each_fake_with_a_real_image_of_its_class():
    real = torch.stack([torch.full((1, 2, 2), v) for v in (-1.0, 1.0, -0.5)])
    kinds = torch.tensor([0, 1, 0])
    fakes = torch.stack([torch.full((1, 2, 2), v) for v in (1.0, 1.0, 0.0, 0.0)])
    labels = torch.tensor([1, 0, 0, 0])
    # On pixels in [0, 1]: 1 and 1; 1 and 0; .5 and .25; .5 and 0 again.
    expected = 1 - (0 + 1 + 0.0625 + 0.25) / 4
    assert one_minus_pixel_mse(fakes, labels, real, kinds) == pytest.approx(expected)
    with pytest.raises(InputError, match="no real images of class 2"):
        one_minus_pixel_mse(fakes, labels + 1, real, kinds)
    with pytest.raises(InputError, match="have no pixels in common"):
        one_minus_pixel_mse(fakes[..., :1], labels, real, kinds)
    with pytest.raises(InputError, match="4 images need 4 labels"):
        one_minus_pixel_mse(fakes, labels[:3], real, kinds)
    for wrong in (255 * fakes, fakes[:0], fakes * torch.nan):
        with pytest.raises(InputError, match=r"\[-1, 1\], at least one"):
            one_minus_pixel_mse(wrong, labels[: len(wrong)], real, kinds)
