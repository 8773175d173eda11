"""Explorers promise: a control that moves changes the numbers, and the numbers are right."""

import base64
import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from torch.nn import functional

from gantut import widgets
from gantut.data import ImageSet
from gantut.errors import InputError
from gantut.models.mlp import Generator


def image_set():
    """30 images whose every pixel is their index; classes a (18), b (12) and c (none)."""
    labels = torch.tensor([0, 1, 0, 1, 0] * 6)
    pixels = torch.arange(30, dtype=torch.uint8)[:, None, None, None].expand(30, 1, 8, 8)
    return ImageSet(pixels.clone(), labels, ("a", "b", "c"))


def run(epochs=4, level=1.0):
    iteration = np.arange(1, 10 * epochs + 1)
    history = {
        "iteration": iteration,
        "epoch": iteration / 10,
        "images": iteration * 64,
        "d_loss": level + np.ceil(iteration / 10),
        "g_loss": np.full(10 * epochs, 3.0),
    }
    progress = {epoch: torch.zeros(6, 1, 8, 8) for epoch in range(epochs + 1)}
    return SimpleNamespace(history=history, progress=progress)


EXPLORERS = {
    "slopes": widgets.LossSlopes,
    "smoothing": widgets.SmoothingExplorer,
    "optimal": widgets.OptimalDiscriminator,
    "browser": lambda: widgets.DigitBrowser(image_set(), shown=5),
    "range": lambda: widgets.RangeExplorer(image_set().images),
    "power": widgets.PowerIteration,
    "walk": lambda: widgets.LatentWalk(Generator(4, (8,), (1, 8, 8))),
    "reader": lambda: widgets.RunReader({"good": run(), "short": run(2)}),
    "convolution": widgets.ConvolutionExplorer,
    "clouds": lambda: widgets.CloudMetrics(samples=60),
    "transposed": lambda: widgets.ConvolutionExplorer(kind="transposed"),
}


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_redraws_and_every_picture_is_described(name):
    explorer = EXPLORERS[name]()
    assert set(explorer.value) == set(explorer.controls)
    for control in explorer.controls.values():
        figure, before = explorer.figure, control.value
        options = getattr(control, "options", None)
        control.value = options[-1 if len(options) < 3 else 1] if options else control.max
        if control.value != before:
            assert explorer.figure is not figure
    assert explorer.sentence in explorer.figure.alt
    assert explorer.sentence.endswith(".")
    with Image.open(io.BytesIO(explorer._picture.value)) as shown:
        assert shown.format == "PNG"
        width, height = explorer.figure.get_size_inches() * 100
        assert shown.size == (round(width), round(height))
    assert all(control.description for control in explorer.controls.values())


@pytest.mark.parametrize("name", EXPLORERS)
def test_numbers_follow_from_the_controls_alone(name):
    one, two = EXPLORERS[name](), EXPLORERS[name]()
    if name == "walk":
        two.generator.load_state_dict(one.generator.state_dict())
        two.set()
    assert one.numbers == two.numbers
    assert one._picture.value == two._picture.value


@pytest.mark.parametrize("name", EXPLORERS)
def test_page_without_a_kernel_gets_the_picture_and_a_stable_text(name):
    explorer = EXPLORERS[name]()
    data, metadata = DisplayFormatter().format(explorer)
    assert data["text/plain"] == repr(explorer)
    assert " at 0x" not in repr(explorer)
    assert metadata["image/png"]["alt"] == explorer.figure.alt
    assert base64.b64decode(data["image/png"]) == explorer._picture.value
    view = data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.box.model_id


def test_setting_several_controls_draws_once():
    explorer = widgets.OptimalDiscriminator()
    drawn = []
    draw = explorer.draw
    explorer.draw = lambda **values: drawn.append(values) or draw(**values)
    explorer.set(p_mean=1.0, q_mean=1.0, q_std=2.0)
    assert drawn == [{"p_mean": 1.0, "p_std": 1.0, "q_mean": 1.0, "q_std": 2.0}]
    explorer.controls["q_std"].value = 1.0
    assert len(drawn) == 2
    assert explorer.numbers["jsd"] == pytest.approx(0, abs=1e-9)


