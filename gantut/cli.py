"""The command line: ``gantut COMMAND``, or ``python -m gantut COMMAND``.

Errors are one sentence on standard error.  The exit status is 0 for success, 2 where the request
was at fault, 1 where something else was, 130 after Ctrl-C.
"""

import contextlib
import json
import platform
import re
import shutil
import signal
import sys
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

import gantut
from gantut.errors import GantutError, InputError, did_you_mean

app = typer.Typer(
    name="gantut",
    help="Train, sample, measure and compare the GANs of the course.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# Some versions of typer carry a click of their own; this is the one that they raise.
UsageError = typer.BadParameter.__base__

Recipe = Annotated[str, typer.Argument(help="A recipe's name, or the path of a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value, such as train.epochs=5.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or any other torch device.")]
RunName = Annotated[str, typer.Argument(help="A run: its name, or the path of its folder.")]
SeedOption = Annotated[int | None, typer.Option(help="A whole number from 0 to 4294967295.")]


def _progress_only(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def find_run(name: str):
    """A run by the path of its folder, else one of your own by name, else one of the zoo.

    ``NAME`` is your own run if you have one (the newest of its seeds), ``zoo:NAME`` always the
    course's.

    Raises:
        InputError: there is none.
    """
    from gantut import recipes, zoo
    from gantut.home import runs_dir
    from gantut.runs import Run

    if name.startswith("zoo:"):
        return zoo.load(name.removeprefix("zoo:"))
    if (Path(name) / "config.yaml").is_file():
        return Run(name)
    own = sorted((runs_dir() / name).glob("*/run.json"), key=lambda f: f.stat().st_mtime)
    if own:
        return Run(own[-1].parent)
    begun = sorted((runs_dir() / name).glob("*/config.yaml"))
    if name in zoo.names():
        if begun:
            _progress_only(
                f"gantut: your own training in {begun[-1].parent} has not come to an end; this is "
                "the course's run."
            )
        return zoo.load(name)
    if begun:
        return Run(begun[-1].parent)
    if Path(name).is_file():
        raise InputError(
            f"{name} is a file, and a run is a folder; images for 'gantut evaluate' lie in a .npy file."
        )
    if name in recipes.names():
        raise InputError(f"There is no run of {name} yet; 'gantut train {name}' makes one.")
    known = {*zoo.names(), *(f.parent.parent.name for f in runs_dir().glob("*/*/run.json"))}
    raise InputError(
        f"There is no run {name!r}{did_you_mean(name, known)} 'gantut runs' lists all, "
        "'gantut recipes' what can be trained."
    )


@app.command()
def doctor() -> None:
    """Report what gantut finds on this machine: Python, torch, device, data, cache, versions."""
    import torch

    from gantut import sources
    from gantut.home import home

    print(f"gantut       {gantut.__version__}")
    print(f"Python       {platform.python_version()} ({platform.system()} {platform.machine()})")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that torch can use"
    print(f"torch        {torch.__version__}, {torch.get_num_threads()} CPU thread(s), GPU: {gpu}")
    for package in ("torchvision", "matplotlib", "ipywidgets", "tensorboard", "jupyter-book"):
        try:
            print(f"{package:<12} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package:<12} not installed")
    place = home()
    free = shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
    print(f"cache        {place} ({_size(free)} free on its disk)")
    parts = {part.name: part.bytes for part in sources.usage()}
    for name in ("mnist", "cifar10"):
        there = f"{_size(parts[name])} in the cache" if name in parts else "not fetched yet"
        print(f"{name:<12} {there}")


def _size(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"


@app.command("data")
def data_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="To fetch now: mnist, cifar10, inception (the weights for FID)."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Remove this part of the cache.")] = None,
) -> None:
    """Show what the cache holds; fetch data sets, or remove parts."""
    from gantut import data, sources
    from gantut.home import home

    for name in names or []:
        if name == "inception":
            weights = sources.inception_weights()
            print(f"Inception network, {sum(w.size for w in weights.values()):,} numbers")
            continue
        for split in ("train", "test"):
            print(data.load(name, split))
    for name in remove or []:
        for part in sources.remove(name):
            print(f"removed {part.name}, {_size(part.bytes)}")
    parts = sources.usage()
    print(f"cache: {home()}")
    for part in parts:
        print(f"  {part.name:<40} {_size(part.bytes):>10}")
    print(f"  {'in all':<40} {_size(sum(part.bytes for part in parts)):>10}")


@app.command("recipes")
def recipes_command(
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    overrides: Overrides = None,
    against: Annotated[
        str | None, typer.Option(help="Show only what differs from this one.")
    ] = None,
) -> None:
    """List the recipes, show one whole, or show in what two differ."""
    from gantut import recipes

    if name is None:
        for each in recipes.names():
            print(f"{each}\n    {' '.join(recipes.load(each).about.split())}")
        return
    recipe = recipes.load(name, overrides or [])
    if against is None:
        print(recipes.to_yaml(recipe), end="")
        return
    for key, (here, there) in recipes.differences(recipe, recipes.load(against)).items():
        print(f"{key}: {here} (in {against}: {there})")


@app.command("runs")
def runs_command() -> None:
    """List your own runs and the course's: how far they are, and which have weights to sample from."""
    from gantut import zoo
    from gantut.home import runs_dir

    own = sorted(file.parent for file in runs_dir().glob("*/*/config.yaml"))
    print(f"Your own runs, in {runs_dir()}:")
    for folder in own:
        print(f"  {'/'.join(folder.parts[-2:]):<38} {_state(folder)}")
    if not own:
        print("  none yet")
    print("The course's runs:")
    for name in zoo.names():
        print(f"  {name:<38} {_state(zoo.FOLDER / name)}")


def _state(folder: Path) -> str:
    from gantut.errors import CheckpointError
    from gantut.runs import Run

    run = Run(folder)
    if not (folder / "run.json").is_file():
        return "training has not come to an end"
    try:
        if run.config.kind == "real":
            return "real images"
        seen = f"{run.info['images_seen']:,} of {run.info['images_of_budget']:,} images"
    except GantutError:
        return "of another version of gantut, or damaged"
    if run.config.kind == "classifier":
        return f"{seen}; a classifier"
    with contextlib.suppress(CheckpointError):
        return f"{seen}; {run.weights.stat().st_size / 1e6:.1f} MB of weights"
    return f"{seen}; no weights"


@app.command()
def train(
    recipe: Recipe,
    overrides: Overrides = None,
    seed: SeedOption = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    device: Device = "auto",
    fresh: Annotated[bool, typer.Option(help="Remove the run that is there, start anew.")] = False,
) -> None:
    """Train a recipe, or go on where a run of it was stopped."""
    from gantut import recipes

    values = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    loaded = recipes.load(recipe, values)
    # Only now what needs torch, so that a wrong recipe is refused at once.
    from gantut import build, runs

    build.device_of(device)
    folder = out or runs.folder_of(loaded)
    started = []

    def on_start(trainer) -> None:
        started.append(trainer)
        _stop_on_ctrl_c(trainer)

    run = runs.train(loaded, folder, device, progress=True, on_start=on_start, fresh=fresh)
    if not started and loaded.kind != "real":
        epochs = f"{run.info['epochs']:g} of {loaded.train.epochs} epochs"
        _progress_only(f"gantut: complete already: {epochs}; --fresh trains anew.")
    if not run.info["complete"]:
        _progress_only(
            f"gantut: stopped at epoch {run.info['epochs']:.2f}; the same command goes on."
        )
        sys.exit(130)
    print(run.folder)


def _stop_on_ctrl_c(trainer) -> None:
    """Ctrl-C once: finish the iteration, write a checkpoint, end.  Twice: end at once.

    After the training Ctrl-C means what it did before.
    """
    from gantut.callbacks import Callback

    class Restore(Callback):
        def end(self, trainer) -> None:
            signal.signal(signal.SIGINT, before)

    def once(signum, frame):
        trainer.stop_requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _progress_only("\ngantut: stopping after this iteration; Ctrl-C again to stop at once.")

    before = signal.signal(signal.SIGINT, once)
    trainer.callbacks.append(Restore())


@app.command("sample")
def sample_command(
    run: RunName,
    count: Annotated[int, typer.Option(help="How many images.")] = 64,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Of this class, by number or name; all: of every class in turn. May be repeated: of "
            "each of these in turn. A conditional run needs it."
        ),
    ] = None,
    columns: Annotated[int, typer.Option(help="Images in a row.")] = 8,
    seed: SeedOption = None,
    best: Annotated[
        bool, typer.Option("--best", help="From its best epoch, where one is marked.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")] = Path("samples.png"),
) -> None:
    """Draw images from a run into a PNG file."""
    from gantut import grids

    loaded = find_run(run)
    if best:
        loaded = loaded.best
    labels = _labels(loaded, label, count)
    file = grids.save(loaded.sample(count, labels, seed=seed), out, columns)
    if loaded.folder != Path(run):  # given by a name, it may be one of several
        _progress_only(f"gantut: drawn from {loaded.folder}")
    print(file)


