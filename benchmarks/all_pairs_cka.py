"""Minibatch CKA of two ResNet-18, ten cuts against ten, beside its floor and beside published packages.

    make bench        (or: .venv/bin/python benchmarks/all_pairs_cka.py)

Two ResNet-18 of width 16 on 28 x 28 images, every block cut flattened, batches of 256, none of them short: packages
weigh a short last batch differently. Values do not matter for time, so the data is noise, smooth and of ten kinds, and
the networks are untrained, but for batch norms that know their mean and variance. Without that, all images get nearly
the same activations, where the packages lose digits in float32 (up to 0.003 of a value; ours stay with a float64
oracle). Ways:

- floor: both networks forward, nothing else, in memory that the allocator keeps.
- ours: `compare_all`, the capture of both networks included.
- pytorch-cka, torch_cka: the packages of these names from PyPI, on the modules that end at the same cuts.

One product: a float64 matrix product of 512 x 10,000 by 10,000 x 512, beside linear CKA of two matrices of that size,
which takes at least three of them (two of which are symmetric).
"""

from __future__ import annotations

from typing import Any

import torch
from common import alone, in_turns, keep, medians, parser, report_cost, seconds_in_turns
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, TensorDataset

import modelstitch as ms
from modelstitch.support.memory import kept_memory

BATCH, ROUNDS = 256, 2
# Both packages take modules by name; these are the modules that end at the block cuts.
MODULES = ["conv1", *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)), "pool"]
Setting = tuple[nn.Module, nn.Module, Tensor]


def setting(images: int) -> Setting:
    draws = torch.Generator().manual_seed(0)
    kinds, own = (torch.randn(many, 1, 5, 5, generator=draws) for many in (10, images))
    coarse = kinds[torch.arange(images) % 10] + own / 2
    inputs = interpolate(coarse, size=(28, 28), mode="bilinear")
    a, b = (ms.build("resnet18", seed=seed, width=16, channels=1).eval() for seed in (0, 1))
    a, b = (with_statistics(ms.build("resnet18", seed=seed, width=16, channels=1), inputs[:512]) for seed in (0, 1))
    return a, b, inputs


@torch.no_grad()
def with_statistics(network: nn.Module, inputs: Tensor) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of all batches so far, here of one
    network.train()(inputs)
    return network.eval()


def floor(a: nn.Module, b: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad(), kept_memory():
        for batch in inputs.split(BATCH):
            a(batch)
            b(batch)


def ours(a: nn.Module, b: nn.Module, inputs: Tensor) -> list[float]:
    samples = ms.as_examples((inputs, torch.arange(len(inputs)) % 10), name="noise")
    return [float(one.value or "nan") for one in ms.compare_all(a, b, samples, measures=["cka_minibatch"])]


def pytorch_cka(a: nn.Module, b: nn.Module, inputs: Tensor) -> list[float]:
    from cka.cka import CKA  # type: ignore[import-not-found]

    with CKA(a, b, layers=MODULES, device="cpu") as cka:
        return cka._compare(DataLoader(TensorDataset(inputs), batch_size=BATCH), progress=False).flatten().tolist()


@torch.no_grad()
def torch_cka(a: nn.Module, b: nn.Module, inputs: Tensor) -> list[float]:
    from torch_cka import CKA  # type: ignore[import-not-found]

    cka = CKA(a, b, "a", "b", MODULES, MODULES, device="cpu")
    loader = DataLoader(TensorDataset(inputs), batch_size=BATCH)
    cka.compare(loader, loader)
    return cka.export()["CKA"].flatten().tolist()


WAYS = {"floor": floor, "ours": ours, "pytorch-cka": pytorch_cka, "torch_cka": torch_cka}


def row(way: str, costs: dict[str, list[Any]]) -> dict[str, Any]:
    """One line of the table: ratios to the floor and to ours, and how far the values are from ours."""
    taken = medians(costs[way])
    ours_taken, floor_taken = medians(costs["ours"]), medians(costs["floor"])
    values = costs[way][0].found
    apart = max(abs(x - y) for x, y in zip(values, costs["ours"][0].found, strict=True)) if values else None
    ratios = {
        "over_floor": taken["seconds"] / floor_taken["seconds"],
        "over_ours": taken["seconds"] / ours_taken["seconds"],
        "peak_over_ours": taken["peak"] / ours_taken["peak"],
    }
    return {"way": way, **taken, **ratios, "largest_difference": apart}


def linear_cka() -> dict[str, float]:
    """Linear CKA of two 10,000 x 512 matrices beside one float64 product of that size."""
    x, y = (torch.randn(10_000, 512, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    x64, y64 = x.double(), y.double()
    works = {"product": lambda: x64.T @ y64, "cka": lambda: ms.MEASURES["cka"](x, y)}
    return seconds_in_turns(works, 9)


def main(images: int, out: Any) -> None:
    costs = in_turns(list(WAYS), ROUNDS, "--images", str(images))
    print(f"all pairs of 10 x 10 cuts, {images:,} images, {torch.get_num_threads()} threads, torch {torch.__version__}")
    rows = [row(way, costs) for way in WAYS]
    for one in rows:
        found = one["largest_difference"]
        apart = "" if found is None else f", values within {found:.1e} of ours"
        print(
            f"{one['way']:12} {one['seconds']:7.2f} s = {one['over_floor']:5.2f} x floor = "
            f"{one['over_ours']:5.2f} x ours, {one['peak']:5.0f} MB{apart}"
        )
    fewer = images // BATCH // 5 * BATCH
    less = alone("ours", "--images", str(fewer))
    print(f"ours on {fewer:,} images: {less.peak:.0f} MB")
    one = linear_cka()
    over_product = one["cka"] / one["product"]
    print(f"linear CKA of two 10,000 x 512 matrices: {one['cka']:.3f} s = {over_product:.1f} x one float64 product")
    found = {"fewer_images": fewer, "peak_on_fewer": less.peak, "linear_cka_over_product": over_product}
    keep(out, {"images": images, "batch": BATCH, "rounds": ROUNDS, **found}, rows)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=39 * BATCH)
    asked = options.parse_args()
    if asked.way:
        given = setting(asked.images)
        report_cost(lambda: WAYS[asked.way](*given))
    else:
        main(asked.images, asked.out)
