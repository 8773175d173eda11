"""``python -m tests.benchmarks [rounds]``: ratios of speed, each measured in one run, alternating, on one thread.

Times are those of the processor, so that other work on the machine counts little; the first block of
each loop is thrown away, and the median of the others' ratios is printed.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.utils.data import DataLoader

from gantut import build, data, recipes
from gantut.data import Batches
from gantut.losses import NonSaturating
from gantut.steps import Game
from gantut.trainer import Trainer
from tests.benchmarks.peers import AsShipped, Bare, Digits, WideDiscriminator, WideGenerator

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9


def alternating(
    loops: dict[str, Callable[[int], None]], steps: dict[str, int]
) -> dict[str, list[float]]:
    """Seconds a step of each loop, in each round; all loops run in every round."""
    for name, run in loops.items():
        run(steps[name])  # warm-up
    seconds = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, run in loops.items():
            start = time.process_time()
            run(steps[name])
            seconds[name].append((time.process_time() - start) / steps[name])
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def report(what: str, value: float, wanted: str, holds: bool) -> bool:
    print(
        f"  {what:<72} {value:5.2f}   wanted: {wanted:<9} {'ok' if holds else 'MISSED'}", flush=True
    )
    return holds


def stepper(trainer: Trainer) -> Callable[[int], None]:
    return lambda steps: trainer.fit(iterations=trainer.iteration + steps)


def wide(images: data.ImageSet) -> Trainer:
    """gantut's trainer on the nets of gan.py, with the options that are exact for them."""
    torch.manual_seed(0)
    g, d = WideGenerator(), WideDiscriminator()
    adam = [
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
        for net in (g, d)
    ]
    # Its discriminator has no batch statistics, and the script too shows both players the same fakes.
    game = Game(g, d, *adam, NonSaturating(reduction="mean"), stack=True, reuse_fakes=True)
    return Trainer(game, Batches(images, 64, seed=0))


def main() -> int:
    torch.set_num_threads(1)
    images = data.load("mnist")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread, median of {ROUNDS} rounds")

    print("nets of PyTorch-GAN's gan.py, batch 64")
    with open(os.devnull, "w") as out:
        loops = {
            "shipped": AsShipped(images.images, images.labels, out).run,
            "gantut": stepper(wide(images)),
        }
        seconds = alternating(loops, dict.fromkeys(loops, 20))
    for name, values in seconds.items():
        print(f"  {name:<10} {1000 * statistics.median(values):7.2f} ms a step")
    good = [
        report(
            "images a second: gantut / the loop as shipped",
            r := ratio(seconds["shipped"], seconds["gantut"]),
            ">= 2",
            r >= 2,
        )
    ]

    print("mlp-mnist-published, batch 20, and the whole budget of mlp-mnist, batch 128")
    published, own = (recipes.load(name) for name in ("mlp-mnist-published", "mlp-mnist"))
    nets = lambda: [f(published, (1, 28, 28)) for f in (build.generator, build.discriminator)]  # noqa: E731
    loader = DataLoader(Digits(images.images, images.labels, resize=False), 20)
    trainers = {r.name: build.trainer(r, device="cpu", images=images) for r in (published, own)}
    loops = {
        "bare": Bare(*nets(), images=data.scale(images.images)).run,
        "gantut": stepper(trainers[published.name]),
        "DataLoader": Bare(*nets(), loader=loader).run,
        "mlp-mnist": stepper(trainers[own.name]),
    }
    seconds = alternating(loops, {"bare": 200, "gantut": 200, "DataLoader": 50, "mlp-mnist": 30})
    for name, values in seconds.items():
        print(f"  {name:<10} {1000 * statistics.median(values):7.2f} ms a step")
    r = ratio(seconds["gantut"], seconds["bare"])
    good.append(
        report(
            "time: gantut / bare forward-backward-update on resident tensors",
            r,
            "<= 1.10",
            r <= 1.1,
        )
    )
    r = ratio(seconds["DataLoader"], seconds["gantut"])
    good.append(
        report("images a second: gantut / the same step fed by a DataLoader", r, ">= 1.3", r >= 1.3)
    )
    budget = {
        r.name: r.train.epochs * trainers[r.name].iterations_per_epoch for r in (published, own)
    }
    whole = {
        published.name: statistics.median(seconds["gantut"]) * budget[published.name],
        own.name: statistics.median(seconds["mlp-mnist"]) * budget[own.name],
    }
    for name, value in whole.items():
        print(f"  {name:<20} {budget[name]:>7,} iterations, {value / 60:5.1f} minutes of one core")
    r = whole[own.name] / whole[published.name]
    good.append(
        report(
            "training time of the whole budget: mlp-mnist / mlp-mnist-published", r, "<= 1", r <= 1
        )
    )
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
