"""Run folders: what a training leaves, what is read back, measured, compared and published."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gantut import callbacks, grids, recipes, reproduce, runs, weights, zoo
from gantut.data import to_uint8
from gantut.errors import CheckpointError, DataError, GantutError, InputError
from gantut.evaluate import table
from gantut.runs import Run
from tests.small import NARROW, images


@pytest.fixture
def train(home, monkeypatch):
    """Trains small recipes on small images, in a cache of its own."""
    monkeypatch.setattr("gantut.build.image_set", lambda recipe: images(64, labels=True))

    def train(*overrides: str, name: str = "mlp-mnist-published", **options) -> Run:
        small = [] if name.startswith("classifier") else NARROW
        chosen = recipes.load(name, [*small, "train.epochs=2", "log.samples=4", *overrides])
        return runs.train(chosen, device="cpu", **options)

    return train


def test_a_training_leaves_its_folder(train, home):
    run = train("log.snapshots=[1]", "seed=3")
    assert run.folder == home / "runs" / "mlp-mnist-published" / "seed-3"
    left = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()}
    assert left - {".lock"} == {
        *("checkpoint.pt", "config.yaml", "generator.safetensors", "history.csv", "run.json"),
        *(f"samples/epoch-000{i}.png" for i in range(3)),
        "snapshots/epoch-0001.safetensors",
    }
    assert run.config.seed == 3
    info = run.info
    assert (info["iterations"], info["iterations_of_budget"], info["complete"]) == (8, 8, True)
    assert (info["epochs"], info["images_seen"], info["images_of_budget"]) == (2, 128, 128)
    assert info["parameters"] == {
        "generator": 4 * 8 + 8 + 8 * 784 + 784,
        "discriminator": 784 * 8 + 8 + 8 + 1,
    }
    assert info["image_shape"] == [1, 28, 28]
    assert info["device"] == "CPU"
    assert info["seconds"] >= 0
    assert info["versions"]["torch"] == torch.__version__
    assert run.history["iteration"].tolist() == list(range(1, 9))
    epochs, sheets = run.progress
    assert epochs == [0, 1, 2]
    assert sheets.shape == (3, 4, 1, 28, 28)


def test_a_budget_counts_the_images_of_all_of_d_s_turns(train):
    # 4 batches, three in a round: an epoch has two rounds, which see one and a half times the images.
    info = train("step.n_dis=3").info
    assert info["complete"]
    assert info["images_seen"] == info["images_of_budget"] == 2 * 2 * 3 * 16


def test_the_weights_that_are_kept_are_those_that_were_sampled_from(train):
    kept = []
    run = train("train.ema_half_life=300", on_start=kept.append)
    one = kept[0]
    for mine, theirs in zip(run.generator.parameters(), one.ema.parameters(), strict=True):
        assert torch.equal(mine, theirs.half().float())
    assert not run.generator.training
    a, b = run.sample(5, seed=4), one.sample(5, seed=4)
    assert a.shape == (5, 1, 28, 28)
    assert torch.allclose(a, b, atol=2e-3)


def test_a_run_samples_from_the_latent_vectors_of_its_sheets(train):
    run = train("train.ema_half_life=300")
    epochs, stages = run.progress
    drawn = to_uint8(run.sample(stages.shape[1]))
    # The kept weights are float16: half a per cent of a pixel's range.
    assert (drawn.int() - stages[-1].int()).abs().max() <= 2
    assert (
        drawn.int() - to_uint8(run.sample(len(drawn), seed=run.config.seed)).int()
    ).abs().max() > 2


def test_samples_of_a_run_are_the_first_of_its_seed(train):
    run = train("seed=2")
    assert torch.equal(run.sample(6), run.sample(6))
    assert torch.allclose(run.sample(3), run.sample(6)[:3], atol=1e-6)
    assert torch.allclose(run.sample(3, seed=2), run.sample(6, seed=2)[:3], atol=1e-6)
    assert not torch.equal(run.sample(3, seed=2), run.sample(3, seed=1))
    again = Run(run.folder)
    assert torch.equal(run.sample(6), again.sample(6))


def test_a_run_that_is_complete_is_not_trained_again(train):
    run = train()
    before = (run.folder / "checkpoint.pt").read_bytes()
    train()
    assert (run.folder / "checkpoint.pt").read_bytes() == before
    longer = train("train.epochs=3")
    assert longer.info["iterations"] == 12
    assert longer.config.train.epochs == 3


def test_sheets_of_other_sizes_over_time_show_the_latent_vectors_that_all_have(train):
    run = train("log.samples=8")
    first = run.progress[1]
    epochs, stages = train("log.samples=20", "train.epochs=3").progress
    assert epochs == [0, 1, 2, 3]
    assert stages.shape == (4, 8, 1, 28, 28)
    assert torch.equal(stages[:3], first)


def test_a_folder_of_another_recipe_is_refused_and_left_as_it_was(train):
    run = train()
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    with pytest.raises(CheckpointError, match="of another recipe, or of other settings"):
        train("g_optimizer.lr=1e-3")
    assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before


def test_a_run_can_be_stopped_by_the_clock_and_gone_on_with(train):
    long = ("train.epochs=500", "train.threads=null")
    part = train(*long, max_minutes=1e-9)
    assert not part.info["complete"]
    assert 0 < part.info["iterations"] < 2000
    assert part.info["images_of_budget"] == 500 * 64
    # No time at all: what there is stays as it is, so that it can be measured once more.
    kept = {f: (part.folder / f).read_bytes() for f in ("generator.safetensors", "history.csv")}
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)  # as if only measured, and elsewhere
    try:
        same = train(*long, max_minutes=0)
    finally:
        torch.set_num_threads(threads)
    assert same.info["threads"] == part.info["threads"] == threads
    assert same.info == part.info
    assert {f: (part.folder / f).read_bytes() for f in kept} == kept
    assert train("train.epochs=8", "train.threads=null").info["complete"]


def test_a_run_that_was_never_begun_is_not_published_untrained(train):
    with pytest.raises(CheckpointError, match=r"There is no run in .* yet, and no time to train"):
        train(max_minutes=0)


def test_folders_that_hold_no_run_or_half_of_one(train, tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no run in .*nothing\."):
        Run(tmp_path / "nothing")
    run = train()
    with pytest.raises(
        CheckpointError, match=r"has no metrics\.json; 'gantut evaluate .*seed-0' measures it\."
    ):
        _ = run.metrics
    (run.folder / "metrics.json").write_text("{")
    with pytest.raises(
        CheckpointError, match=r"metrics\.json is damaged; the command that wrote it"
    ):
        _ = run.metrics
    (run.folder / "history.csv").write_text("iteration,epoch\n1,x\n")
    with pytest.raises(CheckpointError, match=r"history\.csv is damaged"):
        _ = Run(run.folder).history
    (run.folder / "generator.safetensors").write_bytes(b"1234567890")
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is damaged"):
        run.sample(1)
    (run.folder / "generator.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no generator\.safetensors\."):
        run.sample(1)
    for file in (run.folder / "samples").iterdir():
        file.unlink()
    with pytest.raises(CheckpointError, match="has no samples over time"):
        _ = run.progress
    (run.folder / "run.json").unlink()
    with pytest.raises(CheckpointError, match=r"no run\.json: its training has not .* goes on\."):
        _ = Run(run.folder).info


def test_only_what_a_killed_run_left_aside_is_tidied_away(train, tmp_path):
    folder = tmp_path / "downloads"
    ours = [folder / "samples" / "epoch-0001.png.71.part", folder / "checkpoint.pt.71.part"]
    theirs = [folder / "film.mkv.part", folder / "src" / "a.7.part", folder / "b.7.part" / "c"]
    for file in (*ours, *theirs):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    train(folder=folder)
    assert not any(file.exists() for file in ours)
    assert all(file.read_text() == "x" for file in theirs)


def test_a_fresh_start_removes_the_run_and_nothing_else(train, tmp_path):
    folder = tmp_path / "run"
    train("log.snapshots=[1]", "train.epochs=3", folder=folder)
    for name in ("notes.md", "samples/mine.png", "src/code.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    run = train("generator.slope=0.1", "train.epochs=1", folder=folder, fresh=True)
    assert run.info["epochs"] == 1
    left = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert left - {".lock"} == {
        *("checkpoint.pt", "config.yaml", "generator.safetensors", "history.csv", "run.json"),
        *("samples/epoch-0000.png", "samples/epoch-0001.png"),
        *("notes.md", "samples/mine.png", "src/code.py"),
    }


def test_a_fresh_start_waits_for_the_process_that_trains_there(train, tmp_path):
    train(folder=tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with runs._alone_in(tmp_path), pytest.raises(DataError, match="Another process is training"):
        train("generator.slope=0.1", folder=tmp_path, fresh=True)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("fresh", [False, True])
def test_another_project_s_configuration_is_not_overwritten(train, tmp_path, fresh):
    (tmp_path / "config.yaml").write_text("a: 1")
    (tmp_path / "run.py").write_text("print()")
    with pytest.raises(DataError, match=r"config\.yaml is no recipe's; train into another folder"):
        train(folder=tmp_path, fresh=fresh)
    assert (tmp_path / "config.yaml").read_text() == "a: 1"
    assert (tmp_path / "run.py").exists()


def test_a_run_that_went_beyond_the_budget_is_not_called_complete(train, tmp_path):
    train(folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"has had 2 epochs, and train\.epochs is 1"):
        train("train.epochs=1", folder=tmp_path)
    assert Run(tmp_path).config.train.epochs == 2


def test_a_run_of_one_epoch_can_be_made_longer(train, tmp_path):
    """One epoch is the default, and so no part of what a recipe says beyond its defaults."""
    train("train.epochs=1", "train.batch_size=64", folder=tmp_path)
    short, long = (
        recipes.load("dcgan-mnist", [f"train.epochs={n}", *plain])
        for n in (1, 2)
        for plain in [["train.batch_size=64", "train.threads=null", "train.ema_half_life=null"]]
    )
    assert short.model_dump(exclude_defaults=True).get("train") is None
    assert recipes.fingerprint(short) == recipes.fingerprint(long)
    assert train("train.epochs=2", "train.batch_size=64", folder=tmp_path).info["epochs"] == 2


def test_nothing_trained_keeps_the_best_epoch(train, tmp_path):
    run = train("log.snapshots=[1]", folder=tmp_path)
    runs.write_json(tmp_path / "run.json", run.info | {"best_epoch": 1})
    assert train("log.snapshots=[1]", folder=tmp_path).best.epoch == 1


def test_damaged_sheets_and_tables_are_named(train, tmp_path):
    folder = train(folder=tmp_path).folder
    for name, part in (("samples.png", "samples"), ("seeds.csv", "seeds")):
        (folder / name).write_text("seed\nno number" if part == "seeds" else "no picture")
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            getattr(Run(folder), part)


def test_what_cannot_be_reproduced_is_refused_before_anything_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(reproduce, "zoo_folder", lambda: tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("base: mlp-mnist\nname: own")
    for name, options, sentence in (
        ("mlp-mnist-live", {}, "is not kept as a finished run; train it with 'gantut train'"),
        (str(own), {}, "own.yaml is no recipe of the library's"),
        ("mlp-mnist", {"max_minutes": -1}, "The minutes must be at least 0, not -1"),
        ("cgan-cifar10", {"seeds": [0, 9]}, r"with the seeds \[0\], not \[0, 9\]"),
    ):
        with pytest.raises(InputError, match=sentence):
            reproduce.reproduce(name, **options)


def test_a_run_with_other_settings_is_no_part_of_a_reproduction(train, tmp_path, monkeypatch):
    """The command that the recipe's user most likely gave before."""
    monkeypatch.setattr(reproduce, "zoo_folder", lambda: tmp_path)
    train("train.batch_size=16")
    with pytest.raises(CheckpointError) as raised:
        reproduce.reproduce("mlp-mnist-published", "cpu", seeds=[0])
    folder = runs.folder_of(recipes.load("mlp-mnist-published"))
    assert str(raised.value) == (
        f"The run in {folder} has other settings than the recipe (train.epochs is 2 there and 100 "
        "here, train.batch_size is 16 there and 20 here, generator.latent_dim is 4 there and 100 "
        "here, and 2 more); move it elsewhere, or remove all runs of that name with 'gantut data "
        "--remove runs/mlp-mnist-published'."
    )
    # What else is in the way is named as by a training.
    with pytest.raises(CheckpointError, match="no time to train one"):
        reproduce.reproduce("mlp-mnist-published", "cpu", seeds=[1], max_minutes=0)


