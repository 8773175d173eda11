"""From a run to measurements, each with everything that it depends on.

A measurement is a dictionary:

==================  ==========================================================================
``metric``          its name; the Inception network's have names of their own (``fid``, ``kid``)
``value``
``standard_error``  what its being computed from a sample leaves uncertain; None where unknown
``estimator``       which formula, with its settings
``samples``         how many images
``network``         whose features or probabilities, with a hash of the weights
``reference``       which real images, and how many; None where none are needed
``seed``            of the run and of its latent vectors
``epoch``           of the run
==================  ==========================================================================

Runs that were measured before there were such have no ``standard_error`` and no ``estimator``.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gantut import build, data, weights
from gantut.classify import accuracy
from gantut.data import ImageSet, to_uint8
from gantut.errors import InputError
from gantut.metrics import (
    class_entropy,
    class_separation,
    classifier_score,
    confident_share,
    density_coverage,
    frechet_distance,
    frechet_from_moments,
    intra_class_frechet,
    kernel_distance,
    label_agreement,
    one_minus_pixel_mse,
    precision_recall,
    within_class_diversity,
)
from gantut.metrics.features import NEIGHBOURS, Eyes, FeatureSet, Judge, check_network, network
from gantut.metrics.frechet import check_enough, moments
from gantut.metrics.kernel import subset_size
from gantut.models.inception import Inception
from gantut.recipes import ClassifierRecipe, RealRecipe
from gantut.runs import Run

SCORE_SPLITS = 10
NAMES = {
    "inception": {
        "frechet_distance": "fid",
        "kernel_distance": "kid",
        **{n: f"inception_{n}" for n in ("precision", "recall", "density", "coverage")},
    }
}
"""What a metric of features is called where they are the Inception network's."""


def judge_for(run: Run) -> Judge:
    """The classifier that knows the data set a run was trained on."""
    return network("classifier", run.config.data.source)


def measure(images: Tensor, reference: Tensor, eyes: Judge) -> dict[str, float]:
    """The three metrics that need the fewest images, by name.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1].
        reference: real images, ``[M, C, H, W]`` in [-1, 1].
        eyes: whose features and probabilities.
    """
    features = eyes.features(images)
    probabilities = eyes.probabilities_of(features)
    return {
        "confident_share": confident_share(probabilities),
        "class_entropy": class_entropy(probabilities),
        "frechet_distance": frechet_distance(features, eyes.features(reference)),
    }


