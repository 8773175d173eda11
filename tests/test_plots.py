"""Pictures promise: the right numbers in the right place, readable by everybody, in few bytes."""

import base64
import io
import itertools
import math

import matplotlib as mpl
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from gantut import plots, toys
from gantut.callbacks import History
from gantut.errors import InputError
from gantut.models import dcgan, mlp
from gantut.plots import figures, networks


def images(n=6, channels=1, size=8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=rng) * 2 - 1


def rendered(figure):
    """The figure's pixels, RGB [H, W, 3]."""
    return np.asarray(figures.render(figure))


def texts(figure):
    """Every text that a reader sees."""
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_text()]


def history(rows=40, per_row=10, per_epoch=100, **columns):
    iteration = np.arange(1, rows + 1) * per_row
    table = {
        "iteration": iteration,
        "epoch": iteration / per_epoch,
        "images": iteration * 64,
        "seconds": iteration / 50,
    }
    for key, values in columns.items():
        values = np.broadcast_to(np.asarray(values, dtype=float), rows)
        table |= {key: values, f"{key}_min": values - 0.1, f"{key}_max": values + 0.1}
    return table


def line_named(figure, name):
    (line,) = (x for ax in figure.axes for x in ax.lines if x.get_label() == name)
    return line


# Images


def test_every_pixel_of_an_image_is_a_block_of_its_grey():
    x = torch.tensor([[-1.0, 0.0], [1.0, 0.5]])[None, None]
    picture = rendered(plots.image_grid(x, scale=3))
    sheet = picture[4:10, 4:10]
    expected = np.array([[0, 128], [255, 191]]).repeat(3, 0).repeat(3, 1)
    assert np.array_equal(sheet, expected[..., None].repeat(3, 2))


def test_uint8_and_float_images_give_the_same_picture():
    whole = torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8)
    same = whole.float() / 127.5 - 1
    assert np.array_equal(rendered(plots.image_grid(whole)), rendered(plots.image_grid(same)))
    assert np.array_equal(
        rendered(plots.image_grid(whole)), rendered(plots.image_grid(whole.numpy()[:, 0]))
    )


def test_colours_are_not_swapped_and_images_run_row_by_row():
    x = torch.full((3, 3, 4, 4), -1.0)
    for i in range(3):
        x[i, i] = 1
    picture = rendered(plots.image_grid(x, columns=2, scale=2))
    pitch = 4 * 2 + 2
    assert picture[6, 6].tolist() == [255, 0, 0]
    assert picture[6, 6 + pitch].tolist() == [0, 255, 0]
    assert picture[6 + pitch, 6].tolist() == [0, 0, 255]
    assert picture[6 + pitch, 6 + pitch].tolist() == [255, 255, 255]  # no fourth image


def test_smooth_display_makes_new_greys_and_nearest_makes_none():
    x = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])[None, None]
    nearest = rendered(plots.image_grid(x, scale=8))
    smooth = rendered(plots.image_grid(x, scale=8, interpolation="bilinear"))
    assert set(nearest.ravel()) == {0, 255}
    assert len(set(smooth.ravel())) > 10


def test_labels_and_title_are_on_the_figure_and_in_its_description():
    labels = torch.tensor([3, 1, 4, 1, 5, 9])
    figure = plots.image_grid(images(), columns=3, labels=labels, title="Six digits")
    assert texts(figure) == ["3", "1", "4", "1", "5", "9", "Six digits"]
    assert figure.alt == (
        "6 grey images in 2 rows of up to 3: Six digits. Labels: 3, 1, 4, 1, 5, 9."
    )


def test_each_label_stands_under_its_own_image():
    figure = plots.image_grid(images(5), columns=3, labels="abcde", scale=4)
    places = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    pitch_x, pitch_y = 8 * 4 + 2, 8 * 4 + 18 + 2
    for i, name in enumerate("abcde"):
        x, y = places[name]
        assert x == i % 3 * pitch_x + 16
        assert i // 3 * pitch_y + 32 <= y < (i // 3 + 1) * pitch_y