def test_a_failed_publication_leaves_the_old_one_and_no_half(train, tmp_path, monkeypatch):
    run = train()
    place = tmp_path / "zoo"
    kept = reproduce.publish([(run, distances(1.0, 2.0))], place / "kept")
    (place / ".debris.part").mkdir()
    (place / ".debris.part" / "config.yaml").write_text("name: debris")
    monkeypatch.setattr("gantut.zoo.FOLDER", place)
    assert zoo.names() == ["kept"]
    monkeypatch.setattr(reproduce, "card", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reproduce.publish([(run, distances(3.0, 4.0))], place / "kept")
    assert {f.name for f in place.iterdir()} == {"kept", ".debris.part"}
    assert Run(kept.folder).metrics[-1]["value"] == 2


def test_a_folder_that_cannot_be_written_is_named(train, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"Cannot write into .*file.sub \(.*\); choose another folder"
    ):
        runs.train(recipes.load("mlp-mnist", NARROW), tmp_path / "file" / "sub", "cpu")


# --- weights -----------------------------------------------------------------------------------


def test_weights_survive_their_file_and_fit_their_own_network_only(tmp_path):
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    file = weights.save(one, tmp_path / "a" / "w.safetensors")
    assert torch.equal(weights.load(other, file).weight, one.weight)
    half = weights.save(one, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < file.stat().st_size
    weights.load(other, half)
    assert other.weight.dtype == torch.float32
    assert torch.equal(other.weight, one.weight.half().float())
    with pytest.raises(CheckpointError, match="are of another network"):
        weights.load(torch.nn.Linear(3, 3), file)
    with pytest.raises(CheckpointError, match="There is no weights file"):
        weights.load(one, tmp_path / "none.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="Cannot write"):
        weights.save(one, tmp_path / "file" / "w.safetensors")


def test_weights_that_fill_a_part_of_a_network_only_are_refused(tmp_path):
    linear, norm = torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)
    file = weights.save(torch.nn.Sequential(linear), tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match="are of another network"):
        weights.load(torch.nn.Sequential(linear, norm), file)
    file = weights.save(torch.nn.Sequential(linear, norm), tmp_path / "more.safetensors")
    with pytest.raises(CheckpointError, match="are of another network"):
        weights.load(torch.nn.Sequential(linear), file)


# --- comparing ---------------------------------------------------------------------------------


def measured(run: Run, value: float, **changes) -> Run:
    row = {
        "metric": "frechet_distance",
        "value": value,
        "samples": 200,
        "network": "classifier-mnist@01234567",
        "reference": "mnist test, 200 images",
        "seed": run.config.seed,
        "epoch": run.info["epochs"],
    }
    share = row | {"metric": "confident_share", "value": value / 100, "reference": None}
    early = row | {"value": 999.0, "epoch": 1}
    runs.write_json(run.folder / "metrics.json", [early, row | changes, share])
    return Run(run.folder)


def test_a_run_that_went_on_after_it_was_measured_is_not_compared(train):
    run = measured(train(), 12.25)
    train("train.epochs=3")
    with pytest.raises(InputError, match="seed 0 was not measured as it stands, after 3 epochs"):
        table([Run(run.folder)])


def test_a_table_sets_final_measurements_side_by_side(train):
    a, b = measured(train(), 12.25), measured(train("seed=1"), 7.5)
    assert table([a, b]).splitlines() == [
        "run                          frechet_distance  confident_share",
        "mlp-mnist-published, seed 0  12.2500           0.1225",
        "mlp-mnist-published, seed 1  7.5000            0.0750",
        "",
        "frechet_distance: 200 images, classifier-mnist@01234567, against mnist test, 200 images",
        "confident_share: 200 images, classifier-mnist@01234567",
    ]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("samples", 500, "on 500 samples"),
        ("network", "other@1", "by other@1"),
        ("reference", "mnist train, 200 images", "against mnist train, 200 images"),
    ],
)
def test_numbers_that_cannot_be_compared_are_not(train, key, value, said):
    a, b = measured(train(), 12.25), measured(train("seed=1"), 7.5, **{key: value})
    with pytest.raises(InputError) as refusal:
        table([a, b])
    text = str(refusal.value)
    assert text.startswith("frechet_distance cannot be compared: ")
    # Both are seeds of one recipe, so their folders tell them apart.
    assert f"for {b.folder} it was measured {said}, for {a.folder} " in text