def measurements(
    images: Tensor,
    reference: FeatureSet,
    eyes: Eyes,
    progress: bool = False,
    keep: bool = False,
    labels: Tensor | None = None,
) -> list[dict]:
    """All metrics of a set of images: rows with metric, value, standard error, estimator, ...

    Args:
        images: ``[N, C, H, W]`` in [-1, 1].
        reference: real images as the same network sees them.
        eyes: the Inception network, or a classifier, whose class probabilities are measured too.
        progress: show a progress bar on standard error.
        keep: leave in the cache what the Inception network makes of the images.
        labels: int64 ``[N]``, the classes that a conditional generator was told to make; with
            them come the metrics of :mod:`gantut.metrics.labels`, in the eyes of a classifier.

    Raises:
        InputError: images that do not go with the reference, or too few of either.
    """
    check_alike(tuple(images.shape[1:]), reference.images)
    check_enough(min(len(images), len(reference)), eyes.feature_dim)
    rows = []
    about = {"samples": len(images), "network": eyes.name}
    # In parts that are kept until there is a result: the Inception network needs minutes to hours.
    seen = FeatureSet(ImageSet(to_uint8(images), name="samples", split="now"), eyes, progress)
    slow = eyes.kind == "inception"
    if slow:
        eyes.check(images)  # as bytes they would all look right
    features = seen.features if slow else eyes.features(images)

    def add(metric: str, value: float, error: float | None, estimator: str, to: str | None):
        metric = NAMES.get(eyes.kind, {}).get(metric, metric)
        row = {"metric": metric, "value": value, "standard_error": error, "estimator": estimator}
        rows.append({**row, **about, "reference": to})

    if isinstance(eyes, Judge):
        p = eyes.probabilities_of(features)
        share = confident_share(p)
        add(
            "confident_share",
            share,
            math.sqrt(share * (1 - share) / len(p)),
            "most probable class above 0.9",
            None,
        )
        add("class_entropy", class_entropy(p), None, "bits, each image its likeliest class", None)
        score = classifier_score(p, SCORE_SPLITS)
        error = score.std / math.sqrt(SCORE_SPLITS - 1)
        add("classifier_score", score.mean, error, f"mean of {SCORE_SPLITS} splits", None)
        if labels is not None:
            agreement = label_agreement(p, labels)
            for label, share in enumerate(agreement.per_class.tolist()):
                n = int(agreement.confusion[label].sum())
                if n:
                    error = math.sqrt(share * (1 - share) / n)
                    add("label_agreement", share, error, "likeliest class is the label", None)
                    rows[-1] |= {"of": f"class {label}", "samples": n}
            share = agreement.overall
            error = math.sqrt(share * (1 - share) / len(p))
            add("label_agreement", share, error, "likeliest class is the label", None)
            if len(labels.unique()) > 1:
                estimator = "share of the variance of features that labels explain, without bias"
                add("class_separation", class_separation(features, labels), None, estimator, None)
    to = str(reference)
    distance = frechet_from_moments(*moments(features), *reference.moments)
    add("frechet_distance", distance, None, "Gaussians, covariances divided by n - 1", to)
    real = reference.features
    size = subset_size(min(len(features), len(real)))
    kernel = kernel_distance(features, real)
    estimator = f"unbiased, cubic kernel, disjoint subsets of {size}"
    add("kernel_distance", kernel.value, kernel.standard_error, estimator, to)
    for of, k in ((precision_recall, 3), (density_coverage, NEIGHBOURS)):
        for metric, value in of(features, real, k, reference.others)._asdict().items():
            add(metric, value, None, f"{k} nearest neighbours", to)
    if labels is not None and isinstance(eyes, Judge):
        real_labels = reference.images.labels
        sets = (features, labels, real, real_labels)
        k = len(reference.images.classes)
        counts = torch.cat([x.bincount(minlength=k) for x in (labels, real_labels)])
        if counts.min() > eyes.feature_dim:
            distances = intra_class_frechet(*sets)
            estimator = "mean over classes, Gaussians, covariances divided by n - 1"
            add("intra_class_frechet", distances.mean().item(), None, estimator, to)
        if counts.min() > 1:
            ratios = within_class_diversity(*sets)
            estimator = "mean over classes, squared distances over those of real images"
            add("within_class_diversity", ratios.mean().item(), None, estimator, to)
        pixels = one_minus_pixel_mse(
            images, labels, data.scale(reference.images.images), real_labels
        )
        add("one_minus_pixel_mse", pixels, None, "pairs of the same class, pixels in [0, 1]", to)
    if slow and not keep:
        seen.forget()
    return rows


def check_alike(image_shape: tuple[int, ...], reference: ImageSet) -> None:
    """Raise `InputError` unless images of that shape can be compared with the reference's."""
    theirs = reference.image_shape
    if len(image_shape) != 3:
        raise InputError(f"Images form a tensor [N, C, H, W]; these are of shape {image_shape}.")
    if image_shape[0] != theirs[0]:
        kinds = {1: "grey", 3: "in colour"}
        ours = kinds.get(image_shape[0], f"of {image_shape[0]} channels")
        raise InputError(
            f"The images are {ours} and those of {reference.name} ({reference.split}) "
            f"{kinds[theirs[0]]}; compare like with like."
        )
    if image_shape != theirs:
        raise InputError(
            f"The images are of {image_shape[1]} x {image_shape[2]} pixels and those of "
            f"{reference.name} ({reference.split}) of {theirs[1]} x {theirs[2]}: resizing alone "
            "would move every metric."
        )


