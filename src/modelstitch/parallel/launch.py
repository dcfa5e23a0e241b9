"""Processes started, or found started, by Lightning Fabric (extra ``fabric``), and one function run in each.

Fabric finds out who starts them: itself on one host, or torchrun or SLURM, whose environment it reads. It picks each
process's device and connects them. What they exchange is in ``ranks``: networks here are small, and one sum of all
gradients a step is simpler than a wrapper round each network, which could not take uneven or empty parts.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from modelstitch.errors import Parted, SettingError, StitchError
from modelstitch.parallel.ranks import Ranks, among, ranks

T = TypeVar("T")

STRATEGIES = ("ddp", "ddp_spawn")
_DEVICES = ("cpu", "cuda")
# How long a process that met an error waits for the others to meet it too.
_PATIENCE = timedelta(seconds=60)


def launch(
    function: Callable[..., T],
    *arguments: Any,
    devices: int = 1,
    nodes: int = 1,
    device: str = "cpu",
    strategy: str = "ddp",
) -> T:
    """Run a function in several processes that share its trainings, and go on with what the first of them returns.

    Within the function, base networks are trained and stitches are fitted by all processes together: each takes its
    part of every batch, and all end with the same weights. Every process must make the same calls.

    By ``ddp`` the script itself is run again for each device up to this call, so that what stands above runs in
    every process; what stands below runs in the first alone, and the others end here. Under torchrun or SLURM these
    have started the processes already. By ``ddp_spawn`` this process starts others, which import the function.

    Args:
        function: what to run; by ``ddp_spawn``, it and what it returns can be pickled.
        arguments: of the function.
        devices: processes on each host, each with a device of its own; with one in all, the function is simply called.
        nodes: hosts.
        device: ``cpu`` or ``cuda``.
        strategy: ``ddp`` or ``ddp_spawn``.

    Returns:
        What the function returns in the first process.

    Raises:
        SettingError: a number below one, no such device or strategy, or no Lightning Fabric.
        StitchError: what every process met.
        Parted: what one process met alone.

    Example:
        >>> launch(max, 1, 2)
        2
    """
    _check(devices, nodes, device, strategy)
    if devices * nodes == 1:
        return function(*arguments)
    fabric = _fabric(devices, nodes)(accelerator=device, devices=devices, num_nodes=nodes, strategy=strategy)
    if strategy == "ddp_spawn":
        result, error = pickle.loads(fabric.launch(_pickled, function, arguments))
    else:
        result, error = fabric.launch(_inside, function, arguments)
        if fabric.global_rank:
            raise SystemExit
    if error is not None:
        raise error
    found: T = result
    return found


def _check(devices: int, nodes: int, device: str, strategy: str) -> None:
    asked = f"a run over {devices} devices on {nodes} hosts"
    if devices < 1 or nodes < 1:
        raise SettingError(asked, "no process to run it", "choose 1 or more of each")
    if strategy not in STRATEGIES:
        raise SettingError(f"{asked} by {strategy!r}", "no such strategy", f"choose one of {', '.join(STRATEGIES)}")
    if device not in _DEVICES:
        found = "devices of these kinds alone: " + ", ".join(_DEVICES)
        raise SettingError(f"{asked}, each of the kind {device!r}", found, "choose one of them, without a number")
    if ranks().several:
        raise SettingError(asked, f"one that runs over {ranks().count} processes already", "launch once")


def _fabric(devices: int, nodes: int) -> Any:
    try:
        import lightning_fabric
    except ImportError as error:
        do = "pip install 'modelstitch[fabric]'"
        raise SettingError(f"a run over {devices * nodes} processes", "no package lightning-fabric", do) from error
    # It greets each process; what matters arrives as an exception.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return lightning_fabric.Fabric


def _pickled(fabric: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """As `_inside`, in a form that Fabric hands to another process as it is."""
    result, error = _inside(fabric, function, arguments)
    return pickle.dumps((result, error) if fabric.global_rank == 0 else (None, None))


def _inside(fabric: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, StitchError | None]:
    """Run the function as one of several: what it returns, or the error that all of them have met."""
    from torch import distributed

    group = distributed.new_group(backend="gloo")
    # A group of its own, since a wait may only be short in all that a group does.
    failing = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    here = Ranks(fabric.global_rank, fabric.world_size, str(fabric.device), group, failing)
    try:
        with among(here), _silence(here):
            result = function(*arguments)
    except Parted:
        raise
    except StitchError as error:
        here.all_fail(error)
        # Nobody leaves before all know that they may: a connection that is closed would look like a loss.
        with contextlib.suppress(RuntimeError):
            distributed.barrier(failing)
        return None, error
    distributed.barrier(group)
    distributed.destroy_process_group()
    return result, None


@contextlib.contextmanager
def _silence(here: Ranks) -> Iterator[None]:
    """One process talks; an exception leaves this block and is still told."""
    if here.first:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
