"""The finished runs: whole, of the recipes as they stand, and the judge good enough to judge."""

import json

import pytest

from gantut import data, recipes, reproduce, zoo
from gantut.classify import accuracy
from gantut.data import to_uint8
from gantut.errors import CheckpointError, InputError
from gantut.evaluate import classifier_of
from gantut.metrics.features import JUDGES, judge

KINDS = {name: recipes.load(name).kind for name in zoo.names()}
GANS = [name for name, kind in KINDS.items() if kind == "gan"]
TRAINED = [name for name, kind in KINDS.items() if kind != "real"]
# What each judge must be right on, of the images of the test split.
LEAST = {"classifier-mnist": 0.994, "classifier-cifar10": 0.93}
# Metrics that need no real images to compare with.
ALONE = {
    *("confident_share", "class_entropy", "classifier_score"),
    *("label_agreement", "class_separation"),
}


def test_every_recipe_that_keeps_a_finished_run_has_one():
    assert set(zoo.names()) >= set(reproduce.reproducible())


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind == "classifier"])
def test_a_judge_is_right_about_the_test_split(name):
    run = zoo.load(name)
    test = data.load(run.config.data.name, "test")
    (stated,) = [m for m in run.metrics if m["metric"] == "accuracy"]
    assert stated["value"] >= LEAST[name]
    assert stated["samples"] == len(test) == 10_000
    # The first tenth, for the time that a colour network takes on a processor.
    few = test if name == "classifier-mnist" else test.subset(1000)
    measured = accuracy(classifier_of(run), data.scale(few.images), few.labels)
    spread = 2e-4 if few is test else 3 * (0.07 / 1000) ** 0.5
    assert measured == pytest.approx(stated["value"], abs=spread)


def test_the_judge_tells_digits_from_one_another():
    train = data.load("mnist", "train").subset(1000)
    p = judge().probabilities(data.scale(train.images))
    assert (p.argmax(1) == train.labels).float().mean() > 0.99


@pytest.mark.parametrize("name", TRAINED)
def test_a_finished_run_is_of_the_recipe_as_it_stands(name):
    run = zoo.load(name)
    assert run.config.name == name
    assert recipes.fingerprint(run.config) == recipes.fingerprint(recipes.load(name))
    assert run.config.seed == run.config.reproduce.seeds[0]
    assert run.info["images_seen"] <= run.info["images_of_budget"]
    if run.info["complete"]:
        assert run.info["iterations"] == run.info["iterations_of_budget"]
    whole = "The whole budget was completed." in run.card
    assert whole == run.info["complete"]
    history = run.history
    assert len(history["iteration"]) <= run.config.reproduce.history_rows
    assert history["iteration"][-1] == run.info["iterations"]
    for key in history:
        if f"{key}_min" in history:
            # Written with five digits.
            slack = 1e-4 * abs(history[key]) + 1e-6
            assert (history[f"{key}_min"] <= history[key] + slack).all()
            assert (history[key] <= history[f"{key}_max"] + slack).all()