def test_a_hundred_digits_are_large_enough_to_judge_and_small_in_bytes():
    strokes = torch.zeros(100, 1, 28, 28, dtype=torch.uint8)
    rng = np.random.default_rng(0)
    for image in strokes:
        # Blurred strokes cost about as much as digits do.
        row, column = rng.integers(4, 20, 2)
        image[0, row : row + 5, column : column + 5] = torch.from_numpy(
            rng.integers(0, 255, (5, 5)).astype(np.uint8)
        )
        image[0, 5:24, column] = 255
    figure = plots.image_grid(strokes)
    width, _ = figure.get_size_inches() * figure.dpi
    assert 560 <= width <= 800
    assert len(plots.png_bytes(figure)) < 60_000


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.full((1, 1, 4, 4), 2.8), r"must lie in \[−1, 1\], but run from 2.8 to 2.8"),
        (torch.full((1, 1, 4, 4), math.nan), "must lie in"),
        (torch.zeros(2, 4, 8, 8), "1 or 3 channels"),
        (torch.zeros(8, 8), r"not \[8, 8\]"),
        (torch.zeros(0, 1, 8, 8), "must have shape"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), "uint8 or float"),
    ],
)
def test_images_out_of_range_or_shape_are_refused(bad, says):
    with pytest.raises(InputError, match=says):
        plots.image_grid(bad)


def test_other_mistakes_with_grids_are_named():
    with pytest.raises(InputError, match="6 images need 6 labels, but 2"):
        plots.image_grid(images(), labels=[1, 2])
    with pytest.raises(InputError, match="interpolation must be"):
        plots.image_grid(images(), interpolation="lanczos")
    with pytest.raises(InputError, match="scale must be"):
        plots.image_grid(images(), scale=0)


def test_progression_has_a_row_for_each_epoch():
    stages = torch.stack([torch.full((5, 1, 4, 4), v) for v in (-1.0, 0.0, 1.0)])
    figure = plots.progression(stages, [1, 10, 100], columns=4, scale=2)
    assert texts(figure) == ["epoch 1", "epoch 10", "epoch 100"]
    left = round(figure.axes[0].get_position().x0 * figure.get_size_inches()[0] * 100)
    picture = rendered(figure)
    rows = [picture[4 + 3 + row * (4 * 2 + 2), left + 3, 0] for row in range(3)]
    assert rows == [0, 128, 255]
    assert "4 samples" in figure.alt
    assert "epoch 1 (top) to epoch 100 (bottom)" in figure.alt


def test_each_row_of_a_progression_is_named_beside_it():
    figure = plots.progression(torch.zeros(3, 2, 1, 4, 4), [0, 7, 9], scale=2)
    heights = [t.get_position()[1] for t in figure.axes[0].texts]
    assert [t.get_text() for t in figure.axes[0].texts] == ["epoch 0", "epoch 7", "epoch 9"]
    assert heights == [4, 14, 24]  # rows of 8 pixels with 2 between them, from the top


@pytest.mark.parametrize("shapes", [[], [(4, 1, 8, 8), (3, 1, 8, 8)]])
def test_stages_have_one_shape(shapes):
    with pytest.raises(InputError, match=r"of one shape, not (none|.*and)"):
        plots.progression([torch.zeros(shape) for shape in shapes])


def test_progression_needs_an_epoch_for_each_stage():
    with pytest.raises(InputError, match="3 stages need 3 epochs, but 2"):
        plots.progression(torch.zeros(3, 2, 1, 4, 4), [1, 2])
    with pytest.raises(InputError, match=r"shape \[S, n, C, H, W\]"):
        plots.progression(torch.zeros(3, 1, 4, 4))


