"""What the library makes of one network: its cuts, its halves, its axes, and whether it is stitched end to end.

Everything goes through the public calls. Captures are kept within one examination, as each takes seconds and three
stitchings would make five of them; nothing else is.
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
from modelstitch.cut import Capture
from modelstitch.errors import StitchError
from modelstitch.networks import network as named_networks
from modelstitch.support.seeding import generator, seeded
from modelstitch.data import side_inputs
from modelstitch.support.tensors import call, leaves
from widths import compared_captures

TRAIN, TEST, HALVES = 24, 16, 3
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
    with warnings.catch_warnings(), kept_captures():
        warnings.simplefilter("ignore")
        network, example = built(entry, entry.make, 0), drawn(entry, "example", 2)
        begun = time.perf_counter()
        captured = attempted(row, "capture", lambda: ms.capture(network, example))
        row["seconds"] = round(time.perf_counter() - begun, 1)
        if captured is not None:
            row |= cuts_of(captured)
            row |= attempted(row, "halves", lambda: halves_of(entry, network, captured)) or {}
            row |= attempted(row, "stitch", lambda: stitched(entry, network, captured)) or {}
            if entry.wide is not None:
                row["axis"] = attempted(row, "axis", lambda: axes_of(entry, captured))
    return row | {"seconds_in_all": round(time.perf_counter() - begun, 1)}


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
def kept_captures() -> Iterator[None]:
    """Within it, a module is captured once. Its weights do not change here, and its inputs keep their form."""
    made: dict[nn.Module, Capture] = {}
    capture = named_networks.capture

    def kept(network: nn.Module, example: Any, *, kinds: Any = None) -> Capture:
        if network not in made:
            made[network] = capture(network, example, kinds=kinds)
        return made[network]

    with (
        unittest.mock.patch.object(named_networks, "capture", kept),
        unittest.mock.patch("modelstitch.cut.capture", kept),
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
        "unknown": [cut.name for cut in inner if cut.kind == "unknown"],
    }


def halves_of(entry: Entry, network: nn.Module, captured: Capture) -> Row:
    """The offered cuts at which top after bottom is not the network bit for bit."""
    inputs = drawn(entry, "halves", HALVES)
    with torch.no_grad():
        wanted = tensors_in(call(network, copied(inputs)))
        unequal = []
        for cut in captured.blocks:
            given = copied(inputs)
            crossing = call(captured.bottom(cut), given)
            found = tensors_in(captured.top(cut).after(crossing, side_inputs(given), leaves(given)[0]))
            if found.keys() != wanted.keys() or not all(torch.equal(found[name], wanted[name]) for name in wanted):
                unequal.append(cut.name)
    if not wanted:
        raise ValueError("the network answers with no tensor, so that nothing was compared")
    return {"unequal": unequal}


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


def stitched(entry: Entry, network: nn.Module, captured: Capture) -> Row:
    """Penalties at a middle cut: of the network under itself, and of another seed by the identity and by an affine map."""
    known = [cut for cut in captured.blocks if cut.kind != "unknown"] or list(captured.blocks)
    if not known:
        raise StitchError(f"to stitch {entry}", "no cut is offered", "stitch a network through which one tensor passes alone")
    cut = known[len(known) // 2].name
    networks = {"A": network, "B": built(entry, entry.make, 1)}
    train, test = (examples(entry, what, n) for what, n in (("train", TRAIN), ("test", TEST)))

    def penalty(way: str, family: ms.Family) -> Any:
        above = way[-1]
        record = ms.stitch(f"A@{cut} -> {above}@{cut}", networks, train, test, family=family, by=ms.Direct())
        if record.status != "ok":
            raise ValueError(record.reason)
        return record

    itself = penalty("A -> A", ms.Identity())
    first = itself.scores[0]
    row = {"cut": cut, "task": json.loads(itself.task)["name"], "score": first.score, "unit": first.unit}
    row["self"] = [first.penalty, first.low, first.high]
    for name, family in (("identity", ms.Identity()), ("affine", ms.Affine())):
        row[name] = penalty("A -> B", family).scores[0].penalty
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