def _labels(run, texts: list[str] | None, count: int):
    """A label for each of ``count`` images, as ``--label`` asks; None for a run without classes."""
    in_turn = run.every_class(count)
    if in_turn is None:
        return [0] * count if texts else None  # one label is too many, and sampling says so
    if not texts:
        raise InputError(
            f"{run.config.name} draws what it is told to: name a class, as in --label 3, or "
            "--label all for every class in turn."
        )
    if texts == ["all"]:
        return in_turn
    if len(texts) > count:
        raise InputError(
            f"{len(texts)} labels are more than --count {count} images; ask for at least as many "
            "images as labels."
        )
    chosen = [run.label(text) for text in texts]
    return [chosen[i % len(chosen)] for i in range(count)]


@app.command("evaluate")
def evaluate_command(
    run: Annotated[
        str,
        typer.Argument(help="A run: its name or folder; or a .npy file of images [N, C, H, W]."),
    ],
    samples: Annotated[
        int,
        typer.Option(
            help="Generated images, or so many of a file; at least 129 for the classifier of mnist, "
            "257 for that of cifar10, 2049 for inception."
        ),
    ] = 10_000,
    features: Annotated[str, typer.Option(help="Seen by: classifier or inception.")] = "classifier",
    reference: Annotated[str, typer.Option(help="Real images: test or train.")] = "test",
    real: Annotated[
        int | None,
        typer.Option(help="How many real images, the first; as many as samples if not given."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Real images of this data set or folder, not the run's own.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Measure a run, or a file of images, and print the measurements.

    The folder of a run of your own keeps them, beside those by another network.
    """
    from gantut import runs, zoo
    from gantut.errors import CheckpointError
    from gantut.evaluate import evaluate, evaluate_images, merged, read_images

    if reference not in ("test", "train"):
        raise InputError(f"The reference must be test or train, not {reference!r}.")
    for name, count in (("samples", samples), ("real", real)):
        if count is not None and count < 1:
            raise InputError(f"--{name} must be at least 1, not {count}.")
    options = {"real": real, "device": device, "progress": features == "inception"}
    if run.endswith(".npy"):
        if data is None:
            raise InputError("Say with --data which real images to compare a file with.")
        images = read_images(run)[:samples]
        results = evaluate_images(images, data, reference, features, **options)
    else:
        loaded = find_run(run)
        results = evaluate(loaded, samples, reference, features, against=data, **options)
        if zoo.FOLDER.resolve() not in loaded.folder.resolve().parents and data is None:
            file = loaded.folder / "metrics.json"
            try:
                old = loaded.metrics if file.is_file() else []
            except CheckpointError:
                old = []  # damaged; this is the command that writes it again
            runs.write_json(file, merged(old, results))
    print(json.dumps(results, indent=1))


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(help="Runs, by name or folder.")],
) -> None:
    """Print the measurements of several runs side by side."""
    from gantut.evaluate import table

    print(table([find_run(name) for name in names]))


@app.command("reproduce")
def reproduce_command(
    names: Annotated[list[str] | None, typer.Argument(help="Recipes.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that is missing or incomplete.")] = False,
    device: Device = "auto",
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop each training so late; 0: only measure and publish.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; may be repeated.")] = None,
) -> None:
    """Train, measure and publish finished runs into the zoo of a source checkout."""
    from gantut import recipes
    from gantut.reproduce import is_complete, reproduce, reproducible

    if not names and not all_:
        raise InputError("Name the recipes to reproduce, or give --all.")
    todo = list(names or []) or [n for n in reproducible() if not is_complete(n)]
    for name in todo:
        recipes.load(name)
    for name in todo:
        run = reproduce(
            name, device, True, max_minutes, seed or None, _progress_only, _stop_on_ctrl_c
        )
        print(run.folder)


def main() -> None:
    """Run the command line, and turn errors into a sentence and an exit status."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
    except GantutError as error:
        _fail(str(error), error.exit_code)
    except UsageError as error:
        message = _in_our_words(error.format_message())
        stop = "" if message.endswith((".", "?", "!")) else "."
        command = f" {error.ctx.info_name}" if error.ctx and error.ctx.parent else ""
        _fail(f"{message}{stop} 'gantut{command} --help' shows what there is.", 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; the last checkpoint is whole, and the same command goes on.", 130)
    except BrokenPipeError:
        sys.exit(1)
    if code == 130:  # what some versions of typer make of a KeyboardInterrupt
        _fail("interrupted; the last checkpoint is whole, and the same command goes on.", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _in_our_words(message: str) -> str:
    """What typer says of an option that is no number, each version in other words."""
    found = re.fullmatch(
        r"Invalid value for '(--[\w-]+)': .*\bvalid (integer|number|float)\b.*", message
    )
    if not found:
        return message
    option = found[1]
    number, kind = (int, "a whole number") if found[2] == "integer" else (float, "a number")
    words = [part for word in sys.argv for part in word.split("=", 1)]
    for before, given in pairwise(words):
        try:
            _ = number(given) if before == option else None
        except ValueError:
            return f"{option} must be {kind}, not {given!r}."
    return message


def _fail(sentence: str, code: int) -> None:
    print(f"gantut: {sentence}", file=sys.stderr)
    sys.exit(code)
