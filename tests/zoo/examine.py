"""What the library makes of one network: its cuts, its halves, its axes, and whether it is stitched end to end.

Everything goes through the public calls; `cheaply` says what is spared.
"""

from __future__ import annotations

import contextlib
import json
import time
import unittest.mock
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from catalogue.entry import Entry
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import modelstitch as ms
from modelstitch.activations.run import Activations
from modelstitch.cut import Capture, Cut
from modelstitch.cut.frozen import standard_attention
from modelstitch.data import side_inputs
from modelstitch.errors import NumericalFailure, StitchError
from modelstitch.networks import network as named_networks
from modelstitch.support.seeding import generator, seeded
from modelstitch.support.tensors import call, leaves
from widths import compared_captures

TRAIN, TEST, HALVES = 12, 8, 3
"""How many examples a stitch is fitted on, measured on, and how many the halves are compared on."""
FIRST = 4
"""How many names of cuts a row holds."""

Row = dict[str, Any]


def examine(entry: Entry) -> Row:
    """Capture a network, compare its halves with it, stitch two seeds of it, and compare two widths.

    Returns:
        What was found, as plain values. ``cannot`` holds, by step, what the library says of a step that it refuses.
    """
    row: Row = {"source": entry.source, "name": entry.name, "captured": "no", "cannot": {}}
    with warnings.catch_warnings(), cheaply():
        warnings.simplefilter("ignore")
        network, example = built(entry, entry.make, 0), drawn(entry, "example", 2)
        begun = time.process_time()
        captured = attempted(row, "capture", lambda: ms.capture(network, example))
        row["seconds"] = round(time.process_time() - begun, 1)
        if captured is not None:
            row |= cuts_of(captured)
            row |= attempted(row, "halves", lambda: halves_of(entry, network, captured)) or {}
            for cut in row.get("unequal", []):
                attempted(row, f"self-stitch at {cut}", lambda cut=cut: stitched(entry, network, cut))
            row |= attempted(row, "stitch", lambda: stitched(entry, network, middle(entry, captured))) or {}
            if entry.wide is not None:
                row["axis"] = attempted(row, "axis", lambda: axes_of(entry, captured))
    return row | {"seconds_in_all": round(time.process_time() - begun, 1)}


def attempted(row: Row, step: str, work: Callable[[], Any]) -> Any:
    """What a step finds; None where it is refused, which the row then says."""
    try:
        return work()
    except StitchError as error:
        row["cannot"][step] = str(error)
    except Exception as error:  # a traceback is a fault, and shown as what it is
        row["cannot"][step] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None


@contextlib.contextmanager
def cheaply() -> Iterator[None]:
    """Within it, a module is captured once, and short batches are not filled up to hundreds of examples.

    No weights change here, and inputs keep their form, so that a capture stays true. Filled up are batches of one call
    alike, which a smaller number does as well.
    """
    made: dict[nn.Module, Capture] = {}
    capture, run = named_networks.capture, Activations._run

    def kept(network: nn.Module, example: Any, *, kinds: Any = None) -> Capture:
        if network not in made:
            made[network] = capture(network, example, kinds=kinds)
        return made[network]

    with (
        unittest.mock.patch.object(named_networks, "capture", kept),
        unittest.mock.patch("modelstitch.cut.capture", kept),
        unittest.mock.patch.object(Activations, "_run", lambda self, cuts, index, full: run(self, cuts, index, TRAIN)),
    ):
        yield


