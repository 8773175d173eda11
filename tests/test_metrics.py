"""How good is it: against closed forms, another implementation, and inputs that make no sense."""

import math

import numpy as np
import pytest
import torch

from gantut.errors import CheckpointError, InputError
from gantut.metrics import class_entropy, confident_share, frechet_distance, frechet_from_moments
from gantut.metrics.features import Judge, judge
from gantut.metrics.frechet import moments
from gantut.models.classifier import DigitClassifier


def covariance(f: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(f, 2 * f))
    return a @ a.T / (2 * f)


# --- Fréchet -----------------------------------------------------------------------------------


def test_frechet_of_diagonal_gaussians_has_a_closed_form():
    rng = np.random.default_rng(0)
    mean_a, mean_b = rng.normal(size=(2, 6))
    std_a, std_b = rng.uniform(0.1, 3, size=(2, 6))
    expected = ((mean_a - mean_b) ** 2).sum() + ((std_a - std_b) ** 2).sum()
    made = frechet_from_moments(mean_a, np.diag(std_a**2), mean_b, np.diag(std_b**2))
    assert made == pytest.approx(expected, rel=1e-10)


def test_frechet_of_one_dimension():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 2, (5000, 1)), rng.normal(4, 3, (7000, 1))
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(10, rel=0.1)


def test_frechet_does_not_turn_with_the_axes():
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))
    a, b = covariance(5, 1), covariance(5, 2)
    zero = np.zeros(5)
    plain = frechet_from_moments(zero, a, zero, b)
    assert plain > 0.1
    assert frechet_from_moments(zero, q @ a @ q.T, zero, q @ b @ q.T) == pytest.approx(plain)
    assert frechet_from_moments(zero, b, zero, a) == pytest.approx(plain)


def test_frechet_agrees_with_the_matrix_root_of_scipy():
    import scipy.linalg

    a, b = covariance(8, 1), covariance(8, 2)
    mean = np.arange(8.0)
    root = scipy.linalg.sqrtm(a @ b)
    expected = (mean**2).sum() + np.trace(a + b - 2 * np.real(root))
    assert frechet_from_moments(mean, a, 0 * mean, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_agrees_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    rng = torch.Generator().manual_seed(0)
    a = torch.randn(400, 16, generator=rng).double() @ torch.randn(16, 16, generator=rng).double()
    b = torch.randn(300, 16, generator=rng).double() + 1
    ours = frechet_distance(a, b)
    theirs = _compute_fid(a.mean(0), a.T.cov(), b.mean(0), b.T.cov())
    assert ours == pytest.approx(theirs.item(), rel=1e-6)


def test_frechet_of_a_set_with_itself_is_zero_and_grows_with_the_shift():
    x = torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(x, x + 0.5) == pytest.approx(20 * 0.25, rel=1e-5)
    assert frechet_distance(x, x * 2) > 5


def test_frechet_of_covariances_without_full_rank_is_finite_and_never_negative():
    flat = np.zeros((4, 4))
    flat[0, 0] = 1.0
    zero = np.zeros(4)
    assert frechet_from_moments(zero, flat, zero, flat) == pytest.approx(0, abs=1e-12)
    assert frechet_from_moments(zero, flat, zero, 4 * flat) == pytest.approx(1)
    assert frechet_from_moments(zero, flat, zero, np.eye(4)) == pytest.approx(3)


def test_moments_divide_by_n_minus_one():
    x = np.random.default_rng(0).normal(size=(7, 3))
    mean, cov = moments(x)
    assert np.allclose(mean, x.mean(0))
    assert np.allclose(cov, (x - x.mean(0)).T @ (x - x.mean(0)) / 6)


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (
            torch.zeros(20, 20),
            torch.zeros(50, 20),
            "20 samples are too few for features of dimension 20",
        ),
        (
            torch.zeros(50, 20),
            torch.zeros(7, 20),
            "7 samples are too few for features of dimension 20",
        ),
        (torch.zeros(50, 3), torch.zeros(50, 4), "spaces of different dimension"),
        (torch.full((50, 3), math.nan), torch.zeros(50, 3), "numbers that are not finite"),
        (torch.zeros(50, 3, 2), torch.zeros(50, 3), r"table \[N, F\] with N >= 2"),
        (torch.zeros(50), torch.zeros(50), r"table \[N, F\] with N >= 2, not of shape \(50,\)"),
    ],
)
def test_features_that_make_no_distance(a, b, sentence):
    with pytest.raises(InputError, match=sentence):
        frechet_distance(a, b)