# --- publishing --------------------------------------------------------------------------------


def test_publishing_keeps_what_is_exhibited(train, tmp_path, monkeypatch):
    settings = "train.epochs=12", "reproduce.seeds=[0, 1]"
    settings += "reproduce.sheet=57", "reproduce.other_sheets=33"
    made = [train(f"seed={s}", *settings) for s in (0, 1)]
    rows = [
        json.loads((measured(run, 5.0 + i).folder / "metrics.json").read_text())
        for i, run in enumerate(made)
    ]
    target = tmp_path / "zoo" / "mlp-mnist-published"
    target.mkdir(parents=True)
    (target / "old.txt").write_text("from before")
    run = reproduce.publish(list(zip(made, rows, strict=True)), target)
    kept = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert kept == {
        *("card.md", "config.yaml", "generator.safetensors", "history.csv", "metrics.json"),
        *("progress.png", "run.json", "samples.png", "seeds.csv"),
        *("seed-1/history.csv", "seed-1/run.json", "seed-1/samples.png"),
    }
    assert torch.equal(run.samples, to_uint8(run.sample(57)))
    other = run.at_seed(1)
    assert torch.equal(other.samples, to_uint8(made[1].sample(33)))
    # Four rows of ten, and no more: what lies behind the 33 would take room and not be shown.
    assert len(grids.load(target / "seed-1" / "samples.png", (1, 28, 28))) == 40
    assert other.history["iteration"][-1] == 48
    assert run.at_seed(0) is run
    with pytest.raises(CheckpointError, match="has no seed 9"):
        run.at_seed(9)
    assert run.metrics == rows[0] + rows[1]
    assert [r["frechet_distance"] for r in run.seeds] == [5.0, 6.0]
    assert [r["seed"] for r in run.seeds] == [0, 1]
    assert run.info["complete"]
    epochs, stages = run.progress
    assert epochs[:3] == [0, 1, 2]
    assert epochs[-1] == 12
    assert epochs == sorted(set(epochs))
    assert stages.shape == (len(epochs), 4, 1, 28, 28)
    last = grids.load(made[0].folder / "samples" / "epoch-0012.png", (1, 28, 28))
    assert torch.equal(stages[-1], last[:4])
    card = run.card
    assert card.startswith("# mlp-mnist-published\n")
    assert "| images seen, of the budget of 768 | 768, 768 |" in card
    assert "The whole budget was completed." in card
    assert "200 images (samples), by " in card
    assert "| 1 | 12 |" in card
    assert "shows the first 57 samples" in card
    written = callbacks.read_csv(target / "history.csv")
    exact = run.history
    assert np.allclose(written["d_loss"], exact["d_loss"])
    with (target / "seeds.csv").open() as file:
        assert next(csv.reader(file))[:2] == ["seed", "seconds"]


