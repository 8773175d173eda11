"""Kernel distance, neighbours, and the score of classes: against other implementations and by hand."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import (
    KEY_METRIC_KID_MEAN,
    KEY_METRIC_KID_STD,
    kid_features_to_metric,
)
from torch_fidelity.metric_prc import calculate_precision_recall_full

from gantut.errors import InputError
from gantut.metrics import (
    classifier_score,
    density_coverage,
    frechet_distance,
    kernel_distance,
    nearest,
    precision_recall,
)
from gantut.metrics.kernel import subset_size, unbiased_mmd
from gantut.metrics.neighbours import nearest_others


def cloud(n: int, f: int = 6, seed: int = 0, shift: float = 0.0, scale: float = 1.0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, f, generator=rng) * scale + shift


# --- Fréchet ------------------------------------------------------------------------------------


def test_frechet_of_correlated_features_agrees_with_torch_fidelity():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    mix = cloud(40, 40, seed=5)
    a, b = cloud(500, 40, 1) @ mix, cloud(400, 40, 2, shift=0.3) @ mix
    stats = [fid_features_to_statistics(x) for x in (a, b)]
    (theirs,) = fid_statistics_to_metric(*stats, False).values()
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-3)
    assert frechet_distance(a, a.flip(0)) < 1e-3


# --- the kernel distance ------------------------------------------------------------------------


def by_hand_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Gretton et al. 2012, equation 3, with a loop for each sum."""

    def k(x, y):
        return (sum(p * q for p, q in zip(x, y)) / len(x) + 1) ** 3

    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    ab = sum(k(x, y) for x in a for y in b) / (n * m)
    return aa + bb - 2 * ab


def test_the_mmd_is_that_of_its_definition():
    a, b = cloud(9, 4, 1).double(), cloud(7, 4, 2, shift=0.5).double()
    assert unbiased_mmd(a, b) == pytest.approx(by_hand_mmd(a.numpy(), b.numpy()), rel=1e-10)


def test_the_kernel_distance_agrees_with_torch_fidelity_within_its_error():
    a, b = cloud(2000, 16, 1), cloud(2000, 16, 2, shift=0.15)
    ours = kernel_distance(a, b, 200)
    theirs = kid_features_to_metric(
        a, b, kid_subsets=300, kid_subset_size=200, rng_seed=1, verbose=False
    )
    assert ours.standard_error > 0
    assert abs(ours.value - theirs[KEY_METRIC_KID_MEAN]) < 2.5 * ours.standard_error
    # One subset's spread is theirs; the mean of ten independent ones errs by a root of ten less.
    spread = theirs[KEY_METRIC_KID_STD] / math.sqrt(10)
    assert 0.4 < ours.standard_error / spread < 2.5


def test_the_kernel_distance_has_no_bias_and_states_its_error():
    found = [
        kernel_distance(cloud(200, 8, 2 * seed), cloud(200, 8, 2 * seed + 1), 20)
        for seed in range(60)
    ]
    values = np.array([f.value for f in found])
    errors = np.array([f.standard_error for f in found])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    assert (values < 0).any()
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.35)


def test_few_samples_move_the_frechet_distance_and_not_the_kernel_distance():
    a, b = cloud(4000, 20, 1), cloud(4000, 20, 2)
    assert frechet_distance(a[:100], b[:100]) > 5 * frechet_distance(a, b)
    few = kernel_distance(a[:100], b[:100])
    assert abs(few.value) < 3 * few.standard_error


def test_the_default_subsets_are_as_published_where_there_are_enough_samples():
    assert [subset_size(n) for n in (50_000, 10_000, 9_990, 300)] == [1000, 1000, 999, 30]


# --- neighbours ---------------------------------------------------------------------------------


def by_hand_balls(centres, points, k) -> np.ndarray:
    """inside[i][j]: point j lies in the ball around centre i that reaches to its k-th neighbour."""
    table = np.zeros((len(centres), len(points)), bool)
    for i, centre in enumerate(centres):
        others = sorted(math.dist(centre, other) for j, other in enumerate(centres) if j != i)
        for j, point in enumerate(points):
            table[i, j] = math.dist(centre, point) <= others[k - 1]
    return table


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_density_and_coverage_are_those_of_their_definitions(k, monkeypatch):
    monkeypatch.setattr("gantut.metrics.neighbours.CHUNK", 17)
    generated, real = cloud(60, 3, 1, shift=0.6).double(), cloud(45, 3, 2, scale=1.3).double()
    of_real = by_hand_balls(real.tolist(), generated.tolist(), k)
    of_generated = by_hand_balls(generated.tolist(), real.tolist(), k)
    precision, recall = precision_recall(generated, real, k)
    assert precision == pytest.approx(of_real.any(0).mean())
    assert recall == pytest.approx(of_generated.any(0).mean())
    density, coverage = density_coverage(generated, real, k)
    assert density == pytest.approx(of_real.sum() / (k * 60))
    assert coverage == pytest.approx(of_real.any(1).mean())
    assert len({precision, recall, density, coverage}) == 4


def test_precision_and_recall_agree_with_torch_fidelity():
    generated, real = cloud(700, 12, 1, shift=0.3, scale=0.9), cloud(500, 12, 2)
    theirs = calculate_precision_recall_full(generated, real, 3, 10_000)
    assert precision_recall(generated, real, 3) == pytest.approx(tuple(map(float, theirs)))


