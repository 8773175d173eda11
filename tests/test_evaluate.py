"""Measuring runs and files of images: rows that say all they depend on, and requests that are refused.

The command line is entered as a process would enter it, within this one.
"""

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from gantut import build, cli, data, evaluate, recipes, runs, sources, weights, zoo
from gantut.errors import InputError
from gantut.evaluate import measurements, merged, read_images, table
from gantut.home import data_dir, home
from gantut.metrics import features
from gantut.metrics.features import FeatureSet, InceptionEyes, judge
from gantut.runs import Run
from tests import small
from tests.test_metrics_inception import Means

KEYS = {
    *("metric", "value", "standard_error", "estimator", "samples", "network", "reference"),
    *("seed", "epoch"),
}
OF_FEATURES = ["precision", "recall", "density", "coverage"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of one's own that has MNIST, and an Inception network of 12 features."""
    sources.ensure("mnist")
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "data").symlink_to(data_dir())
    monkeypatch.setenv("GANTUT_HOME", str(folder))
    stand_in = InceptionEyes(Means(), "inception@0123")
    monkeypatch.setattr(features, "inception", lambda device="cpu": stand_in)
    monkeypatch.setattr(evaluate.Inception, "feature_dim", 12)
    return folder


@pytest.fixture
def run(own, tmp_path) -> Run:
    """A run of a narrow, untrained generator."""
    recipe = small.recipe("data.limit=64")
    folder = tmp_path / "run"
    trainer = build.trainer(recipe, folder, "cpu", images=small.images())
    folder.mkdir(exist_ok=True)
    weights.save(trainer.generator, folder / "generator.safetensors")
    (folder / "config.yaml").write_text(recipes.to_yaml(recipe))
    runs.write_json(folder / "run.json", {"epochs": 1.0, "image_shape": [1, 28, 28]})
    return Run(folder)


@pytest.fixture
def gantut(monkeypatch, capsys):
    """Run the command line; returns its exit status, standard output and standard error."""

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gantut", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


# --- rows ---------------------------------------------------------------------------------------


def test_real_digits_score_well_and_every_row_says_what_it_depends_on():
    train, test = data.load("mnist", "train").subset(400), data.load("mnist", "test").subset(400)
    eyes = judge()
    rows = measurements(data.scale(train.images), FeatureSet(test, eyes), eyes)
    found = {row["metric"]: row for row in rows}
    assert list(found) == [
        *("confident_share", "class_entropy", "classifier_score"),
        *("frechet_distance", "kernel_distance", *OF_FEATURES),
    ]
    for row in rows:
        assert set(row) == KEYS - {"seed", "epoch"}
        assert row["samples"] == 400
        assert row["network"] == eyes.name
        assert row["estimator"]
    assert found["precision"]["reference"] == "mnist test, 400 images"
    assert found["classifier_score"]["reference"] is None
    assert found["classifier_score"]["value"] > 8
    kernel = found["kernel_distance"]
    assert abs(kernel["value"]) < 5 * kernel["standard_error"]
    assert kernel["estimator"] == "unbiased, cubic kernel, disjoint subsets of 40"
    for metric, least in (("precision", 0.7), ("recall", 0.7), ("coverage", 0.8)):
        assert found[metric]["value"] > least
    assert 0.7 < found["density"]["value"] < 1.3


def test_precision_is_of_the_images_and_recall_of_the_reference():
    """One digit, copied: it looks real, and covers nothing."""
    test = data.load("mnist", "test").subset(300)
    eyes = judge()
    ones = test.images[test.labels == 1][:20]
    copies = data.scale(ones.repeat(15, 1, 1, 1))
    found = {r["metric"]: r["value"] for r in measurements(copies, FeatureSet(test, eyes), eyes)}
    assert found["precision"] == 1
    assert found["recall"] < 0.2
    assert found["coverage"] < 0.3