def test_publishing_says_when_the_budget_is_not_complete(train, tmp_path):
    run = train("train.epochs=500", max_minutes=1e-9)
    rows = json.loads((measured(run, 5.0).folder / "metrics.json").read_text())
    published = reproduce.publish([(run, rows)], tmp_path / "zoo" / "x")
    assert not published.info["complete"]
    assert published.info["stopped_by"] == "deadline"
    assert "The budget is not complete: of the seeds 0, 1, 2 some are missing" in published.card


def test_a_run_is_complete_with_all_of_its_seeds_only(train, tmp_path, monkeypatch):
    run = train()
    rows = json.loads((measured(run, 5.0).folder / "metrics.json").read_text())
    assert not reproduce.publish([(run, rows)], tmp_path / "zoo" / "x").info["complete"]


def test_a_card_says_what_each_seed_cost_and_gave(train):
    made = []
    for seed, seconds in ((0, 90), (1, 150)):
        run = measured(train(f"seed={seed}"), 5.0 + seed)
        runs.write_json(run.folder / "run.json", run.info | {"seconds": seconds})
        made.append((Run(run.folder), run.metrics))
    page = reproduce.card(made[0][0].config, made[0][0].info, made)
    assert "| training, minutes for each seed | 1.5, 2.5 |" in page
    assert "| seeds | 0, 1 |" in page
    lines = page.splitlines()
    (head,) = [i for i, line in enumerate(lines) if "frechet_distance" in line]
    column = lines[head].split(" | ").index("frechet_distance")
    rows = [line.strip("| ").split(" | ") for line in lines[head + 2 :] if line.startswith("|")]
    assert [[*row[:2], row[column].strip(" |")] for row in rows] == [
        [str(seed), epoch, value]
        for seed in (0, 1)
        for epoch, value in (("1", "999"), ("2", f"{5 + seed}"))
    ]
    assert "against mnist test" in lines[head - 2]


def test_a_card_has_one_table_of_all_classes(train):
    run = measured(train(), 5.0)
    row = run.metrics[0] | {"metric": "label_agreement", "samples": 20}
    by_class = [row | {"of": f"class {k}", "value": 0.1 * k} for k in range(3)]
    page = reproduce.card(run.config, run.info, [(run, run.metrics + by_class)])
    lines = page.splitlines()
    title = next(
        i for i, line in enumerate(lines) if "20 images (label_agreement by class)" in line
    )
    assert lines[title + 2] == "| seed | epoch | class 0 | class 1 | class 2 |"
    assert lines[title + 4].endswith("| 0 | 0.1 | 0.2 |")


def test_a_published_run_leaves_out_what_its_recipe_says(train, tmp_path):
    for publish in ("false", "true"):
        run = train(
            f"reproduce.publish_weights={publish}",
            f"reproduce.progress={publish}",
            "reproduce.history_rows=5",
        )
        kept = reproduce.publish([(run, measured(run, 5.0).metrics)], tmp_path / publish)
        assert len(kept.history["iteration"]) <= 5 < len(run.history["iteration"])
        assert kept.history["iteration"][-1] == 8
        assert torch.equal(kept.samples, to_uint8(run.sample(100)))
        assert (kept.folder / "generator.safetensors").is_file() == (publish == "true")
        if publish == "false":
            remedy = (
                "published; 'gantut train mlp-mnist-published' trains it, and mlp-mnist-publish"
            )
            with pytest.raises(
                CheckpointError, match=f"no generator.safetensors: none are {remedy}"
            ):
                kept.sample(1)
            with pytest.raises(CheckpointError, match=f"no samples over time: none are {remedy}"):
                _ = kept.progress
        else:
            assert kept.progress[1].shape[2:] == (1, 28, 28)


