"""Are two seeds stitching-connected where the straight line between their weights is not?

    python recipes/connectivity.py NETS OUT [--seeds 0,1] [--limit 10000]

Question: is every S_i (the first i layers from one network, the rest from the other) about as good as the two, and how
high are the barriers of the straight line, of the straight line with units matched, and of a trained curve?
Networks: two ResNet-18 of width 8 in NETS/seed0 and NETS/seed1, each made by
`modelstitch train resnet18 --data fashion_mnist --width 8 --epochs 4 --seed S --out NETS/seedS`.
Expected: every S_i within 5 points of the worse network; a high barrier on the straight line, a lower one with units
matched, next to none on the curve.
Writes OUT/points.csv, OUT/connectivity.json and OUT/connectivity.png. Time: about half an hour on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import modelstitch as ms
from modelstitch.networks import load_folder


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", type=Path)
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--seeds", default="0,1", help="which networks: A, then B")
    parser.add_argument("--limit", type=int, default=10_000, help="train images to fit on, the first of the set")
    asked = parser.parse_args()
    split = ms.load("fashion_mnist")
    a, b = (f"seed{seed}" for seed in asked.seeds.split(","))
    networks = [load_folder(asked.nets / name)[0] for name in (a, b)]
    by = ms.TaskLoss(learning_rate=3e-3)
    found = ms.connectivity(*networks, split.train.first(asked.limit), split.test, names=(a, b), by=by)
    asked.out.mkdir(parents=True, exist_ok=True)
    found.to_pandas().to_csv(asked.out / "points.csv", index=False)
    (asked.out / "connectivity.json").write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    ms.save_figure(found.plot(), asked.out / "connectivity.png")
    print(found.verdict)


if __name__ == "__main__":
    main()