# --- classes -----------------------------------------------------------------------------------


def certain(classes: list[int], k: int = 10, p: float = 0.95) -> torch.Tensor:
    table = torch.full((len(classes), k), (1 - p) / (k - 1))
    table[torch.arange(len(classes)), torch.tensor(classes)] = p
    return table


def test_entropy_is_in_bits_of_the_classes_that_are_predicted():
    assert class_entropy(certain(list(range(10)) * 3)) == pytest.approx(math.log2(10), abs=1e-6)
    assert class_entropy(certain([4] * 30)) == 0
    assert class_entropy(certain([0, 1] * 8)) == pytest.approx(1)
    assert class_entropy(certain([0, 0, 0, 1])) == pytest.approx(
        -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    )
    assert str(class_entropy(certain([4] * 3))) == "0.0"


def test_confident_share_counts_what_lies_above_the_threshold():
    table = torch.cat([certain([1, 2, 3], p=0.95), certain([1], p=0.85)])
    assert confident_share(table) == 0.75
    assert confident_share(table, threshold=0.8) == 1
    assert confident_share(table, threshold=0.96) == 0
    assert confident_share(torch.full((5, 10), 0.1)) == 0


@pytest.mark.parametrize(
    "table",
    [torch.zeros(0, 10), torch.ones(3), torch.full((3, 10), 0.2), torch.tensor([[1.5, -0.5]])],
)
@pytest.mark.parametrize("metric", [class_entropy, confident_share])
def test_what_is_no_table_of_probabilities_is_refused(metric, table):
    with pytest.raises(InputError, match=r"table \[N, K\] whose rows sum to 1"):
        metric(table)


# --- the judge ---------------------------------------------------------------------------------


@pytest.fixture
def own_judge():
    torch.manual_seed(0)
    return Judge(DigitClassifier(width=2), "mine@0123", (1, 28, 28))


def test_a_judge_looks_without_dropout_batch_after_batch(own_judge):
    images = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    own_judge.network.train()
    whole, parts = own_judge.features(images), own_judge.features(images, batch_size=3)
    assert own_judge.network.training
    assert torch.allclose(whole, parts, atol=1e-6)
    p = own_judge.probabilities(images, batch_size=3)
    assert p.shape == (7, 10)
    assert torch.allclose(p.sum(1), torch.ones(7))
    own_judge.network.eval()
    assert torch.allclose(p, own_judge.network(images).softmax(1), atol=1e-6)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (
            torch.rand(4, 1, 28, 28),
            r"none of these pixels is below 0: they seem to lie in \[0, 1\]",
        ),
        (
            torch.zeros(4, 1, 28, 28, dtype=torch.uint8),
            r"takes float images in \[-1, 1\]; scale them",
        ),
        (torch.rand(4, 1, 28, 28) * 255, r"takes float images in \[-1, 1\]; scale them first"),
        (torch.rand(4, 1, 28, 28) * 4 - 2, r"takes float images in \[-1, 1\]; scale them first"),
        (torch.full((4, 1, 28, 28), math.nan), "not finite"),
        (torch.zeros(4, 3, 32, 32), r"of shape \(1, 28, 28\), not \(3, 32, 32\)"),
        (torch.zeros(4, 28, 28), r"of shape \(1, 28, 28\), not \(28, 28\)"),
        (torch.zeros(0, 1, 28, 28), "no images"),
    ],
)
@pytest.mark.parametrize("what", ["features", "probabilities"])
def test_a_judge_refuses_images_in_another_range_or_shape(own_judge, what, images, sentence):
    with pytest.raises(InputError, match=sentence):
        getattr(own_judge, what)(images)


def test_a_judge_that_is_not_there(monkeypatch, tmp_path):
    with pytest.raises(
        InputError, match="There is no judge 'mlp-mnist'; there is classifier-mnist"
    ):
        judge("mlp-mnist")
    judge.cache_clear()
    monkeypatch.setattr("gantut.metrics.features.resources.files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match="'gantut reproduce classifier-mnist' trains it"):
        judge("classifier-mnist")
    judge.cache_clear()