def test_every_seed_is_trained_in_the_order_of_the_recipe(tmp_path, monkeypatch):
    trained, published = [], []
    made = lambda recipe: SimpleNamespace(config=recipe, info={})  # noqa: E731
    monkeypatch.setattr(reproduce.runs, "train", lambda r, *a: trained.append(r.seed) or made(r))
    monkeypatch.setattr(reproduce, "_measured", lambda run, device, progress: [])
    monkeypatch.setattr(reproduce, "publish", lambda made, target: published.append((made, target)))
    monkeypatch.setattr(reproduce, "zoo_folder", lambda: tmp_path)
    reproduce.reproduce("mlp-mnist-published")
    reproduce.reproduce("mlp-mnist-published", seeds=[2, 1])
    assert trained == [0, 1, 2, 2, 1]
    assert [([run.config.seed for run, _ in all_], target.name) for all_, target in published] == [
        ([0, 1, 2], "mlp-mnist-published"),
        ([1, 2], "mlp-mnist-published"),
    ]


@pytest.fixture
def sitting(train, tmp_path, monkeypatch):
    """``gantut reproduce`` of a small recipe with seeds 0, 1, 2 on a machine that has no runs yet."""
    settings = [*NARROW, "train.epochs=2", "log.samples=4", "reproduce.seeds=[0, 1, 2]"]
    settings += ["reproduce.sheet=6", "reproduce.other_sheets=3"]
    read = recipes.load
    name = "mlp-mnist-published"
    said = []

    def measure(run, n, *args, **options):
        about = {"seed": run.config.seed, "network": reproduce.judge_for(run).name}
        return [row | about for row in distances(9.0, 5.0 + run.config.seed)]

    def sit(*changes: str, **options) -> Run:
        more = [*settings, *changes]
        load = lambda n, ours=(): read(n, [*more, *ours] if n == name else ours)  # noqa: E731
        monkeypatch.setattr(recipes, "load", load)
        shutil.rmtree(runs.folder_of(load(name)).parent, ignore_errors=True)
        said.clear()
        run = reproduce.reproduce(name, "cpu", say=said.append, **options)
        sit.trained = [int(line.split()[2][:-1]) for line in said if line.endswith("training")]
        sit.said = said
        return run

    monkeypatch.setattr(reproduce, "zoo_folder", lambda: tmp_path / "zoo")
    monkeypatch.setattr(reproduce, "evaluate", measure)
    return sit


def _bytes(folder) -> dict[str, bytes]:
    kept = ("history.csv", "samples.png", "generator.safetensors", "progress.png")
    return {name: (folder / name).read_bytes() for name in kept if (folder / name).is_file()}


def test_seeds_of_several_machines_stand_side_by_side(sitting):
    first = sitting(seeds=[0])
    assert not first.info["complete"]
    of_0 = _bytes(first.folder)
    run = sitting(seeds=[1])
    assert sitting.trained == [1]
    assert _bytes(run.folder) == of_0
    assert len(of_0) == 4
    assert [(row["seed"], row["frechet_distance"]) for row in run.seeds] == [(0, 5), (1, 6)]
    assert [(row["seed"], row["value"]) for row in run.metrics if row["epoch"] == 2] == [
        *((0, 5), (1, 6))
    ]
    assert not run.info["complete"]
    assert "| seeds | 0, 1 |" in run.card
    of_1 = _bytes(run.folder / "seed-1")
    # What is missing, and no more.
    run = sitting()
    assert sitting.trained == [2]
    assert sitting.said[:2] == [
        f"mlp-mnist-published, seed {k}: complete, and stays as it is published" for k in (0, 1)
    ]
    assert (_bytes(run.folder), _bytes(run.folder / "seed-1")) == (of_0, of_1)
    assert run.info["complete"]
    assert "| images seen, of the budget of 128 | 128, 128, 128 |" in run.card
    assert [row["seed"] for row in run.seeds] == [0, 1, 2]
    assert [run.at_seed(k).info["seed"] for k in (0, 1, 2)] == [0, 1, 2]
    assert [run.at_seed(k).config.seed for k in (0, 1, 2)] == [0, 1, 2]
    assert {row["seed"] for row in run.at_seed(1).metrics} == {1}
    # Nothing is missing: then all is done anew.
    sitting()
    assert sitting.trained == [0, 1, 2]


def test_a_seed_that_is_cut_short_is_trained_again_and_a_whole_one_if_asked(sitting):
    sitting("train.epochs=500", seeds=[0, 1], max_minutes=1e-9)
    run = sitting("train.epochs=500", seeds=[2], max_minutes=1e-9)
    assert [row["seed"] for row in run.seeds] == [0, 1, 2]
    assert not run.info["complete"]
    sitting("train.epochs=3")
    assert sitting.trained == [0, 1, 2]
    run = sitting("train.epochs=3", seeds=[0])
    assert sitting.trained == [0]
    assert run.info["complete"]
    # A longer budget than theirs: what was whole is not.
    run = sitting("train.epochs=4", seeds=[0])
    assert run.at_seed(1).info["epochs"] == 3
    assert not run.info["complete"]
    run = sitting("train.epochs=4")
    assert sitting.trained == [1, 2]
    assert run.info["complete"]
    assert run.at_seed(1).info["epochs"] == 4


def _until(epochs: int) -> dict:
    """Options of `reproduce`: the time is up after so many epochs."""

    def start(trainer):
        (deadline,) = [c for c in trainer.callbacks if isinstance(c, runs.Deadline)]
        read = deadline.read
        deadline.read = lambda trainer: read(trainer) if trainer.exact_epoch >= epochs else None

    return {"max_minutes": 1e-9, "on_start": start}


