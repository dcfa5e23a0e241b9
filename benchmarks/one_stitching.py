"""What one epoch of task-loss matching costs, beside its floor and beside the way that published code takes.

    make bench        (or: .venv/bin/python benchmarks/one_stitching.py)

Two ResNet-18 of width 16 on 28 x 28 images, cut after four of their blocks. Values do not matter for time, so the data
is noise. Each number is the median of several runs that take turns, and is meant as a ratio within this run.

- floor: the raw modules alone: the bottom forward without gradients, the top forward and the gradient of its input.
  No data loading, no optimiser, no stitch.
- naive: hooks. A runs whole on the image to get its activation; B runs whole on the image with the activation put in
  the cut's place; gradients of all weights are computed and thrown away.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import modelstitch as ms

CUTS = ("conv1", "layer1.1", "layer2.1", "layer3.1")
EXAMPLES, BATCH, ROUNDS = 1024, 128, 3


def floor(a: nn.Module, b: nn.Module, cut: str, data: ms.Samples) -> Callable[[], None]:
    bottom, top = ms.bottom(a, cut, data.example), ms.top(b, cut, data.example)

    def run() -> None:
        for inputs, labels in data.batches(BATCH):
            with torch.no_grad():
                below = bottom(inputs)
            cross_entropy(top(below.requires_grad_()), labels).backward()

    return run


def engine(a: nn.Module, b: nn.Module, cut: str, data: ms.Samples) -> Callable[[], None]:
    bottom, top = ms.bottom(a, cut, data.example), ms.top(b, cut, data.example)
    by = ms.TaskLoss(epochs=1, batch_size=BATCH, start="random")

    def run() -> None:
        ms.fit(ms.Affine(), bottom, top, data, by=by)

    return run


def naive(a: nn.Module, b: nn.Module, cut: str, data: ms.Samples) -> Callable[[], None]:
    taken: list[Tensor] = []
    channels = ms.capture(a, data.example).find(cut).channels
    stitch = nn.Conv2d(channels, channels, 1)
    optimiser = torch.optim.Adam(stitch.parameters(), lr=1e-3)

    def run() -> None:
        hooks = [
            a.get_submodule(cut).register_forward_hook(lambda module, inputs, output: taken.append(output)),
            b.get_submodule(cut).register_forward_hook(lambda module, inputs, output: stitch(taken.pop())),
        ]
        for inputs, labels in data.batches(BATCH):
            a(inputs)
            loss = cross_entropy(b(inputs), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for hook in hooks:
            hook.remove()

    return run


def medians(runs: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Seconds of each, taking turns, so that a slow minute of the machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(EXAMPLES, 1, 28, 28, generator=generator)
    data = ms.as_samples((inputs, torch.arange(EXAMPLES) % 10), name="noise")
    a, b = (ms.build("resnet18", seed=seed, width=16, channels=1).eval() for seed in (0, 1))
    print(f"one epoch of {EXAMPLES:,} images, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'cut':10} {'floor, s':>9} {'ours / floor':>13} {'naive / ours':>13}")
    for cut in CUTS:
        took = medians({way.__name__: way(a, b, cut, data) for way in (floor, engine, naive)})
        ours = took["engine"] / took["floor"], took["naive"] / took["engine"]
        print(f"{cut:10} {took['floor']:9.2f} {ours[0]:13.2f} {ours[1]:13.2f}")


if __name__ == "__main__":
    main()
