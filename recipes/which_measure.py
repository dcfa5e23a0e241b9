"""Which measure to trust for what: three tests with known answers, on ten networks that differ in their seed alone.

    python recipes/which_measure.py NETS OUT

Source: Kornblith et al. 2019, section 6.1 (sanity); Ding et al. 2021, section 4 (sensitivity, specificity).
Networks: ten ResNet-18 of width 8 in NETS/seed0 … NETS/seed9, each made by
`modelstitch train resnet18 --data fashion_mnist --width 8 --epochs 4 --seed S --out NETS/seedS`.

- sanity: of all block cuts of one network, is the most similar to a cut of another network the same cut?
- specificity: are two seeds more similar at the same cut than a trained and an untrained network, and than chance?
- sensitivity: does the similarity of a layer to itself fall as its principal components are taken away, the least
  first, or the first alone?

Expected: CKA and Procrustes find the same cut nearly always, CCA and its kin less often; CCA does not see components
being taken away. Each line of OUT is one measure between two networks (or a network and itself), by one layout.
Time: about half an hour on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import modelstitch as ms
from modelstitch.comparison.layout import laid_out
from modelstitch.controls import untrained
from modelstitch.cut import capture
from modelstitch.data import Samples
from modelstitch.errors import StitchError
from modelstitch.measures import MEASURES, Measure, noted
from modelstitch.networks import load_folder
from modelstitch.progress import track
from modelstitch.seeding import generator
from modelstitch.stitching import provenance

LAYOUTS = {"pool": 2000, "flatten": 500}
"""How many test images by each layout: pairs of flattened layers cost time as the cube of it."""
KEPT = (0.75, 0.5, 0.25, 0.1)
SHUFFLES = 20

Rows = dict[str, Tensor]
"""The rows at every cut of one network."""


def rows_of(network: torch.nn.Module, data: Samples, layout: str) -> Rows:
    """The rows of the first images at every block cut."""
    captured = capture(network, data.example)
    half = captured.bottoms(captured.blocks)
    with torch.no_grad():
        batches = [half(inputs) for inputs, _ in data.batches()]
    return {
        cut.name: torch.cat([laid_out(batch[i], cut, layout) for batch in batches])
        for i, cut in enumerate(captured.blocks)
    }


def sides(measure: Measure, rows: Rows) -> dict[str, Any]:
    """What the measure needs of each cut, or why it cannot have it."""
    found: dict[str, Any] = {}
    for cut, values in rows.items():
        try:
            found[cut] = measure.one_side("x", values)
        except StitchError as failure:
            found[cut] = failure
    return found


def between(measure: Measure, x: Any, y: Any) -> float | None:
    """The value, or None where there is none."""
    for side in (x, y):
        if isinstance(side, StitchError):
            return None
    return noted(partial(measure.between, x, y))[0]


def table(measure: Measure, a: dict[str, Any], b: dict[str, Any]) -> list[list[float | None]]:
    """The measure at every cut of a and every cut of b."""
    return [[_short(between(measure, x, y)) for y in b.values()] for x in a.values()]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def without_components(rows: Tensor, kept: float) -> Tensor:
    """The rows with only the first share of their principal components, rounded up; a negative share: all but one."""
    mean = rows.double().mean(0)
    u, s, v = torch.linalg.svd(rows.double() - mean, full_matrices=False)
    if kept < 0:
        s[0] = 0
    else:
        s[max(1, round(kept * len(s))) :] = 0
    return (u * s) @ v + mean


def sanity(measure: Measure, networks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All cuts of each network against all cuts of each other one."""
    for a, b in permutations(range(len(networks)), 2):
        if a < b or not measure.promises.symmetric:
            yield {"test": "sanity", "a": a, "b": b, "values": table(measure, networks[a], networks[b])}


def specificity(
    measure: Measure, networks: list[dict[str, Any]], fresh: list[dict[str, Any]], rows: list[Rows]
) -> Iterator[dict[str, Any]]:
    """A network beside its untrained copy, and beside another seed whose images are shuffled."""
    for index, (one, other) in enumerate(zip(networks, fresh, strict=True)):
        values = [_short(between(measure, one[cut], other[cut])) for cut in one]
        yield {"test": "untrained", "a": index, "b": index, "values": values}
    for k in range(SHUFFLES):
        a, b = k % len(networks), (k + 1) % len(networks)
        order = torch.randperm(len(next(iter(rows[b].values()))), generator=generator("which measure", k))
        shuffled = sides(measure, {cut: values[order] for cut, values in rows[b].items()})
        values = [_short(between(measure, networks[a][cut], shuffled[cut])) for cut in networks[a]]
        yield {"test": "chance", "a": a, "b": b, "values": values}


def sensitivity(measure: Measure, networks: list[dict[str, Any]], rows: list[Rows]) -> Iterator[dict[str, Any]]:
    """Each layer of a network beside itself with components taken away."""
    for index, (one, values) in enumerate(zip(networks[:3], rows[:3], strict=True)):
        for kept in (*KEPT, -1.0):
            less = sides(measure, {cut: without_components(values[cut], kept) for cut in values})
            found = [_short(between(measure, one[cut], less[cut])) for cut in one]
            yield {"test": "sensitivity", "a": index, "b": index, "kept": kept, "values": found}


def main() -> None:
    """Measure what OUT does not hold: one measure by one layout at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--images", type=int, help="fewer images, to try it out")
    asked = parser.parse_args()
    test = ms.load("fashion_mnist").test
    nets = [load_folder(asked.nets / f"seed{s}")[0] for s in range(asked.networks)]
    fresh = [untrained(network, seed=s) for s, network in enumerate(nets)]
    done = set()
    if asked.out.exists():
        done = {(line["measure"], line["layout"]) for line in map(json.loads, asked.out.read_text().splitlines())}
    for layout, n in LAYOUTS.items():
        data = test.first(min(n, asked.images or n))
        rows = [rows_of(network, data, layout) for network in nets]
        other = [rows_of(network, data, layout) for network in fresh]
        left = [one for one in MEASURES.values() if (one.name, layout) not in done]
        for measure in track(left, f"measures, {layout}", len(left)):
            lines = [*_lines(measure, rows, other)]
            common = {"measure": measure.name, "layout": layout, "data": data.name, "n": len(data)}
            common |= {"cuts": list(rows[0]), "test_data": data.fingerprint, **provenance("cpu")}
            text = "".join(json.dumps({**common, **line}) + "\n" for line in lines)
            with asked.out.open("a") as file:
                file.write(text)


def _lines(measure: Measure, rows: list[Rows], other: list[Rows]) -> Iterator[dict[str, Any]]:
    networks, fresh = ([sides(measure, one) for one in many] for many in (rows, other))
    yield from sanity(measure, networks)
    yield from specificity(measure, networks, fresh, rows)
    # Components of flattened maps outnumber the images: taking a share of them away is another experiment.
    if next(iter(rows[0].values())).shape[1] < len(next(iter(rows[0].values()))):
        yield from sensitivity(measure, networks, rows)


if __name__ == "__main__":
    main()
