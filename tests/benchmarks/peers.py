"""The other loops: one as scripts of this kind ship it, one with nothing but the arithmetic.

The first is re-created from a description of PyTorch-GAN's ``gan.py`` (nets, optimiser, loader, what
it reads back and prints in each step).
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    """One image and label at a time, as torchvision's MNIST gives them: bytes to a picture, and
    through a chain of transforms to a tensor."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, resize: bool):
        from torchvision import transforms

        self.pixels, self.labels = images[:, 0], labels
        steps = [transforms.Resize(28)] if resize else []
        steps += [transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        picture, label = self.pixels[i], int(self.labels[i])
        return self.transform(Image.fromarray(picture.numpy())), label


def forever(loader: DataLoader):
    while True:
        for images, _ in loader:
            yield images


# --- gan.py ------------------------------------------------------------------------------------


class WideGenerator(nn.Module):
    """100-128-256-512-1024-784; its batch normalisation is given .8 as its epsilon."""

    latent_dim, num_classes, image_shape = 100, None, (1, 28, 28)

    def __init__(self):
        super().__init__()
        layers = [nn.Linear(100, 128), nn.LeakyReLU(0.2)]
        for a, b in ((128, 256), (256, 512), (512, 1024)):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b, 0.8), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(1024, 784), nn.Tanh())

    def sample_z(self, n, generator=None, device=None):
        return torch.empty(n, 100, device=device).normal_(generator=generator)

    def forward(self, z, labels=None):
        return self.net(z).view(-1, 1, 28, 28)


class WideDiscriminator(nn.Module):
    """784-512-256-1, a logit out."""

    num_classes = None

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Linear(784, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2)),
            nn.Linear(256, 1),
        )

    def forward(self, images, labels=None):
        return self.net(images.flatten(1)).squeeze(1)


class AsShipped:
    """A script's loop: a loader, a loss on probabilities, two ``.item()`` and a print in each step."""

    batch_size = 64

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, out):
        torch.manual_seed(0)
        self.g, self.d = WideGenerator(), WideDiscriminator()
        self.g_adam = torch.optim.Adam(self.g.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.d_adam = torch.optim.Adam(self.d.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.loss = nn.BCELoss()
        loader = DataLoader(Digits(images, labels, resize=True), self.batch_size, shuffle=True)
        self.batches = forever(loader)
        self.out, self.step = out, 0

    def probability(self, images):
        return torch.sigmoid(self.d(images))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            real = next(self.batches).float()
            ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
            self.g_adam.zero_grad()
            z = torch.tensor(
                np.random.default_rng().normal(size=(len(real), 100)), dtype=torch.float32
            )
            fake = self.g(z)
            g_loss = self.loss(self.probability(fake), ones)
            g_loss.backward()
            self.g_adam.step()
            self.d_adam.zero_grad()
            on_real = self.loss(self.probability(real), ones)
            on_fake = self.loss(self.probability(fake.detach()), zeros)
            d_loss = (on_real + on_fake) / 2
            d_loss.backward()
            self.d_adam.step()
            self.step += 1
            print(
                f"[Batch {self.step}] [D loss: {d_loss.item()}] [G loss: {g_loss.item()}]",
                file=self.out,
            )


# --- nothing but the arithmetic -------------------------------------------------------------------


class Bare:
    """Forward, backward, update on the nets of ``mlp-mnist-published``, and nothing else.

    Args:
        images: float ``[N, 1, 28, 28]`` in [-1, 1], resident; or None for a ``loader``.
    """

    def __init__(self, g, d, images=None, loader=None, batch_size: int = 20):
        self.g, self.d = g, d
        self.g_adam = torch.optim.Adam(g.parameters(), lr=2e-3, fused=True)
        self.d_adam = torch.optim.Adam(d.parameters(), lr=2e-3, fused=True)
        self.batch_size = batch_size
        self.batches = forever(loader) if images is None else self.resident(images)
        self.real_target = torch.full((batch_size,), 0.9)
        self.fake_target = torch.zeros(batch_size)
        self.fooled = torch.ones(batch_size)

    def resident(self, images):
        while True:
            yield from images.split(self.batch_size)

    def run(self, steps: int) -> None:
        g, d, n = self.g, self.d, self.batch_size
        bce = F.binary_cross_entropy_with_logits
        g_parameters = list(g.parameters())
        for _ in range(steps):
            real = next(self.batches)
            with torch.no_grad():
                fake = g(torch.empty(n, 100).uniform_(-1, 1))
            d_loss = bce(d(real), self.real_target) + bce(d(fake), self.fake_target)
            self.d_adam.zero_grad()
            d_loss.backward()
            self.d_adam.step()
            g_loss = bce(d(g(torch.empty(n, 100).uniform_(-1, 1))), self.fooled)
            self.g_adam.zero_grad()
            g_loss.backward(inputs=g_parameters)
            self.g_adam.step()