def built(entry: Entry, make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network of an entry with random weights, frozen, which is what halves are promised to equal."""
    with seeded("zoo", str(entry), seed):
        network = make().eval()
        for weight in network.parameters():
            weight.requires_grad_(False)
        return network


def drawn(entry: Entry, what: str, n: int) -> Any:
    """So many examples."""
    return entry.inputs(n, generator("zoo", str(entry), what))


def cuts_of(captured: Capture) -> Row:
    """How it was captured, and where it can be cut."""
    inner = captured.cuts[1:-1]
    return {
        "captured": "replay" if captured.replayed else "export",
        "replayed": captured.replayed,
        "offered": len(captured.blocks),
        "legal": len(inner),
        "names": [cut.name for cut in captured.blocks[:FIRST]],
        "kinds": {str(kind): count for kind, count in Counter(cut.kind for cut in inner).most_common()},
        "unknown": [cut.name for cut in captured.blocks if cut.kind == "unknown"],
    }


def halves_of(entry: Entry, network: nn.Module, captured: Capture) -> Row:
    """The offered cuts at which top after bottom is not the network bit for bit; none of them may be stitched.

    Where torch would fuse whole encoder layers, which changes last digits, the network is compared without that.
    """
    inputs = drawn(entry, "halves", HALVES)
    with torch.no_grad():
        plain = tensors_in(call(network, copied(inputs)))
        with standard_attention():
            wanted = tensors_in(call(network, copied(inputs)))
        if not wanted:
            raise ValueError("the network answers with no tensor, so that nothing was compared")
        unequal = [cut.name for cut in captured.blocks if not equal(rejoined(captured, cut, copied(inputs)), wanted)]
    return {"unequal": unequal, "fused": not equal(plain, wanted)}


def rejoined(captured: Capture, cut: Cut, inputs: Any) -> dict[str, Tensor]:
    """What top after bottom answers."""
    crossing = call(captured.bottom(cut), inputs)
    return tensors_in(captured.top(cut).after(crossing, side_inputs(inputs), leaves(inputs)[0]))


def equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    """Bit for bit, and in the same places."""
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def copied(inputs: Any) -> Any:
    """The same in memory of their own: some networks write into what they are given."""
    return pytree.tree_map_only(Tensor, Tensor.clone, inputs)


def tensors_in(answer: Any, path: str = "") -> dict[str, Tensor]:
    """Every tensor of an answer by where it stands; objects such as key-value caches are left out."""
    if isinstance(answer, Tensor):
        return {path: answer}
    if isinstance(answer, Mapping):
        parts = answer.items()
    elif isinstance(answer, tuple | list):
        parts = enumerate(answer)
    else:
        return {}
    return {place: one for key, part in parts for place, one in tensors_in(part, f"{path}.{key}").items()}


def middle(entry: Entry, captured: Capture) -> str:
    """The offered cut in the middle, of those where it is known where the channels are."""
    known = [cut.name for cut in captured.blocks if cut.kind != "unknown"]
    if not known:
        found, do = "no cut of known kind is offered", "stitch a network through which one tensor passes alone"
        raise StitchError(f"to stitch {entry}", found, do)
    return known[len(known) // 2]


def stitched(entry: Entry, network: nn.Module, cut: str) -> Row:
    """Penalties at a cut: of the network under itself, and of another seed by the identity and by an affine map."""
    networks = {"A": network, "B": built(entry, entry.make, 1)}
    train, test = (examples(entry, what, n) for what, n in (("train", TRAIN), ("test", TEST)))

    def record_of(above: str, family: ms.Family) -> Any:
        record = ms.stitch(f"A@{cut} -> {above}@{cut}", networks, train, test, family=family, by=ms.Direct())
        if record.status != "ok":
            raise NumericalFailure(
                f"to measure {record.stitching}", record.reason.replace("\n", "; "), "see the reason"
            )
        return record

    itself = record_of("A", ms.Identity())
    first = itself.scores[0]
    row = {"cut": cut, "task": json.loads(itself.task)["name"], "score": first.score, "unit": first.unit}
    row["self"] = [first.penalty, first.low, first.high]
    for name, family in (("identity", ms.Identity()), ("affine", ms.Affine())):
        row[name] = record_of("B", family).scores[0].penalty
    return row


def examples(entry: Entry, what: str, n: int) -> Any:
    """Inputs with their targets, or alone."""
    inputs = drawn(entry, what, n)
    targets = entry.targets and entry.targets(inputs, generator("zoo", str(entry), what, "targets"))
    return ms.Arrays("noise", inputs) if targets is None else (inputs, targets)


def axes_of(entry: Entry, captured: Capture) -> Row:
    """At how many legal cuts another width changes the claimed axis alone; where it changes another, by name."""
    wide = ms.capture(built(entry, entry.wide, 0), drawn(entry, "example", 2))
    found = compared_captures(captured, wide)
    return {
        "right": len(found.right),
        "unknown": len(found.unknown),
        "fixed": len(found.fixed),
        "wrong": sorted(found.wrong),
    }
