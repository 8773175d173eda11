"""Images come in the range that was asked for, and each pass shows each of them once."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gantut import build, data, recipes
from gantut.data import Batches, ImageSet, load, scale, to_uint8, unscale
from gantut.errors import CheckpointError, DataError, InputError

EVERY_BYTE = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
RANGES = [(0.5, 0.5), (0.0, 1.0), (0.1307, 0.3081), (0.9, 0.001)]


def numbered(n: int, labelled: bool = True) -> ImageSet:
    """``n`` images of 2 × 2 pixels, all pixels of image i being i, and its label i % 10."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).repeat(1, 1, 2, 2)
    labels = torch.arange(n) % 10 if labelled else None
    return ImageSet(images, labels, tuple("0123456789"))


def shown(batches: Batches, count: int) -> list[list[int]]:
    """Which images of ``numbered`` the next ``count`` batches show."""
    return [
        unscale(batches.next()[0])[:, 0, 0, 0].mul(255).round().int().tolist() for _ in range(count)
    ]


# --- Ranges ---------------------------------------------------------------------------------------


def test_black_and_white_are_exactly_the_ends_of_tanh_and_of_sigmoid():
    for (mean, std), ends in (((0.5, 0.5), (-1.0, 1.0)), ((0, 1), (0.0, 1.0))):
        scaled = scale(EVERY_BYTE, mean, std)
        assert scaled.dtype == torch.float32
        assert scaled.shape == EVERY_BYTE.shape
        assert (scaled.min().item(), scaled.max().item()) == ends


@pytest.mark.parametrize(("mean", "std"), RANGES)
def test_scale_is_the_textbook_formula(mean, std):
    exact = (EVERY_BYTE.double() / 255 - mean) / std
    error = (scale(EVERY_BYTE, mean, std).double() - exact).abs().max().item()
    assert error < 2e-7 * exact.abs().max().item()


