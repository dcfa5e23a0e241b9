"""Is a short schedule enough? The penalty at every cut after few and many epochs, from every start.

    python recipes/short_schedule.py NETS OUT [--limit 2000] [--epochs 1,4,30] [--starts random,identity] [--rates 5e-3]

Question: from least squares, how many epochs come near the best that thirty reach from any start?
Networks: three ResNet-18 of width 16 in NETS/seed0, NETS/seed1, NETS/seed2, each made by
`modelstitch train resnet18 --data fashion_mnist --width 16 --epochs 4 --seed S --out NETS/seedS`.
Stitchings: 0 -> 1, 1 -> 2, 2 -> 0, at all ten block cuts. Expected: the default, 500 steps from least squares,
comes within 0.3 points. 500 steps are 32 epochs of 2,000 images and 7 of 10,000. Where they begin at 1e-3, as the long
schedules do, they are fitted in bfloat16 too.
Records go to the store OUT as they are made, a pair of networks at a time; called again, it goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Literal

import modelstitch as ms
from modelstitch.networks import Network, load_folder
from modelstitch.stitching import Setting, pairings, run
from modelstitch.tasks import Classification

STARTS = ("least_squares", "identity", "random")


Rate = float | Literal["by_width"]
RATE = 1e-3
"""Where the long schedules begin, and the one in sixteen bits."""


def settings(epochs: list[int], starts: list[str], rates: list[Rate]) -> list[ms.Direct | ms.TaskLoss]:
    """Least squares alone, 500 steps at each rate, then every start for every number of epochs."""
    quick = [ms.TaskLoss(learning_rate=rate) for rate in rates]
    coarse = [ms.TaskLoss(learning_rate=RATE, precision="bfloat16")] if RATE in rates else []
    long = [ms.TaskLoss(epochs=many, start=start, learning_rate=RATE) for many in sorted(epochs) for start in starts]
    return [ms.Direct(), *quick, *coarse, *long]


def main() -> None:
    """Fit and measure what OUT does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", type=Path)
    parser.add_argument("out", type=Path, help="a store, such as run.sqlite")
    parser.add_argument("--limit", type=int, default=2000, help="train images to fit on")
    parser.add_argument("--epochs", default="1,4,30", help="of the long schedules; '' for none")
    parser.add_argument("--starts", default=",".join(STARTS))
    parser.add_argument("--rates", default=str(ms.TaskLoss().learning_rate), help="where 500 steps begin")
    parser.add_argument("--pairs", default="01,12,20", help="which seeds, bottom then top")
    parser.add_argument("--cuts", help="by name, commas between; all block cuts unless told")
    asked = parser.parse_args()
    split = ms.load("fashion_mnist")
    train, store = split.train.first(asked.limit), ms.Store(asked.out)
    pairs = asked.pairs.split(",")
    seeds = sorted(set("".join(pairs)))
    loaded = {s: Network(f"seed{s}", load_folder(asked.nets / f"seed{s}")[0]) for s in seeds}
    ready = {s: one.ready(split.test.example, ms.Compute()) for s, one in loaded.items()}
    cuts = asked.cuts.split(",") if asked.cuts else "blocks"
    made = pairings(train, split.test, Classification(), Setting(), ms.Compute(), cuts)
    plain = [made.pairing(ready[a], ready[b], made.pairs(ready[a], ready[b])) for a, b in pairs]
    for by in settings(
        [int(many) for many in asked.epochs.split(",") if many],
        asked.starts.split(","),
        ["by_width" if rate == "by_width" else float(rate) for rate in asked.rates.split(",")],
    ):
        # The same pairings with another matching, so that the moments are streamed once for all of them.
        run([replace(one, setting=Setting(by=by)) for one in plain], store)


if __name__ == "__main__":
    main()