def test_labels_bring_the_metrics_of_conditional_generators():
    test, train = (data.load("mnist", split).subset(2500) for split in ("test", "train"))
    eyes = judge()
    labels = train.labels.clone()
    labels[:250] = (labels[:250] + 1) % 10  # a tenth told something else
    rows = measurements(data.scale(train.images), FeatureSet(test, eyes), eyes, labels=labels)
    by_class = [r for r in rows if "of" in r]
    assert [r["of"] for r in by_class] == [f"class {k}" for k in range(10)]
    assert [r["samples"] for r in by_class] == labels.bincount().tolist()
    found = {r["metric"]: r for r in rows if "of" not in r}
    assert found["label_agreement"]["value"] == pytest.approx(0.9, abs=0.01)
    assert found["label_agreement"]["standard_error"] == pytest.approx(0.006, abs=0.001)
    mean = np.average([r["value"] for r in by_class], weights=[r["samples"] for r in by_class])
    assert found["label_agreement"]["value"] == pytest.approx(mean)
    # Strangers within a class move its distance and widen it.
    right = measurements(
        data.scale(train.images), FeatureSet(test, eyes), eyes, labels=train.labels
    )
    true = {r["metric"]: r["value"] for r in right}
    assert true["within_class_diversity"] == pytest.approx(1, abs=0.15)
    assert true["intra_class_frechet"] < 0.5 * found["intra_class_frechet"]["value"]
    assert true["within_class_diversity"] < 0.8 * found["within_class_diversity"]["value"]
    assert true["one_minus_pixel_mse"] == pytest.approx(0.893, abs=0.005)
    assert found["one_minus_pixel_mse"]["value"] < true["one_minus_pixel_mse"]
    # A tenth of all digits moved by one class: of the separation, about a fifth goes.
    assert true["class_separation"] > 0.5
    assert 0.7 < found["class_separation"]["value"] / true["class_separation"] < 0.9
    assert found["intra_class_frechet"]["reference"] == "mnist test, 2500 images"


def test_labels_that_leave_out_classes_bring_what_can_be_measured():
    test, train = (data.load("mnist", split).subset(2000) for split in ("test", "train"))
    eyes, reference = judge(), FeatureSet(test, judge())
    for kept, names in ((train.labels == 7, set()), (train.labels < 9, {"class_separation"})):
        images, labels = data.scale(train.images[kept][:180]), train.labels[kept][:180]
        found = {r["metric"] for r in measurements(images, reference, eyes, labels=labels)}
        conditional = {"class_separation", "intra_class_frechet", "within_class_diversity"}
        assert found & conditional == names
        assert {"label_agreement", "one_minus_pixel_mse"} <= found


