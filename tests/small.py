"""Small runs that take a moment: few images without a meaning, narrow networks."""

import torch

from gantut import build, data, recipes

NARROW = [
    "generator.latent_dim=4",
    "generator.hidden=[8]",
    "discriminator.hidden=[8]",
    "train.batch_size=16",
]


def images(n: int = 64, labels: bool = False) -> data.ImageSet:
    """``n`` images of 28 x 28 random bytes."""
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, 1, 28, 28), generator=rng, dtype=torch.uint8)
    kinds = torch.arange(n) % 10 if labels else None
    return data.ImageSet(pixels, kinds, tuple("0123456789") if labels else ())


def recipe(*overrides: str, name: str = "mlp-mnist-published"):
    return recipes.load(name, [*NARROW, *overrides])


def trainer(*overrides: str, name: str = "mlp-mnist-published", n: int = 64, **options):
    return build.trainer(recipe(*overrides, name=name), device="cpu", images=images(n), **options)


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