def test_impossible_settings_are_refused_and_change_nothing():
    explorer = widgets.OptimalDiscriminator()
    before, numbers = explorer.value, explorer.numbers
    with pytest.raises(InputError, match="no control 'mean'; it has: p_mean"):
        explorer.set(mean=1)
    with pytest.raises(InputError, match=r"q_std must lie in \[0.3, 3\], not 0"):
        explorer.set(p_mean=1.0, q_std=0)
    with pytest.raises(InputError, match=r"q_std must lie in \[0.3, 3\], not 'wide'"):
        explorer.set(q_std="wide")
    assert explorer.value == before
    assert explorer.numbers == numbers
    with pytest.raises(InputError, match="output must be one of"):
        widgets.RangeExplorer(image_set().images).set(output="relu")


@pytest.mark.parametrize("logit", [-8.0, -2.0, 0.0, 3.0])
def test_slopes_are_minus_d_and_d_minus_one(logit):
    numbers = widgets.LossSlopes().set(logit=logit).numbers
    d = 1 / (1 + math.exp(-logit))
    assert numbers["probability"] == pytest.approx(d)
    assert numbers["minimax_slope"] == pytest.approx(-d)
    assert numbers["nonsaturating_slope"] == pytest.approx(d - 1)
    assert numbers["minimax_loss"] == pytest.approx(math.log(1 - d))
    assert numbers["nonsaturating_loss"] == pytest.approx(-math.log(d))


def test_the_curves_of_the_losses_have_their_own_names():
    axes = widgets.LossSlopes().set(logit=2.0).figure.axes[0]
    found = {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axes.lines}
    x, minimax = found["log(1 − D), minimax"]
    _, saturating = found["−log D, non-saturating"]
    np.testing.assert_allclose(minimax, np.log(1 - 1 / (1 + np.exp(-x))), atol=1e-6)
    np.testing.assert_allclose(saturating, np.log(1 + np.exp(-x)), atol=1e-6)


def test_floor_under_one_sided_smoothing():
    numbers = widgets.SmoothingExplorer().numbers
    expected = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert numbers["floor_real"] == pytest.approx(expected)
    assert round(numbers["floor_sum"], 3) == 0.325
    assert numbers["floor_fake"] == 0
    assert (numbers["best_real"], numbers["best_fake"]) == (0.9, 0.0)


def test_floor_is_the_lowest_point_of_the_drawn_curve():
    explorer = widgets.SmoothingExplorer().set(real_label=0.8, fake_label=0.3)
    real, fake = explorer.figure.axes[0].lines[:2]
    assert real.get_ydata().min() == pytest.approx(explorer.numbers["floor_real"], abs=1e-4)
    assert real.get_xdata()[real.get_ydata().argmin()] == pytest.approx(0.8, abs=0.003)
    assert fake.get_ydata().min() == pytest.approx(explorer.numbers["floor_fake"], abs=1e-4)
    half = explorer.numbers["floor_sum"] / 2
    assert explorer.numbers["floor_mean"] == pytest.approx(half)


def test_game_between_equal_densities_is_worth_minus_log_four():
    explorer = widgets.OptimalDiscriminator().set(q_mean=0.0)
    assert explorer.numbers["game_value"] == pytest.approx(-math.log(4), abs=1e-9)
    assert explorer.numbers["d_at_p"] == pytest.approx(0.5)
    apart = explorer.set(q_mean=4.0).numbers
    # Of two equal widths, log p/q at p's mean is (4 − 0)² / 2.
    assert apart["d_at_p"] == pytest.approx(1 / (1 + math.exp(-8)))
    assert apart["d_at_q"] == pytest.approx(1 / (1 + math.exp(8)))
    assert apart["best_loss"] == -apart["game_value"]


def test_the_best_discriminator_is_drawn_for_the_densities_that_were_set():
    top, bottom = widgets.OptimalDiscriminator().set(p_mean=-2.0, q_mean=3.0).figure.axes
    peaks = {x.get_label(): x.get_xdata()[x.get_ydata().argmax()] for x in top.lines}
    assert peaks == pytest.approx({"p, real": -2, "q, fake": 3}, abs=0.02)
    assert bottom.lines[0].get_ydata()[0] > 0.99


def test_the_browser_s_picture_is_of_the_images_that_it_names():
    explorer = widgets.DigitBrowser(image_set(), shown=5).set(label="b", first=2)
    sheet = np.asarray(explorer.figure.axes[0].images[0].get_array())
    pitch = 8 * 4 + 2
    assert [sheet[10, 10 + i * pitch] for i in range(5)] == explorer.numbers["indices"]
    assert [t.get_text() for t in explorer.figure.axes[0].texts] == ["b"] * 5


