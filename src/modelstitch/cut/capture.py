"""Finding the cuts of a network: by export where that is possible, else by replay.

``capture`` first asks ``torch.export`` (non-strict, batch dynamic, functionalised: see ``exported``). A network that
cannot be exported, or whose exported graph is not bit-equal to it, is replayed by hooks (see ``replayed``), which is
slower and says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.cut.calling import called_as, calling_of, has_unseen, plan_of, planned
from modelstitch.cut.captured import Capture
from modelstitch.cut.exported import Exported
from modelstitch.cut.exporting import NotExportable
from modelstitch.cut.frozen import frozen_view
from modelstitch.cut.part import Bottom, Top
from modelstitch.cut.place import Cut
from modelstitch.cut.replayed import Replayed
from modelstitch.cut.untouched import run_untouched
from modelstitch.errors import NotCuttable, ShapeMismatch, StitchError
from modelstitch.support.modes import own_modes
from modelstitch.support.tensors import Kind

Example = Tensor | Sequence[Any] | Mapping[str, Any]


@own_modes()
def capture(network: nn.Module, example: Example, *, kinds: Mapping[str, Kind] | None = None) -> Capture:
    """Find every legal cut of a network.

    Args:
        network: any module; it is read, never changed. It is cut as it behaves in eval mode.
        example: an input as the network takes it: a tensor, several arguments in order, or arguments by keyword. The
            first tensor is the main input, the others are side inputs. What is no tensor (None, a number, a flag) is
            a constant of the captured network. One example is enough; its values do not matter.
        kinds: by cut, where its channels are; for cuts whose kind is ``unknown``, and wherever you know better.

    Returns:
        The captured network, whose halves together equal it bit for bit as it is when frozen: with weights that take
        no gradient (``network.requires_grad_(False)``), else its own answer may differ in the last digit; so may that
        of ``nn.TransformerEncoder``, whose fused layers (``torch.backends.mha``) halves do not use. Take many halves
        of one capture: ``capture(A, x).bottom("layer2.1")``. Networks made alike share one export.

    Raises:
        NotCuttable: the network can neither be exported nor replayed.
        ShapeMismatch: the network does not accept the example.
        SettingError: a kind that the tensor at its cut cannot have.
    """
    view = frozen_view(network)
    plan, args, kwargs = planned(view, *_as_inputs(example))
    if plan is not None:
        called_as(view, plan)
    answer = _check_runs(view, args, kwargs)
    if plan is None and has_unseen(answer):
        called_as(view, None)
    return _found(network, view, args, kwargs).told(kinds or {})


def _found(network: nn.Module, view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Capture:
    try:
        return Exported(view, args, kwargs)
    except NotExportable as reason:
        warnings.warn(f"{type(view).__name__} is replayed by hooks, which is slower, because {reason}", stacklevel=4)
        # A fresh view: export, where it fails, may leave its own tensors in the attributes of this one.
        fresh = frozen_view(network)
        if calling_of(view):
            called_as(fresh, plan_of(view))
        return _replayed(fresh, args, kwargs, str(reason))


def _replayed(view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], reason: str) -> Capture:
    try:
        return Replayed(view, args, kwargs, reason)
    except StitchError:
        raise
    except Exception as problem:  # the network's own: it ran before, and may refuse to run under hooks
        told = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        found = f"that {reason}, and that it fails when it is run by hooks: {told}"
        do = "make it exportable by torch.export, or report it with the whole error"
        raise NotCuttable(f"to cut {type(view).__name__}", found, do) from problem


def cuts(network: nn.Module, example: Example, *, every: bool = False) -> list[Cut]:
    """The legal cuts of a network, in order.

    A place is legal when exactly one tensor that depends on the main input's values is live there. What is told from
    token ids alone, such as which of them are padding, counts as little as a mask that is given: see
    `modelstitch.cut.told`.

    Args:
        network: any module; untouched.
        example: an input as the network takes it.
        every: all legal cuts with the end points ``input`` and ``output``; by default one a block.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [cut.name for cut in cuts(net, torch.zeros(1, 4), every=True)]
        ['input', '0', '1', 'output']
    """
    captured = capture(network, example)
    return list(captured.cuts if every else captured.blocks)


def bottom(network: nn.Module, cut: str | Cut, example: Example, *, kind: Kind | None = None) -> Bottom:
    """The layers of a network up to a cut: A≤l. Weights are shared with the network, and frozen.

    Args:
        network: any module; untouched.
        cut: its name, an alias, or the cut itself.
        example: an input as the network takes it.
        kind: where the channels are at the cut; by default what the network's operators say.

    Raises:
        CutNotFound: no place of that name.
        IllegalCut: more than one tensor crosses there.
        SettingError: a kind that the tensor there cannot have.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x = torch.zeros(2, 4)
        >>> torch.equal(top(net, "1", x)(bottom(net, "1", x)(x)), net(x))
        True
    """
    return capture(network, example, kinds=kinds_at(cut, kind)).bottom(cut)


def top(network: nn.Module, cut: str | Cut, example: Example, *, kind: Kind | None = None) -> Top:
    """The layers of a network after a cut: B>m. Weights are shared with the network, and frozen.

    Args:
        network: as in `bottom`.
        cut: as in `bottom`.
        example: as in `bottom`.
        kind: as in `bottom`.

    Raises:
        CutNotFound: no place of that name.
        IllegalCut: more than one tensor crosses there.
        SettingError: a kind that the tensor there cannot have.
    """
    return capture(network, example, kinds=kinds_at(cut, kind)).top(cut)


def kinds_at(cut: str | Cut, kind: Kind | None) -> dict[str, Kind]:
    """What the user says of a cut, as `capture` takes it; of one that another call has given, what was said there.

    Args:
        cut: its name, or the cut itself.
        kind: where its channels are; None where nothing is said.
    """
    if kind is None:
        return {cut.name: cut.kind} if isinstance(cut, Cut) and cut.kind != "unknown" else {}
    return {cut.name if isinstance(cut, Cut) else cut: kind}


def _as_inputs(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        return (), dict(example)
    return tuple(example), {}


def _check_runs(view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Any:
    """What the view answers."""
    tensors = [*args, *kwargs.values()]
    if not tensors or not all(t.shape[0] for t in tensors):
        raise NotCuttable(
            f"to run {type(view).__name__} on an example",
            "an example that is not made of tensors with at least one row",
            "give one input tensor with the batch on its first axis, or several in a tuple or dict",
        )
    try:
        with torch.no_grad():
            return run_untouched(view, args, kwargs)
    except Exception as problem:
        raise ShapeMismatch(
            f"to run {type(view).__name__} on an example of shape {tuple(tensors[0].shape)}",
            f"it refuses: {str(problem).splitlines()[0] if str(problem) else type(problem).__name__}",
            "give data of the shape and type that the network was trained on",
        ) from problem
