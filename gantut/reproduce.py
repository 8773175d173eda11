"""Train what a recipe says, measure it, and put the result into the zoo of a source checkout.

Nothing in the zoo is written by any other means.
"""

import contextlib
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from gantut import build, callbacks, data, grids, recipes, runs, sources, weights, zoo
from gantut.errors import CheckpointError, GantutError, InputError, RecipeError
from gantut.evaluate import NAMES, evaluate, judge_for
from gantut.recipes import ClassifierRecipe, GANRecipe
from gantut.recipes.schema import BaseRecipe
from gantut.runs import Run

STAGES, COLUMNS = 10, 12  # of the progression


def reproduce(
    name: str,
    device: str = "auto",
    progress: bool = False,
    max_minutes: float | None = None,
    seeds: list[int] | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_start: Callable = lambda trainer: None,
) -> Run:
    """Train (or go on with), evaluate and publish a recipe, on each of its seeds.

    Where the zoo holds some of the recipe's seeds already, measured by the same networks, they
    stay beside those that are made now, so that the seeds can come from several machines.  Such a
    seed is made again if it is asked for, if its budget is not complete, or if nothing is missing;
    but it stays where the new one has been cut short and has seen fewer images.
    Where the recipe only wants less to be published than before, nothing is trained.

    Args:
        name: of a recipe.
        device: ``"auto"`` or a torch device.
        progress: show progress bars.
        max_minutes: stop each seed's training after so long.  The card then says how much of the
            budget was done, and the same command completes it.  0: measure and publish what there is.
        seeds: train only these of the recipe's.
        say: told what is being done.
        on_start: given each trainer before it starts.

    Raises:
        GantutError: not a source checkout, or training or evaluation failed.
    """
    target = zoo_folder() / name
    if name not in recipes.names():
        raise InputError(f"{name} is no recipe of the library's; train it with 'gantut train'.")
    base = recipes.load(name)
    planned = base.reproduce.seeds
    if not planned:
        raise InputError(f"{name} is not kept as a finished run; train it with 'gantut train'.")
    if seeds is not None and not set(seeds) <= set(planned):
        raise InputError(f"{name} is reproduced with the seeds {planned}, not {seeds}.")
    if max_minutes is not None and max_minutes < 0:
        raise InputError(f"The minutes must be at least 0, not {max_minutes:g}.")
    held = _held(target, base)
    if seeds is None:
        missing = [s for s in planned if s not in held or not _is_whole(held[s][0], base)]
        if not missing and Run(target).config.reproduce != base.reproduce:
            say(f"{name}: publishing to {target}, without training, what its recipe now says")
            return _publish_beside([], target, base)
        seeds = missing or planned
        for seed in sorted(set(planned) - set(seeds)):
            say(f"{name}, seed {seed}: complete, and stays as it is published")
    made = []
    where = str(build.device_of(device))
    for seed in seeds:
        recipe = recipes.load(name, [f"seed={seed}"])
        say(f"{name}, seed {seed}: training")
        try:
            run = runs.train(recipe, None, device, progress, max_minutes, on_start)
        except CheckpointError as error:
            raise CheckpointError(_in_the_way(recipe) or str(error)) from None
        if run.info.get("stopped_by") == "request":
            raise KeyboardInterrupt  # not the deadline: somebody wants an end, of all seeds
        if seed in held and not _has_ended(run, base):
            seen, before = (r.info["images_seen"] for r in (run, held[seed][0]))
            if seen < before:
                say(
                    f"{name}, seed {seed}: has come to {seen:,} images, fewer than the published "
                    "one has seen, which stays; the same command goes on"
                )
                continue
        say(f"{name}, seed {seed}: measuring")
        made.append((run, _measured(run, where, progress)))
    for seed in sorted(_seeds_in(target) - {*held, *seeds}):
        say(f"{name}, seed {seed}: left out, since its recipe, its judge or what is shown changed")
    say(f"{name}: publishing to {target}")
    published = _publish_beside(made, target, base)
    plan = base.reproduce.inception
    late = [run for run, _ in made if plan and run.config.seed in plan.seeds]
    if not late:
        return published
    # Published once before: this takes hours where there is no GPU, and may be interrupted.
    for run, results in made:
        if run in late:
            say(f"{name}, seed {run.config.seed}: measuring with the Inception network")
            results += _by_inception(run, where, progress)
    return _publish_beside(made, target, base)