def test_a_seed_that_has_come_farther_is_not_replaced(sitting):
    long = sitting("train.epochs=500", seeds=[0, 1], **_until(3))
    before, of_1 = _bytes(long.folder), _bytes(long.folder / "seed-1")
    assert long.info["images_seen"] == 3 * 64
    run = sitting("train.epochs=500", seeds=[1, 2], **_until(2))
    assert (_bytes(run.folder), _bytes(run.folder / "seed-1")) == (before, of_1)
    assert [run.at_seed(seed).info["images_seen"] for seed in (0, 1, 2)] == [192, 192, 128]
    assert (
        "mlp-mnist-published, seed 1: has come to 128 images, fewer than the published one has "
        "seen, which stays; the same command goes on"
    ) in sitting.said
    assert not [line for line in sitting.said if "seed 2: has come" in line]
    run = sitting("train.epochs=500", seeds=[1], **_until(4))
    assert [run.at_seed(seed).info["images_seen"] for seed in (0, 1, 2)] == [192, 256, 128]
    # A recipe that has become shorter: what is whole by it takes the place of what was longer.
    run = sitting("train.epochs=2", seeds=[1])
    assert [run.at_seed(seed).info["images_seen"] for seed in (0, 1, 2)] == [192, 128, 128]


def test_a_seed_of_an_earlier_place_is_the_one_that_is_exhibited(sitting):
    of_1 = _bytes(sitting(seeds=[1]).folder)
    run = sitting(seeds=[0])
    assert [row["seed"] for row in run.seeds] == [0, 1]
    assert run.config.seed == 0
    other = run.at_seed(1)
    assert (other.folder / "history.csv").read_bytes() == of_1["history.csv"]
    assert len(other.samples) == 3
    assert not (other.folder / "generator.safetensors").exists()
    with pytest.raises(CheckpointError, match="has no generator"):
        other.sample(1)


def test_what_a_recipe_no_longer_wants_to_show_leaves_without_a_training(sitting):
    run = sitting()
    before = _bytes(run.folder)
    less = "sheet=5", "other_sheets=2", "progress=false", "publish_weights=false"
    run = sitting(*(f"reproduce.{change}" for change in less))
    assert sitting.trained == []
    assert sitting.said == [
        f"mlp-mnist-published: publishing to {run.folder}, without training, what its recipe now says"
    ]
    after = _bytes(run.folder)
    assert after.pop("history.csv") == before["history.csv"]
    assert set(after) == {"samples.png"}
    assert (len(run.samples), len(run.at_seed(2).samples)) == (5, 2)
    assert run.config.reproduce.sheet == 5
    assert run.info["complete"]
    assert [row["frechet_distance"] for row in run.seeds] == [5, 6, 7]
    with pytest.raises(CheckpointError, match="no samples over time: none are published"):
        _ = run.progress
    # What was left out can only be had by training.
    sitting()
    assert sitting.trained == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    ["train.batch_size=8", "reproduce.sheet=7", "reproduce.other_sheets=4", "reproduce.samples=9"],
)
def test_seeds_of_other_settings_do_not_stay(sitting, change):
    sitting(seeds=[0])
    assert [row["seed"] for row in sitting(change, seeds=[1]).seeds] == [1]
    assert sitting.said[-2] == (
        "mlp-mnist-published, seed 0: left out, since its recipe, its judge or what is shown changed"
    )


def test_a_published_run_that_cannot_be_read_is_no_hindrance(sitting):
    run = sitting()
    (run.folder / "config.yaml").write_text("name: mlp-mnist-published\nunknown: 1\n")
    assert [row["seed"] for row in sitting().seeds] == [0, 1, 2]
    assert sitting.trained == [0, 1, 2]
    (run.folder / "metrics.json").write_text("[")
    assert [row["seed"] for row in sitting(seeds=[1]).seeds] == [1]


def test_seeds_of_another_judge_do_not_stay(sitting):
    run = sitting(seeds=[0])
    rows = [row | {"network": "classifier-mnist@01234567"} for row in run.metrics]
    runs.write_json(run.folder / "metrics.json", rows)
    assert [row["seed"] for row in sitting(seeds=[1]).seeds] == [1]


def test_seeds_published_before_they_had_files_of_their_own(sitting):
    run = sitting()
    costs = [run.at_seed(k).info for k in (0, 1, 2)]
    for seed in (1, 2):
        (run.folder / f"seed-{seed}" / "run.json").unlink()
    run = Run(run.folder)
    for seed in (1, 2):
        apart = dict.fromkeys(("complete", "progress_epochs"))
        assert run.at_seed(seed).info | apart == costs[seed] | apart
    run = sitting("reproduce.progress=false")
    assert sitting.trained == []
    assert [row["seed"] for row in run.seeds] == [0, 1, 2]
    # Of a run that is not complete, nobody knows how far each seed came.
    run = sitting("train.epochs=500", seeds=[0, 1], max_minutes=1e-9)
    (run.folder / "seed-1" / "run.json").unlink()
    other = Run(run.folder).at_seed(1)
    assert other.samples.shape == (3, 1, 28, 28)
    with pytest.raises(CheckpointError, match=r"What seed 1 of .* cost was not kept"):
        _ = other.info
    run = sitting("train.epochs=500", seeds=[2], max_minutes=1e-9)
    assert [row["seed"] for row in run.seeds] == [0, 2]


def test_measurements_are_kept_for_the_weights_that_they_are_of(train, monkeypatch):
    calls = []
    fake = lambda run, n, **kwargs: calls.append(n) or [{"value": 1}]  # noqa: E731
    monkeypatch.setattr(reproduce, "evaluate", fake)
    run = train("reproduce.samples=300")
    twice = [reproduce._measured(run, "cpu", False) for _ in range(2)]
    assert twice == [[{"value": 1}]] * 2
    assert calls == [300]
    reproduce._measured(train("train.epochs=3", "reproduce.samples=300"), "cpu", False)
    assert calls == [300, 300]
    # The same weights, counted otherwise: what was measured would be looked for in vain.
    run.info["epochs"] = 1.5
    reproduce._measured(run, "cpu", False)
    assert calls == [300, 300, 300]
    more = run.config.reproduce.model_copy(update={"samples": 400})
    run.config = run.config.model_copy(update={"reproduce": more})
    reproduce._measured(run, "cpu", False)
    assert calls == [300, 300, 300, 400]


