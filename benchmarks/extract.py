"""The activations at one cut: beside a plain hook, a hook that stops the network, torchvision's extractor and nnsight.

    make bench        (or: .venv/bin/python benchmarks/extract.py)

GPT-2 as its small version is built and ResNet-18 of torchvision, with random weights, each cut in its middle and behind
its last block. Every way is prepared once and then asked for the activations of one batch, in turns; the first round
warms up and does not count. Ways:

- hook: `register_forward_hook` on the module, which keeps its output; the network runs to its end.
- stopping hook: the same, but the hook raises, so that nothing above the cut is computed.
- ours: the bottom of `modelstitch.capture`, which holds no layer above the cut.
- torchvision: `create_feature_extractor`, which traces by torch.fx.
- nnsight: `trace` around the network; *nnsight, stopped* ends it at the cut.

In-place: the stem of ResNet-18 is a convolution, a batch norm and a ReLU that overwrites what the norm gave. Every way
is asked for the output of the norm, alone and together with that of a later block. The truth is what a hook copies at
the moment when the norm returns.

A way that cannot read a network is recorded with its reason, and without a number.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from common import keep, parser, seconds_in_turns
from torch import Tensor, nn

import modelstitch as ms

ROUNDS = 9
STEM, LATER = "bn1", "layer1.0"
PACKAGES = ("nnsight", "torchvision", "transformers")
Way = Callable[[], Sequence[Tensor]]

# Beside a torch without CUDA, torchvision misses two operators that its own binary would bring; they are not called.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@dataclass(frozen=True)
class Case:
    """A network, a batch, and the modules at whose ends it is cut."""

    name: str
    network: nn.Module
    inputs: Tensor
    cuts: tuple[str, ...]


def gpt2(images: int) -> Case:
    from transformers import GPT2Config, GPT2LMHeadModel  # type: ignore[import-not-found]

    torch.manual_seed(0)
    network = GPT2LMHeadModel(GPT2Config(use_cache=False)).eval()
    tokens = torch.randint(50257, (images, 32), generator=torch.Generator().manual_seed(0))
    return Case("GPT-2", network, tokens, ("transformer.h.5", "transformer.h.11"))


def resnet18(images: int) -> Case:
    from torchvision.models import resnet18 as build  # type: ignore[import-not-found]

    torch.manual_seed(0)
    pictures = torch.rand(images, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return Case("ResNet-18", build().eval(), pictures, ("layer2.1", "layer4.1"))


class Stopped(Exception):
    """Raised by a hook that has what it wants."""


def hook(case: Case, cuts: Sequence[str], *, stop: bool = False, exactly: bool = False) -> Way:
    """Hooks on the modules; with ``exactly`` they copy, which tells the truth in any case."""
    taken: dict[str, Tensor] = {}
    network = copy.deepcopy(case.network)

    def hooked(cut: str) -> Callable[..., None]:
        def take(module: nn.Module, inputs: object, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            taken[cut] = first.clone() if exactly else first
            if stop and cut == cuts[-1]:
                raise Stopped

        return take

    for cut in cuts:
        network.get_submodule(cut).register_forward_hook(hooked(cut))

    @torch.no_grad()
    def run() -> list[Tensor]:
        with contextlib.suppress(Stopped):
            network(case.inputs)
        return [taken.pop(cut) for cut in cuts]

    return run


def stopping_hook(case: Case, cuts: Sequence[str]) -> Way:
    return hook(case, cuts, stop=True)


def ours(case: Case, cuts: Sequence[str]) -> Way:
    bottom = ms.capture(case.network, case.inputs[:2]).bottoms(cuts)

    @torch.no_grad()
    def run() -> Sequence[Tensor]:
        found: Sequence[Tensor] = bottom(case.inputs)
        return found

    return run


def torchvision(case: Case, cuts: Sequence[str]) -> Way:
    from torchvision.models.feature_extraction import (  # type: ignore[import-not-found]
        create_feature_extractor,
    )

    # Where its tracing fails it leaves the network in train mode.
    extractor = create_feature_extractor(copy.deepcopy(case.network), list(cuts))

    @torch.no_grad()
    def run() -> list[Tensor]:
        found = extractor(case.inputs)
        return [found[cut] for cut in cuts]

    return run


def nnsight(case: Case, cuts: Sequence[str], *, stop: bool = False) -> Way:
    import nnsight as package  # type: ignore[import-not-found]

    # It wraps the modules that it is given, and the others shall run theirs as they are.
    wrapped = package.NNsight(copy.deepcopy(case.network))
    places = [wrapped.get(cut) for cut in cuts]

    @torch.no_grad()
    def run() -> list[Tensor]:
        with wrapped.trace(case.inputs) as tracer:
            found = package.save([place.output for place in places])
            if stop:
                tracer.stop()
        return list(found)

    return run


def nnsight_stopped(case: Case, cuts: Sequence[str]) -> Way:
    return nnsight(case, cuts, stop=True)


WAYS = {
    "hook": hook,
    "stopping hook": stopping_hook,
    "ours": ours,
    "torchvision": torchvision,
    "nnsight": nnsight,
    "nnsight, stopped": nnsight_stopped,
}
Prepared = tuple[Way, float]


def prepared(case: Case, cuts: Sequence[str]) -> tuple[dict[str, Prepared], dict[str, str]]:
    """Every way that can read the network, with the seconds that its preparation takes; of the others the reasons."""
    ready: dict[str, Prepared] = {}
    reasons: dict[str, str] = {}
    for name, way in WAYS.items():
        begun = time.perf_counter()
        try:
            run = way(case, cuts)
            seconds = time.perf_counter() - begun
            run()
        except Exception as problem:  # a package refuses a network in its own words
            told = (str(problem).strip() or type(problem).__name__).splitlines()
            reasons[name] = f"{type(problem).__name__}: {told[0]}"
        else:
            ready[name] = run, seconds
    return ready, reasons


def timed(case: Case, cut: str) -> list[dict[str, Any]]:
    """A row for every way: milliseconds a batch, and beside the two hooks."""
    (truth,) = hook(case, [cut], exactly=True)()
    ready, reasons = prepared(case, [cut])
    seconds = seconds_in_turns({name: run for name, (run, _) in ready.items()}, ROUNDS)
    shared = {"what": "time", "network": case.name, "cut": cut}
    rows: list[dict[str, Any]] = []
    for name, (run, preparing) in ready.items():
        (found,) = run()
        over = {f"over_{of.replace(' ', '_')}": seconds[name] / seconds[of] for of in ("hook", "stopping hook")}
        apart = float((found - truth).abs().max())
        taken = {"milliseconds": 1000 * seconds[name], **over, "preparing_seconds": preparing}
        rows.append({**shared, "way": name, **taken, "largest_difference": apart, "reason": ""})
    return rows + [{**shared, "way": name, "reason": reason} for name, reason in reasons.items()]


def in_place(case: Case, cuts: Sequence[str]) -> list[dict[str, Any]]:
    """A row for every way: which share of the values at the first cut is not what the module gave."""
    truth = hook(case, cuts, exactly=True)()[0]
    ready, reasons = prepared(case, cuts)
    shared = {"what": "in-place", "network": case.name, "cut": cuts[0], "beside": ", ".join(cuts[1:])}
    rows: list[dict[str, Any]] = []
    for name, (run, _) in ready.items():
        wrong = float((run()[0] != truth).double().mean())
        rows.append({**shared, "way": name, "wrong": wrong, "reason": ""})
    return rows + [{**shared, "way": name, "reason": reason} for name, reason in reasons.items()]


def told(row: dict[str, Any]) -> str:
    place = f"{row['network']} {row['cut']}" + (f" beside {row['beside']}" if row.get("beside") else "")
    if row["reason"]:
        return f"{place:32} {row['way']:17} {row['reason'][:160]}"
    if row["what"] == "in-place":
        return f"{place:32} {row['way']:17} {100 * row['wrong']:.1f} % of the values are not what the norm gave"
    return (
        f"{place:32} {row['way']:17} {row['milliseconds']:7.1f} ms = {row['over_hook']:.2f} x hook = "
        f"{row['over_stopping_hook']:.2f} x stopping hook, prepared in {row['preparing_seconds']:.2f} s, "
        f"within {row['largest_difference']:.0e} of the truth"
    )


def main(texts: int, images: int, out: Any) -> None:
    language, vision = gpt2(texts), resnet18(images)
    print(f"one cut, {torch.get_num_threads()} threads, torch {torch.__version__}")
    works: list[Callable[[], list[dict[str, Any]]]] = [
        *(lambda case=case, cut=cut: timed(case, cut) for case in (language, vision) for cut in case.cuts),
        *(lambda cuts=cuts: in_place(vision, cuts) for cuts in ([STEM], [STEM, LATER])),
    ]
    rows = []
    for work in works:
        for row in work():
            print(told(row), flush=True)
            rows.append(row)
    packages = {name: version(name) for name in PACKAGES}
    keep(out, {"texts": texts, "tokens": 32, "images": images, "rounds": ROUNDS, "packages": packages}, rows)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--texts", type=int, default=2)
    options.add_argument("--images", type=int, default=4)
    asked = options.parse_args()
    main(asked.texts, asked.images, asked.out)
