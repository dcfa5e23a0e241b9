"""What only a GPU can tell: right numbers on the device, speed beside the floor, and one figure at full width.

    .venv/bin/python benchmarks/on_device.py --out OUT [--data FOLDER]

Three parts, each of which may fail without costing the others theirs:

1. Two narrow ResNet-18 trained on the CPU are stitched there and on the device, directly and by task loss: how far the
   records differ, whether self-stitches cost exactly nothing, whether the networks are as they were.
2. The ways of `whole_sweep.py` at width 64, taking turns in this process; a first round warms up and does not count.
3. Figure 2A of Bansal, Nakkiran and Barak (2021) on Fashion-MNIST: two seeds of width 64, every block cut, both ways,
   with controls.

It writes as it goes, so that a run cut short keeps what it has: ``report.txt``, ``whole_sweep.json`` and
``records.sqlite`` in OUT. ``--device cpu --tiny`` tries its logic anywhere in about a minute. What one run found is in
``results/gpu``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
import whole_sweep

import modelstitch as ms
from modelstitch.compute import exact_float32

# torch convolves in TF32 on such a device unless told otherwise. modelstitch does not, and its floor must not either.
SWEEP_WAYS = {
    "floor": exact_float32()(whole_sweep.floor),
    "floor in TF32": whole_sweep.floor,
    "ours": whole_sweep.ours,
    "bfloat16": whole_sweep.bfloat16,
    "with start": whole_sweep.with_start,
}
# Seconds that the sweep leaves for the figure.
FOR_FIGURE = 240


class Report:
    """Lines with the seconds since the beginning, printed and kept."""

    def __init__(self, out: Path, seconds: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self._seconds, self._begun = out, seconds, time.time()
        self._log = (out / "report.txt").open("a", buffering=1, encoding="utf-8")

    def say(self, text: str) -> None:
        """One line."""
        line = f"[{time.time() - self._begun:6.1f} s] {text}"
        print(line, flush=True)
        self._log.write(line + "\n")

    @property
    def left(self) -> float:
        """Seconds that are left of those asked for."""
        return self._seconds - (time.time() - self._begun)

    def part(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        """Do one part; an error is reported, and the next part goes on."""
        try:
            work(self, *arguments)
        except Exception as error:
            self.say(f"FAILED {name}: {type(error).__name__}: {str(error)[:600]}")


def loss_of(record: ms.Record) -> float:
    """The mean loss of the stitched network, in nats."""
    found = record.score("loss")
    assert found is not None
    return found.stitched


def error_of(outcome: ms.Outcome) -> float:
    """The error in percent."""
    error = next(score for score in ms.Classification().scores if score.name == "error")
    return error.value(outcome.sums["error"])


def same_records(report: Report, device: str, tiny: bool) -> None:
    digits = ms.load("digits")
    nets = [ms.build("resnet18", seed=seed, width=8, channels=1) for seed in (0, 1)]
    for seed, net in enumerate(nets):
        ms.train_supervised(net, digits.train, schedule=ms.Schedule(epochs=2 if tiny else 6), seed=seed)
    before = [{name: value.clone() for name, value in net.state_dict().items()} for net in nets]
    for by in (ms.Direct(), ms.TaskLoss(epochs=1 if tiny else 5)):
        here, there = (
            {
                (one.stitching, one.control): one
                for one in ms.stitch_all(*nets, digits.train, digits.test, by=by, compute=ms.Compute(place))
            }
            for place in ("cpu", device)
        )
        penalty = max(abs(here[key].penalty - there[key].penalty) for key in here)
        loss = max(abs(loss_of(here[key]) - loss_of(there[key])) for key in here)
        own = {one.penalty for (_, control), one in there.items() if control == "self"}
        report.say(
            f"{type(by).__name__}: {len(here)} records; penalty differs by at most {penalty:.2f} points, "
            f"loss by {loss:.2e}; self-stitches on the device {own}"
        )
    same = all(
        torch.equal(value, net.state_dict()[name])
        for net, kept in zip(nets, before, strict=True)
        for name, value in kept.items()
    )
    home = all(weight.device.type == "cpu" for net in nets for weight in net.parameters())
    report.say(f"networks untouched: {same}; still on the CPU: {home}")


def sweep(report: Report, device: str, tiny: bool) -> None:
    images, width, rounds = (128, 8, 1) if tiny else (8192, 64, 3)
    given = whole_sweep.Setting(images, width, 1, device)
    taken: dict[str, list[float]] = {way: [] for way in SWEEP_WAYS}
    passes: dict[str, float] = {}
    for turn in range(rounds + 1):
        for way, run in SWEEP_WAYS.items():
            if turn and report.left < FOR_FIGURE:
                break
            given.rows = 0
            begun = time.perf_counter()
            run(given)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            passes[way] = given.passes
            if turn or tiny:
                taken[way].append(time.perf_counter() - begun)
    middle = {way: sorted(runs)[len(runs) // 2] for way, runs in taken.items() if runs}
    rows = {
        way: {"seconds": seconds, "over_floor": seconds / middle["floor"], "runs": taken[way], "passes": passes[way]}
        for way, seconds in middle.items()
    }
    found = {"images": images, "width": width, "device": device, "ways": rows}
    (report.out / "whole_sweep.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for way, row in rows.items():
        report.say(
            f"sweep of 10 cuts, {images} images, width {width}: "
            f"{way:13} {row['seconds']:.3f} s = {row['over_floor']:.2f} x floor, "
            f"{row['passes']:.2f} passes of the bottom an example"
        )


def figure(report: Report, device: str, tiny: bool, folder: str | None) -> None:
    data = ms.load("fashion_mnist", folder=folder)
    train, test = (data.train.first(512), data.test.first(256)) if tiny else (data.train, data.test)
    width, epochs = (8, 1) if tiny else (64, 8)
    nets = []
    for seed in (0, 1):
        begun = time.time()
        net = ms.build("resnet18", seed=seed, width=width, channels=1).to(device)
        ms.train_supervised(net, train, schedule=ms.Schedule(epochs=epochs), seed=seed)
        error = error_of(ms.evaluate(net, test))
        report.say(f"seed {seed}: {error:.2f} % test error after {epochs} epochs, {time.time() - begun:.1f} s")
        nets.append(net)
    begun = time.time()
    by = ms.TaskLoss(epochs=1) if tiny else None
    store = ms.Store(str(report.out / "records.sqlite"))
    records = ms.stitch_all(*nets, train, test, names=("seed0", "seed1"), by=by, store=store)
    report.say(f"stitch_all: {len(records)} records in {time.time() - begun:.1f} s\n{records}")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, required=True, help="a folder for what is found")
    ask.add_argument("--data", help="the folder with the four files of Fashion-MNIST; by default where it usually is")
    ask.add_argument("--seconds", type=float, default=900, help="the sweep stops early to leave time for the figure")
    ask.add_argument("--device", default="cuda")
    ask.add_argument("--tiny", action="store_true", help="little data and narrow networks, to try the script")
    asked = ask.parse_args()
    report, cuda = Report(asked.out, asked.seconds), asked.device.startswith("cuda")
    name = torch.cuda.get_device_name() if cuda else "cpu"
    report.say(f"torch {torch.__version__}, {name}, modelstitch {ms.__version__}")
    report.part("same records", same_records, asked.device, asked.tiny)
    report.part("sweep beside its floor", sweep, asked.device, asked.tiny)
    report.part("figure 2A", figure, asked.device, asked.tiny, asked.data)
    if cuda:
        report.say(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
    report.say("done")


if __name__ == "__main__":
    main()