def test_browser_shows_the_images_of_the_class():
    explorer = widgets.DigitBrowser(image_set(), shown=5).set(label="b", first=2)
    assert explorer.numbers == {"indices": [6, 8, 11, 13, 16], "labels": [1] * 5, "count": 12}
    assert explorer.sentence == "Images 3 to 7 of 12 in class b."
    # The class is shorter than "all": at its end the last five are shown.
    assert explorer.set(first=25).numbers["indices"] == [18, 21, 23, 26, 28]
    assert explorer.set(label="all", first=25).numbers["indices"] == [25, 26, 27, 28, 29]


def test_browser_offers_no_class_without_images_and_needs_labels():
    assert list(widgets.DigitBrowser(image_set()).controls["label"].options) == ["all", "a", "b"]
    with pytest.raises(InputError, match="with labels"):
        widgets.DigitBrowser(ImageSet(image_set().images))


def test_unreachable_pixels_are_counted():
    pixels = torch.tensor([0, 0, 0, 0, 0, 0, 100, 200, 255, 255], dtype=torch.uint8)
    explorer = widgets.RangeExplorer(pixels)
    assert explorer.numbers == pytest.approx(
        {"low": -1, "high": 1, "below": 0, "above": 0, "unreachable": 0}
    )
    numbers = explorer.set(mean=0.1307, std=0.3081).numbers
    assert numbers["low"] == pytest.approx(-0.4242, abs=1e-4)
    assert numbers["high"] == pytest.approx(2.8215, abs=1e-4)
    # (100/255 − .1307)/.3081 = .849 can be reached, 200 and 255 cannot.
    assert numbers["unreachable"] == pytest.approx(0.3)
    numbers = explorer.set(mean=0.5, std=0.5, output="sigmoid, [0, 1]").numbers
    assert (numbers["below"], numbers["above"]) == pytest.approx((0.7, 0))
    with pytest.raises(InputError, match="uint8"):
        widgets.RangeExplorer(torch.zeros(3))


def test_walk_starts_and_ends_at_its_ends_and_keeps_to_the_lengths_of_training():
    walk = widgets.LatentWalk(Generator(64, (8,), (1, 8, 8)))
    start, stop = walk.generator.sample_z(2, generator=torch.Generator().manual_seed(5))
    z = walk.between(5, [0.0, 0.5, 1.0])
    torch.testing.assert_close(z[0], start)
    torch.testing.assert_close(z[2], stop, atol=1e-5, rtol=0)
    shorter, longer = sorted([start.norm().item(), stop.norm().item()])
    assert shorter - 0.5 < z[1].norm().item() < longer + 0.5
    # The middle of a straight line would be too short.
    assert ((start + stop) / 2).norm().item() < shorter - 1


def test_walk_between_uniform_vectors_is_straight():
    walk = widgets.LatentWalk(Generator(16, (8,), (1, 8, 8), latent="uniform"))
    z = walk.between(0, [0.0, 0.5, 1.0])
    torch.testing.assert_close(z[1], (z[0] + z[2]) / 2)


def test_walk_uses_the_generator_in_evaluation_mode_and_leaves_it_as_it_was():
    generator = Generator(8, (32,), (1, 8, 8), dropout=0.5)
    generator.train()
    walk = widgets.LatentWalk(generator)
    assert walk.numbers["change"] == 0  # at position 0, and without dropout's noise
    assert walk.set(position=1.0).numbers["change"] > 0
    assert all(m.training for m in generator.modules())


def test_walk_shows_images_in_the_range_that_the_generator_works_in():
    class Black(Generator):
        def forward(self, z, labels=None):
            return torch.full((len(z), 1, 8, 8), -0.1307 / 0.3081)

    walk = widgets.LatentWalk(Black(4, (8,), (1, 8, 8)), mean=0.1307, std=0.3081)
    assert np.asarray(walk.figure.axes[0].images[0].get_array())[10, 10] == 0


def test_walk_steps_aside_along_a_coordinate():
    walk = widgets.LatentWalk(Generator(4, (8,), (1, 8, 8)))
    z = walk.between(0, [0.0])[0]
    norm = walk.set(first=2.0, second=-1.0).numbers["norm"]
    assert norm == pytest.approx((z + torch.tensor([2.0, -1.0, 0.0, 0.0])).norm().item())