def test_the_inception_network_is_not_shown_images_in_another_range(own):
    eyes = features.inception()
    test = data.load("mnist", "test").subset(60)
    reference, images = FeatureSet(test, eyes), data.scale(test.images)
    assert measurements(images, reference, eyes)
    for wrong, sentence in (
        ((images + 1) / 2, r"they seem to lie in \[0, 1\]"),
        ((images + 1) * 127.5, r"takes float images in \[-1, 1\]; scale them first"),
        (images / 0, "pixels that are not finite numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            measurements(wrong, reference, eyes)


def test_a_finished_run_keeps_its_measurements_however_it_is_named(run, gantut, monkeypatch):
    monkeypatch.setattr(zoo, "FOLDER", run.folder.parent)
    monkeypatch.chdir(run.folder.parent)
    for name in (run.folder, run.folder.name):
        code, out, _ = gantut("evaluate", name, "--samples", 300)
        assert code == 0
        assert json.loads(out)
        assert not (run.folder / "metrics.json").exists()


def test_a_classifier_is_measured_by_the_images_that_it_was_made_for(tmp_path, monkeypatch):
    asked = []
    test = data.load("mnist", "test").subset(300)
    monkeypatch.setattr(
        data, "load", lambda *a, **made_alike: asked.append((a, made_alike)) or test
    )
    recipe = recipes.load("classifier-mnist", ["data.path=pictures", "data.image_size=28"])
    trainer = build.trainer(recipe, tmp_path, "cpu", images=test)
    weights.save(trainer.game.classifier, tmp_path / "classifier.safetensors")
    (tmp_path / "config.yaml").write_text(recipes.to_yaml(recipe))
    runs.write_json(tmp_path / "run.json", {"epochs": 1.0, "image_shape": [1, 28, 28]})
    evaluate.evaluate(Run(tmp_path), 300)
    alike = {"channels": 1, "image_size": 28}
    assert asked == [(("pictures", "test"), alike), (("pictures", "train"), alike)]
    for options in ({"against": "cifar10"}, {"real": 3}, {"reference": "train"}):
        with pytest.raises(InputError, match="measured by all of its own test images"):
            evaluate.evaluate(Run(tmp_path), 300, **options)


@pytest.mark.usefixtures("own")
def test_a_conditional_run_is_told_every_class_as_often(tmp_path, monkeypatch):
    narrow = ["generator.widths=[2, 2, 2]", "discriminator.widths=[2, 2]", "data.limit=64"]
    recipe = recipes.load("cgan-mnist-published", [*narrow, "train.batch_size=16"])
    trainer = build.trainer(recipe, tmp_path, "cpu")
    weights.save(trainer.generator, tmp_path / "generator.safetensors")
    (tmp_path / "config.yaml").write_text(recipes.to_yaml(recipe))
    runs.write_json(tmp_path / "run.json", {"epochs": 1.0, "image_shape": [1, 28, 28]})
    test = data.load("mnist", "test")
    of_class = [data.scale(test.images[test.labels == k]) for k in range(10)]

    def obeys(self, n, labels):
        return torch.stack([of_class[label][i] for i, label in enumerate(labels)])

    monkeypatch.setattr(Run, "sample", obeys)
    rows = evaluate.evaluate(Run(tmp_path), 500)
    assert [r["samples"] for r in rows if "of" in r] == [50] * 10
    (overall,) = [r for r in rows if r["metric"] == "label_agreement" and "of" not in r]
    assert overall["value"] > 0.98
    assert "intra_class_frechet" not in {r["metric"] for r in rows}  # 50 images, 128 features
    assert {"label_agreement", "within_class_diversity"} <= {r["metric"] for r in rows}


def test_the_weights_of_the_inception_network_are_fetched_beforehand(own, gantut, monkeypatch):
    two = {"a": np.zeros((3, 4)), "b": np.zeros(1000)}
    monkeypatch.setattr(sources, "inception_weights", lambda: two)
    code, out, _ = gantut("data", "inception")
    assert code == 0
    assert out.startswith("Inception network, 1,012 numbers\ncache: ")


def test_a_run_is_measured_by_either_network_and_keeps_both(run, gantut):
    code, out, _ = gantut("evaluate", run.folder, "--samples", 200)
    assert code == 0
    by_judge = json.loads(out)
    code, out, err = gantut(
        "evaluate", run.folder, "--samples", 100, "--features", "inception", "--reference", "train"
    )
    assert code == 0
    by_inception = json.loads(out)
    assert "100/100" in err
    assert [r["metric"] for r in by_inception] == [
        *("fid", "kid", *(f"inception_{name}" for name in OF_FEATURES))
    ]
    assert {r["network"] for r in by_inception} == {"inception@0123"}
    assert {r["reference"] for r in by_inception} == {"mnist train, 100 images"}
    for row in by_judge + by_inception:
        assert set(row) == KEYS
        assert (row["seed"], row["epoch"]) == (0, 1.0)
    kept = json.loads((run.folder / "metrics.json").read_text())
    assert kept == by_judge + by_inception
    code, out, _ = gantut("evaluate", run.folder, "--samples", 150, "--real", 300)
    again = json.loads(out)
    assert {r["reference"] for r in again} == {None, "mnist test, 300 images"}
    assert json.loads((run.folder / "metrics.json").read_text()) == by_inception + again
    code, out, _ = gantut("compare", run.folder, run.folder)
    head, first, second, *notes = out.splitlines()
    assert head.split()[:4] == ["run", "fid", "kid", "inception_precision"]
    assert first == second
    assert "±" in first
    assert notes[1].startswith("fid: 100 images, inception@0123, against mnist train, 100 images (")


def test_fewer_samples_are_measured_beside_all_of_them_and_looked_at_once(run, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 50)
    eyes = features.inception()
    rows = evaluate.evaluate(run, 200, "test", "inception", fewer=[100, 50])
    assert eyes.network.seen == 200 + 200  # samples, and the reference
    found = [(r.get("of"), r["samples"]) for r in rows if r["metric"] == "kid"]
    assert found == [("the first 50", 50), ("the first 100", 100), (None, 200)]
    left = (home() / "features" / eyes.name).iterdir()
    assert [folder.name for folder in left if any(folder.iterdir())] == ["mnist-test"]


def test_a_file_of_images_is_measured(own, gantut, tmp_path):
    test = data.load("mnist", "test")
    file = tmp_path / "digits.npy"
    np.save(file, test.images[300:500].numpy())
    code, out, _ = gantut("evaluate", file, "--data", "mnist", "--real", 200)
    assert code == 0
    found = {row["metric"]: row for row in json.loads(out)}
    assert found["precision"]["value"] > 0.6
    assert found["precision"]["samples"] == 200
    assert found["precision"]["seed"] is None
    np.save(file, data.scale(test.images[300:500]).double().numpy())
    assert torch.equal(read_images(file), data.scale(test.images[300:500]))


def test_new_measurements_take_the_place_of_old_ones_of_the_same_name():
    old = [{"metric": "fid", "value": 1}, {"metric": "precision", "value": 2}]
    new = [{"metric": "precision", "value": 3}, {"metric": "recall", "value": 4}]
    assert merged(old, new) == [old[0], *new]


# --- comparing ----------------------------------------------------------------------------------


def fid(value: float, **changes) -> dict:
    return {
        "metric": "fid",
        "value": value,
        "standard_error": None,
        "estimator": "Gaussians",
        "samples": 10_000,
        "network": "inception@0123",
        "reference": "cifar10 train, 50000 images",
        "seed": 0,
        "epoch": 1.0,
    } | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "cifar10 test, 10000 images"},
        {"samples": 5_000},
        {"network": "inception@4567"},
        {"estimator": "another"},
    ],
)
def test_a_column_never_mixes_what_cannot_be_compared(run, gantut, tmp_path, changes):
    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    runs.write_json(run.folder / "metrics.json", [fid(40.0)])
    runs.write_json(other / "metrics.json", [fid(30.0, **changes)])
    ((key, value),) = changes.items()
    code, out, err = gantut("compare", run.folder, other)
    assert (code, out) == (2, "")
    how = {"samples": "on {} samples", "network": "by {}", "reference": "against {}"}
    here, there = (how.get(key, "with the estimator {}").format(v) for v in (value, fid(0)[key]))
    assert err == (
        f"gantut: fid cannot be compared: for {other} it was measured {here}, for {run.folder} "
        f"{there}. Measure both alike with 'gantut evaluate'.\n"
    )


