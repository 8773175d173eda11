"""From a run to measurements, each with everything that it depends on.

A measurement is a dictionary: ``metric``, ``value``, ``samples`` (how many images), ``network``
(whose features or probabilities, with a hash of the weights), ``reference`` (which real images, or
None), ``seed`` (of the run and of its latent vectors) and ``epoch``.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from gantut import data, weights
from gantut.classify import accuracy
from gantut.errors import InputError
from gantut.metrics import class_entropy, confident_share, frechet_distance
from gantut.metrics.features import Judge, judge
from gantut.recipes import ClassifierRecipe
from gantut.runs import Run

JUDGES = {"mnist": "classifier-mnist"}


def judge_for(run: Run) -> Judge:
    """The classifier that knows the data set a run was trained on."""
    name = run.config.data.name
    if run.config.data.path is not None or name not in JUDGES:
        raise InputError(
            f"There is no judge for images of {run.config.data.source}; "
            f"there is one for {', '.join(JUDGES)}."
        )
    return judge(JUDGES[name])


def measure(images: Tensor, reference: Tensor, eyes: Judge) -> dict[str, float]:
    """All metrics of a set of images, by name.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1].
        reference: real images, ``[M, C, H, W]`` in [-1, 1].
        eyes: whose features and probabilities.
    """
    probabilities = eyes.probabilities(images)
    return {
        "confident_share": confident_share(probabilities),
        "class_entropy": class_entropy(probabilities),
        "frechet_distance": frechet_distance(eyes.features(images), eyes.features(reference)),
    }


def evaluate(run: Run, samples: int = 10_000, reference: str = "test") -> list[dict]:
    """Measure a run, at its end and wherever it kept its weights.

    Args:
        run: of a generator, or of a classifier.
        samples: generated images in each measurement.
        reference: split of the real images, ``"test"`` or ``"train"``; of the latter the first
            ``samples``.

    Raises:
        InputError: no judge knows the run's data; too few samples.
    """
    if isinstance(run.config, ClassifierRecipe):
        return _evaluate_classifier(run, samples)
    eyes = judge_for(run)
    real = data.scale(data.load(run.config.data.name, reference, limit=None).subset(samples).images)
    about = {"samples": samples, "network": eyes.name, "seed": run.config.seed}
    named = f"{run.config.data.name} {reference}, {len(real)} images"
    results = []
    for epoch, stage in _stages(run):
        fakes = stage.sample(samples)
        for metric, value in measure(fakes, real, eyes).items():
            to = named if metric == "frechet_distance" else None
            row = {"metric": metric, "value": value, **about, "reference": to, "epoch": epoch}
            results.append(row)
    return results


def _stages(run: Run) -> Iterable[tuple[float, Run]]:
    """The run as it was after the epochs whose weights it kept, then as it is."""
    for file in sorted((run.folder / "snapshots").glob("epoch-*.safetensors")):
        epoch = int(file.stem.removeprefix("epoch-"))
        if epoch < run.info["epochs"]:
            stage = Run(run.folder)
            weights.load(stage.generator, file)
            yield epoch, stage
    yield run.info["epochs"], run


def _evaluate_classifier(run: Run, samples: int) -> list[dict]:
    """A judge's accuracy on the test split, and what it makes of real digits and of noise."""
    network = classifier_of(run)
    name = f"{run.config.name}@{weights.sha256(run.folder / 'classifier.safetensors')[:8]}"
    shape = tuple(run.info["image_shape"])
    test = data.load(run.config.data.name, "test")
    images = data.scale(test.images)
    eyes = Judge(network, name, shape)
    about = {"network": name, "seed": run.config.seed, "epoch": run.info["epochs"]}
    results = [
        {
            "metric": "accuracy",
            "of": "real test images",
            "value": accuracy(network, images, test.labels),
            "samples": len(images),
            "reference": f"{test.name} test, {len(images)} images",
            **about,
        }
    ]
    train = data.scale(data.load(run.config.data.name, "train").subset(samples).images)
    noise = torch.rand(samples, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sets = {"real test images": images[:samples], "real training images": train, "noise": noise}
    for which, some in sets.items():
        for metric, value in measure(some, images[:samples], eyes).items():
            results.append(
                {
                    "metric": metric,
                    "of": which,
                    "value": value,
                    "samples": len(some),
                    "reference": f"{test.name} test, {len(images[:samples])} images"
                    if metric == "frechet_distance"
                    else None,
                    **about,
                }
            )
    return results


def classifier_of(run: Run) -> torch.nn.Module:
    """The classifier of a run, in evaluation mode."""
    from gantut.build import CLASSIFIERS

    section = run.config.classifier
    network = CLASSIFIERS[section.family](**section.model_dump(exclude={"family"}))
    return weights.load(network, run.folder / "classifier.safetensors").eval()


def table(runs: list[Run]) -> str:
    """The final measurements of several runs, as aligned text: a row a run, a column a metric.

    Raises:
        InputError: a column would mix numbers that cannot be compared: of another sample count,
            network or reference set.
    """
    columns: dict[str, dict] = {}
    rows = []
    for run in runs:
        final = [m for m in run.metrics if m["epoch"] == run.info["epochs"] and "of" not in m]
        row = {"run": f"{run.config.name}, seed {run.config.seed}"}
        for m in final:
            if m["seed"] != run.config.seed:
                continue
            first = columns.setdefault(m["metric"], m)
            for key in ("samples", "network", "reference"):
                if m[key] != first[key]:
                    raise InputError(
                        f"{m['metric']} cannot be compared: its {key} is {m[key]} for "
                        f"{run.config.name} and {first[key]} for another run. Measure both alike "
                        "with 'gantut evaluate'."
                    )
            row[m["metric"]] = f"{m['value']:.4f}"
        rows.append(row)
    names = ["run", *columns]
    cells = [names, *[[row.get(name, "-") for name in names] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in cells]
    notes = [
        f"{name}: {m['samples']} images, {m['network']}"
        + (f", against {m['reference']}" if m["reference"] else "")
        for name, m in columns.items()
    ]
    return "\n".join([*lines, "", *notes])
