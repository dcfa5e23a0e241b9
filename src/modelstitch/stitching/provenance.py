"""What identifies a record, and where and with what it was made."""

from __future__ import annotations

import datetime
import functools
import hashlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from modelstitch.compute import Compute
from modelstitch.parallel import ranks
from modelstitch.support.version import VERSION


def key_of(columns: dict[str, Any]) -> str:
    """16 hex digits of what was asked; names are left out, since weights say which networks they are."""
    science = {k: v for k, v in columns.items() if k not in ("stitching", "bottom_network", "top_network", "data")}
    return hashlib.blake2b(repr(sorted(science.items())).encode(), digest_size=8).hexdigest()


def provenance(compute: Compute) -> dict[str, Any]:
    """Where and with what a record was made."""
    shared = f", {ranks().count} processes" if ranks().several else ""
    return {
        "device": f"{compute.device}: {compute.hardware}{shared}",
        "threads": torch.get_num_threads(),
        "versions": {"modelstitch": VERSION, "torch": torch.__version__, "python": platform.python_version()},
        "commit": _commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _commit() -> str:
    """The commit of the checkout that runs, ``+`` when its sources were edited since; empty for a release."""
    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / ".git").exists():
        return ""
    git = ["git", "-C", str(checkout)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        edited = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if edited.stdout else "")
