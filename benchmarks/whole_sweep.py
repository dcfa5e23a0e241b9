"""All stitches of two networks, fitted by the task's loss: beside the floor, and beside the way of published code.

    make bench        (or: .venv/bin/python benchmarks/whole_sweep.py)

Two ResNet-18 of width 16 on 28 x 28 images, stitched at all ten block cuts one way, an affine stitch each, some epochs
of Adam in batches of 128. Values do not matter for time, so the data is noise. Ways:

Beside each time stands how often an example went through the bottom network, where the engine runs it: once is the
least, however many epochs and stitches there are. Where activations are kept, a few batches more are run to see that an
example has the same bits in every batch (128 rows with batches of 128); they are counted.

- floor: the least work of so many steps: in each epoch the bottom network forward once, and for every top a forward and
  the gradient of its input. No data loading, no stitch, no optimiser; in memory that the allocator keeps.
- ours: `fit_all` from a random start: the same number of steps.
- memory returned: the same, but freed memory goes back to the system at every step, as glibc does by itself.
- bfloat16: ours with both networks in sixteen bits while the stitches are fitted.
- with start: `fit_all` as it is by default: least squares first, which takes one more forward of both networks.
- with start, longer: four times as many epochs: four of 16 steps come to what thirty reach from
  a random map at every cut, and one at nearly all of them (docs/speed.md, short schedules).
- naive: how published code does it: hooks; for each stitch A whole and B whole on the image, the activation put in the
  cut's place; gradients of all weights computed and thrown away; a random start. One epoch is timed for one step of its
  thirty, since all epochs are alike.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from typing import Any

import torch
from common import in_turns, keep, medians, parser, report_cost
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import modelstitch as ms
from modelstitch.cut import Bottom, Capture, Cut, Top, capture
from modelstitch.matching import fit_all
from modelstitch.support.memory import kept_memory

BATCH, ROUNDS, NAIVE_EPOCHS, LONGER = 128, 3, 30, 4


class Setting:
    """Two networks, their halves, and the data."""

    def __init__(self, images: int, width: int, epochs: int, device: str, cuts: int = 10) -> None:
        draws = torch.Generator().manual_seed(0)
        # Bytes, as image data sets have them.
        inputs = torch.randint(256, (images, 1, 28, 28), generator=draws, dtype=torch.uint8)
        self.data = ms.Samples("noise", inputs, torch.arange(images) % 10, 10, mean=(0.5,), std=(0.3,))
        self.a, self.b = (ms.build("resnet18", seed=seed, width=width, channels=1).eval().to(device) for seed in (0, 1))
        self.epochs, self.device = epochs, device
        self.captured = [capture(network, self.data.example.to(device)) for network in (self.a, self.b)]
        a, b = self.captured
        self.rows = 0
        self._count(a)
        self.halves: list[tuple[Bottom, Top]] = [
            (a.bottom(cut), b.top(cut.name)) for cut in a.blocks[:: len(a.blocks) // cuts]
        ]

    def _count(self, captured: Capture) -> None:
        """Count the rows that go through the bottoms which are taken of a network from here on."""
        bottoms = captured.bottoms

        def counted(cuts: Sequence[str | Cut]) -> Bottom:
            half = bottoms(cuts)
            half.register_forward_pre_hook(lambda _, inputs: self._add(len(inputs[0])))
            return half

        # An attribute of the object hides the method of its class.
        captured.__dict__["bottoms"] = counted

    def _add(self, rows: int) -> None:
        self.rows += rows

    @property
    def passes(self) -> float:
        """How often an example went through the bottom network, by way of the engine."""
        return self.rows / len(self.data)


def floor(given: Setting) -> None:
    bottoms = given.captured[0].bottoms([bottom.cut for bottom, _ in given.halves])
    with kept_memory():
        for _ in range(given.epochs):
            for inputs, labels in given.data.batches(BATCH):
                with torch.no_grad():
                    below = bottoms(inputs.to(given.device))
                labels = labels.to(given.device)
                for activation, (_, top) in zip(below, given.halves, strict=True):
                    cross_entropy(top(activation.detach().requires_grad_()), labels).backward()


def ours(given: Setting, start: str = "random", precision: str = "float32", times: int = 1) -> None:
    by = ms.TaskLoss(epochs=times * given.epochs, start=start, precision=precision)
    fit_all(ms.Affine(), given.halves, given.data, by=by)


def with_start(given: Setting) -> None:
    ours(given, "least_squares")


def with_start_longer(given: Setting) -> None:
    ours(given, "least_squares", times=LONGER)


def bfloat16(given: Setting) -> None:
    ours(given, precision="bfloat16")


def memory_returned(given: Setting) -> None:
    fit_module = importlib.import_module("modelstitch.matching.fit")
    fit_module.kept_memory = contextlib.nullcontext
    ours(given)


def naive(given: Setting) -> None:
    """One epoch of every stitch, one after the other."""
    for bottom, top in given.halves:
        _naive_epoch(given, bottom.cut.name, ms.Affine().build(bottom.cut, top.cut).to(given.device))


def _naive_epoch(given: Setting, cut: str, stitch: nn.Module) -> None:
    taken: list[Tensor] = []
    optimiser = torch.optim.Adam(stitch.parameters(), lr=1e-3)
    hooks = [
        given.a.get_submodule(cut).register_forward_hook(lambda module, inputs, output: taken.append(output)),
        given.b.get_submodule(cut).register_forward_hook(lambda module, inputs, output: stitch(taken.pop())),
    ]
    for inputs, labels in given.data.batches(BATCH):
        given.a(inputs.to(given.device))
        loss = cross_entropy(given.b(inputs.to(given.device)), labels.to(given.device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for hook in hooks:
        hook.remove()


WAYS = {
    "floor": floor,
    "ours": ours,
    "memory returned": memory_returned,
    "bfloat16": bfloat16,
    "with start": with_start,
    "with start, longer": with_start_longer,
    "naive": naive,
}


def main(asked: Any, device: str) -> None:
    options = ["--images", str(asked.images), "--width", str(asked.width), "--epochs", str(asked.epochs)]
    costs = in_turns(list(WAYS), ROUNDS, *options)
    taken = {way: medians(costs[way]) for way in WAYS}
    print(
        f"10 stitches, {asked.images:,} images, width {asked.width}, {asked.epochs} epochs, {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    rows = []
    for way, one in taken.items():
        over = {f"{name}_over_floor": one[name] / taken["floor"][name] for name in ("seconds", "cpu_seconds")}
        found = costs[way][0].found
        rows.append({"way": way, **one, **over, "passes": found})
        passes = f"{found:.2f} passes of the bottom an example" if found else "the bottom anew for each stitch"
        print(
            f"{way:18} {one['seconds']:7.2f} s = {over['seconds_over_floor']:5.2f} x floor, "
            f"CPU {one['cpu_seconds']:7.2f} s = {over['cpu_seconds_over_floor']:5.2f} x floor, {one['peak']:5.0f} MB, "
            f"{one['faults']:,.0f} page faults, {passes}"
        )
    naive_whole = NAIVE_EPOCHS * taken["naive"]["seconds"]
    gain, gain_longer = (naive_whole / taken[way]["seconds"] for way in ("with start", "with start, longer"))
    for epochs, one in ((asked.epochs, gain), (LONGER * asked.epochs, gain_longer)):
        print(f"naive, {NAIVE_EPOCHS} epochs / ours from least squares, {epochs}: {one:.0f} x")
    kept = {"naive_epochs": NAIVE_EPOCHS, "naive_over_ours": gain, "longer": LONGER, "naive_over_longer": gain_longer}
    setting = {"images": asked.images, "width": asked.width, "epochs": asked.epochs, "batch": BATCH}
    keep(asked.out, setting | kept, rows, ms.Compute(device))


if __name__ == "__main__":
    parsed = parser(__doc__)
    parsed.add_argument("--images", type=int, default=512)
    parsed.add_argument("--width", type=int, default=16)
    parsed.add_argument("--epochs", type=int, default=1)
    asked = parsed.parse_args()
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked.way:
        given = Setting(asked.images, asked.width, asked.epochs, device)
        report_cost(lambda: WAYS[asked.way](given) or given.passes)
    else:
        main(asked, device)
