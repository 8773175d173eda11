"""Toys promise exactness: densities that are densities, samples that follow them, honest counts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions

from gantut import toys
from gantut.errors import InputError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


ON_A_LINE = {
    "gaussian": toys.Gaussian(1.0, 0.5),
    "two hills": toys.Mixture([-1.0, 2.0], [0.3, 0.8], [1, 3]),
}
IN_THE_PLANE = {
    "ring": toys.Ring(modes=5, radius=1.5, std=0.3),
    "grid": toys.Grid(side=2, spacing=1.0, std=0.4),
    "lopsided": toys.Mixture([[0.0, 0.0], [1.0, -1.0]], [0.3, 0.5], [0.2, 0.8]),
}


@pytest.mark.parametrize("name", ON_A_LINE)
def test_density_on_a_line_integrates_to_one(name):
    x = torch.linspace(-10, 12, 20001, dtype=torch.float64)
    assert torch.trapezoid(ON_A_LINE[name].prob(x), x).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", IN_THE_PLANE)
def test_density_in_the_plane_integrates_to_one(name):
    line = torch.linspace(-6, 6, 601, dtype=torch.float64)
    points = torch.cartesian_prod(line, line)
    total = IN_THE_PLANE[name].prob(points).sum() * (line[1] - line[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_density_is_that_of_torch_distributions():
    toy = IN_THE_PLANE["lopsided"]
    reference = distributions.MixtureSameFamily(
        distributions.Categorical(probs=torch.tensor([0.2, 0.8])),
        distributions.Independent(
            distributions.Normal(toy.centers, torch.tensor([[0.3, 0.3], [0.5, 0.5]])), 1
        ),
    )
    x = torch.randn(200, 2, generator=seeded())
    torch.testing.assert_close(toy.log_prob(x), reference.log_prob(x), rtol=1e-5, atol=1e-5)


def test_standard_normal_at_zero():
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    expected = -0.5 * math.log(2 * math.pi) - torch.tensor([0.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(toys.Gaussian().log_prob(x), expected)


def test_log_density_stays_finite_where_the_density_underflows():
    assert toys.Gaussian().log_prob(torch.tensor([200.0])).item() == pytest.approx(
        -20000.9, abs=0.1
    )


@pytest.mark.parametrize("toy", [*ON_A_LINE.values(), *IN_THE_PLANE.values()], ids=repr)
def test_samples_follow_the_density(toy):
    """The mean log density of samples is minus the entropy, known here by a sum over a grid."""
    if toy.dim == 1:
        points = torch.linspace(-10, 12, 20001, dtype=torch.float64)
        cell = (points[1] - points[0]).item()
    else:
        line = torch.linspace(-5, 5, 801, dtype=torch.float64)
        points, cell = torch.cartesian_prod(line, line), (line[1] - line[0]).item() ** 2
    log_p = toy.log_prob(points)
    expected = (log_p.exp() * log_p).nan_to_num().sum().item() * cell
    samples = toy.sample(40_000, seeded(1))
    assert samples.dtype == torch.float32
    assert samples.shape == ((40_000,) if toy.dim == 1 else (40_000, 2))
    assert toy.log_prob(samples).mean().item() == pytest.approx(expected, abs=0.03)


def test_samples_respect_weights_and_spreads():
    x = toys.Mixture([-5.0, 5.0], [0.3, 0.8], [1, 3]).sample(40_000, seeded(2))
    left = x < 0
    assert left.float().mean().item() == pytest.approx(0.25, abs=0.015)
    assert x[left].std().item() == pytest.approx(0.3, abs=0.02)
    assert x[~left].std().item() == pytest.approx(0.8, abs=0.02)


def test_same_generator_seed_gives_same_samples_and_leaves_the_default_one_alone():
    state = torch.get_rng_state()
    first, second = toys.Ring().sample(100, seeded(3)), toys.Ring().sample(100, seeded(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, toys.Ring().sample(100, seeded(4)))
    assert torch.equal(state, torch.get_rng_state())


def test_ring_and_grid_stand_where_they_say():
    ring = toys.Ring(modes=8, radius=2.0).centers
    torch.testing.assert_close(ring.norm(dim=1), torch.full((8,), 2.0))
    torch.testing.assert_close(ring[0], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(ring[2], torch.tensor([0.0, 2.0]), atol=1e-6, rtol=0)
    grid = toys.Grid(side=5, spacing=2.0).centers
    assert sorted({*grid.flatten().tolist()}) == [-4, -2, 0, 2, 4]
    assert len({tuple(c) for c in grid.tolist()}) == 25


@pytest.mark.parametrize("toy", [toys.Ring(), toys.Grid()], ids=repr)
def test_own_samples_cover_every_mode_with_the_share_of_three_sigma(toy):
    covered, share = toys.mode_coverage(toy.sample(20_000, seeded(5)), toy)
    assert covered == len(toy.centers)
    assert share == pytest.approx(1 - math.exp(-4.5), abs=0.004)


def test_own_samples_on_a_line():
    toy = toys.Mixture([0.0, 10.0], 1.0)
    covered, share = toys.mode_coverage(toy.sample(20_000, seeded(6)), toy)
    assert covered == 2
    assert share == pytest.approx(math.erf(3 / math.sqrt(2)), abs=0.002)


def test_coverage_counts_what_collapsed_samples_found():
    ring = toys.Ring()
    here = ring.centers[[0, 0, 0, 3]]
    assert toys.mode_coverage(here, ring) == (2, 1.0)
    # Mode 3 holds a quarter of the samples, which is not more than a quarter.
    assert toys.mode_coverage(here, ring, share=0.25) == (1, 1.0)
    # In the middle of the ring nothing is near a mode, although each point has a nearest one.
    assert toys.mode_coverage(torch.zeros(10, 2), ring) == (0, 0.0)
    assert toys.mode_coverage(torch.full((10, 2), math.nan), ring) == (0, 0.0)


def test_within_is_in_standard_deviations_of_the_nearest_mode():
    toy = toys.Mixture([[0.0, 0.0], [10.0, 0.0]], [0.1, 1.0])
    points = torch.tensor([[0.5, 0.0], [10.5, 0.0]])
    assert toys.mode_coverage(points, toy) == (1, 0.5)
    assert toys.mode_coverage(points, toy, within=5.1) == (2, 1.0)


def test_short_name_is_the_same_function():
    assert toys.coverage is toys.mode_coverage


def test_best_logit_of_two_gaussians_of_equal_width_is_a_straight_line():
    """log p/q = ((x − μq)² − (x − μp)²) / 2σ²."""
    p, q = toys.Gaussian(-1, 2), toys.Gaussian(3, 2)
    x = torch.linspace(-9, 9, 50, dtype=torch.float64)
    torch.testing.assert_close(toys.optimal_logit(p, q, x), ((x - 3) ** 2 - (x + 1) ** 2) / 8)
    d = p.prob(x) / (p.prob(x) + q.prob(x))
    torch.testing.assert_close(torch.sigmoid(toys.optimal_logit(p, q, x)), d)


def test_divergence_at_its_two_ends():
    p = toys.Gaussian()
    assert toys.jensen_shannon(p, p) == pytest.approx(0, abs=1e-12)
    assert toys.jensen_shannon(p, toys.Gaussian(100)) == pytest.approx(math.log(2), abs=1e-9)
    assert toys.game_value(p, p) == pytest.approx(-math.log(4), abs=1e-9)
    assert toys.game_value(p, toys.Gaussian(100)) == pytest.approx(0, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.floats(-4, 4), st.floats(0.05, 3), st.floats(-4, 4), st.floats(0.05, 3))
def test_divergence_is_symmetric_and_bounded(p_mean, p_std, q_mean, q_std):
    p, q = toys.Gaussian(p_mean, p_std), toys.Gaussian(q_mean, q_std)
    there = toys.jensen_shannon(p, q)
    assert there == pytest.approx(toys.jensen_shannon(q, p), abs=1e-9)
    assert -1e-9 <= there <= math.log(2) + 1e-9


def test_divergence_is_that_of_samples():
    """JSD = ½ E_p log(2p/(p+q)) + ½ E_q log(2q/(p+q)), by Monte Carlo."""
    p, q = toys.Gaussian(0, 1), ON_A_LINE["two hills"]
    x, y = p.sample(200_000, seeded(7)), q.sample(200_000, seeded(8))
    from_p = (2 * p.prob(x) / (p.prob(x) + q.prob(x))).log().mean()
    from_q = (2 * q.prob(y) / (p.prob(y) + q.prob(y))).log().mean()
    assert toys.jensen_shannon(p, q) == pytest.approx(0.5 * (from_p + from_q).item(), abs=0.004)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: toys.Mixture([[1.0, 2.0, 3.0]]), "centers must have shape"),
        (lambda: toys.Mixture([]), "centers must have shape"),
        (lambda: toys.Gaussian(0, 0), "std must be"),
        (lambda: toys.Gaussian(0, math.nan), "std must be"),
        (lambda: toys.Mixture([0.0, 1.0], [1, 1, 1]), "std must be"),
        (lambda: toys.Mixture([0.0, 1.0], 1, [0, 0]), "weights must be"),
        (lambda: toys.Mixture([0.0, 1.0], 1, [1, -1]), "weights must be"),
        (lambda: toys.Ring(modes=0), "modes must be"),
        (lambda: toys.Grid(side=2.5), "side must be"),
        (lambda: toys.Ring().sample(0), "n must be"),
        (lambda: toys.Ring().sample(1.5), "n must be"),
        (lambda: toys.Ring().log_prob(torch.zeros(3)), r"shape \[\.\.\., 2\]"),
        (lambda: toys.mode_coverage(torch.zeros(5), toys.Ring()), r"shape \[n, 2\]"),
        (lambda: toys.mode_coverage(torch.zeros(0, 2), toys.Ring()), "at least one sample"),
        (lambda: toys.jensen_shannon(toys.Ring(), toys.Ring()), "1-D"),
    ],
)
def test_bad_input_is_named(make, says):
    with pytest.raises(InputError, match=says):
        make()