def _publish_beside(made: list[tuple[Run, list[dict]]], target: Path, recipe: BaseRecipe) -> Run:
    """Publish what was made, and again what the zoo holds of other seeds."""
    by_seed = _held(target, recipe) | {run.config.seed: (run, rows) for run, rows in made}
    order = [seed for seed in recipe.reproduce.seeds if seed in by_seed]
    return publish([by_seed[seed] for seed in order], target)


def _held(target: Path, recipe: BaseRecipe) -> dict[int, tuple[Run, list[dict]]]:
    """The published seeds that others of the recipe can stand beside, with their measurements.

    None, where the recipe or the network that measures it has changed since, or where the recipe
    wants more to be published than there is.
    """
    there_are = _seeds_in(target)
    if not isinstance(recipe, GANRecipe) or not there_are:
        return {}
    published = Run(target)
    there, wanted = published.config.reproduce, recipe.reproduce
    trained = lambda r: recipes.fingerprint(r.model_copy(update={"seed": 0}))  # noqa: E731
    enough = ("sheet", "other_sheets", "progress", "publish_weights")
    equal = ("samples", "history_rows", "keep_best")
    if (
        trained(published.config) != trained(recipe)
        or any(getattr(there, key) < getattr(wanted, key) for key in enough)
        or any(getattr(there, key) != getattr(wanted, key) for key in equal)
        or not _is_judged_as_now(published)
    ):
        return {}
    # From here on it is what is to be published, and not what was.
    published.config = published.config.model_copy(update={"reproduce": wanted})
    held = {}
    for seed in recipe.reproduce.seeds:
        if seed in there_are:
            run = published.at_seed(seed)
            with contextlib.suppress(CheckpointError):  # what it cost may not have been kept
                _ = run.info
                held[seed] = (run, [row for row in run.metrics if row["seed"] == seed])
    # Only the one that is exhibited has weights, and the first of them is exhibited.
    return held if next(iter(held), None) == published.config.seed else {}


def _seeds_in(target: Path) -> set[int]:
    """The seeds of a published run; none, where there is no run that can be read."""
    try:
        run = Run(target)
        _ = run.config, run.metrics
        return {int(row["seed"]) for row in run.seeds}
    except (CheckpointError, RecipeError):
        return set()


def _is_judged_as_now(published: Run) -> bool:
    """Whether a GAN was measured by the classifier that would measure it today."""
    by_inception = NAMES["inception"].values()
    judges = {r["network"] for r in published.metrics if r["metric"] not in by_inception}
    return judges == {judge_for(published).name}


def _is_whole(run: Run, recipe: BaseRecipe) -> bool:
    """Whether a seed has the recipe's whole budget behind it, and all measurements."""
    plan = recipe.reproduce.inception
    looked = {row["seed"] for row in run.metrics if row["metric"] in NAMES["inception"].values()}
    return _has_ended(run, recipe) and (
        not plan or run.config.seed in looked or run.config.seed not in plan.seeds
    )


def _has_ended(run: Run, recipe: BaseRecipe) -> bool:
    """Whether a seed has come as far as the recipe goes.

    In the zoo, ``complete`` speaks of all seeds; and a seed may be of a time when the recipe was
    shorter.
    """
    return recipe.kind == "real" or run.info["epochs"] >= recipe.train.epochs