def test_walk_offers_the_labels_of_a_conditional_generator():
    class Conditional(Generator):
        num_classes = 3

        def forward(self, z, labels=None):
            return (labels.float()[:, None, None, None] - 1).expand(-1, 1, 8, 8)

    walk = widgets.LatentWalk(Conditional(4, (8,), (1, 8, 8)))
    assert list(walk.controls["label"].options) == [0, 1, 2]
    walk.set(label=2)
    assert (np.asarray(walk.figure.axes[0].images[0].get_array())[10, 10] == 255).all()
    walk = widgets.LatentWalk(Conditional(4, (8,), (1, 8, 8)), classes=("cat", "dog", "ship"))
    assert list(walk.controls["label"].options) == ["cat", "dog", "ship"]
    walk.set(label="ship")
    assert (np.asarray(walk.figure.axes[0].images[0].get_array())[10, 10] == 255).all()
    with pytest.raises(InputError, match="label must be one of"):
        walk.set(label="horse")
    with pytest.raises(InputError, match="has 3 classes, not 2"):
        widgets.LatentWalk(Conditional(4, (8,), (1, 8, 8)), classes=("cat", "dog"))


def test_reader_says_the_numbers_of_the_epoch_it_shows():
    reader = widgets.RunReader({"good": run(), "short": run(2, level=7.0)})
    reader.set(stage=3)
    assert reader.numbers == {"epoch": 3.0, "d_loss": 4.0, "g_loss": 3.0}
    assert reader.sentence == "good at epoch 3: d_loss 4.00, g_loss 3.00."
    # The other run is shorter: its last stage is shown.
    assert reader.set(run="short").numbers == {"epoch": 2.0, "d_loss": 9.0, "g_loss": 3.0}
    # Stage 0 is from before training.
    assert reader.set(stage=0).numbers == {"epoch": 0.0, "d_loss": 8.0, "g_loss": 3.0}


def test_reader_shows_the_samples_of_the_stage_it_names():
    one = run()
    one.progress = {e: torch.full((6, 1, 8, 8), 20 * e, dtype=torch.uint8) for e in (0, 1, 4)}
    reader = widgets.RunReader(one)
    for stage, epoch in enumerate((0, 1, 4)):
        reader.set(stage=stage)
        shown = np.asarray(reader.figure.axes[0].images[0].get_array())
        assert (reader.numbers["epoch"], shown[5, 5]) == (epoch, 20 * epoch)
        assert reader.figure.axes[0].get_title(loc="left") == f"epoch {epoch}"


def test_reader_takes_a_single_run_and_needs_stages():
    assert list(widgets.RunReader(run()).controls["run"].options) == ["run"]
    with pytest.raises(InputError, match="each with stages"):
        widgets.RunReader({"bare": SimpleNamespace(history={}, progress={})})
    with pytest.raises(InputError, match="at least one run"):
        widgets.RunReader({})


def test_reader_takes_the_stages_as_a_finished_run_has_them():
    by_epoch = run().progress
    pair = (list(by_epoch), torch.stack([torch.as_tensor(x) for x in by_epoch.values()]))
    reader = widgets.RunReader(SimpleNamespace(history=run().history, progress=pair))
    assert reader.set(stage=3).numbers == widgets.RunReader(run()).set(stage=3).numbers


def test_fakes_like_the_real_points_score_what_two_samples_of_one_distribution_do():
    numbers = widgets.CloudMetrics().numbers
    assert numbers["exact"] == 0
    assert numbers["frechet"] < 0.1
    assert abs(numbers["kernel"]) < 0.5
    assert min(numbers["precision"], numbers["recall"], numbers["coverage"]) > 0.85
    assert numbers["density"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "exact"),
    [
        ({"shift": 2.0}, 4.0),
        ({"spread": 1.5}, (math.sqrt(6.25) - math.sqrt(4.25)) ** 2 + 1),
        # A single blob: mean 2 to the left, and no spread between blobs.
        ({"dropped": 1.0}, 4 + (0.5 - math.sqrt(4.25)) ** 2),
        # A third of the points in the right blob: mean 2/3 to the left, variance 1/4 + 32/9.
        ({"dropped": 0.5}, 4 / 9 + (math.sqrt(0.25 + 32 / 9) - math.sqrt(4.25)) ** 2),
    ],
)
def test_the_distance_of_a_cloud_is_near_the_one_that_is_known(settings, exact):
    explorer = widgets.CloudMetrics(samples=4000)
    numbers = explorer.set(**settings).numbers
    assert numbers["exact"] == pytest.approx(exact)
    assert numbers["frechet"] == pytest.approx(exact, rel=0.1)


