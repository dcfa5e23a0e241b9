"""A network as ``torch.export`` sees it: asked for once, silently, with what varies left free."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from modelstitch.cut.calling import calling_of
from modelstitch.cut.recurrent import as_leaves, as_they_were
from modelstitch.cut.run import followed


class NotExportable(Exception):
    """Why a network cannot be cut by export; the replay takes over."""


def exported_program(
    view: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
) -> torch.export.ExportedProgram:
    """Export with the batch dynamic, and for integer tensors (token ids, masks) the length too where it can be.

    Args:
        view: a frozen view.
        args: two examples or more, given in order.
        kwargs: or by keyword.

    Raises:
        NotExportable: torch cannot export it.
    """
    reason: Exception | None = None
    for lengths in (True, False):
        if not lengths and reason is None:
            continue
        try:
            signature = _plain_signature(view, len(args), list(kwargs))
            with torch.no_grad(), silence(), followed(view), signature, as_leaves():
                bound = inspect.signature(view.forward).bind(*args, **kwargs).arguments
                shapes = {name: _dynamic(tensor, lengths) for name, tensor in bound.items()}
                program = torch.export.export(view, args, kwargs, dynamic_shapes=shapes, strict=False)
                functional: torch.export.ExportedProgram = program.run_decompositions({})
                as_they_were(functional.graph_module)
                return functional
        except Exception as problem:  # export fails in a hundred ways, each with a type of its own
            reason = problem
    raise NotExportable(f"torch.export refuses it: {_first_line(reason)}")


@contextmanager
def _plain_signature(view: nn.Module, in_order: int, keywords: list[str]) -> Iterator[None]:
    """Within it, a forward of ``*args`` or ``**kwargs`` has a parameter for each input, as export wants them."""
    own = inspect.signature(view.forward)
    plain = all(one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in own.parameters.values())
    # Export wants a function, and takes no other callable.
    if plain and calling_of(view) is None:
        yield
        return
    forward = view.forward

    def named(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    ordered = [inspect.Parameter(f"input_{i}", inspect.Parameter.POSITIONAL_OR_KEYWORD) for i in range(in_order)]
    told = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in keywords]
    named.__signature__ = inspect.Signature([*ordered, *told])  # type: ignore[attr-defined]
    before = view.__dict__.get("forward")
    view.__dict__["forward"] = named
    try:
        yield
    finally:
        del view.__dict__["forward"]
        if before is not None:
            view.__dict__["forward"] = before


@contextmanager
def silence() -> Iterator[None]:
    """Export warns, logs and prints, in pages, about what we ask of it; what matters arrives as an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _dynamic(tensor: Tensor, lengths: bool) -> dict[int, Any]:
    dims: dict[int, Any] = {0: torch.export.Dim.DYNAMIC}
    if lengths and tensor.ndim == 2 and not tensor.is_floating_point():
        dims[1] = torch.export.Dim.DYNAMIC
    return dims


def _first_line(problem: Exception | None) -> str:
    lines = [line for line in str(problem).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(problem).__name__