def test_a_column_for_each_class_under_its_name():
    images = torch.tensor([[-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])[:, :, None, None, None]
    images = images.expand(2, 3, 1, 4, 4)
    figure = plots.class_grid(images, ["cat", "dog", "owl"], rows=["a", "b"], scale=4)
    assert sorted(texts(figure)) == ["a", "b", "cat", "dog", "owl"]
    names = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    assert [names[c][0] for c in ("cat", "dog", "owl")] == [8, 26, 44]  # the middles of columns
    assert names["cat"][1] < 0
    assert names["a"][1] < names["b"][1]
    left = round(figure.axes[0].get_position().x0 * figure.get_size_inches()[0] * 100)
    picture = rendered(figure)
    found = [
        [picture[picture.shape[0] - 4 - 34 + 8 + 18 * r, left + 8 + 18 * c, 0] for c in range(3)]
        for r in range(2)
    ]
    assert found == [[0, 128, 255], [255, 0, 128]]
    assert "2 of each class" in figure.alt
    assert "cat, dog, owl" in figure.alt
    assert texts(plots.class_grid(images)) == ["0", "1", "2"]


def test_a_class_grid_needs_a_name_for_each_class():
    with pytest.raises(InputError, match="3 columns and 2 rows need as many names, not 2 and 0"):
        plots.class_grid(torch.zeros(2, 3, 1, 4, 4), ["cat", "dog"])
    with pytest.raises(InputError, match=r"shape \[R, K, C, H, W\]"):
        plots.class_grid(torch.zeros(3, 1, 4, 4))


# Animations


def gif_frames(animation):
    with Image.open(io.BytesIO(animation.data)) as gif:
        for i in range(gif.n_frames):
            gif.seek(i)
            yield np.asarray(gif.convert("RGB")).copy(), gif.info["duration"]


def test_animation_starts_with_its_result_and_then_tells_the_story():
    stages = torch.stack([torch.full((4, 1, 8, 8), v) for v in (-1.0, 0.2, 1.0)])
    animation = plots.animation(stages, [0, 1, 2], fps=5)
    frames, durations = zip(*gif_frames(animation), strict=True)
    assert len(frames) == animation.frames == 4
    assert [int(f[40, 10, 0]) for f in frames] == [255, 0, 153, 255]
    assert list(durations) == [200, 200, 200, 2000]
    assert np.array_equal(frames[0], frames[-1])
    assert animation.alt == "Animation of 4 samples of the same noise, from epoch 0 to epoch 2."


def test_each_frame_of_an_animation_has_the_caption_of_its_stage():
    stages, names = torch.zeros(3, 4, 1, 8, 8), ["first", "second", "third"]
    frames = [f for f, _ in gif_frames(plots.animation(stages, names))]
    for i, name in enumerate(names):
        (alone, _), *_ = gif_frames(plots.animation(stages[:1], [name]))
        assert np.array_equal(frames[i + 1][:24], alone[:24])  # the bar below differs
        assert not np.array_equal(frames[i + 1][:24], frames[i][:24])


def test_animation_is_the_same_file_every_time(tmp_path):
    stages = images(12).reshape(3, 4, 1, 8, 8)
    first = plots.animation(stages, path=tmp_path / "a.gif")
    assert (tmp_path / "a.gif").read_bytes() == first.data == plots.animation(stages).data
    assert first.data != plots.animation(stages.flip(0)).data


def test_animation_in_colour_keeps_the_colours():
    stages = torch.full((2, 1, 3, 8, 8), -1.0)
    stages[0, :, 0], stages[1, :, 2] = 1, 1
    frames = [f for f, _ in gif_frames(plots.animation(stages))]
    assert np.abs(frames[1][40, 10].astype(int) - [255, 0, 0]).max() <= 8
    assert np.abs(frames[2][40, 10].astype(int) - [0, 0, 255]).max() <= 8


def test_points_in_motion_have_one_frame_each_and_a_white_background():
    frames = [torch.full((5, 2), float(v)) for v in range(3)]
    animation = plots.scatter_animation(frames, toys.Ring().sample(20), [0, 50, 100], size=2.0)
    pictures = [f for f, _ in gif_frames(animation)]
    assert len(pictures) == 4
    assert all(p[1, 1].tolist() == [255, 255, 255] for p in pictures)
    assert not np.array_equal(pictures[1], pictures[2])
    assert "from iteration 0 to iteration 100" in animation.alt
    with pytest.raises(InputError, match="3 frames need as many"):
        plots.scatter_animation(frames, iterations=[0, 1])


def test_impossible_frame_rates_are_refused():
    for fps in (0, -1, 1000, math.nan):
        with pytest.raises(InputError, match="fps"):
            plots.animation(torch.zeros(2, 1, 1, 8, 8), fps=fps)


# In the notebook


@pytest.mark.parametrize("scale", [1, 2])
def test_colour_noise_which_no_format_compresses_can_be_shown(scale):
    noise = torch.rand(110, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    figure = plots.class_grid(noise.view(11, 10, 3, 32, 32), scale=scale)
    shown = base64.b64decode(figure._repr_mimebundle_()[0]["image/jpeg"])
    assert Image.open(io.BytesIO(shown)).convert("RGB").size[0] > 320 * scale


@pytest.mark.parametrize(
    ("make", "mime"),
    [
        (lambda: plots.image_grid(images()), "image/png"),
        (lambda: plots.image_grid(images(channels=3)), "image/jpeg"),
        (lambda: plots.curves(history(d_loss=1), "d_loss"), "image/png"),
        (lambda: plots.animation(images().reshape(3, 2, 1, 8, 8)), "image/gif"),
    ],
)
def test_notebook_shows_a_picture_with_its_description(make, mime):
    """The text beside the picture is compared by strict notebook tests: no address, no chance."""
    picture = make()
    shown = [DisplayFormatter().format(p) for p in (picture, make())]
    (data, metadata), (again, _) = shown
    assert data["text/plain"] == again["text/plain"]
    assert " at 0x" not in data["text/plain"]
    assert metadata[mime]["alt"] == picture.alt != ""
    with Image.open(io.BytesIO(base64.b64decode(data[mime]))) as opened:
        assert opened.format.lower() == mime.removeprefix("image/")
        assert min(opened.size) >= 20


def test_png_of_grey_images_loses_nothing_and_charts_keep_their_white():
    grid = plots.image_grid(images(20))
    with Image.open(io.BytesIO(plots.png_bytes(grid))) as png:
        assert np.array_equal(np.asarray(png.convert("RGB")), rendered(grid))
    chart = plots.curves(history(d_loss=1), "d_loss")
    with Image.open(io.BytesIO(plots.png_bytes(chart))) as png:
        assert png.mode == "P"
        assert png.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert len(plots.png_bytes(chart)) < 40_000


def test_nothing_is_registered_with_pyplot():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    plots.curves(history(d_loss=1), "d_loss")
    plots.image_grid(images())
    assert pyplot.get_fignums() == before


# Colours


def luminance(color):
    channels = np.array(mpl.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


ROLES = [plots.D_COLOR, plots.G_COLOR, plots.REAL_COLOR, plots.FAKE_COLOR]

# Machado, Oliveira and Fernandes 2009, full severity, on linear RGB.
DEFICIENCIES = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("color", ROLES)
def test_lines_and_their_labels_stand_out_from_white(color):
    assert 1.05 / (luminance(color) + 0.05) >= 3
    assert 1.05 / (luminance(figures.darker(color)) + 0.05) >= 4.5


def lab(linear):
    """CIELAB of linear RGB, in which equal distances look about equally large."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", DEFICIENCIES)
def test_colour_blind_readers_can_tell_the_lines_of_a_panel_apart(eyes):
    linear = np.array([mpl.colors.to_rgb(c) for c in ROLES]) ** 2.2
    d, g, real, fake = (lab(np.clip(c, 0, 1)) for c in linear @ np.array(DEFICIENCIES[eyes]).T)
    # D and real never stand in one panel: to tritanopes they are both greenish blue.
    for one, two in ((d, g), (real, fake), (g, real), (g, fake)):
        assert np.linalg.norm(one - two) > 25


def test_the_two_of_a_pair_differ_in_line_style_too():
    figure = plots.curves(
        history(d_loss=1, g_loss=2, d_real=0.6, d_fake=0.4),
        ["d_loss", "g_loss", "d_real", "d_fake"],
    )
    look = {x.get_label(): (x.get_color(), x.get_linestyle()) for a in figure.axes for x in a.lines}
    assert look["D's loss"] == (plots.D_COLOR, "-")
    assert look["G's loss"] == (plots.G_COLOR, "--")
    assert look["D(x), real"] == (plots.REAL_COLOR, "-")
    assert look["D(G(z)), fake"] == (plots.FAKE_COLOR, "--")


def test_the_course_s_look_leaves_no_trace_in_a_reader_s_own_figures():
    before = dict(mpl.rcParams)
    plots.curves(history(d_loss=1), "d_loss")
    assert dict(mpl.rcParams) == before


# Curves


def test_every_curve_has_the_name_and_the_look_of_its_column():
    values = {"d_loss": 1, "g_loss": 2, "d_real": 0.6, "d_fake": 0.4}
    values |= {"acc_real": 0.7, "acc_fake": 0.8}
    figure = plots.curves(history(**values), list(values))
    found = {
        line.get_label(): (line.get_ydata()[0], line.get_color())
        for axes in figure.axes
        for line in axes.lines
    }
    assert found == {
        "D's loss": (1, plots.D_COLOR),
        "G's loss": (2, plots.G_COLOR),
        "D(x), real": (0.6, plots.REAL_COLOR),
        "D(G(z)), fake": (0.4, plots.FAKE_COLOR),
        "real called real": (0.7, plots.REAL_COLOR),
        "fake called fake": (0.8, plots.FAKE_COLOR),
    }


def test_curves_draw_the_numbers_they_were_given():
    table = history(d_loss=np.linspace(2, 1, 40), g_loss=np.linspace(0.5, 3, 40))
    figure = plots.curves(table, x="iteration")
    line = line_named(figure, "D's loss")
    np.testing.assert_array_equal(line.get_xdata(), table["iteration"])
    np.testing.assert_array_equal(line.get_ydata(), table["d_loss"])
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(0.9)
    assert band.max() == pytest.approx(2.1)
    assert figure.axes[0].get_ylabel() == "loss (nats)"
    assert figure.axes[0].get_xlabel() == "iteration"
    assert {"D's loss", "G's loss"} <= set(texts(figure))
    assert "D's loss goes from 2.00 to 1.00" in figure.alt
    assert "G's loss goes from 0.50 to 3.00" in figure.alt


def test_without_band_nothing_is_shaded():
    assert not plots.curves(history(d_loss=1), "d_loss", band=False).axes[0].collections


def test_losses_probabilities_and_shares_never_share_an_axis():
    figure = plots.curves(
        history(d_loss=1, g_loss=1, d_real=0.6, acc_fake=0.9),
        ["d_loss", "d_real", "g_loss", "acc_fake"],
    )
    assert [a.get_ylabel() for a in figure.axes] == [
        "loss (nats)",
        "D, as a probability",
        "share judged rightly",
    ]
    assert [len(a.lines) for a in figure.axes] == [2, 1, 1]
    for axes in figure.axes[1:]:
        assert axes.get_ylim()[0] <= 0
        assert axes.get_ylim()[1] >= 1


@pytest.mark.parametrize(
    ("rows", "label", "last"),
    [(10, "images seen (thousands)", 6.4), (40000, "images seen (millions)", 25.6)],
)
def test_images_seen_are_counted_in_short_numbers(rows, label, last):
    figure = plots.curves(history(rows=rows, d_loss=1), "d_loss")
    assert figure.axes[0].get_xlabel() == label
    assert line_named(figure, "D's loss").get_xdata()[-1] == pytest.approx(last)


def test_reference_lines_go_to_the_panel_of_their_key():
    figure = plots.curves(
        history(d_loss=1, d_real=0.6),
        ["d_loss", "d_real"],
        references={"log 4": math.log(4), "undecided": ("d_real", 0.5)},
    )
    heights = [[x.get_ydata()[0] for x in a.lines if len(x.get_ydata()) == 2] for a in figure.axes]
    assert heights == [[math.log(4)], [0.5]]
    assert {"log 4", "undecided"} <= set(texts(figure))
    with pytest.raises(InputError, match="'g_loss', which is not drawn"):
        plots.curves(history(d_loss=1), "d_loss", references={"x": ("g_loss", 1)})


def test_labels_of_lines_that_end_together_do_not_overlap():
    figure = plots.curves(history(d_loss=1, g_loss=1.001), references={"a": 1.0, "b": 0.999})
    figure.canvas.draw()
    names = {"D's loss", "G's loss", "a", "b"}
    boxes = [
        t.get_window_extent() for t in figure.findobj(mpl.text.Annotation) if t.get_text() in names
    ]
    assert len(boxes) == 4
    for one, two in itertools.combinations(boxes, 2):
        assert min(one.y1, two.y1) - max(one.y0, two.y0) < 2
    assert max(b.x1 for b in boxes) <= figure.bbox.x1


def test_mean_of_an_epoch_is_weighted_by_iterations():
    table = {
        "iteration": [10, 90, 100, 200],
        "epoch": [0.1, 0.9, 1.0, 2.0],
        "images": [640, 5760, 6400, 12800],
        "d_loss": [1.0, 2.0, 5.0, 4.0],
        "d_loss_min": [0.5, 0.1, 4.0, 3.0],
        "d_loss_max": [1.5, 9.0, 6.0, 5.0],
    }
    rows = plots.per_epoch(table, ["d_loss"])
    assert rows["epoch"].tolist() == [1, 2]
    assert rows["images"].tolist() == [6400, 12800]
    assert rows["d_loss"].tolist() == pytest.approx([(10 * 1 + 80 * 2 + 10 * 5) / 100, 4.0])
    assert rows["d_loss_min"].tolist() == [0.1, 3.0]
    assert rows["d_loss_max"].tolist() == [9.0, 5.0]


def test_curves_per_epoch_have_a_point_for_each_epoch():
    figure = plots.curves(history(d_loss=1.5), "d_loss", x="epoch", per="epoch")
    assert line_named(figure, "D's loss").get_xdata().tolist() == [1, 2, 3, 4]
    assert figure.axes[0].get_xlabel() == "epoch"


def test_a_running_history_can_be_drawn():
    log = History()
    positions = np.stack(
        [np.arange(1, 31), np.arange(1, 31) / 10, np.arange(1, 31) * 64, np.arange(30)], 1
    )
    log.add(positions.astype(float), {"d_loss": np.arange(30.0)})
    figure = plots.curves(log, "d_loss", x="epoch", per="epoch")
    assert line_named(figure, "D's loss").get_ydata().tolist() == [4.5, 14.5, 24.5]


def test_mistakes_with_histories_are_named():
    with pytest.raises(InputError, match="no column 'g_loss'; it has: iteration, epoch, images"):
        plots.curves(history(d_loss=1))
    with pytest.raises(InputError, match="is empty"):
        plots.curves({"images": [], "d_loss": []}, "d_loss")
    with pytest.raises(InputError, match="x must be one of"):
        plots.curves(history(d_loss=1), "d_loss", x="time")
    with pytest.raises(InputError, match="per must be"):
        plots.curves(history(d_loss=1), "d_loss", per="batch")
    with pytest.raises(InputError, match="at least one column"):
        plots.curves(history(d_loss=1), [])
    with pytest.raises(InputError, match="at least one run"):
        plots.compare_runs({})


def test_a_loss_that_is_no_number_does_not_stop_the_picture():
    values = np.ones(40)
    values[30:] = np.nan
    figure = plots.curves(history(d_loss=values), "d_loss")
    assert "D's loss" in texts(figure)
    assert len(plots.png_bytes(figure)) > 1000


def test_runs_side_by_side_share_their_axes_and_show_every_seed():
    runs = {
        "healthy": [history(d_loss=1.0 + s / 10, d_real=0.6) for s in range(3)],
        "dominating D": history(d_loss=0.1, d_real=0.99),
    }
    figure = plots.compare_runs(runs, ["d_loss", "d_real"])
    top = figure.axes[:2]
    assert [a.get_title(loc="left") for a in top] == ["healthy (3 seeds)", "dominating D"]
    assert [len(a.lines) for a in figure.axes] == [3, 1, 3, 1]
    assert top[0].get_ylim() == top[1].get_ylim()
    assert sorted(x.get_ydata()[0] for x in top[0].lines) == pytest.approx([1.0, 1.1, 1.2])
    assert "healthy: D's loss ends at 1.10" in figure.alt
    assert "dominating D: D's loss ends at 0.10" in figure.alt


def test_runs_side_by_side_can_be_drawn_by_the_epoch():
    figure = plots.compare_runs(
        {"a": history(d_loss=1), "b": history(d_loss=2)}, "d_loss", per="epoch"
    )
    for axes in figure.axes:
        (line,) = axes.lines
        assert line.get_xdata().tolist() == [6.4, 12.8, 19.2, 25.6]


def test_moment_marks_its_epoch_on_the_curves():
    figure = plots.moment(history(d_loss=1, g_loss=2), images(), 3)
    (mark,) = (x for x in figure.axes[1].lines if list(x.get_xdata()) == [3, 3])
    assert mark.get_color() == plots.INK
    assert figure.axes[0].get_title(loc="left") == "epoch 3"
    assert figure.alt.startswith("6 samples at epoch 3")


# Histograms, functions, points


def test_share_outside_counts_both_sides_and_not_the_edges():
    assert plots.share_outside(torch.tensor([-2.0, -1.0, 0.0, 1.0, 1.5])) == pytest.approx(0.4)


def test_histogram_heights_are_shares_and_the_unreachable_share_is_said():
    values = torch.tensor([0, 0, 0, 255], dtype=torch.uint8)
    scaled = (values / 255 - 0.1307) / 0.3081
    figure = plots.pixel_histogram(scaled)
    heights = [bar.get_height() for bar in figure.axes[0].patches if bar.get_height() > 0]
    assert {0.75, 0.25} <= {round(h, 9) for h in heights}
    assert "outside [−1, 1]: 25.0%" in texts(figure)
    assert "pixels from -0.424 to 2.82, 25.0% of them outside [−1, 1]" in figure.alt
    assert figure.axes[0].get_ylabel() == "share of pixels"
    assert figure.axes[0].get_yscale() == "log"


def test_pixels_below_the_reach_are_outside_as_those_above_are():
    figure = plots.pixel_histogram(torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]))
    assert "outside [−1, 1]: 40.0%" in texts(figure)


def test_histogram_from_counts_is_that_of_all_pixels():
    values = torch.tensor([-1.0, -1.0, -1.0, 0.5])
    whole = plots.pixel_histogram(values)
    counted = plots.pixel_histogram(torch.tensor([-1.0, 0.5]), torch.tensor([3, 1]))
    assert np.array_equal(rendered(whole), rendered(counted))


def test_flat_bytes_make_a_flat_histogram():
    """Each bin holds equally many of the 256 levels, so no spike comes from the bins."""
    levels = torch.arange(256, dtype=torch.uint8)
    for values in (levels, (levels / 255 - 0.1307) / 0.3081):
        bars = plots.pixel_histogram(values, reach=None).axes[0].patches
        assert {round(bar.get_height(), 9) for bar in bars} == {4 / 256}


def test_panels_of_a_histogram_share_one_axis():
    figure = plots.pixel_histogram({"a": torch.zeros(4), "b": torch.tensor([0.0, 3.0])})
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert [a.get_title(loc="left") for a in figure.axes] == ["a", "b"]
    with pytest.raises(InputError, match="finite"):
        plots.pixel_histogram(torch.tensor([math.inf]))
    with pytest.raises(InputError, match="at least one pixel"):
        plots.pixel_histogram(torch.zeros(0))


def test_functions_are_named_and_measured():
    x = torch.linspace(0, 1, 5)
    figure = plots.lines(x, {"square": x**2, "cube": x**3}, "x", "y", references={"one": 1.0})
    np.testing.assert_allclose(line_named(figure, "cube").get_ydata(), x.numpy() ** 3)
    assert {"square", "cube", "one", "x", "y"} <= set(texts(figure))
    assert figure.alt == "y against x: square, cube."
    with pytest.raises(InputError, match="both must be"):
        plots.lines(x, {"short": x[:2]}, "x", "y")


def test_best_discriminator_is_drawn_below_the_densities():
    p, q = toys.Gaussian(0, 1), toys.Gaussian(2, 1)
    figure = plots.two_densities(p, q, {"net": lambda x: torch.full_like(x, 0.25)}, limits=(-2, 4))
    best = line_named(figure, "D* = p/(p + q)")
    middle = np.abs(best.get_xdata() - 1).argmin()
    assert best.get_ydata()[middle] == pytest.approx(0.5, abs=1e-6)
    assert best.get_ydata()[0] > 0.99
    assert set(line_named(figure, "net").get_ydata()) == {0.25}
    assert line_named(figure, "p, real").get_ydata().max() == pytest.approx(0.3989, abs=1e-3)


def test_densities_have_their_own_names_and_are_described():
    p, q = toys.Gaussian(-1, 1), toys.Gaussian(2, 0.5)
    figure = plots.two_densities(p, q)
    for name, mean, color in (("p, real", -1, plots.REAL_COLOR), ("q, fake", 2, plots.FAKE_COLOR)):
        line = line_named(figure, name)
        assert line.get_xdata()[line.get_ydata().argmax()] == pytest.approx(mean, abs=0.02)
        assert line.get_color() == color
    assert figure.alt == (
        "Above, the densities of Gaussian(mean=-1, std=1) (real) and Gaussian(mean=2, std=0.5) (fake); "
        "below, D* = p/(p + q) from x = -6 to 6."
    )


def test_field_says_what_d_says_at_each_point():
    field = plots.discriminator_field(lambda x: x[:, 0] + 10 * x[:, 1], limits=2, resolution=5)
    assert field.shape == (5, 5)
    assert field[2, 2] == 0.5
    # Columns are x, rows are y: y counts ten times as much.
    assert field[2, 3].item() == pytest.approx(1 / (1 + math.exp(-1)))
    assert field[3, 2].item() == pytest.approx(1 / (1 + math.exp(-10)))


def test_asking_d_leaves_it_as_it_was():
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Dropout(0.9), torch.nn.Linear(4, 1))
    net.train()
    first, second = plots.discriminator_field(net), plots.discriminator_field(net)
    assert torch.equal(first, second)  # dropout was off
    assert net.training
    assert net[1].training
    assert all(p.grad is None for p in net.parameters())


def test_scatter_keeps_its_window_and_counts_what_lies_outside():
    fakes = torch.tensor([[0.0, 0.0], [5.0, 0.0], [math.nan, 0.0]])
    figure = plots.scatter2d(fakes, torch.ones(4, 2), limits=3)
    assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim() == (-3, 3)
    assert "fakes outside: 2" in texts(figure)
    assert "4 real points; 3 fakes, 2 of them outside the picture" in figure.alt
    assert {"real", "fake"} <= set(texts(figure))
    real, fake = line_named(figure, "real"), line_named(figure, "fake")
    assert real.get_marker() != fake.get_marker()
    np.testing.assert_array_equal(fake.get_xydata(), fakes.numpy())


def test_a_field_lies_under_the_points_that_it_judges():
    """D says real where x2 is large and fake where it is small: green above, purple below."""
    field = plots.discriminator_field(lambda x: 9 * x[:, 1] - x[:, 0], limits=2, resolution=9)
    figure = plots.scatter2d(torch.tensor([[0.0, 9.0]]), field=field, limits=2)
    picture, axes = rendered(figure), figure.axes[0]
    colors = {}
    for name, y in (("real", 1.5), ("fake", -1.5)):
        column, row = axes.transData.transform((0.3, y)).astype(int)
        red, green, _ = picture[len(picture) - 1 - row, column].astype(int)
        colors[name] = "green" if green > red else "purple"
    assert colors == {"real": "green", "fake": "purple"}


def test_scatter_over_a_field_has_a_scale_for_it():
    field = plots.discriminator_field(lambda x: x[:, 0], resolution=9)
    figure = plots.scatter2d(torch.zeros(3, 2), field=field)
    assert "D's output, as a probability" in texts(figure)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), field.numpy())
    with pytest.raises(InputError, match="table of probabilities"):
        plots.scatter2d(torch.zeros(3, 2), field=field * 4 - 2)
    with pytest.raises(InputError, match=r"samples must have shape \[n, 2\]"):
        plots.scatter2d(torch.zeros(3))


def test_clouds_are_side_by_side_over_the_same_real_points_in_the_same_window():
    real = torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    fakes = {"good": real + 0.1, "far": real + 9, "few": real[:1], "none left": real[:0]}
    figure = plots.clouds(fakes, real, limits=2)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == list(fakes)
    for axes, points in zip(panels, fakes.values(), strict=True):
        shown, fake = axes.lines
        np.testing.assert_array_equal(shown.get_xydata(), real.numpy())
        np.testing.assert_array_equal(fake.get_xydata(), points.numpy())
        assert shown.get_marker() != fake.get_marker()
        assert axes.get_xlim() == axes.get_ylim() == (-2, 2)
    assert figure.alt == (
        "Fakes in the plane over 2 real points, a panel each: good, far, few, none left."
    )
    with pytest.raises(InputError, match="at least one"):
        plots.clouds({}, real)
    with pytest.raises(InputError, match=r"far must have shape \[n, 2\]"):
        plots.clouds({"far": torch.zeros(3)}, real)


# Networks


def test_the_stages_of_a_network_are_those_that_an_example_goes_through():
    g = dcgan.Generator(10, (8, 4), (3, 16, 16))
    g.train()
    found = networks.stages(g, torch.zeros(2, 10))
    assert [s.shape for s in found] == [(10,), (8, 4, 4), (4, 8, 8), (3, 16, 16)]
    assert found[1].words == ["dense", "reshape", "batch norm", "ReLU"]
    assert found[3].words == ["transposed conv 4×4, stride 2", "tanh"]
    assert sum(s.parameters for s in found) == sum(p.numel() for p in g.parameters())
    assert g.training
    assert not any(m._forward_hooks for m in g.modules())
    d = mlp.Discriminator((5,), (1, 4, 4), dropout=0.5)
    found = networks.stages(d, torch.zeros(1, 1, 4, 4))
    assert [s.shape for s in found] == [(1, 4, 4), (5,), (1,)]
    assert found[1].words == ["dense", "leaky ReLU 0.2", "dropout"]
    with pytest.raises(InputError, match="has no layers to draw"):
        networks.stages(torch.nn.Identity(), torch.zeros(1, 3))


def test_an_architecture_is_drawn_to_scale_and_said_in_words():
    d = dcgan.Discriminator((4, 16), (1, 16, 16))
    figure = plots.architecture(d, torch.zeros(1, 1, 16, 16), "Small")
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights[1] / heights[0] == pytest.approx(0.5)
    assert heights[2] / heights[0] == pytest.approx(0.25)
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths[2] / widths[1] == pytest.approx(2)  # the root of four times the channels
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"Small", "16×16×1", "4×4×16", "1"} <= texts
    assert f"{16 * 4 * 16 + 2 * 16:,}\nparameters" in texts
    assert figure.alt.startswith("Small: input gives 16×16×1; conv 4×4, stride 2, leaky ReLU 0.2")
