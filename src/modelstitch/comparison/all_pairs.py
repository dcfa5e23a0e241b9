"""Every cut of one network against every cut of another, by several measures, in one pass over each network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from modelstitch.activations import LAYOUTS, Activations, Sources, laid_out
from modelstitch.comparison.comparison import Comparison, Similarity
from modelstitch.comparison.sinks import Kept, Multiplied, Sink, Summed
from modelstitch.compute import Compute, exact_float32
from modelstitch.cut import Capture, Cut
from modelstitch.data import Examples, as_examples
from modelstitch.errors import NumericalFailure, SettingError, ShapeMismatch, did_you_mean
from modelstitch.measures import MEASURES, Measure, Null, noted, permutation_null
from modelstitch.networks import PREPARE, AnyNetwork, Network, both_networks, check_raw, with_kinds
from modelstitch.support.memory import kept_memory
from modelstitch.support.modes import own_modes
from modelstitch.support.progress import track
from modelstitch.support.tensors import Kind, all_finite

# Second moments of this many channels take 32 MB a pair in float64; flattened maps would take a thousand times that.
_WIDEST = 2048
_BATCH = 256


@own_modes()
def compare_all(
    a: AnyNetwork,
    b: AnyNetwork,
    data: object,
    *,
    measures: Sequence[str] = ("cka_minibatch",),
    layout: str = "flatten",
    cuts: tuple[Sequence[str], Sequence[str]] | None = None,
    every: bool = False,
    kinds: Mapping[str, Kind] | None = None,
    sample: int = 2000,
    names: tuple[str, str] | None = None,
    compute: Compute | None = None,
) -> Comparison:
    """Compare two networks at every cut of each, in one pass over each network.

    Measures that stream see all examples in memory that does not grow with them. Others (and those that stream through
    second moments, where a cut has more than 2,048 columns) see the first ``sample`` examples; each value says of how
    many it is.

    Args:
        a: a network, or a reference to one (`modelstitch.load_network`); neither is changed.
        b: another, or the same one.
        data: examples: what `modelstitch.data.as_examples` takes; targets are not used.
        measures: names in `modelstitch.MEASURES`.
        layout: what a row is: ``flatten``, ``pool`` or ``position``; see `modelstitch.comparison.Layout`.
        cuts: names of the cuts of each network; by default one a block.
        every: all legal cuts instead of one a block.
        kinds: where the channels are at cuts that no operator says it of, such as ``{"A@relu": "map"}``.
        sample: how many examples to keep for measures that need all rows at once.
        names: what to call the two; by default a reference by itself, and modules A and B.
        compute: where, by default where ``a`` is, and room for activations; room changes no value.

    Returns:
        The values; a pair without one says why.

    Raises:
        SettingError: an unknown measure or layout, or a measure that the layout does not suit.
        CutNotFound: no place of that name.
        IllegalCut: more than one tensor crosses there.
        NumericalFailure: every value failed, with the first one's reason.

    Example:
        >>> from torch import nn
        >>> A, B = (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in "AB")
        >>> data = torch.randn(20, 4), torch.arange(20) % 2
        >>> compare_all(A, B, data, measures=["cka", "procrustes"]).table("cka").shape
        (1, 1)
    """
    examples = as_examples(data, targets=False)
    _check(measures, layout, sample)
    both = with_kinds(both_networks(a, b, names), kinds)
    names = (both[0].name, both[1].name)
    first, second = _sources(both, examples, compute or Compute())
    at = [_cuts_of(one.captured, cuts[side] if cuts else None, every) for side, one in enumerate((first, second))]
    sinks = _sinks([MEASURES[name] for name in measures], at[0], at[1], layout, sample)
    _pass(first, second, at, layout, list(dict.fromkeys(sinks.values())))
    found = [
        _similarity(MEASURES[name], sink, (i, x), (j, y), names, examples.name, layout)
        for name, sink in sinks.items()
        for i, x in enumerate(at[0])
        for j, y in enumerate(at[1])
    ]
    if all(one.value is None for one in found):
        raise _nothing(found[0])
    return Comparison(found)


def _nothing(first: Similarity) -> NumericalFailure:
    """Why there is no value at all: the first one's reason, with the network and the cut in place of x and y."""
    a, b = f"{first.network_a}@{first.cut_a}", f"{first.network_b}@{first.cut_b}"
    told = {key: text.strip() for key, _, text in (line.partition(":") for line in first.note.splitlines())}
    # Measures call their sides x and y, those of a table with a number behind it.
    found = re.sub(r"\by\b(\[\d+\])?", b, re.sub(r"\bx\b(\[\d+\])?", a, told.get("found", first.note)))
    return NumericalFailure(f"{first.measure} of {a} and {b}", found, told.get("do", "look at the activations"))