def _in_the_way(recipe: BaseRecipe) -> str:
    """What to do about a run of the recipe's name with other settings; "" where there is none."""
    folder = runs.folder_of(recipe)
    if not (folder / "config.yaml").is_file():
        return ""
    changed = recipes.differences(Run(folder).config, recipe).items()
    changed = [
        f"{key} is {there} there and {here} here"
        for key, (there, here) in changed
        if not key.startswith(("log.", "reproduce."))
    ]
    if not changed:
        return ""
    more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
    return (
        f"The run in {folder} has other settings than the recipe ({', '.join(changed[:3])}{more}); "
        f"move it elsewhere, or remove all runs of that name with 'gantut data --remove "
        f"runs/{recipe.name}'."
    )


def zoo_folder() -> Path:
    """The zoo of a source checkout.

    Raises:
        GantutError: the library is installed, and its zoo is not for writing.
    """
    root = zoo.FOLDER.parent.parent
    if not (root / "pyproject.toml").is_file():
        raise GantutError(
            "Finished runs are published into a source checkout, and this gantut is installed "
            "elsewhere: clone the repository and 'pip install -e .' there."
        )
    return zoo.FOLDER


def is_complete(name: str) -> bool:
    """Whether the zoo holds the recipe's run as the recipe now stands, with its whole budget."""
    folder, recipe = zoo.FOLDER / name, recipes.load(name)
    if not (folder / "run.json").is_file():
        return False
    run, plan = Run(folder), recipe.reproduce.inception
    looked = {row["seed"] for row in run.metrics if row["metric"] in NAMES["inception"].values()}
    return (
        recipes.fingerprint(run.config) == recipes.fingerprint(recipe)
        and run.config.reproduce == recipe.reproduce
        and run.info["complete"]
        and run.config.train.epochs >= recipe.train.epochs
        and looked >= set(plan.seeds if plan else ())
        and (not isinstance(recipe, GANRecipe) or _is_judged_as_now(run))
    )


def reproducible() -> list[str]:
    """Recipes with a finished run, the judges first, since other runs are measured by them."""
    names = [n for n in recipes.names() if recipes.load(n).reproduce.seeds]
    return sorted(names, key=lambda n: (not isinstance(recipes.load(n), ClassifierRecipe), n))


def _measured(run: Run, device: str, progress: bool) -> list[dict]:
    """What a classifier of our own makes of the run, and the epoch that it finds best."""
    is_judge = isinstance(run.config, ClassifierRecipe)
    if run.config.kind == "real":
        return []  # to be compared with themselves they would have to be two sets
    file = "classifier.safetensors" if is_judge else "generator.safetensors"
    n = run.config.reproduce.samples
    of = {
        "samples": n,
        "weights": weights.sha256(run.folder / file),
        "epoch": run.info["epochs"],  # by which the measurements will be found again
        "judge": None if is_judge else judge_for(run).name,
    }
    results = _kept(
        run.folder / "measured.json",
        of,
        lambda: evaluate(run, n, device=device, progress=progress),
    )
    if run.config.reproduce.keep_best:
        distances = {
            row["epoch"]: row["value"] for row in results if row["metric"] == "frechet_distance"
        }
        run.info["best_epoch"] = min(distances, key=distances.get)
        runs.write_json(run.folder / "run.json", run.info)
    return results


def _by_inception(run: Run, device: str, progress: bool) -> list[dict]:
    """What the Inception network makes of the run at its best."""
    plan = run.config.reproduce.inception
    source = run.config.data.source
    real = len(data.load(source, plan.reference))
    n, best = plan.samples_on(device), run.best
    if run.config.kind == "real":
        n = len(data.load(source, run.config.data.split))
        of = {"images": [source, run.config.data.split]}
    else:
        of = {"weights": weights.sha256(best.weights), "epoch": best.epoch}
    of |= {
        "samples": [*plan.fewer, n],
        "reference": plan.reference,
        "network": sources.INCEPTION.sha256,
    }
    return _kept(
        run.folder / "measured-inception.json",
        of,
        lambda: evaluate(
            best,
            n,
            plan.reference,
            "inception",
            real=real,
            fewer=plan.fewer,
            device=device,
            progress=progress,
        ),
    )