def evaluate(
    run: Run,
    samples: int = 10_000,
    reference: str = "test",
    features: str = "classifier",
    *,
    real: int | None = None,
    against: str | None = None,
    fewer: Sequence[int] = (),
    device: str = "cpu",
    progress: bool = False,
) -> list[dict]:
    """Measure a run: by a classifier at its end and wherever it kept its weights, by the Inception
    network, which takes minutes for each set of samples, at its end only.

    Args:
        run: of a generator, or of a classifier.
        samples: generated images in each measurement.
        reference: split of the real images, ``"test"`` or ``"train"``.
        features: ``"classifier"``, the one that knows the data, or ``"inception"``.
        real: how many real images, the first of the split; as many as samples if None.
        against: real images of another data set or folder than the run's own.
        fewer: smaller numbers of samples, thousands, that are measured as well.
        device: where the network looks; ``"auto"`` or a torch device.
        progress: show progress bars.

    Raises:
        InputError: no judge knows the run's data; too few samples; images that do not go with the
            reference, or are the reference itself.
    """
    if isinstance(run.config, ClassifierRecipe):
        if features != "classifier":
            raise InputError(
                f"{run.config.name} is a classifier and generates nothing that the Inception "
                "network could look at."
            )
        if against or real or reference != "test":
            raise InputError(
                f"{run.config.name} is a classifier: it is measured by all of its own test images."
            )
        return _evaluate_classifier(run, samples)
    source, shape = against or run.config.data.source, tuple(run.info["image_shape"])
    if isinstance(run.config, RealRecipe) and (source, reference) == (
        run.config.data.source,
        run.config.data.split,
    ):
        other = "train" if reference == "test" else "test"
        raise InputError(
            f"{run.config.name} is those very images, {source} {reference}; compare it with others "
            f"(--reference {other})."
        )
    # A folder's images are made as large as the run's, which were made from them.
    own = source == run.config.data.path
    made_alike = {"channels": shape[0], "image_size": shape[1]} if own else {}
    eyes, to = _prepare(
        shape, samples, source, reference, real, features, device, progress, **made_alike
    )
    results = []
    for stage in run.stages if features == "classifier" else [run]:
        labels = stage.every_class(samples)
        fakes = stage.sample(samples, labels)
        about = {"seed": run.config.seed, "epoch": stage.epoch}
        for n in sorted(fewer):
            for row in measurements(fakes[:n], to, eyes, progress, keep=True):
                metric = row.pop("metric")
                results.append({"metric": metric, "of": f"the first {n:,}", **row, **about})
        for row in measurements(fakes, to, eyes, progress, labels=labels):
            results.append({**row, **about})
    return results


