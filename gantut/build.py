"""From a recipe to the objects that play: data, networks, game, trainer."""

import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from gantut import data, losses, steps
from gantut.callbacks import CSVLog, Progress, SampleGrid, Snapshots, TensorBoard
from gantut.classify import Classification, play
from gantut.errors import InputError
from gantut.models import cgan, classifier, dcgan, mlp
from gantut.recipes import ClassifierRecipe, GANRecipe, fingerprint
from gantut.recipes.schema import Adam, BaseRecipe
from gantut.trainer import Trainer

NETWORKS = {
    "mlp": (mlp.Generator, mlp.Discriminator),
    "dcgan": (dcgan.Generator, dcgan.Discriminator),
    "cgan": (cgan.Generator, cgan.Discriminator),
}
CLASSIFIERS = {
    "digit-cnn": classifier.DigitClassifier,
    "object-cnn": classifier.ObjectClassifier,
}


def device_of(name: str = "auto") -> torch.device:
    """``"auto"``: a GPU where there is one, else the CPU; otherwise the device of that name.

    Raises:
        InputError: no such device, or none that torch can use here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, ModuleNotFoundError):
        raise InputError(
            f"There is no device {name!r}; use auto, cpu, or cuda where there is a GPU."
        ) from None
    try:
        torch.zeros(1, device=device).item()
    except (AssertionError, ModuleNotFoundError, NotImplementedError, RuntimeError):
        raise InputError(
            f"torch cannot use the device {name!r} on this machine; use cpu, or auto for whatever "
            "there is. 'gantut doctor' shows what torch finds."
        ) from None
    return device


def seeds_of(seed: int) -> dict[str, int]:
    """Unrelated seeds for the parts of a run, so that no two of them see the same numbers."""
    parts = ("torch", "data", "z", "targets")
    return dict(zip(parts, np.random.SeedSequence(seed).generate_state(len(parts)).tolist()))


def image_set(recipe: BaseRecipe) -> data.ImageSet:
    """The images that a recipe trains on, on the CPU."""
    d = recipe.data
    return data.load(d.source, d.split, d.limit, d.image_size, d.channels)


def generator(
    recipe: GANRecipe, image_shape: tuple[int, int, int], num_classes: int = 10
) -> nn.Module:
    """An untrained generator, from torch's default randomness."""
    return _network(0, recipe.generator, image_shape, num_classes)


def discriminator(
    recipe: GANRecipe, image_shape: tuple[int, int, int], num_classes: int = 10
) -> nn.Module:
    """An untrained discriminator, from torch's default randomness."""
    return _network(1, recipe.discriminator, image_shape, num_classes)


def _network(player: int, section, image_shape, num_classes: int) -> nn.Module:
    classes = {"num_classes": num_classes} if section.family == "cgan" else {}
    kind = NETWORKS[section.family][player]
    return kind(image_shape=image_shape, **classes, **section.model_dump(exclude={"family"}))