def _kept(file: Path, of: dict, measure: Callable[[], list[dict]]) -> list[dict]:
    """Measurements: those in a file if they are of the same things, else new ones."""
    if file.is_file():
        saved = json.loads(file.read_text())
        if saved["of"] == of:
            return saved["results"]
    results = measure()
    runs.write_json(file, {"of": of, "results": results})
    return results


def publish(made: list[tuple[Run, list[dict]]], target: Path) -> Run:
    """Write a finished run, and what is kept of its other seeds, into a folder of the zoo.

    Args:
        made: a run and its measurements, for each seed; the first is the one that is exhibited.
        target: the folder; what it held before is replaced.
    """
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _write(made, aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return Run(target)


def _write(made: list[tuple[Run, list[dict]]], aside: Path) -> None:
    first, _ = made[0]
    recipe = first.config
    info = dict(first.info)
    done = {run.config.seed for run, _ in made if _has_ended(run, recipe)}
    info["complete"] = done >= set(recipe.reproduce.seeds)
    (aside / "config.yaml").write_text(recipes.to_yaml(recipe), encoding="utf-8")
    if recipe.kind != "real":
        _history(first, aside)
    if isinstance(recipe, ClassifierRecipe):
        shutil.copy(first.folder / "classifier.safetensors", aside)
    elif isinstance(recipe, GANRecipe):
        info.pop("progress_epochs", None)
        if recipe.reproduce.progress:
            info["progress_epochs"] = _progress(first, aside / "progress.png")
        _sheet(first, recipe.reproduce.sheet, aside)
        if recipe.reproduce.publish_weights:
            shutil.copy(first.folder / "generator.safetensors", aside)
            if first.best.epoch != first.epoch:
                (aside / "snapshots").mkdir()
                shutil.copy(first.best.weights, aside / "snapshots")
        for run, _ in made[1:]:
            folder = aside / f"seed-{run.config.seed}"
            folder.mkdir()
            _history(run, folder)
            _sheet(run, recipe.reproduce.other_sheets, folder)
            cost = {k: v for k, v in run.info.items() if k != "progress_epochs"}
            runs.write_json(folder / "run.json", cost)
    runs.write_json(aside / "run.json", info)
    runs.write_json(aside / "metrics.json", [row for _, rows in made for row in rows])
    _seeds(made, aside / "seeds.csv")
    (aside / "card.md").write_text(card(recipe, info, made), encoding="utf-8")


def _sheet(run: Run, n: int, folder: Path) -> None:
    published = (run.folder / "samples.png").is_file()
    images = run.samples[:n] if published else run.sample(n, run.every_class(n))
    grids.save(images, folder / "samples.png", columns=10)


def _history(run: Run, folder: Path) -> None:
    """Write the history: of a new run as its checkpoint keeps it, with all its digits."""
    if not (run.folder / "checkpoint.pt").is_file():
        shutil.copy(run.folder / "history.csv", folder)
        return
    state = torch.load(run.folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    history = callbacks.History()
    history.load_state_dict(state["history"])
    history.write_csv(folder / "history.csv", run.config.reproduce.history_rows)


def _progress(run: Run, path: Path) -> list[int]:
    """A sheet of stages by samples, its stages evenly spaced in the logarithm of the epoch."""
    epochs, images = run.progress
    last = epochs[-1]
    wanted = {0, *(round(last ** (i / (STAGES - 2))) for i in range(STAGES - 1))}
    chosen = [i for i, epoch in enumerate(epochs) if epoch in wanted]
    stages = images[chosen, :COLUMNS]
    grids.save(stages.flatten(0, 1), path, columns=stages.shape[1])
    return [epochs[i] for i in chosen]


def _final(run: Run, rows: list[dict]) -> dict[str, float]:
    """As the run ended; what only the best epoch was measured by stands beside it."""
    rows = [r for r in rows if "of" not in r]
    best = {r["metric"]: r["value"] for r in rows if r["epoch"] == run.best_epoch}
    return best | {r["metric"]: r["value"] for r in rows if r["epoch"] == run.info["epochs"]}


def _seeds(made: list[tuple[Run, list[dict]]], path: Path) -> None:
    tables = [
        {"seed": r.config.seed, "seconds": r.info["seconds"], **_final(r, m)} for r, m in made
    ]
    with path.open("w", newline="") as file:
        columns = {key: None for row in tables for key in row}
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(tables)


def card(recipe: BaseRecipe, info: dict, made: list[tuple[Run, list[dict]]]) -> str:
    """The page about a finished run, Markdown: what it is, what it cost, what was measured."""
    runs_of = [run for run, _ in made]
    facts = {
        "command": f"`gantut reproduce {recipe.name}`",
        "seeds": ", ".join(str(run.config.seed) for run in runs_of),
    }
    if recipe.kind != "real":
        seen = ", ".join(f"{run.info['images_seen']:,}" for run in runs_of)
        minutes = ", ".join(f"{run.info['seconds'] / 60:.1f}" for run in runs_of)
        facts |= {
            "device": f"{info['device']}, {info['threads']} thread(s)",
            "training, minutes for each seed": minutes,
            f"images seen, of the budget of {info['images_of_budget']:,}": seen,
            "parameters": ", ".join(f"{k} {v:,}" for k, v in info["parameters"].items()),
        }
    if recipe.reproduce.keep_best:
        best = ", ".join(f"{run.best_epoch:g}" for run in runs_of)
        kept = ", of which the weights are kept too" if recipe.reproduce.publish_weights else ""
        facts[f"epoch of least Fréchet distance{kept}"] = best
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in info["versions"].items())
    if recipe.kind == "real":
        state = "There was nothing to train: these are real images."
    elif info["complete"]:
        state = "The whole budget was completed."
    else:
        state = (
            f"The budget is not complete: of the seeds {', '.join(map(str, recipe.reproduce.seeds))} "
            f"some are missing or cut short. `gantut reproduce {recipe.name}` completes it: from the "
            "checkpoint where that is still there, and else from the beginning."
        )
    lines = [
        f"# {recipe.name}",
        "",
        recipe.about.strip(),
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in facts.items()),
        "",
        state,
    ]
    for title, table in _tables(made).items():
        lines += ["", title, "", *table]
    if isinstance(recipe, GANRecipe):
        n = recipe.reproduce.sheet
        lines += ["", f"`samples.png` shows the first {n} samples of the seed, not a choice."]
    return "\n".join(lines) + "\n"