def distances(*values: float) -> list[dict]:
    """What measuring the epochs 1, 2, ... of a run might give."""
    about = {"samples": 200, "network": "judge@0", "reference": "mnist test, 200 images", "seed": 0}
    return [
        {"metric": "frechet_distance", "value": value, "epoch": epoch, **about}
        for epoch, value in enumerate(values, start=1)
    ]


def test_the_best_epoch_is_marked_and_its_weights_are_kept(train, tmp_path, monkeypatch):
    rows = distances(9.0, 4.0, 6.0, 8.0)
    monkeypatch.setattr(reproduce, "evaluate", lambda run, n, **kwargs: rows)
    keep = ("train.epochs=4", "log.snapshots=[1, 2, 3]", "reproduce.keep_best=true")
    run = train(*keep)
    assert [stage.epoch for stage in run.stages] == [1, 2, 3, 4]
    assert run.best.epoch == run.epoch == 4
    assert reproduce._measured(run, "cpu", False) == rows
    run = Run(run.folder)
    assert (run.best.epoch, run.epoch) == (2, 4)
    kept = reproduce.publish([(run, rows)], tmp_path / "best")
    assert [f.name for f in (kept.folder / "snapshots").iterdir()] == ["epoch-0002.safetensors"]
    assert torch.equal(kept.best.sample(3), run.stages[1].sample(3))
    assert torch.equal(kept.sample(3), run.sample(3))
    assert not torch.equal(kept.best.sample(3), kept.sample(3))
    assert "| epoch of least Fréchet distance, of which the weights are kept too | 2 |" in kept.card
    assert [line.split()[-1] for line in table([kept]).splitlines()[1:3]] == ["4.0000", "8.0000"]
    assert "seed 0, epoch 2 " in table([kept])
    assert kept.seeds[0]["frechet_distance"] == 8
    # What the best epoch alone was measured by stands beside it, and what an earlier one was, not.
    of_best, of_first = (
        rows[epoch - 1] | {"metric": name, "value": 70.0 + epoch}
        for epoch, name in ((2, "fid"), (1, "kid"))
    )
    kept = reproduce.publish([(run, [*rows, of_best, of_first])], tmp_path / "best")
    assert kept.seeds[0]["fid"] == 72
    assert kept.seeds[0]["frechet_distance"] == 8
    assert "kid" not in kept.seeds[0]
    with pytest.raises(CheckpointError, match="has no snapshots/epoch-0003"):
        Run(kept.folder, 3)
    # Nothing is kept twice where the end is the best.
    rows = distances(9.0, 7.0, 6.0, 5.0)
    run = train(*keep, "seed=1")
    reproduce._measured(run, "cpu", False)
    kept = reproduce.publish([(Run(run.folder), rows)], tmp_path / "last")
    assert not (kept.folder / "snapshots").exists()
    assert kept.best.epoch == 4


def test_the_inception_network_looks_at_the_best_epoch(train, monkeypatch):
    seen = []
    monkeypatch.setattr(
        reproduce, "evaluate", lambda run, n, *a, **k: seen.append((run.epoch, n)) or []
    )
    monkeypatch.setattr(reproduce.data, "load", lambda name, split: images(64))
    run = train("log.snapshots=[1]", "reproduce.inception={}")
    run.info["best_epoch"] = 1
    reproduce._by_inception(run, "cpu", False)
    reproduce._by_inception(run, "cuda", False)
    assert seen == [(1, 10_000), (1, 50_000)]


def test_the_inception_network_looks_at_the_planned_seeds_once_all_is_published(
    train, tmp_path, monkeypatch
):
    """It takes hours: what was measured before it must not be lost with it."""
    plan = "reproduce.inception={seeds: [1], samples: 3000, reference: train}"
    made = {s: train(plan, "reproduce.seeds=[0, 1]", f"seed={s}") for s in (0, 1)}
    done = []

    def measure(run, n, reference="test", features="classifier", **options):
        done.append((features, run.config.seed, n, reference, options.get("real")))
        name = "fid" if features == "inception" else "frechet_distance"
        return [row | {"metric": name, "seed": run.config.seed} for row in distances(1.0, 2.0)]

    publish = reproduce.publish
    monkeypatch.setattr(reproduce, "evaluate", measure)
    monkeypatch.setattr(reproduce, "publish", lambda *a: done.append("published") or publish(*a))
    monkeypatch.setattr(reproduce, "zoo_folder", lambda: tmp_path)
    monkeypatch.setattr(reproduce.data, "load", lambda name, split: images(64))
    monkeypatch.setattr(reproduce.runs, "train", lambda recipe, *a: made[recipe.seed])
    read, configs = recipes.load, {seed: run.config for seed, run in made.items()}

    def load(name, overrides=()):
        by_name = name == "mlp-mnist-published"
        return configs[int(overrides[0][-1]) if overrides else 0] if by_name else read(name)

    monkeypatch.setattr(recipes, "load", load)
    reproduce.reproduce("mlp-mnist-published", device="cpu")
    classifier = [("classifier", s, 10_000, "test", None) for s in (0, 1)]
    assert done == [*classifier, "published", ("inception", 1, 3000, "train", 64), "published"]
    monkeypatch.undo()
    kept = Run(tmp_path / "mlp-mnist-published")
    assert [(m["metric"], m["seed"]) for m in kept.metrics if m["epoch"] == 2] == [
        *(("frechet_distance", 0), ("frechet_distance", 1), ("fid", 1))
    ]
    assert np.isnan(kept.seeds[0]["fid"])
    assert kept.seeds[1]["fid"] == 2
    monkeypatch.setattr("gantut.zoo.FOLDER", tmp_path)
    monkeypatch.setattr(reproduce.recipes, "load", lambda *a: made[0].config)
    monkeypatch.setattr(Run, "config", made[0].config)
    monkeypatch.setattr(reproduce, "judge_for", lambda run: SimpleNamespace(name="judge@0"))
    assert reproduce.is_complete("mlp-mnist-published")
    without = [row for row in kept.metrics if row["metric"] != "fid"]
    runs.write_json(kept.folder / "metrics.json", without)
    assert not reproduce.is_complete("mlp-mnist-published")