def test_each_channel_is_scaled_with_its_own_mean_and_std():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=generator)
    found = scale(images, mean, std)
    for c in range(3):
        exact = (images[:, c].double() / 255 - mean[c]) / std[c]
        torch.testing.assert_close(found[:, c].double(), exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(unscale(found, mean, std), unscale(scale(images)))
    assert torch.equal(scale(images, [0.1] * 3, 0.3), scale(images, 0.1, [0.3] * 3))
    torch.testing.assert_close(scale(images, [0.1] * 3, 0.3), scale(images, 0.1, 0.3))


@pytest.mark.parametrize(("mean", "std"), RANGES)
def test_unscale_brings_every_byte_back(mean, std):
    back = unscale(scale(EVERY_BYTE, mean, std), mean, std)
    assert back.dtype == torch.float32
    assert torch.equal(back.mul(255).round().to(torch.uint8), EVERY_BYTE)


def test_unscale_clips_and_leaves_its_input_alone():
    images = torch.tensor([[[[-1.5, -1.0, 0.0, 1.0, 7.0]]]])
    before = images.clone()
    assert unscale(images).flatten().tolist() == [0, 0, 0.5, 1, 1]
    assert torch.equal(images, before)


def test_to_uint8_brings_every_byte_back_rounds_and_clips():
    assert torch.equal(to_uint8(scale(EVERY_BYTE)), EVERY_BYTE)
    images = torch.tensor([-9.0, -1.0, -1 + 0.9 / 255, -1 + 1.1 / 255, 0.0, 1.0, 1.001, 9.0])
    before = images.clone()
    assert to_uint8(images).tolist() == [0, 0, 0, 1, 128, 255, 255, 255]
    assert torch.equal(images, before)


def test_scale_refuses_what_makes_no_sense():
    with pytest.raises(
        InputError, match=r"takes uint8 images, in 0 to 255, not float32 \[1, 1, 2, 2\]"
    ):
        scale(torch.zeros(1, 1, 2, 2))
    for back in (to_uint8, unscale):
        with pytest.raises(InputError, match=r"floats.*, not uint8 \[1, 1, 16, 16\]\."):
            back(EVERY_BYTE)
    for mean, std in ((0.5, 0), (0.5, -1), (float("nan"), 1), (0, [0.5, 0.5])):
        with pytest.raises(InputError, match=r"mean|std"):
            scale(EVERY_BYTE, mean, std)
        with pytest.raises(InputError, match=r"mean|std"):
            Batches(numbered(4), 2, mean=mean, std=std)


# --- Image sets -----------------------------------------------------------------------------------


def test_an_image_set_knows_its_shape_and_gives_its_first_images():
    images = numbered(20)
    assert len(images) == 20
    assert images.image_shape == (1, 2, 2)
    few = images.subset(3)
    assert (len(few), few.classes, few.labels.tolist()) == (3, images.classes, [0, 1, 2])
    assert few.images.data_ptr() == images.images.data_ptr()
    assert few.to("cpu").device == torch.device("cpu")
    assert repr(few) == "ImageSet(images, train: 3 images [1, 2, 2], 10 classes)"
    for n in (0, -1, 21):
        with pytest.raises(
            InputError, match=f"Asked for {n} images of images .train., which has 20"
        ):
            images.subset(n)


GOOD = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GOOD.float(), None, r"uint8 tensor \[N, C, H, W\], not float32 \[4, 1, 2, 2\]; to_uint8"),
        (GOOD[0], None, r"not uint8 \[1, 2, 2\]"),
        (GOOD.numpy(), None, "not ndarray"),
        (GOOD[:0], None, "at least one image"),
        (GOOD.expand(4, 2, 2, 2), None, "1 or 3 channels"),
        (GOOD, torch.zeros(3, dtype=torch.int64), r"4 images take labels .*, not int64 \[3\]"),
        (GOOD, torch.zeros(4), r"not float32 \[4\]"),
        (GOOD, [0, 0, 0, 0], "not list"),
        (GOOD, torch.tensor([0, 1, 2, 0]), "Label 2 has no class: there are 2"),
        (GOOD, torch.tensor([0, 1, -1, 0]), "Label -1 has no class"),
        (GOOD, torch.zeros(4, dtype=torch.int64, device="meta"), "on cpu and the labels on meta"),
    ],
)
def test_an_image_set_refuses_other_tensors(images, labels, message):
    with pytest.raises(InputError, match=message):
        ImageSet(images, labels, ("a", "b"))


# --- The real data --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "counts", "first", "mean", "std"),
    [
        (
            "mnist",
            (1, 28, 28),
            (60_000, 10_000),
            [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
            [0.1307],
            [0.3081],
        ),
        (
            "cifar10",
            (3, 32, 32),
            (50_000, 10_000),
            [6, 9, 9, 4, 1, 1, 2, 7, 8, 3],
            [0.49140, 0.48216, 0.44653],
            [0.24703, 0.24349, 0.26159],
        ),
    ],
)
def test_the_data_sets_have_their_published_facts(name, shape, counts, first, mean, std):
    train, test = load(name), load(name, "test")
    assert (len(train), len(test)) == counts
    assert train.image_shape == test.image_shape == shape
    assert (train.name, train.split, test.split) == (name, "train", "test")
    assert train.labels[:10].tolist() == first
    # Sums over bytes, exact in integers: 60,000 images of float64 would fill half a gigabyte.
    histogram = torch.stack(
        [torch.bincount(train.images[:, c].flatten(), minlength=256) for c in range(shape[0])]
    )
    values = torch.arange(256, dtype=torch.float64) / 255
    share = histogram.double() / histogram.sum(1, keepdim=True)
    found_mean = (share * values).sum(1)
    found_std = ((share * values**2).sum(1) - found_mean**2).sqrt()
    digits = 4 if name == "mnist" else 5
    assert [round(value, digits) for value in found_mean.tolist()] == mean
    assert [round(value, digits) for value in found_std.tolist()] == std
    by_class = torch.bincount(train.labels, minlength=10).tolist()
    if name == "cifar10":
        assert by_class == [5000] * 10
        assert torch.bincount(test.labels).tolist() == [1000] * 10
        assert train.classes[6] == "frog"
        assert train.classes == (
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        )
    else:
        assert by_class == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert train.classes == tuple("0123456789")


