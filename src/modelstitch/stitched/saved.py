"""A network in a folder: its graph as JSON, its tensors in safetensors. Nothing in it is code, and none runs on load.

    network.json                    the operators, the inputs, the form of the output
    tensors-<fingerprint>.safetensors   weights, statistics and constants

The graph is that of the whole network as `modelstitch.capture` finds it: names of modules are kept, so that a loaded
network is cut at the places that it had. Where it is read, every operator is looked up by name among those of PyTorch
itself that change none of their arguments; the classes that the network was made of are not needed.

Beware: an output object of a class of its own (the ``ModelOutput`` of Hugging Face) is loaded as a dict, and a loaded
network has nothing to train: its stitch is fixed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from modelstitch.cut import Cut, Entry, Part, capture
from modelstitch.cut.form import Form
from modelstitch.cut.run import Run
from modelstitch.cut.spelling import Unspeakable, graph_of, spelled
from modelstitch.errors import BadFile, CannotExport
from modelstitch.stitched.portable import Portable, example_of
from modelstitch.support.files import write_whole
from modelstitch.support.tensors import fingerprint

_DESCRIPTION = "network.json"
_FORMAT = 1


class Loaded(Part, Portable):
    """A network read from a folder: a graph over tensors of its own, with nothing to train."""

    def takes(self) -> tuple[Entry, ...]:
        """The inputs that it was captured with."""
        return self.entries


def save(network: nn.Module, entries: Sequence[Entry], folder: str | Path) -> None:
    """Save a network as it behaves in eval mode; what the folder held of another one is replaced.

    Args:
        network: any that can be exported by ``torch.export``.
        entries: the inputs that it is called with.
        folder: made if need be. A reader finds the old network or the new one, whatever interrupts the writer.

    Raises:
        CannotExport: the network is replayed by hooks, or has an operator that is not one of PyTorch's own.
        NotWritable: the place refuses.

    Example:
        >>> import tempfile
        >>> from modelstitch.stitched import Stitched
        >>> from modelstitch.stitches import Affine
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> halves = capture(net, torch.ones(2, 4))
        >>> cut = halves.find("1")
        >>> stitched = Stitched(halves.bottom(cut), Affine().build(cut, cut), halves.top(cut))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stitched.save(folder)
        ...     torch.equal(load_stitched(folder)(torch.ones(2, 4)), stitched(torch.ones(2, 4)))
        True
    """
    asked = f"to save {type(network).__name__} in {folder}"
    half = whole_of(network, entries, asked)
    finish = half._finish
    assert isinstance(finish, Form)
    tensors: dict[str, Tensor] = {}
    try:
        described = _described(half.run, tensors)
        graph_of(described["graph"])
    except Unspeakable as problem:
        do = "write that layer with PyTorch's own operators"
        raise CannotExport(asked, f"{problem}, which is none of PyTorch's own", do) from problem
    name = f"tensors-{fingerprint(tensors)}.safetensors"
    told = {
        "format": _FORMAT,
        "network": half.name,
        "inputs": [_spelled_entry(entry) for entry in entries],
        "cut": [list(half.cut.shape), half.cut.kind],
        "form": _form(finish.spec),
        "tensors": name,
        **described,
    }
    folder = Path(folder)
    # The description comes last: it names the tensors that belong to it.
    write_whole(folder / name, safetensors.torch.save(tensors))
    write_whole(folder / _DESCRIPTION, json.dumps(told, allow_nan=False).encode())
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink()


def whole_of(network: nn.Module, entries: Sequence[Entry], asked: str) -> Part:
    """The whole network as one graph.

    Raises:
        CannotExport: it has none.
    """
    example = example_of(entries, 2, network)
    with warnings.catch_warnings():
        # That it is replayed is an error here.
        warnings.simplefilter("ignore", UserWarning)
        captured = capture(network, example)
    if captured.replayed:
        found = f"a network that is replayed by hooks, because {captured.replayed}"
        raise CannotExport(asked, found, "make it exportable by torch.export, or pickle it with torch.save")
    return captured.top("input")


def _described(run: nn.Module, tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """A run as JSON values; its tensors go into ``tensors``, each memory once."""
    assert isinstance(run, Run)
    known = {_place(tensor): name for name, tensor in tensors.items()}
    names, inner = {}, {}
    for name, value in run.held().items():
        if isinstance(value, Run):
            inner[name] = _described(value, tensors, f"{prefix}{name}.")
        elif isinstance(value, Tensor):
            key = known.setdefault(_place(value), f"{prefix}{name}")
            flat, stride = _flat(value.detach().cpu())
            names[name] = [key, list(value.shape), stride]
            tensors.setdefault(key, flat)
        else:
            raise Unspeakable(f"a module {type(value).__name__} in the graph")
    containers = [[path, container] for path, container in run.containers.items()]
    return {"graph": spelled(run.graph), "held": names, "inner": inner, "modules": containers}


def _place(tensor: Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.device


def _flat(tensor: Tensor) -> tuple[Tensor, list[int]]:
    """The numbers as they lie in memory, and the strides: sums may round by them, so that they are kept."""
    strides = list(tensor.stride())
    order = sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis))
    step = 1
    for axis in reversed(order):
        if tensor.shape[axis] > 1 and strides[axis] != step:
            # Numbers that lie apart or on each other, which no file needs to keep.
            return _flat(tensor.contiguous())
        step *= tensor.shape[axis]
    return tensor.permute(order).reshape(-1).clone(), strides


def _spelled_entry(entry: Entry) -> list[Any]:
    return [entry.name, list(entry.shape), str(entry.dtype).removeprefix("torch."), entry.keyword]


def _form(spec: pytree.TreeSpec) -> Any:
    """The form of an output: None is a tensor; lists, tuples and dicts hold forms; all else becomes a dict."""
    if spec.is_leaf():
        return None
    children = [_form(child) for child in spec.children()]
    if spec.type in (tuple, list):
        return {spec.type.__name__: children}
    context = spec.context
    keys = context if isinstance(context, (list, tuple)) and len(context) == len(children) else range(len(children))
    return {"dict": [[str(key), child] for key, child in zip(keys, children, strict=True)]}


def load_stitched(folder: str | Path) -> Loaded:
    """Read a network that was saved; it answers bit for bit what the saved one did, in eval mode.

    Args:
        folder: as it was saved to.

    Raises:
        BadFile: there is no network in the folder, or it is damaged, or asks for an operator that is not accepted.
    """
    asked = f"to load a stitched network from {folder}"
    do = "save it again with stitched.save(folder)"
    try:
        told = json.loads((Path(folder) / _DESCRIPTION).read_bytes())
        if told["format"] != _FORMAT:
            raise BadFile(asked, f"format {told['format']!r}, where this version reads {_FORMAT}", do)
        tensors = safetensors.torch.load((Path(folder) / Path(told["tensors"]).name).read_bytes())
        if f"tensors-{fingerprint(tensors)}.safetensors" != told["tensors"]:
            raise BadFile(asked, f"numbers in {told['tensors']} that were not saved there", do)
        # Copies lie in memory as new tensors do: sums may round by where numbers lie.
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        shape, kind = told["cut"]
        cut = Cut("input", (), tuple(shape), kind, 0.0, 0.0, False)
        entries = tuple(_entry(*one) for one in told["inputs"])
        return Loaded(str(told["network"]), cut, entries, _run(told, tensors), Form(_spec(told["form"])))
    except FileNotFoundError as error:
        found = f"no file {Path(error.filename).name}"
        raise BadFile(asked, found, "give a folder that stitched.save(folder) has written") from error
    except (OSError, SafetensorError) as error:
        raise BadFile(asked, str(error).splitlines()[0], do) from error
    except (Unspeakable, KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError) as error:
        if isinstance(error, BadFile):
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        found = f"a description that makes no sense: {why}"
        raise BadFile(asked, found, do) from error


def _run(told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Run:
    root: dict[str, Any] = {name: _run(one, tensors) for name, one in told["inner"].items()}
    for name, (key, shape, stride) in told["held"].items():
        root[name] = tensors[key].as_strided(shape, stride)
    graph = graph_of(told["graph"])
    graph.lint()
    return Run(root, graph, {str(path): bool(container) for path, container in told["modules"]})


def _entry(name: str, shape: list[int | None], dtype: str, keyword: bool) -> Entry:
    found = getattr(torch, dtype)
    if not isinstance(found, torch.dtype):
        raise Unspeakable(f"the type {dtype!r}")
    return Entry(name, tuple(shape), found, keyword)


def _spec(form: Any) -> pytree.TreeSpec:
    return pytree.tree_structure(_hollow(form))


def _hollow(form: Any) -> Any:
    if form is None:
        return 0
    ((kind, held),) = form.items()
    if kind == "dict":
        return {key: _hollow(one) for key, one in held}
    return {"tuple": tuple, "list": list}[kind](_hollow(one) for one in held)