def test_precision_falls_with_the_spread_and_recall_with_the_dropped_blob():
    explorer = widgets.CloudMetrics()
    as_it_is = explorer.numbers
    wide = explorer.set(spread=2.0).numbers
    assert wide["precision"] < 0.7 * as_it_is["precision"]
    assert wide["recall"] > 0.8
    one = explorer.set(spread=0.5, dropped=1.0).numbers
    assert one["precision"] > 0.85
    assert one["recall"] == pytest.approx(as_it_is["recall"] / 2, abs=0.07)
    assert one["coverage"] == pytest.approx(as_it_is["coverage"] / 2, abs=0.07)


SHAPES = [(8, 4, 2, 1), (8, 3, 2, 1), (5, 5, 3, 0), (5, 3, 1, 1), (7, 2, 3, 0), (4, 7, 1, 3)]


@pytest.mark.parametrize(("side", "kernel", "stride", "padding"), SHAPES)
def test_convolutions_have_the_size_and_the_windows_that_torch_gives_them(
    side, kernel, stride, padding
):
    options = {"side": side, "kernel": kernel, "stride": stride, "padding": padding}
    ones = torch.ones(1, 1, kernel, kernel)
    image = torch.ones(1, 1, side, side, requires_grad=True)
    numbers = widgets.ConvolutionExplorer().set(**options).numbers
    result = functional.conv2d(image, ones, stride=stride, padding=padding)
    # A pixel that is read by so many windows moves the sum of all results by so much.
    (read,) = torch.autograd.grad(result.sum(), image)
    assert numbers["output"] == result.shape[-1]
    assert (numbers["low"], numbers["high"]) == (read.min(), read.max())

    numbers = widgets.ConvolutionExplorer("transposed").set(**options).numbers
    result = functional.conv_transpose2d(image, ones, stride=stride, padding=padding)
    assert numbers["output"] == result.shape[-1]
    assert (numbers["low"], numbers["high"]) == (result.min(), result.max())


def test_unevenness_far_from_the_borders_is_that_of_a_checkerboard():
    explorer = widgets.ConvolutionExplorer("transposed")
    uneven = {k: explorer.set(kernel=k).numbers["uneven"] for k in (1, 2, 3, 4, 5)}
    assert uneven == {1: math.inf, 2: 1, 3: 4, 4: 1, 5: 2.25}
    assert explorer.set(kernel=3, output_padding=1).numbers["output"] == 16


def test_impossible_convolutions_are_named():
    explorer = widgets.ConvolutionExplorer(side=2, kernel=7, padding=0)
    assert explorer.numbers["output"] == 0
    assert explorer.sentence == "No output: the kernel does not fit."
    explorer.set(kind="transposed", output_padding=2)
    assert explorer.sentence == "No output: output padding must be smaller than the stride."
    explorer.set(kernel=1, stride=1, padding=3, output_padding=0)
    assert explorer.sentence == "No output: nothing is left of it."


def test_power_iteration_turns_towards_the_longest_axis():
    explorer = widgets.PowerIteration(longer=2.0, shorter=1.0, start=60.0)
    # By hand, in the axes of the ellipse: u = (cos 60°, sin 60°), v ~ (2 cos 60°, sin 60°).
    v = (1 / math.sqrt(1.75), math.sqrt(0.75 / 1.75))
    assert math.isclose(explorer.numbers["estimate"], math.hypot(2 * v[0], v[1]), rel_tol=1e-9)
    angles = [60.0, *(explorer.set(rounds=k).numbers["angle"] for k in range(1, 6))]
    for before, after in zip(angles, angles[1:]):
        # Each round shrinks the tangent by the square of the ratio of the axes.
        assert math.isclose(
            math.tan(math.radians(after)), math.tan(math.radians(before)) / 4, rel_tol=1e-6
        )
    numbers = explorer.set(rounds=10).numbers
    assert abs(numbers["estimate"] - numbers["norm"]) < 1e-6
    assert abs(numbers["divided"] - 1) < 1e-6
    # Exactly across, it never finds the longer one.
    assert abs(explorer.set(start=90.0).numbers["estimate"] - 1) < 1e-6
