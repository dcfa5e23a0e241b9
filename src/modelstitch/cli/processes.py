"""Verbs run by several processes that share their trainings: `modelstitch.parallel.launch` on the command line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from modelstitch.parallel import STRATEGIES, launch

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "devices": (int, "Devices (of the CPU: processes) on each host that share the work; needs the extra 'fabric'."),
    "nodes": (int, "Hosts that share the work, under SLURM or torchrun."),
    "strategy": (str, f"Of several devices: {' or '.join(STRATEGIES)}."),
}
_DEFAULTS = {"devices": 1, "nodes": 1, "strategy": STRATEGIES[0]}


def shared(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that has ``--device``, with ``--devices``, ``--nodes`` and ``--strategy`` behind it."""

    @functools.wraps(verb)
    def run(*, devices: int = 1, nodes: int = 1, strategy: str = STRATEGIES[0], **typed: Any) -> None:
        if devices == nodes == 1:
            return verb(**typed)
        kind = str(typed["compute"].device) if typed["compute"] else "cpu"
        # Each process computes on a device of its own.
        typed["compute"] = None
        if code := launch(_ending, run, typed, devices=devices, nodes=nodes, strategy=strategy, device=kind):
            raise typer.Exit(code)
        return None

    # typer reads a verb's options off its signature and its annotations.
    options = {name: Annotated[kind, typer.Option(help=told)] for name, (kind, told) in _OPTIONS.items()}
    by_name = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, by_name, annotation=options[name], default=_DEFAULTS[name]) for name in options]
    own = [one.replace(kind=by_name) for one in inspect.signature(verb, eval_str=True).parameters.values()]
    behind = 1 + [one.name for one in own].index("compute")
    run.__dict__["__signature__"] = inspect.Signature([*own[:behind], *added, *own[behind:]])
    run.__annotations__ = {**get_type_hints(verb, include_extras=True), **options}
    # Else they would be read off the verb itself.
    del run.__dict__["__wrapped__"]
    return run


def _ending(verb: Callable[..., None], typed: dict[str, Any]) -> int:
    """How the verb left: an exit is no error, and every process meets it."""
    try:
        verb(**typed)
    except typer.Exit as left:
        return left.exit_code
    return 0