@pytest.mark.parametrize("name", zoo.names())
def test_every_measurement_says_what_it_depends_on(name):
    run = zoo.load(name)
    assert run.metrics
    for m in run.metrics:
        assert set(m) - {"of", "standard_error", "estimator"} == {
            "metric",
            "value",
            "samples",
            "network",
            "reference",
            "seed",
            "epoch",
        }
        plan = run.config.reproduce
        least = plan.samples
        if m["network"].startswith("inception"):
            least = min([plan.inception.samples, *plan.inception.fewer])
        assert m["samples"] >= (least // 10 if "of" in m else least)
        assert (m["reference"] is None) == (m["metric"] in ALONE)
    measured, planned = {m["seed"] for m in run.metrics}, set(run.config.reproduce.seeds)
    assert measured == planned if run.info["complete"] else measured <= planned
    if name in GANS:
        looked = {m["network"] for m in run.metrics if not m["network"].startswith("inception")}
        assert looked == {judge(JUDGES[run.config.data.name]).name}


@pytest.mark.parametrize("name", GANS)
def test_a_finished_run_was_measured_as_it_stands(name):
    """Each number is of the end, or of the epoch marked as best, and the table of seeds has it."""
    run = zoo.load(name)
    for row in run.seeds:
        of_seed = [m for m in run.metrics if m["seed"] == row["seed"] and "of" not in m]
        assert {m["metric"] for m in of_seed} <= {k for k, value in row.items() if value == value}
    of_run = {m["epoch"] for m in run.metrics if m["seed"] == run.config.seed}
    assert run.epoch in of_run
    assert run.best.epoch in of_run


@pytest.mark.parametrize("name", GANS)
def test_a_finished_generator_draws_what_its_sheet_shows(name):
    run = zoo.load(name)
    shape = tuple(run.info["image_shape"])
    sheet = run.samples
    n = run.config.reproduce.sheet
    assert sheet.shape == (n, *shape)
    if run.config.reproduce.publish_weights:
        drawn = run.sample(n, run.every_class(n))
        assert drawn.min() >= -1
        assert drawn.max() <= 1
        # Another processor may round the last bit of a pixel to the other side.
        assert (sheet.int() - to_uint8(drawn).int()).abs().max() <= 1
    else:
        assert not list(run.folder.rglob("*.safetensors"))
    if not run.config.reproduce.progress:
        assert not (run.folder / "progress.png").exists()
        return
    # The last stage of the progression shows the same latent vectors as the sheet; of a run that
    # was stopped within an epoch, as they were at that epoch's beginning.
    epochs, stages = run.progress
    if epochs[-1] == run.epoch:
        both = min(n, stages.shape[1])
        last = stages[-1, :both].int()
        assert (sheet[:both].int() - last).abs().float().mean() < 1


@pytest.mark.parametrize("name", GANS)
def test_what_is_published_is_what_the_recipe_says(name):
    """Sheets as long, histories as fine, weights and stages kept or not."""
    assert zoo.load(name).config.reproduce == recipes.load(name).reproduce


@pytest.mark.parametrize("name", GANS)
def test_the_other_seeds_and_the_stages_are_there(name):
    run = zoo.load(name)
    first, *others = sorted({m["seed"] for m in run.metrics})
    assert first == run.config.seed
    for seed in others:
        assert run.at_seed(seed).history["iteration"][-1] > 0
        n = run.config.reproduce.other_sheets
        assert run.at_seed(seed).samples.shape == (n, *run.info["image_shape"])
    assert [r["seed"] for r in run.seeds] == [first, *others]
    if not run.config.reproduce.progress:
        return
    epochs, stages = run.progress
    assert epochs[0] == 0
    assert epochs[-1] == int(run.info["epochs"])
    assert stages.shape[0] == len(epochs) >= min(5, 1 + int(run.info["epochs"]))
    assert epochs == sorted(set(epochs))


@pytest.mark.parametrize("name", GANS)
def test_the_epoch_that_is_marked_is_the_best_that_was_measured(name):
    run = zoo.load(name)
    if not run.config.reproduce.keep_best:
        assert run.best.epoch == run.epoch
        return
    found = {
        m["epoch"]: m["value"]
        for m in run.metrics
        if (m["metric"], m["seed"]) == ("frechet_distance", run.config.seed)
    }
    kept = {e for e in run.config.log.snapshots if e < run.epoch}
    assert set(found) == kept | {run.epoch}
    assert len(kept) > 3
    assert found[run.best.epoch] == min(found.values())
    if run.config.reproduce.publish_weights:
        assert run.best.sample(4).shape == (4, *run.info["image_shape"])
    else:
        with pytest.raises(CheckpointError, match=f"'gantut train {name}' trains it"):
            run.best.sample(4)


def test_a_run_that_is_not_there():
    with pytest.raises(InputError, match="The zoo has no finished run 'classifier-mnits'; did you"):
        zoo.load("classifier-mnits")


def test_files_are_what_they_say():
    for name in zoo.names():
        for file in (zoo.FOLDER / name).glob("*.json"):
            json.loads(file.read_text())