def test_good_samples_of_one_mode_are_precise_and_recall_little():
    real = torch.cat([cloud(300, 2, 1, shift=0, scale=0.1), cloud(300, 2, 2, shift=9, scale=0.1)])
    one_mode = cloud(600, 2, 3, shift=0, scale=0.1)
    precision, recall = precision_recall(one_mode, real)
    assert precision > 0.9
    assert recall < 0.6
    density, coverage = density_coverage(one_mode, real)
    assert density > 0.8
    assert 0.4 < coverage < 0.6


def test_an_outlier_among_the_reals_moves_precision_more_than_density():
    real = torch.cat([cloud(200, 2, 1), torch.tensor([[40.0, 0.0]])])
    bad = cloud(200, 2, 3) + torch.tensor([20.0, 0.0])
    assert precision_recall(bad, real).precision == 1
    assert density_coverage(bad, real).density < 0.25


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_copies_of_the_data_lie_in_it_wherever_the_origin_is(offset):
    x = cloud(300, 64, 1) + offset
    assert precision_recall(x, x.clone()) == (1, 1)
    assert density_coverage(x, x.clone()).coverage == 1
    same = x[:1].expand(50, -1)
    assert precision_recall(same, x).precision == 1
    assert precision_recall(same, same.clone()) == (1, 1)


def test_nearest_neighbours_are_found_over_chunks(monkeypatch):
    monkeypatch.setattr("gantut.metrics.neighbours.CHUNK", 7)
    queries, reference = cloud(20, 5, 1).double(), cloud(30, 5, 2).double()
    table = [[math.dist(q, r) for r in reference.tolist()] for q in queries.tolist()]
    distances, indices = nearest(queries, reference, k=3)
    assert indices.tolist() == [sorted(range(30), key=row.__getitem__)[:3] for row in table]
    assert distances.tolist() == [pytest.approx(sorted(row)[:3]) for row in table]
    for alone, found in zip(nearest_others(queries, 2), nearest(queries, queries, k=3)[0]):
        assert alone.tolist() == pytest.approx(found[1:].tolist())


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
def test_distances_that_are_known_need_not_be_computed_again(metric):
    generated, real = cloud(60, 3, 1, shift=0.6), cloud(45, 3, 2, scale=1.3)
    others = nearest_others(real, 5)
    at_once = metric(generated, real, 3)
    assert metric(generated, real, 3, others) == at_once
    assert metric(generated, real, 3, 2 * others) != at_once  # they are what is used
    with pytest.raises(InputError, match=r"of shape \(45, 2\); .* need at least \(45, 3\)"):
        metric(generated, real, 3, others[:, :2])
    with pytest.raises(InputError, match=r"of shape \(44, 5\); .* need at least \(45, 3\)"):
        metric(generated, real, 3, others[1:])


# --- the score of classes -----------------------------------------------------------------------


def test_the_classifier_score_of_tables_that_are_known():
    certain = torch.eye(10).repeat(20, 1)
    assert classifier_score(certain, 4) == (pytest.approx(10), pytest.approx(0, abs=1e-9))
    # Features are often float64.
    assert classifier_score(certain.double(), 4) == classifier_score(certain, 4)
    assert classifier_score(torch.full((40, 10), 0.1), 4).mean == pytest.approx(1)
    assert classifier_score(torch.eye(10)[:1].repeat(40, 1), 4).mean == pytest.approx(1)


def test_the_classifier_score_agrees_with_torch_fidelity():
    logits = cloud(1000, 10, 3, scale=2)
    theirs = isc_features_to_metric(logits, splits=10, shuffle=False)
    ours = classifier_score(logits.softmax(1), splits=10)
    assert list(ours) == pytest.approx(list(theirs.values()), rel=1e-5)


# --- what makes no sense ------------------------------------------------------------------------

PAIRED = [kernel_distance, precision_recall, density_coverage, nearest]


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (torch.zeros(50, 3), torch.zeros(50, 4), "different dimensions, 3 and 4: they are of two"),
        (torch.full((50, 3), math.inf), torch.zeros(50, 3), "numbers that are not finite"),
        (torch.zeros(50, 3), torch.full((50, 3), math.nan), "numbers that are not finite"),
        (torch.zeros(50), torch.zeros(50, 3), r"table \[N, F\] of floats"),
        (torch.zeros(50, 3).long(), torch.zeros(50, 3), r"not int64 of shape \(50, 3\)"),
        (torch.zeros(0, 3), torch.zeros(50, 3), "0 samples are too few"),
    ],
)
def test_features_that_do_not_go_together(metric, a, b, sentence):
    with pytest.raises(InputError, match=sentence):
        metric(a, b)


def test_too_few_samples_or_neighbours_too_far():
    x = cloud(19, 3)
    with pytest.raises(InputError, match="19 samples are too few: the kernel distance needs at"):
        kernel_distance(x, cloud(50, 3))
    with pytest.raises(
        InputError, match=r"19 samples make no two subsets of 10: .* half of them, 9"
    ):
        kernel_distance(x, cloud(50, 3), size=10)
    for metric in (precision_recall, density_coverage):
        with pytest.raises(InputError, match=r"k must be from 1 to 18, .* not 19"):
            metric(cloud(50, 3), x, k=19)
        with pytest.raises(InputError, match=r"k must be from 1 to 18, .* not 0"):
            metric(cloud(50, 3), x, k=0)
    with pytest.raises(InputError, match=r"k must be from 1 to 19, .* not 20"):
        nearest(cloud(5, 3), x, k=20)
    with pytest.raises(InputError, match="19 images cannot be split into 10 parts"):
        classifier_score(torch.full((19, 10), 0.1))
