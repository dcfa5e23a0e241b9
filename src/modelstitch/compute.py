"""Where to compute, and how much room activations may take, in memory and on disk: neither changes a result."""

from __future__ import annotations

import contextlib
import functools
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from modelstitch.errors import SettingError
from modelstitch.parallel import ranks
from modelstitch.support.memory import GB

if TYPE_CHECKING:
    import torch
    from torch import nn

Precision = Literal["float32", "bfloat16"]
"""What networks compute in while a stitch is fitted; everything is measured in float32."""
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class Compute:
    """A device, and room for activations; the networks and what a forward pass needs come on top.

    Half of ``memory`` bounds the activations of one batch at all cuts: where they would take more, the cuts are done in
    several passes. The other half keeps activations from one pass to the next, so that a network need not run again.
    With a folder they are kept there instead, as memory-mapped ``.npy`` files, and later calls find them.

    Args:
        device: such as ``cuda:1``, or a `torch.device`; by default this process's own where there are several, else
            where the network is.
        memory: in GB (10⁹ bytes).
        folder: where to keep activations on disk; by default they are kept in memory and forgotten afterwards.
        disk: how much of the folder's disk one call may fill, in GB.

    Raises:
        SettingError: a negative or infinite size, or this machine does not compute on the device.

    Example:
        >>> Compute(memory=1.0).chunks([200_000_000, 200_000_000, 200_000_000, 900_000_000])
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """

    device: str | torch.device | None = None
    memory: float = 2.0
    folder: str | Path | None = None
    disk: float = 20.0

    def __post_init__(self) -> None:
        for name in ("memory", "disk"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise SettingError(f"to compute with {name}={value}", "no such size", "give GB, 0 or more")
        if self.device is not None:
            object.__setattr__(self, "device", str(self.device))
            self._check_device()

    @property
    def kept_bytes(self) -> float:
        """Bytes of activations that may be kept between passes."""
        return GB * (self.memory / 2 if self.folder is None else self.disk)

    @property
    def hardware(self) -> str:
        """What the maker calls the device, as far as the system tells; without one, what computes by default."""
        import torch

        name = str(self.device)
        return torch.cuda.get_device_name(name) if name.startswith("cuda") else _processor()

    def chunks(self, sizes: Sequence[int]) -> list[slice]:
        """Split cuts, in their order, into runs of which one batch of activations fits; each run has at least one.

        Args:
            sizes: bytes of one batch at each cut.
        """
        found: list[slice] = []
        begin, total = 0, 0.0
        for index, size in enumerate(sizes):
            if index > begin and total + size > GB * self.memory / 2:
                found.append(slice(begin, index))
                begin, total = index, 0.0
            total += size
        return [*found, slice(begin, len(sizes))] if sizes else []

    def place(self, network: nn.Module) -> str:
        """Where a network computes."""
        return str(self.device or ranks().device or home_of(network))

    @contextlib.contextmanager
    def hosting(self, network: nn.Module) -> Iterator[None]:
        """Within it a network is where it computes; afterwards, also after an error, it is back where it was."""
        home = home_of(network)
        network.to(self.place(network))
        try:
            yield
        finally:
            network.to(home)

    def _check_device(self) -> None:
        import torch

        try:
            there = torch.device(str(self.device))
            # A tensor would claim memory for good, on the first GPU for each of several processes that begin here.
            gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if there.type != "cuda" or (there.index or 0) >= gpus:
                torch.zeros(1, device=there)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            asked, found = f"to compute on {self.device}", str(error).splitlines()[0]
            raise SettingError(asked, found, "see what there is: `modelstitch doctor`") from error


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Within it, float32 is float32: no product or convolution on a GPU is rounded to the ten bits of TF32.

    torch convolves in TF32 on NVIDIA GPUs unless it is told otherwise. A loss then moves by about 10⁻³, and some
    predictions change; what is measured must not depend on that.
    """
    import torch

    if not torch.cuda.is_available():
        yield
        return
    flags: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [one.allow_tf32 for one in flags]
    try:
        for one in flags:
            one.allow_tf32 = False
        yield
    finally:
        for one, value in zip(flags, before, strict=True):
            one.allow_tf32 = value


def home_of(network: object) -> str:
    """The device of a network's parameters or buffers; the CPU for one that has none, or is no module."""
    from torch import nn

    if isinstance(network, nn.Module):
        for tensor in (*network.parameters(), *network.buffers()):
            return str(tensor.device)
    return "cpu"


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0]}, {len(named)} cores" if named else platform.machine()