def test_runs_of_different_data_sets_are_never_compared(run, tmp_path):
    runs.write_json(run.folder / "metrics.json", [fid(40.0)])
    with pytest.raises(
        InputError, match="mlp-mnist-published is of mnist and dcgan-cifar10 of cifar"
    ):
        table([Run(run.folder), zoo.load("dcgan-cifar10")])


def test_runs_measured_before_estimators_were_named_are_still_compared(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run.folder, other)
    old = {k: v for k, v in fid(40.0).items() if k not in ("estimator", "standard_error")}
    runs.write_json(run.folder / "metrics.json", [old])
    runs.write_json(other / "metrics.json", [fid(30.0)])
    lines = table([Run(run.folder), Run(other)]).splitlines()
    assert [line.split()[-1] for line in lines[:3]] == ["fid", "40.0000", "30.0000"]


@pytest.mark.parametrize("name", zoo.names())
def test_every_finished_run_can_still_be_set_in_a_table(name):
    assert table([zoo.load(name)]).startswith("run")


# --- what is refused ----------------------------------------------------------------------------


def refused(result: tuple[int, str, str]) -> str:
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("gantut: ")
    assert err.count("\n") == 1
    return err.removeprefix("gantut: ").strip()


def test_bad_requests_end_in_one_sentence(run, gantut, tmp_path, monkeypatch):
    a = run.folder
    assert refused(gantut("evaluate", a, "--samples", 100)) == (
        "100 samples are too few for features of dimension 128: take more samples than dimensions, "
        "better ten times more."
    )
    monkeypatch.setattr(evaluate.Inception, "feature_dim", 2048)
    monkeypatch.setattr(features, "inception", lambda device: pytest.fail("it was loaded"))
    assert refused(gantut("evaluate", a, "--features", "inception", "--samples", 2000)).startswith(
        "2000 samples are too few for features of dimension 2048"
    )
    assert refused(gantut("evaluate", a, "--features", "vgg")) == (
        "features must be classifier or inception, not 'vgg'."
    )
    assert refused(gantut("evaluate", a, "--reference", "valid")) == (
        "The reference must be test or train, not 'valid'."
    )
    assert refused(gantut("evaluate", a, "--samples", 0)) == "--samples must be at least 1, not 0."
    assert refused(gantut("evaluate", a, "--real", 0)) == "--real must be at least 1, not 0."
    assert refused(gantut("evaluate", a, "--samples", 20_000)) == (
        "Asked for 20000 real images of mnist (test), which has 10000; take fewer of them (--real "
        "10000), or the training images (--reference train)."
    )
    assert refused(gantut("evaluate", a, "--reference", "train", "--real", 70_000)) == (
        "Asked for 70000 real images of mnist (train), which has 60000; take fewer of them (--real "
        "60000)."
    )
    assert refused(gantut("evaluate", a, "--data", "mnits")) == (
        "There is no judge for images of mnits; there is one for mnist and cifar10. Did you mean "
        "mnist?"
    )
    assert refused(gantut("evaluate", a, "--device", "gpu")).startswith("There is no device 'gpu'")
    assert refused(gantut("evaluate", "classifier-mnist", "--features", "inception")).startswith(
        "classifier-mnist is a classifier and generates nothing"
    )


