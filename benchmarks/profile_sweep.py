"""Where the time of a sweep goes, by kind of operation.

    make bench        (or: .venv/bin/python benchmarks/profile_sweep.py)

The sweep of `whole_sweep.py` as it is by default (least squares, then one epoch, ten stitches) under torch's profiler:
each operation's own time, summed by kind. What is left of the clock is Python, and torch's own bookkeeping.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from common import keep, parser
from torch.profiler import ProfilerActivity, profile
from whole_sweep import Setting, with_start

import modelstitch as ms

# The first kind whose word is in an operation's name takes it.
KINDS = {
    "convolutions, gradient of the input": ("convolution_backward",),
    "convolutions, forward": ("convolution",),
    "batch norms": ("batch_norm",),
    "products of the moments, and linear layers": ("mm", "dot", "matmul"),
    "copies and conversions": ("copy", "_to_", "contiguous", "clone", "fill", "cat", "index", "zero"),
    "Adam": ("lerp", "addcmul", "addcdiv", "sqrt", "_foreach"),
    "element by element (ReLU, sums, means, norms, loss)": ("",),
}


def kind_of(operation: str) -> str:
    return next(kind for kind, words in KINDS.items() if any(word in operation for word in words))


def main(images: int, out: Any, device: str) -> None:
    given = Setting(images, 16, 1, device)
    with_start(given)
    begun = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        with_start(given)
    seconds = time.perf_counter() - begun
    own = dict.fromkeys(KINDS, 0.0)
    for one in profiled.key_averages():
        own[kind_of(one.key)] += one.self_cpu_time_total / 1e6
    rest = max(0.0, seconds - sum(own.values()))
    rows = [
        {"kind": kind, "seconds": taken, "share": taken / seconds}
        for kind, taken in {**own, "Python, and what the profiler does not name": rest}.items()
    ]
    for row in sorted(rows, key=lambda row: -row["seconds"]):
        print(f"{100 * row['share']:5.1f} %  {row['seconds']:6.2f} s  {row['kind']}")
    keep(out, {"images": images, "width": 16, "cuts": 10, "epochs": 1, "seconds": seconds}, rows, ms.Compute(device))


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=512)
    asked = options.parse_args()
    main(asked.images, asked.out, "cuda:0" if torch.cuda.is_available() else "cpu")