@own_modes()
def calibrate(
    a: AnyNetwork,
    b: AnyNetwork,
    cuts: tuple[str, str],
    data: object,
    *,
    measures: Sequence[str] = ("cka_debiased",),
    layout: str = "flatten",
    kinds: Mapping[str, Kind] | None = None,
    sample: int = 2000,
    permutations: int = 100,
    seed: int = 0,
    names: tuple[str, str] | None = None,
    compute: Compute | None = None,
) -> list[Null]:
    """Measures at one pair of cuts, beside what they give when the pairing of the examples is shuffled.

    Args:
        a: a network, or a reference to one (`modelstitch.load_network`); neither is changed.
        b: another, or the same one.
        cuts: one of each.
        data: examples: what `modelstitch.data.as_examples` takes; targets are not used.
        measures: names in `modelstitch.MEASURES`.
        layout: ``flatten`` or ``pool``; positions of one image are no independent rows to shuffle.
        kinds: as in `compare_all`.
        sample: how many examples, the first ones.
        permutations: how many shuffles.
        seed: of the shuffles.
        names: as in `compare_all`; by these ``kinds`` speaks of them.
        compute: as in `compare_all`.

    Returns:
        One `Null` a measure.

    Raises:
        SettingError: an unknown measure or layout, or rows that cannot be shuffled.
        CutNotFound: no place of that name.
        StitchError: as the measures themselves.
    """
    _check(measures, layout, sample)
    if layout == "position":
        found, do = "rows that are not independent of each other", "take the layout flatten or pool"
        raise SettingError("to shuffle positions", found, do)
    examples = as_examples(data, targets=False).first(sample)
    first, second = _sources(with_kinds(both_networks(a, b, names), kinds), examples, compute or Compute())
    kept = Kept(len(examples))
    at = [[first.captured.find(cuts[0])], [second.captured.find(cuts[1])]]
    _pass(first, second, at, layout, [kept])
    (x,), (y,) = kept.rows(0), kept.rows(1)
    return [
        permutation_null(name, x, y, permutations=permutations, seed=seed)
        for name in track(measures, "measures", len(measures))
    ]


def _cuts_of(captured: Capture, names: Sequence[str] | None, every: bool) -> list[Cut]:
    if names is not None:
        # Two names may be one place.
        return list(dict.fromkeys(captured.find(name) for name in names))
    found = [cut for cut in (captured.cuts[1:-1] if every else captured.blocks) if cut.name != PREPARE]
    if not found:
        do = "name them: cuts=([...], [...]); `input` and `output` are cuts too"
        raise ShapeMismatch(f"to compare {captured.name}", "no cut between input and output", do)
    return found