@pytest.mark.usefixtures("own")
def test_real_images_are_measured_against_others_only(gantut):
    assert refused(gantut("evaluate", "real-cifar10")) == (
        "real-cifar10 is those very images, cifar10 test; compare it with others (--reference train)."
    )
    rows = evaluate.evaluate(zoo.load("real-cifar10"), 60, "train", "inception", real=60)
    assert {row["reference"] for row in rows} == {"cifar10 train, 60 images"}


def colour_folder(path, side: int = 28):
    from PIL import Image

    for split in ("train", "test"):
        (path / split).mkdir(parents=True)
        for i in range(30):
            pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / split / f"{i:02}.png")
    return path


def test_images_are_compared_with_their_like_only(run, gantut, tmp_path, monkeypatch):
    colour = colour_folder(tmp_path / "colour")
    inception = ("--features", "inception", "--samples", 30)
    assert refused(gantut("evaluate", run.folder, *inception, "--data", colour)) == (
        "The images are grey and those of colour (test) in colour; compare like with like."
    )
    file = tmp_path / "large.npy"
    np.save(file, np.zeros((30, 3, 32, 32), np.uint8))
    assert refused(gantut("evaluate", file, *inception, "--data", colour)) == (
        "The images are of 32 x 32 pixels and those of colour (test) of 28 x 28: resizing alone "
        "would move every metric."
    )
    assert refused(gantut("evaluate", run.folder, "--data", colour)).startswith(
        f"There is no judge for images of {colour}; there is one for mnist"
    )
    right = tmp_path / "right.npy"
    np.save(right, np.random.default_rng(0).integers(0, 256, (30, 3, 28, 28), dtype=np.uint8))
    code, out, _ = gantut("evaluate", right, *inception, "--data", colour)
    assert code == 0
    assert {r["reference"] for r in json.loads(out)} == {"colour test, 30 images"}
    # A folder without enough images is of no use with fewer of them.
    monkeypatch.setattr(evaluate.Inception, "feature_dim", 30)
    asked = gantut("evaluate", right, *inception, "--data", colour, "--real", 300)
    assert refused(asked).startswith("30 samples are too few for features of dimension 30")


def test_files_that_hold_no_images(own, gantut, tmp_path):
    file = tmp_path / "images.npy"
    with_data = ("evaluate", file, "--data", "mnist")
    assert refused(gantut("evaluate", file)) == (
        "Say with --data which real images to compare a file with."
    )
    assert refused(gantut(*with_data)) == (
        f"{file} cannot be read as a .npy file of images: No such file or directory."
    )
    file.write_bytes(b"nothing of the kind")
    assert refused(gantut(*with_data)) == (
        f"{file} cannot be read as a .npy file of images: it is damaged, or no NumPy file."
    )
    np.save(file, np.zeros((30, 28, 28, 1), np.uint8))
    assert refused(gantut(*with_data)) == (
        f"{file} holds (30, 28, 28, 1); images form one array [N, C, H, W] with 1 or 3 channels."
    )
    np.save(file, np.zeros((0, 1, 28, 28), np.uint8))
    assert refused(gantut(*with_data)) == (
        f"{file} holds no images, but an empty array of shape (0, 1, 28, 28)."
    )
    np.save(file, np.zeros((30, 1, 28, 28), np.int64))
    assert refused(gantut(*with_data)) == (
        f"{file} holds int64; images are uint8, or floats in [-1, 1]."
    )
    name = judge().name
    pixels = np.random.default_rng(0).random((200, 1, 28, 28))
    for scaled, sentence in (
        (pixels * 255, f"{name} takes float images in [-1, 1]; scale them first."),
        (
            pixels,
            f"{name} takes images in [-1, 1], and none of these pixels is below 0: they seem to lie "
            "in [0, 1].",
        ),
        (pixels * np.nan, f"{name} was given images with pixels that are not finite numbers."),
    ):
        np.save(file, scaled)
        assert refused(gantut(*with_data)) == sentence


def test_measurements_of_features_that_are_too_few_are_refused_in_the_library_as_well(own):
    eyes = features.inception()
    reference = FeatureSet(data.load("mnist", "test").subset(12), eyes)
    with pytest.raises(InputError, match="12 samples are too few for features of dimension 12"):
        measurements(torch.zeros(50, 1, 28, 28), reference, eyes)