def _tables(made: list[tuple[Run, list[dict]]]) -> dict[str, list[str]]:
    """Measurements as Markdown tables: one for each set of images and network, metrics across."""
    groups: dict[tuple, dict[tuple, dict]] = {}
    references: dict[tuple, dict] = {}
    for run, rows in made:
        for r in rows:
            of, column = r.get("of", "samples"), r["metric"]
            if of.startswith("class "):
                of, column = f"{column} by class", of
            key = (of, r["samples"], r["network"])
            line = groups.setdefault(key, {}).setdefault((run.config.seed, r["epoch"]), {})
            line[column] = r["value"]
            if r["reference"]:
                references.setdefault(key, {})[r["reference"]] = None
    tables = {}
    for key, lines in groups.items():
        of, count, network = key
        against = "".join(f", against {name}" for name in references.get(key, {}))
        metrics = list({metric: None for line in lines.values() for metric in line})
        tables[f"{count:,} images ({of}), by {network}{against}:"] = [
            f"| seed | epoch | {' | '.join(metrics)} |",
            "|---" * (2 + len(metrics)) + "|",
            *(
                f"| {seed} | {epoch:g} | "
                + " | ".join(f"{line[m]:.4g}" if m in line else "-" for m in metrics)
                + " |"
                for (seed, epoch), line in lines.items()
            ),
        ]
    return tables


__all__ = ["card", "is_complete", "publish", "reproduce", "reproducible", "zoo_folder"]