def _check(measures: Sequence[str], layout: str, sample: int) -> None:
    if layout not in LAYOUTS:
        do = did_you_mean(layout, LAYOUTS, f"choose one of {', '.join(LAYOUTS)}")
        raise SettingError(f"to compare by the layout {layout!r}", "no such layout", do)
    if not measures:
        raise SettingError("to compare two networks", "no measure", f"name some of {', '.join(MEASURES)}")
    if sample < 2:
        raise SettingError(f"to compare on a sample of {sample}", "too few examples", "take 2 or more")
    for name in measures:
        if name not in MEASURES:
            do = did_you_mean(name, MEASURES, f"choose among {', '.join(MEASURES)}")
            raise SettingError(f"to compare by {name!r}", "no measure of that name", do)
        if layout == "position" and (MEASURES[name].from_moments is None):
            able = ", ".join(one.name for one in MEASURES.values() if one.from_moments is not None)
            found = "a measure that would need every position of every example at once"
            raise SettingError(f"{name} by position", found, f"take the layout flatten or pool, or one of {able}")


def _sources(networks: Sequence[Network], examples: Examples, compute: Compute) -> tuple[Activations, Activations]:
    """What both networks give over the examples, on one device; of one network with itself, the same twice."""
    a, b = networks
    for one in networks:
        check_raw(one.name, one.module, examples.example)
    first = a.ready(examples.example, compute)
    same = b.module is a.module and b.kinds == a.kinds
    second = first if same else b.ready(examples.example, replace(compute, device=first.device))
    sources = Sources(examples, compute)
    return sources.of(first.captured), sources.of(second.captured)


def _sinks(
    measures: Sequence[Measure], cuts_a: Sequence[Cut], cuts_b: Sequence[Cut], layout: str, sample: int
) -> dict[str, Sink]:
    """Where each measure gets its values from; measures that can share a sink do."""
    summed, multiplied, kept = Summed(cuts_a, cuts_b, layout == "position"), Multiplied(), Kept(sample)
    narrow = max(_columns(cut, layout) for cut in (*cuts_a, *cuts_b)) <= _WIDEST
    return {
        one.name: multiplied
        if one.streaming is not None
        else summed
        if one.from_moments is not None and (narrow or layout == "position")
        else kept
        for one in measures
    }


def _columns(cut: Cut, layout: str) -> int | float:
    """How many columns its rows have; without end where a length may vary."""
    sizes = cut.shape if layout == "flatten" else (cut.channels,)
    return math.inf if None in sizes else math.prod(size or 1 for size in sizes)


def _pass(first: Activations, second: Activations, at: list[list[Cut]], layout: str, sinks: Sequence[Sink]) -> None:
    """Run each network once over the examples; a network compared with itself at the same cuts runs once in all."""
    same, order = first is second and at[0] == at[1], first.examples.order()
    label = f"activations at {len(at[0])} and {len(at[1])} cuts"
    with torch.no_grad(), kept_memory(), exact_float32():
        below = first.batches(at[0], _BATCH, order, label=label, share="all")
        above = below if same else second.batches(at[1], _BATCH, order, share="all")
        for index, found, _ in below:
            xs = _rows(found, first.captured, at[0], layout)
            ys = xs if same else _rows(next(above)[1], second.captured, at[1], layout)
            for sink in sinks:
                sink.take(xs, ys, len(index))


def _rows(activations: Sequence[Tensor], one: Capture, cuts: Sequence[Cut], layout: str) -> list[Tensor]:
    for activation, cut in zip(activations, cuts, strict=True):
        if not all_finite(activation):
            found = f"activations at {cut.name!r} that are not finite"
            raise NumericalFailure(f"to compare {one.name}", found, "load sound weights, or cut before that place")
    return [laid_out(activation, cut, layout) for activation, cut in zip(activations, cuts, strict=True)]


def _similarity(
    measure: Measure,
    sink: Sink,
    at_a: tuple[int, Cut],
    at_b: tuple[int, Cut],
    names: tuple[str, str],
    data: str,
    layout: str,
) -> Similarity:
    (i, x), (j, y) = at_a, at_b
    value, note = noted(lambda: sink.value(measure, i, j))
    return Similarity(
        measure=measure.name,
        network_a=names[0],
        cut_a=x.name,
        depth_a=x.depth,
        network_b=names[1],
        cut_b=y.name,
        depth_b=y.depth,
        value=value,
        note=note,
        data=data,
        n=sink.n,
        layout=layout,
    )
