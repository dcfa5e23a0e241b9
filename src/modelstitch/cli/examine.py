"""What this machine has, and whether a stitching comes out right on it: what to ask first when something is odd."""

from __future__ import annotations

import platform
import tempfile
import time
from dataclasses import dataclass
from typing import Literal

import torch

from modelstitch.cut import capture
from modelstitch.data import DATA_SETS, find, load
from modelstitch.data.files import cache_folder
from modelstitch.errors import StitchError
from modelstitch.networks import build
from modelstitch.penalty import penalties
from modelstitch.stitched import Stitched
from modelstitch.stitches import Identity
from modelstitch.support.version import VERSION

_SLOW = 1.5
"""How many times as slow as float32 makes bfloat16 no choice."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: ``ok``; ``absent``, which hinders nothing else; or ``failed``.
        found: what stands there, in words.
    """

    name: str
    status: Literal["ok", "absent", "failed"]
    found: str


def examine() -> list[Check]:
    """Look at the versions, the devices, the data sets and the cache, and stitch a tiny network to itself.

    Nothing is fetched, and nothing is left behind.
    """
    return [
        Check("modelstitch", "ok", VERSION),
        Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("torch", "ok", f"{torch.__version__}, threads: {torch.get_num_threads()}"),
        Check("devices", "ok", ", ".join(_devices())),
        _bfloat16(),
        *(_data_set(name) for name in DATA_SETS),
        _cache(),
        _self_check(),
    ]


def _devices() -> list[str]:
    gpus = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _bfloat16() -> Check:
    """How fast the processor convolves in bfloat16: one without such instructions takes many times as long."""
    layer, images = torch.nn.Conv2d(32, 32, 3), torch.zeros(32, 32, 14, 14)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    # The first turn warms up; the best of the others is what the machine can do.
    for _ in range(4):
        for low, times in seconds.items():
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
                start = time.perf_counter()
                layer(images)
                times.append(time.perf_counter() - start)
    ratio = min(seconds[True][1:]) / min(seconds[False][1:])
    if ratio > _SLOW:
        return Check("bfloat16", "absent", f"on the CPU {ratio:.1f} times as slow as float32: do not choose it there")
    return Check("bfloat16", "ok", f"on the CPU {ratio:.2f} times the time of float32")


def _data_set(name: str) -> Check:
    try:
        place = find(name)
    except StitchError as error:
        return Check(f"data {name}", "failed", error.found)
    if place is None:
        return Check(f"data {name}", "absent", "not found; name its folder with --data-folder or MODELSTITCH_DATA")
    return Check(f"data {name}", "ok", str(place))


def _cache() -> Check:
    folder = cache_folder()
    # A cache that is not there yet is made when first needed: in the nearest folder above it that exists.
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return Check("cache", "ok", f"{folder} can be written")
    except OSError as error:
        return Check("cache", "failed", f"{folder} cannot be written: {error.strerror}")


def _self_check() -> Check:
    """The law that every stitching rests on: a network's own halves, joined by the identity, lose exactly nothing."""
    test = load("digits").test.first(64)
    network = build("resnet18", seed=0, width=2, channels=1).eval()
    try:
        captured = capture(network, test.example)
        for cut in captured.blocks:
            stitched = Stitched(captured.bottom(cut), Identity().build(cut, cut), captured.top(cut))
            lost = [f"{one.value} {one.score.unit}" for one in penalties(stitched, network, test).values() if one.value]
            if lost:
                found = f"penalty {' and '.join(lost)} at {cut.name}, where it must be 0"
                return Check("self-check", "failed", found)
    except StitchError as error:
        return Check("self-check", "failed", f"{error.found} (asked: {error.asked})")
    return Check("self-check", "ok", f"a network stitched to itself at {len(captured.blocks)} cuts: penalty exactly 0")


__all__ = ["Check", "examine"]
