"""How time and memory of a sweep grow with the number of cuts, of images, and with the width of the networks.

    make bench        (or: .venv/bin/python benchmarks/scaling.py)

Two ResNet-18 on 28 x 28 images, one epoch from a least-squares start, as by default; see `whole_sweep.py`, whose floor
stands beside it. One number is varied at a time, each run in a process of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from common import alone, keep, parser, report_cost
from whole_sweep import WAYS, Setting

import modelstitch as ms

SERIES: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "cuts": ((1, 2, 5, 10), {"images": 512, "width": 16}),
    "images": ((1_000, 4_000, 16_000, 60_000), {"cuts": 2, "width": 8}),
    "width": ((8, 16, 32, 64), {"images": 256, "cuts": 10}),
}


def measured(series: str, value: int, rest: dict[str, int]) -> dict[str, Any]:
    """One point of a series."""
    sizes = {**rest, series: value}
    options = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    ours, floor = (alone(way, *options) for way in ("with start", "floor"))
    row = {"series": series, **sizes, "seconds": ours.seconds, "peak": ours.peak, "passes": ours.found}
    return {**row, "floor_seconds": floor.seconds, "over_floor": ours.seconds / floor.seconds}


def main(out: Any, device: str) -> None:
    rows = []
    for series, (values, rest) in SERIES.items():
        print(f"{series}, {', '.join(f'{name} {size:,}' for name, size in rest.items())}:")
        for value in values:
            row = measured(series, value, rest)
            rows.append(row)
            time = f"{row['seconds']:7.2f} s = {row['over_floor']:5.2f} x floor"
            print(f"{value:7,}  {time}, {row['peak']:5.0f} MB, {row['passes']:.2f} passes")
    keep(out, {"epochs": 1, "start": "least_squares"}, rows, ms.Compute(device))


if __name__ == "__main__":
    options = parser(__doc__)
    for name in SERIES:
        options.add_argument(f"--{name}", type=int)
    asked = options.parse_args()
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked.way:
        given = Setting(asked.images, asked.width, 1, device, asked.cuts)
        report_cost(lambda: WAYS[asked.way](given) or given.passes)
    else:
        main(asked.out, device)