def test_limit_gives_the_first_images():
    few = load("mnist", "test", limit=7)
    assert len(few) == 7
    assert few.labels.tolist() == [7, 2, 1, 0, 4, 1, 4]
    assert len(load("mnist", "test", image_size=28, channels=1)) == 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnits",), "mnits is neither a data set nor a folder; .* Did you mean mnist?"),
        (("CIFAR-10",), "Did you mean cifar10?"),
        (
            ("no/such/folder",),
            "is neither a data set nor a folder; the data sets are mnist, cifar10.$",
        ),
        (("mnist", "valid"), "split must be 'train' or 'test', not 'valid'"),
        (("mnist", "test", 0), "limit must be a whole number from 1, not 0"),
        (("mnist", "test", True), "limit must be"),
        (
            ("mnist", "test", 10_001),
            r"Asked for 10001 images of mnist \(test\), which has 10000; .* data\.limit=null\)\.$",
        ),
        (("mnist", "test", None, 32), "mnist has images of 28 × 28 pixels"),
        (("mnist", "test", None, None, 3), "mnist has images of 28 × 28 pixels"),
        (("mnist", "test", None, None, 2), "channels must be 1 or 3, not 2"),
        (("mnist", "test", None, -3), "image_size must be"),
    ],
)
def test_load_refuses_what_is_not_there(arguments, message):
    with pytest.raises(InputError, match=message):
        load(*arguments)


# --- A reader's own folder ------------------------------------------------------------------------


