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
being taken away. Each line of OUT/records.jsonl is one measure between two networks (or a network and itself), by one
layout; before them stands where and how they were made.
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
from modelstitch.activations import laid_out
from modelstitch.cut import capture
from modelstitch.data import Samples
from modelstitch.errors import StitchError
from modelstitch.measures import MEASURES, Measure, noted
from modelstitch.networks import load_folder, untrained
from modelstitch.stitching import provenance
from modelstitch.support.progress import track
from modelstitch.support.seeding import generator

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


def cut_by_cut(measure: Measure, a: dict[str, Any], b: dict[str, Any]) -> list[list[float | None]]:
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
            yield {"test": "sanity", "a": a, "b": b, "values": cut_by_cut(measure, networks[a], networks[b])}


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
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "records.jsonl"
    done = {(line["measure"], line["layout"]) for line in lines_of(path)} if path.exists() else set()
    for layout, n in LAYOUTS.items():
        data = test.first(min(n, asked.images or n))
        rows = [rows_of(network, data, layout) for network in nets]
        other = [rows_of(network, data, layout) for network in fresh]
        # Which channel is largest says something of answers alone.
        left = [one for one in MEASURES.values() if (one.name, layout) not in done and one.name != "agreement"]
        for measure in track(left, f"measures, {layout}", len(left)):
            lines = [*_lines(measure, rows, other)]
            made = {"test": "made", "data": data.name, "n": len(data), "networks": len(nets), "cuts": list(rows[0])}
            made |= {"test_data": data.fingerprint, **provenance(ms.Compute("cpu"))}
            common = {"measure": measure.name, "layout": layout}
            text = "".join(json.dumps({**common, **line}) + "\n" for line in [made, *lines])
            with path.open("a") as file:
                file.write(text)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """What was found, line by line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def found_same(lines: list[dict[str, Any]], measure: Measure, without: int | None = None) -> float | None:
    """How often the most similar cut of the other network is the same cut, in percent; None where values are missing.

    Args:
        lines: of the sanity test by one measure and layout.
        measure: says which values are more similar, and whether a table may also be read by its columns.
        without: a network to leave out.
    """
    hits = total = 0
    for line in lines:
        if without in (line["a"], line["b"]):
            continue
        values = line["values"]
        if any(value is None for row in values for value in row):
            return None
        readings = [values, [list(column) for column in zip(*values, strict=True)]]
        best = max if measure.promises.higher_is_more_similar else min
        for table in readings if measure.promises.symmetric else readings[:1]:
            hits += sum(row.index(best(row)) == i for i, row in enumerate(table))
            total += len(table)
    return 100 * hits / total


def spread(lines: list[dict[str, Any]], measure: Measure, networks: int) -> float:
    """The standard error of `found_same`, in percent, by leaving out one network at a time (jackknife)."""
    each = [found_same(lines, measure, without) or 0.0 for without in range(networks)]
    mean = sum(each) / networks
    return ((networks - 1) / networks * sum((one - mean) ** 2 for one in each)) ** 0.5


def mean_of(values: list[float | None]) -> str:
    """The mean, or a dash where any is missing."""
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.2f}" if len(known) == len(values) and known else "–"


def table(folder: Path) -> str:
    """The markdown table of the records in a folder, and below it how they were made."""
    lines = lines_of(folder / "records.jsonl")
    head = ["measure", "same cut, pool", "same cut, flatten", "two seeds", "untrained", "chance"]
    head += ["90 % of PCs gone", "first PC gone"]
    shown = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in dict.fromkeys(line["measure"] for line in lines):
        own = [line for line in lines if line["measure"] == name]
        shown.append("| " + " | ".join([f"`{name}`", *_sanity_cells(own, name), *_pool_cells(own)]) + " |")
    made = {line["layout"]: line for line in lines if line["test"] == "made"}
    first = next(iter(made.values()))
    sizes = ", ".join(f"{line['n']:,} images by {layout}" for layout, line in made.items())
    versions = ", ".join(f"{key} {value}" for key, value in first["versions"].items())
    told = (
        f"Same cut: percent of the {len(first['cuts'])} block cuts of one network whose most similar cut in another is "
        f"the same cut, over all ordered pairs of {first['networks']} networks, ± standard error (jackknife over "
        f"networks); by chance {100 / len(first['cuts']):.0f}.",
        "The other columns are means over networks and cuts, by pool: two seeds at the same cut; a network and its "
        "untrained copy; two seeds with the images shuffled; a layer and itself with nine tenths of its principal "
        "components taken away, the least first, and with the first alone taken away (three networks).",
        f"A dash: no value, for want of images. Data {first['data']}, test set, {sizes}; {versions}; "
        f"{first['device']}, {first['threads']} thread, commit {first['commit']}.",
    )
    return "\n".join(shown) + "\n\n" + " ".join(told)


def _sanity_cells(own: list[dict[str, Any]], name: str) -> list[str]:
    cells = []
    for layout in LAYOUTS:
        lines = [line for line in own if line["layout"] == layout and line["test"] == "sanity"]
        share = found_same(lines, MEASURES[name])
        networks = 1 + max(max(line["a"], line["b"]) for line in lines)
        cells.append("–" if share is None else f"{share:.0f} ± {spread(lines, MEASURES[name], networks):.0f}")
    return cells


def _pool_cells(own: list[dict[str, Any]]) -> list[str]:
    pool = [line for line in own if line["layout"] == "pool"]
    same = [row[i] for line in pool if line["test"] == "sanity" for i, row in enumerate(line["values"])]
    kept = {share: [line for line in pool if line.get("kept") == share] for share in (KEPT[-1], -1.0)}
    groups = [[line for line in pool if line["test"] == test] for test in ("untrained", "chance")] + [*kept.values()]
    return [mean_of(same), *(mean_of([value for line in group for value in line["values"]]) for group in groups)]


def _lines(measure: Measure, rows: list[Rows], other: list[Rows]) -> Iterator[dict[str, Any]]:
    networks, fresh = ([sides(measure, one) for one in many] for many in (rows, other))
    yield from sanity(measure, networks)
    yield from specificity(measure, networks, fresh, rows)
    # Components of flattened maps outnumber the images: taking a share of them away is another experiment.
    if next(iter(rows[0].values())).shape[1] < len(next(iter(rows[0].values()))):
        yield from sensitivity(measure, networks, rows)


if __name__ == "__main__":
    main()