def test_more_samples_where_there_is_a_gpu():
    plan = recipes.load("dcgan-cifar10", ["reproduce.inception={}"]).reproduce.inception
    assert (plan.samples_on("cpu"), plan.samples_on("cuda")) == (10_000, 50_000)
    assert plan.reference == "train"


def test_real_images_are_a_run_that_nobody_trains(home, tmp_path, monkeypatch):
    real = images(64)
    asked = []
    monkeypatch.setattr(runs.data, "load", lambda *args: asked.append(args) or real)
    recipe = recipes.load("real-cifar10", ["reproduce.seeds=[0]", "data.limit=64"])
    run = runs.train(recipe)
    assert torch.equal(to_uint8(run.sample(5)), real.images[:5])
    assert run.info["complete"]
    assert reproduce._measured(run, "cpu", False) == []
    rows = [row | {"metric": "fid", "epoch": 0} for row in distances(3.0)]
    kept = reproduce.publish([(run, rows)], tmp_path / "real")
    assert {f.name for f in kept.folder.iterdir()} == {
        *("card.md", "config.yaml", "metrics.json", "run.json", "seeds.csv")
    }
    assert "There was nothing to train: these are real images." in kept.card
    assert table([kept]).splitlines()[1].split() == ["real-cifar10,", "seed", "0", "3.0000"]
    with pytest.raises(InputError, match="is a set of real images and generates nothing"):
        _ = run.generator
    with pytest.raises(InputError, match="knows no classes"):
        run.sample(2, torch.tensor([0, 1]))
    with pytest.raises(
        InputError, match="real-cifar10 is the first of some images; it has no seed"
    ):
        run.sample(2, seed=1)
    assert set(asked) == {("cifar10", "test", 64, None, None)}  # all that the recipe says of them


def test_a_run_is_complete_for_the_recipe_as_it_stands_only(train, tmp_path, monkeypatch):
    monkeypatch.setattr("gantut.zoo.FOLDER", tmp_path)
    run = train("reproduce.seeds=[0]")
    reproduce.publish([(run, measured(run, 5.0).metrics)], tmp_path / "mine")
    now = run.config
    monkeypatch.setattr(reproduce.recipes, "load", lambda name: now)
    # A run's own recipe is read from its folder, not by name.
    monkeypatch.setattr(Run, "config", run.config)
    judge = SimpleNamespace(name="classifier-mnist@01234567")
    monkeypatch.setattr(reproduce, "judge_for", lambda run: judge)
    assert reproduce.is_complete("mine")
    assert not reproduce.is_complete("another")
    kept = ({"seeds": [0, 1]}, {"seeds": [1]}, {"samples": 9}, {"sheet": 9}, {"sheet": 200})
    for section, *changes in (
        ("train", {"epochs": 3}),
        ("data", {"limit": 9}),
        ("reproduce", *kept),
    ):
        for change in changes:
            changed = getattr(run.config, section).model_copy(update=change)
            now = run.config.model_copy(update={section: changed})
            assert not reproduce.is_complete("mine"), change
    now = run.config
    assert reproduce.is_complete("mine")
    monkeypatch.setattr(reproduce, "judge_for", lambda run: SimpleNamespace(name="another"))
    assert not reproduce.is_complete("mine")


def test_only_a_source_checkout_is_published_into(monkeypatch, tmp_path):
    monkeypatch.setattr("gantut.zoo.FOLDER", tmp_path / "site-packages" / "gantut" / "zoo")
    with pytest.raises(GantutError, match="Finished runs are published into a source checkout"):
        reproduce.zoo_folder()


def test_the_judges_come_first_and_live_recipes_are_not_reproduced():
    names = reproduce.reproducible()
    judges = [name for name in names if name.startswith("classifier")]
    assert names[: len(judges)] == judges
    assert "classifier-mnist" in judges
    assert "mlp-mnist" in names
    assert not [name for name in names if name.endswith("-live")]


def test_classifiers_are_runs_too(train):
    run = train("classifier.width=2", "train.batch_size=16", name="classifier-mnist")
    assert (run.folder / "classifier.safetensors").is_file()
    assert set(run.history) >= {"loss", "loss_min", "loss_max", "accuracy"}
    with pytest.raises(InputError, match="classifier-mnist is a classifier and generates nothing"):
        run.sample(1)


def test_a_request_to_stop_ends_all_seeds_also_before_a_deadline(train, tmp_path, monkeypatch):
    def stop(trainer):
        trainer.stop_requested = True

    stopped = train("train.epochs=500", max_minutes=60, on_start=stop)
    assert stopped.info["stopped_by"] == "request"
    assert "stopped_by" not in train().info
    calls = []
    monkeypatch.setattr(reproduce.runs, "train", lambda *a: calls.append(a) or stopped)
    monkeypatch.setattr(reproduce, "zoo_folder", lambda: tmp_path)
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce("mlp-mnist-published", max_minutes=60)
    assert len(calls) == 1


def test_a_label_is_a_number_or_the_name_of_a_class():
    photos, digits = (zoo.load(n) for n in ("cgan-cifar10-small", "cgan-mnist-tamed"))
    assert [photos.label(text) for text in ("airplane", "ship", "truck", "8")] == [0, 8, 9, 8]
    assert digits.label("7") == 7
    with pytest.raises(InputError, match="name of a class, like airplane, not 'boat'"):
        photos.label("boat")
    with pytest.raises(InputError, match="name of a class, not 'ship'"):
        digits.label("ship")