def picture(path, value=0, size=(4, 4), mode="L", **options):
    """Save one plain picture; ``size`` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


def test_a_flat_folder_has_images_and_no_labels(tmp_path):
    for i, name in enumerate(["c.png", "a.PNG", "b.bmp"]):
        picture(tmp_path / name, value=i)
    (tmp_path / "notes.txt").write_text("not an image, left alone")
    (tmp_path / "._a.png").write_text("nor is this")
    (tmp_path / ".hidden").mkdir()
    found = load(str(tmp_path))
    assert found.images[:, 0, 0, 0].tolist() == [1, 2, 0]
    assert found.image_shape == (1, 4, 4)
    assert (found.labels, found.classes) == (None, ())
    assert found.name == tmp_path.name
    assert load(tmp_path, limit=2).images[:, 0, 0, 0].tolist() == [1, 2]


def test_folders_in_a_folder_are_classes_that_take_turns(tmp_path):
    for value, name in enumerate(["cat/1", "cat/2", "cat/3", "dog/1", "eel/1", "eel/2"]):
        picture(tmp_path / f"{name}.png", value)
    found = load(tmp_path)
    assert found.classes == ("cat", "dog", "eel")
    assert found.labels.tolist() == [0, 1, 2, 0, 2, 0]
    assert found.images[:, 0, 0, 0].tolist() == [0, 3, 4, 1, 5, 2]
    few = load(tmp_path, limit=3)
    assert (few.labels.tolist(), few.classes) == ([0, 1, 2], found.classes)
    with pytest.raises(InputError, match=r"Asked for 7 images .* has 6; .* data\.limit=null\)\."):
        load(tmp_path, limit=7)


def test_train_and_test_in_a_folder_are_splits(tmp_path):
    picture(tmp_path / "train" / "a" / "1.png", 1)
    picture(tmp_path / "test" / "a" / "1.png", 2)
    assert load(tmp_path, "train").images[0, 0, 0, 0] == 1
    assert load(tmp_path, "test").images[0, 0, 0, 0] == 2
    with pytest.raises(
        InputError,
        match=r"no test split; put its images into folders 'train' and 'test' .* --reference train",
    ):
        load(tmp_path / "train", "test")
    (tmp_path / "test").rename(tmp_path / ".gone")
    with pytest.raises(InputError, match=r"no folder 'test'; put the test images there, .* train"):
        load(tmp_path, "test")
    (tmp_path / "train").rename(tmp_path / "test")
    with pytest.raises(InputError, match=r"has no folder 'train'; put the train images there\.$"):
        load(tmp_path, "train")


def test_a_class_has_one_number_in_both_splits(tmp_path):
    for place in ("train/cat", "train/dog", "train/fish", "test/cat", "test/fish"):
        picture(tmp_path / place / "1.png", 1)
    train, test = (load(tmp_path, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("cat", "dog", "fish")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2], [0, 2])
    picture(tmp_path / "test" / "owl" / "1.png", 1)
    with pytest.raises(InputError, match=r"test has a class 'owl', and .*train has none"):
        load(tmp_path, "test")


def test_colour_images_keep_their_channels_in_order(tmp_path):
    picture(tmp_path / "a.png", (1, 2, 3), size=(5, 4), mode="RGB")
    found = load(tmp_path)
    assert found.image_shape == (3, 4, 5)
    assert found.images[0, :, 0, 0].tolist() == [1, 2, 3]
    assert load(tmp_path, channels=1).image_shape == (1, 4, 5)


def test_grey_and_colour_together_need_a_number_of_channels(tmp_path):
    picture(tmp_path / "a.png", 9)
    picture(tmp_path / "b.png", (7, 7, 7), mode="RGB")
    with pytest.raises(
        InputError, match=r"a.png is grey and .*b.png colour; .*data.channels=1, or 3"
    ):
        load(tmp_path)
    assert load(tmp_path, channels=1).images[:, 0, 0, 0].tolist() == [9, 7]
    assert load(tmp_path, channels=3).images[:, :, 0, 0].tolist() == [[9, 9, 9], [7, 7, 7]]


def test_a_recipe_takes_the_remedies_that_these_errors_name(tmp_path):
    picture(tmp_path / "a.png", 9, size=(4, 4))
    picture(tmp_path / "b.png", (7, 7, 7), size=(6, 5), mode="RGB")
    own = [f"data.path={tmp_path}", "data.image_size=3", "data.channels=1"]
    found = build.image_set(recipes.load("mlp-mnist", own))
    assert found.images.shape == (2, 1, 3, 3)
    assert found.images[:, 0, 1, 1].tolist() == [9, 7]
    assert len(build.image_set(recipes.load("mlp-mnist", [*own, "data.limit=1"]))) == 1
    picture(tmp_path / "splits" / "train" / "a.png", 1)
    picture(tmp_path / "splits" / "test" / "a.png", 2)
    own = [f"data.path={tmp_path / 'splits'}", "data.split=test"]
    assert build.image_set(recipes.load("mlp-mnist", own)).images.unique().tolist() == [2]


def test_mixed_sizes_need_an_image_size(tmp_path):
    picture(tmp_path / "a.png", 9, size=(4, 4))
    picture(tmp_path / "b.png", 7, size=(6, 5))
    with pytest.raises(
        InputError, match=r"a.png has 4 × 4 pixels and .*b.png 6 × 5; .*data.image_size=32"
    ):
        load(tmp_path)
    found = load(tmp_path, image_size=3)
    assert found.image_shape == (1, 3, 3)
    assert found.images[:, 0, 1, 1].tolist() == [9, 7]


def test_resizing_keeps_the_middle_and_the_proportions(tmp_path):
    # A wide picture: 4 columns of white, 4 of grey, 4 of black. Its middle is the grey.
    columns = np.repeat(np.array([255, 100, 0], np.uint8), 4)[None].repeat(4, 0)
    Image.fromarray(columns).save(tmp_path / "a.png")
    assert load(tmp_path, image_size=4).images[0, 0].unique().tolist() == [100]


def test_transparent_parts_are_white(tmp_path):
    picture(tmp_path / "a.png", (10, 20, 30, 0), mode="RGBA")
    picture(tmp_path / "b.png", (10, 20, 30, 255), mode="RGBA")
    assert load(tmp_path).images[:, :, 0, 0].tolist() == [[255, 255, 255], [10, 20, 30]]
    folder = tmp_path / "grey"
    picture(folder / "a.png", (10, 0), mode="LA")
    picture(folder / "b.png", (10, 255), mode="LA")
    assert load(folder).images[:, 0, 0, 0].tolist() == [255, 10]


def test_a_camera_that_was_turned_is_turned_back(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[:, 0] = 200
    orientation = Image.Exif()
    orientation[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=orientation)
    assert load(tmp_path).images[0, 0, 0].tolist() == [0, 0, 0, 0, 0, 200]


def test_other_kinds_of_image_are_converted_or_named(tmp_path):
    picture(tmp_path / "a.gif", 1, mode="1")
    picture(tmp_path / "b.png", 255)
    assert load(tmp_path, channels=1).images[:, 0, 0, 0].tolist() == [255, 255]
    picture(tmp_path / "c.png", 40_000, mode="I;16")
    with pytest.raises(InputError, match=r"c.png has more than 8 bits a channel .*save it with 8"):
        load(tmp_path, channels=1)


@pytest.mark.parametrize("damage", ["text", "cut short", "empty"])
def test_an_unreadable_image_is_named(tmp_path, damage):
    for i in range(20):
        picture(tmp_path / f"{i:02}.png", i)
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "png")
    raw = {"text": b"no image", "cut short": buffer.getvalue()[:900], "empty": b""}[damage]
    (tmp_path / "07.png").write_bytes(raw)
    with pytest.raises(DataError, match=r"07.png cannot be read as an image; replace or remove it"):
        load(tmp_path)


def test_folders_that_hold_no_data_set_are_refused(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path.name} holds no images; those end in .png"):
        load(tmp_path)
    picture(tmp_path / "cat" / "1.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="dog holds no images, so class 'dog' would be empty"):
        load(tmp_path)
    picture(tmp_path / "dog" / "puppy" / "1.png")
    with pytest.raises(InputError, match="puppy lies too deep"):
        load(tmp_path)
    picture(tmp_path / "stray.png")
    with pytest.raises(InputError, match=r"holds both images .stray.png. and folders .cat."):
        load(tmp_path)
    with pytest.raises(InputError, match=r"stray.png is a file, not a folder"):
        load(tmp_path / "stray.png")


def test_a_folder_too_large_for_memory_is_refused_before_it_fills_it(tmp_path, monkeypatch):
    for i in range(5):
        picture(tmp_path / f"{i}.png")
    monkeypatch.setattr(data, "FOLDER_BYTES", 5 * 16 - 1)
    with pytest.raises(
        InputError, match="5 images of 4 × 4 pixels do not fit into memory; give a smaller"
    ):
        load(tmp_path)
    assert len(load(tmp_path, limit=4)) == 4
    assert len(load(tmp_path, image_size=2)) == 5


# --- Batches --------------------------------------------------------------------------------------


def test_each_pass_shows_each_image_once_in_a_new_order():
    batches = Batches(numbered(30), 10, seed=3)
    passes = [[i for batch in shown(batches, 3) for i in batch] for _ in range(3)]
    for each in passes:
        assert sorted(each) == list(range(30))
        assert each != list(range(30))
    assert passes[0] != passes[1] != passes[2] != passes[0]


def test_the_order_is_the_seeds_and_nobody_elses():
    def first(seed):
        return shown(Batches(numbered(50), 10, seed=seed), 12)

    torch.manual_seed(1)
    expected = first(5)
    state = torch.get_rng_state()
    assert first(6) != expected
    assert first(5) == expected
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert first(5) == expected


def test_labels_stay_with_their_images():
    batches = Batches(numbered(37), 8, seed=0)
    for _ in range(20):
        images, labels = batches.next()
        assert labels.dtype == torch.int64
        assert (to_uint8(images)[:, 0, 0, 0].long() % 10).tolist() == labels.tolist()


def test_without_shuffling_the_images_come_in_their_order():
    batches = Batches(numbered(7), 3, shuffle=False)
    assert shown(batches, 4) == [[0, 1, 2], [3, 4, 5], [6], [0, 1, 2]]
    images, labels = batches.next()
    assert labels.tolist() == [3, 4, 5]
    images.zero_()
    assert batches.image_set.images[3:6, 0, 0, 0].tolist() == [3, 4, 5]


def test_with_replacement_each_image_is_drawn_from_all():
    batches = Batches(numbered(7), 7, seed=1, replacement=True)
    passes = shown(batches, 300)
    assert any(len(set(one)) < 7 for one in passes)
    counts = np.bincount(np.concatenate(passes), minlength=7)
    assert abs(counts - 300).max() < 5 * 300**0.5
    # An image is as likely to come next whatever came before it.
    assert sum(a == b for one in passes for a, b in zip(one, one[1:])) > 150
    assert batches.seen == 2100
    with pytest.raises(InputError, match="in no fixed order: set shuffle"):
        Batches(numbered(7), 3, shuffle=False, replacement=True)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [3, 3, 1]), (True, [3, 3])])
def test_the_last_batch_is_smaller_or_left_out(drop_last, sizes):
    batches = Batches(numbered(7), 3, drop_last=drop_last)
    assert batches.batches_per_epoch == len(sizes)
    for epoch in range(3):
        position = 0
        for size in sizes:
            assert (batches.epoch, batches.position) == (epoch, position)
            assert len(batches.next()[0]) == size
            position += size
        assert (batches.epoch, batches.position) == (epoch + 1, 0)


def test_passes_that_leave_images_out_leave_others_out_each_time_and_do_not_count_them():
    batches = Batches(numbered(7), 3, drop_last=True)
    passes = [{i for batch in shown(batches, 2) for i in batch} for _ in range(20)]
    assert set.union(*passes) == set(range(7))
    assert batches.seen == batches.images_in(40) == 20 * 6
    whole = Batches(numbered(7), 3)
    for count in range(1, 9):
        whole.next()
        assert whole.seen == whole.images_in(count)


@pytest.mark.parametrize(("mean", "std"), [*RANGES, ((0.4,), 0.2)])
def test_batches_are_scaled_as_scale_does(mean, std):
    images = ImageSet(EVERY_BYTE)
    for shuffle in (False, True):
        found, labels = Batches(images, 1, shuffle=shuffle, mean=mean, std=std).next()
        assert labels is None
        assert found.dtype == torch.float32
        assert torch.equal(found, scale(EVERY_BYTE, mean, std))


def test_each_channel_may_have_its_own_range():
    images = torch.randint(
        0, 256, (6, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    found, _ = Batches(ImageSet(images), 6, shuffle=False, mean=mean, std=std).next()
    assert torch.equal(found, scale(images, mean, std))


@pytest.mark.parametrize(("shuffle", "replacement"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("done", range(9))
def test_saved_batches_go_on_exactly(shuffle, drop_last, replacement, done, tmp_path):
    settings = {"batch_size": 3, "shuffle": shuffle, "drop_last": drop_last}
    settings["replacement"] = replacement
    batches = Batches(numbered(10), seed=4, **settings)
    shown(batches, done)
    torch.save(batches.state_dict(), tmp_path / "state.pt")
    position = (batches.epoch, batches.position)
    expected = shown(batches, 11)
    # Another seed and another position: all that counts comes from the saved state.
    other = Batches(numbered(10), seed=5, **settings)
    shown(other, 5)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (other.epoch, other.position) == position
    assert shown(other, 11) == expected


def test_a_saved_state_does_not_change_afterwards():
    batches = Batches(numbered(10), 3)
    shown(batches, 2)
    state = batches.state_dict()
    expected = shown(batches, 20)
    again = Batches(numbered(10), 3)
    again.load_state_dict(state)
    assert shown(again, 20) == expected
    again.load_state_dict(state)
    assert shown(again, 20) == expected


def test_a_state_of_other_batches_is_refused():
    state = Batches(numbered(10), 3).state_dict()
    with pytest.raises(CheckpointError, match="is of 10 images, and these batches have 11"):
        Batches(numbered(11), 3).load_state_dict(state)
    with pytest.raises(CheckpointError, match="is of 3 images a batch, and these batches have 2"):
        Batches(numbered(10), 2).load_state_dict(state)


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_a_batch_size_that_does_not_fit_is_refused(batch_size):
    with pytest.raises(
        InputError, match=rf"of images, 10; it is {batch_size} \(.*train\.batch_size"
    ):
        Batches(numbered(10), batch_size)