def optimizer(section: Adam, network: nn.Module) -> torch.optim.Optimizer:
    """Adam, or AdamW where there is weight decay; one fused kernel instead of one a tensor."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    decay = {"weight_decay": section.weight_decay} if section.weight_decay else {}
    if getattr(section, "kind", "adam") == "sgd":
        momentum = {"momentum": section.momentum, "nesterov": section.momentum > 0}
        return torch.optim.SGD(parameters, lr=section.lr, fused=True, **momentum, **decay)
    kind = torch.optim.AdamW if section.weight_decay else torch.optim.Adam
    betas = (section.beta1, section.beta2)
    return kind(parameters, lr=section.lr, betas=betas, eps=section.eps, fused=True, **decay)


def schedule(section: Adam, optim: torch.optim.Optimizer, per_epoch: int, epochs: int):
    """The learning-rate scheduler of an optimiser, to be stepped every iteration; or None."""
    plan = section.schedule
    if plan is None:
        return None
    total = per_epoch * epochs
    delay = round(per_epoch * plan.delay)
    factors = {
        "step": lambda i: plan.factor ** (max(0, i - delay) // (per_epoch * plan.every)),
        "linear": lambda i: max(0.0, 1 - i / total),
        "cosine": lambda i: 0.5 * (1 + math.cos(math.pi * min(1.0, i / total))),
        "triangle": lambda i: max(
            0.0, min((i + 1) / (0.2 * total), (total - i) / (0.8 * total), 1)
        ),
    }
    return LambdaLR(optim, factors[plan.kind])


def trainer(
    recipe: BaseRecipe,
    run_dir: str | Path | None = None,
    device: str = "auto",
    images: data.ImageSet | None = None,
    progress: bool = False,
) -> Trainer:
    """Everything of a recipe put together, ready to ``fit``.

    Args:
        recipe: from :func:`gantut.recipes.load`.
        run_dir: where checkpoints, history and samples go; nothing is written if None.
        device: ``"auto"`` or the name of a torch device.
        images: instead of loading what the recipe names.
        progress: show a progress bar.

    Raises:
        InputError: no such device, or images that do not go with the recipe: of another shape,
            without labels, too few for a batch.
        DataError: the data cannot be had.
    """
    where = device_of(device)
    images = (images or image_set(recipe)).to(where)
    d, t, seeds = recipe.data, recipe.train, seeds_of(recipe.seed)
    batches = data.Batches(
        images,
        t.batch_size,
        d.shuffle,
        seeds["data"],
        d.mean,
        d.std,
        drop_last=d.drop_last,
        replacement=d.replacement,
    )
    is_gan = isinstance(recipe, GANRecipe)
    game = (_game if is_gan else _classification)(recipe, images, seeds)
    _check_smallest_batch(game, len(images), t.batch_size, d.drop_last)
    per_epoch = math.ceil(batches.batches_per_epoch / getattr(game, "n_dis", 1))
    sections = (
        {"generator": recipe.g_optimizer, "discriminator": recipe.d_optimizer}
        if is_gan
        else {"classifier": recipe.optimizer}
    )
    plans = [schedule(s, game.optimizers[k], per_epoch, t.epochs) for k, s in sections.items()]
    callbacks = []
    if run_dir is not None:
        callbacks = [CSVLog()]
        if is_gan:
            callbacks += [SampleGrid(recipe.log.samples), Snapshots(recipe.log.snapshots)]
        if recipe.log.tensorboard:
            callbacks += [TensorBoard()]
    if progress:
        callbacks += [Progress()]
    return Trainer(
        game,
        batches,
        step=steps.STEPS[recipe.step.order] if is_gan else play,
        seed=seeds["torch"],
        ema_half_life=t.ema_half_life,
        schedules=[p for p in plans if p is not None],
        callbacks=callbacks,
        run_dir=run_dir,
        fingerprint=fingerprint(recipe),
        checkpoint_seconds=recipe.log.checkpoint_seconds,
        threads=t.threads,
    )


def _check_smallest_batch(game, n: int, batch_size: int, drop_last: bool) -> None:
    """Batch normalisation has no deviation to divide by where a batch holds one image."""
    layers = [layer for network in game.modules.values() for layer in network.modules()]
    normalised = any(isinstance(layer, nn.BatchNorm1d) for layer in layers)
    if normalised and getattr(game, "g_batch", None) == 1:
        raise InputError("With batch normalisation step.g_batch must be at least 2, not 1.")
    smallest = batch_size if drop_last else n % batch_size or batch_size
    if normalised and smallest == 1:
        raise InputError(
            f"With batch normalisation every batch needs at least two images, and {n} images in "
            f"batches of {batch_size} leave one of a single image; choose another train.batch_size "
            "or data.limit, or set data.drop_last."
        )


def _game(recipe: GANRecipe, images: data.ImageSet, seeds: dict[str, int]) -> steps.Game:
    device = images.device
    if recipe.generator.family == "cgan" and images.labels is None:
        raise InputError(f"{recipe.name} is conditional and needs labels; {images} has none.")
    with torch.random.fork_rng():
        torch.manual_seed(seeds["torch"])
        # Channels last: convolutions are about a tenth faster on that layout, dense layers the same.
        layout = {"memory_format": torch.channels_last}
        shape, classes = images.image_shape, len(images.classes)
        g = generator(recipe, shape, classes).to(device, **layout)
        d = discriminator(recipe, shape, classes).to(device, **layout)
    section = recipe.loss.model_dump(exclude={"name"})
    targets = torch.Generator(device).manual_seed(seeds["targets"])
    return steps.Game(
        g,
        d,
        optimizer(recipe.g_optimizer, g),
        optimizer(recipe.d_optimizer, d),
        losses.LOSSES[recipe.loss.name](**section, rng=targets),
        z_rng=torch.Generator(device).manual_seed(seeds["z"]),
        reuse_fakes=recipe.step.reuse_fakes,
        stack=recipe.step.stack,
        n_dis=recipe.step.n_dis,
        fake_labels=recipe.step.fake_labels,
        mismatched=recipe.step.mismatched,
        g_batch=recipe.step.g_batch,
        frozen_norm=recipe.step.frozen_norm,
        settled_fakes=recipe.step.settled_fakes,
        autocast=_autocast(recipe, device),
    )


def _classification(recipe: ClassifierRecipe, images: data.ImageSet, seeds: dict[str, int]):
    device = images.device
    kind = CLASSIFIERS[recipe.classifier.family]
    if (
        images.labels is None
        or images.image_shape != kind.image_shape
        or len(images.classes) != kind.num_classes
    ):
        channels, height, width = kind.image_shape
        raise InputError(
            f"{recipe.name} learns {'grey' if channels == 1 else 'colour'} {height} x {width} images "
            f"of {kind.num_classes} classes, with labels; {images} does not fit."
        )
    with torch.random.fork_rng():
        torch.manual_seed(seeds["torch"])
        net = kind(**recipe.classifier.model_dump(exclude={"family"}))
        if hasattr(net, "prepare"):
            net.prepare(data.scale(images.images[:5000]).cpu())
        net = net.to(device, memory_format=torch.channels_last)
    return Classification(
        net,
        optimizer(recipe.optimizer, net),
        shift=recipe.shift,
        rotate=recipe.rotate,
        crop=recipe.crop,
        flip=recipe.flip,
        label_smoothing=recipe.label_smoothing,
        autocast=_autocast(recipe, device),
    )


def _autocast(recipe: BaseRecipe, device: torch.device):
    # Even an autocast that is switched off takes time to enter, and a round enters four.
    if recipe.train.precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)