def evaluate_images(
    images: Tensor,
    against: str,
    reference: str = "test",
    features: str = "classifier",
    *,
    real: int | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> list[dict]:
    """Measure images of whatever origin, ``[N, C, H, W]`` in [-1, 1].

    Args, and the errors raised, as in `evaluate`; there is no seed and no epoch in the rows.
    """
    shape, n = tuple(images.shape[1:]), len(images)
    eyes, to = _prepare(shape, n, against, reference, real, features, device, progress)
    return [
        {**row, "seed": None, "epoch": None} for row in measurements(images, to, eyes, progress)
    ]


def read_images(path: str | Path) -> Tensor:
    """Images from a NumPy file ``.npy``, uint8 or float in [-1, 1]: ``[N, C, H, W]`` in [-1, 1].

    Raises:
        InputError: no such file, or no images in it.  The range of floats is left to the network
            that looks at them.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged, or no NumPy file"
        raise InputError(f"{path} cannot be read as a .npy file of images: {reason}.") from None
    if not isinstance(array, np.ndarray) or array.ndim != 4 or array.shape[1] not in (1, 3):
        shape = getattr(array, "shape", "several arrays")
        raise InputError(
            f"{path} holds {shape}; images form one array [N, C, H, W] with 1 or 3 channels."
        )
    if not array.size:
        raise InputError(f"{path} holds no images, but an empty array of shape {array.shape}.")
    if array.dtype == np.uint8:
        return data.scale(torch.from_numpy(array))
    if array.dtype.kind != "f":
        raise InputError(f"{path} holds {array.dtype}; images are uint8, or floats in [-1, 1].")
    return torch.from_numpy(array.astype(np.float32))


def _prepare(
    image_shape: tuple[int, ...],
    samples: int,
    source: str,
    split: str,
    real: int | None,
    features: str,
    device: str,
    progress: bool,
    **made_alike: int,
) -> tuple[Eyes, FeatureSet]:
    """The network and the reference; what cannot be is refused before anything takes long."""
    check_network(features, source)
    where = build.device_of(device)
    images, real = data.load(source, split, **made_alike), samples if real is None else real
    check_alike(image_shape, images)
    count = min(samples, real, len(images))
    if features == "inception":
        check_enough(count, Inception.feature_dim)
    if real > len(images):
        more = ", or the training images (--reference train)" if split == "test" else ""
        raise InputError(
            f"Asked for {real} real images of {images.name} ({split}), which has {len(images)}; take "
            f"fewer of them (--real {len(images)}){more}."
        )
    images = images.subset(real)
    eyes = network(features, source, where)
    check_enough(count, eyes.feature_dim)
    return eyes, FeatureSet(images, eyes, progress)


def _evaluate_classifier(run: Run, samples: int) -> list[dict]:
    """A judge's accuracy on the test split, and what it makes of real digits and of noise."""
    classifier = classifier_of(run)
    name = f"{run.config.name}@{weights.sha256(run.folder / 'classifier.safetensors')[:8]}"
    shape = tuple(run.info["image_shape"])
    channels, side, _ = shape
    source, made_alike = run.config.data.source, {"channels": channels, "image_size": side}
    if not run.config.data.path:
        made_alike = {}
    test = data.load(source, "test", **made_alike)
    images = data.scale(test.images)
    eyes = Judge(classifier, name, shape)
    about = {"seed": run.config.seed, "epoch": run.info["epochs"]}
    right = accuracy(classifier, images, test.labels)
    results = [
        {
            "metric": "accuracy",
            "of": "real test images",
            "value": right,
            "standard_error": math.sqrt(right * (1 - right) / len(images)),
            "estimator": "share of images whose most probable class is their label",
            "samples": len(images),
            "network": name,
            "reference": f"{test.name} test, {len(images)} images",
            **about,
        }
    ]
    train = data.scale(data.load(source, "train", **made_alike).subset(samples).images)
    noise = torch.rand(samples, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sets = {"real test images": images[:samples], "real training images": train, "noise": noise}
    to = FeatureSet(test.subset(min(samples, len(test))), eyes)
    for which, some in sets.items():
        for row in measurements(some, to, eyes):
            results.append({"metric": row.pop("metric"), "of": which, **row, **about})
    return results


def classifier_of(run: Run) -> torch.nn.Module:
    """The classifier of a run, in evaluation mode."""
    section = run.config.classifier
    made = build.CLASSIFIERS[section.family](**section.model_dump(exclude={"family"}))
    return weights.load(made, run.folder / "classifier.safetensors").eval()


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """Old measurements with new ones in their place; those by another network stay."""
    measured = {row["metric"] for row in new}
    return [row for row in old if row["metric"] not in measured] + new


# What two measurements must have in common to be compared, and how to say it.
MUST_AGREE = {
    "samples": "on {} samples",
    "network": "by {}",
    "reference": "against {}",
    "estimator": "with the estimator {}",
}


def table(runs: list[Run]) -> str:
    """The measurements of several runs, as aligned text: a column a metric, a row for each run as
    it ended, and one for its best epoch if one is marked.

    Raises:
        InputError: a column would mix numbers that cannot be compared: of another sample count,
            network or reference set; or a run was not measured as it stands.
    """
    columns: dict[str, dict] = {}
    first_runs: dict[str, Run] = {}
    rows = []
    for run, epoch in [(r, e) for r in runs for e in sorted({r.best.epoch, r.epoch})]:
        row = {"run": f"{run.config.name}, seed {run.config.seed}"}
        if epoch != run.epoch:
            row["run"] += f", epoch {epoch}"
        for m in run.metrics:
            if "of" in m or (m["seed"], m["epoch"]) != (run.config.seed, epoch):
                continue
            first = columns.setdefault(m["metric"], m)
            other = first_runs.setdefault(m["metric"], run)
            for key, how in MUST_AGREE.items():
                if key in m and key in first and m[key] != first[key]:
                    mine, theirs = (r.config.data.source for r in (run, other))
                    if mine != theirs:
                        raise InputError(
                            f"{other.config.name} is of {theirs} and {run.config.name} of {mine}; "
                            "measurements against different images cannot be compared."
                        )
                    a, b = run.config.name, other.config.name
                    if a == b:
                        a, b = run.folder, other.folder
                    raise InputError(
                        f"{m['metric']} cannot be compared: for {a} it was measured "
                        f"{how.format(m[key])}, for {b} {how.format(first[key])}. Measure both "
                        "alike with 'gantut evaluate'."
                    )
            error = m.get("standard_error")
            row[m["metric"]] = f"{m['value']:.4f}" + (f" ± {error:.4f}" if error else "")
        if not any((m["seed"], m["epoch"]) == (run.config.seed, epoch) for m in run.metrics):
            raise InputError(
                f"{row['run']} was not measured as it stands, after {epoch:g} epochs; "
                f"'gantut evaluate {run.folder}' measures it."
            )
        rows.append(row)
    names = ["run", *columns]
    cells = [names, *[[row.get(name, "-") for name in names] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in cells]
    notes = [
        f"{name}: {m['samples']} images, {m['network']}"
        + (f", against {m['reference']}" if m["reference"] else "")
        + (f" ({m['estimator']})" if m.get("estimator") else "")
        for name, m in columns.items()
    ]
    return "\n".join([*lines, "", *notes])
