"""What the benchmarks share: ways of doing one thing, each run in a process of its own, in turns; and their records.

A process of its own starts with an empty allocator and tells its own peak memory; taking turns lets a slow minute of
the machine slow all ways alike. Numbers are medians, meant as ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from modelstitch.compute import Compute
from modelstitch.stitching import provenance

CPU = Compute("cpu")


@dataclass(frozen=True)
class Cost:
    """What one way took, and what it found.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of all threads, the kernel's share included.
        peak: memory of the process at its highest, in MB, the libraries included.
        faults: pages that the system had to find for it, 4 KB each.
        found: whatever the way returned, as JSON.
    """

    seconds: float
    cpu_seconds: float
    peak: float
    faults: int
    found: Any


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark: where to keep the record, and (for its own processes) which way to run."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, help="a file for the record of this run, as JSON")
    made.add_argument("--way", help=argparse.SUPPRESS)
    return made


def report_cost(work: Callable[[], Any]) -> None:
    """In a way's own process: do the work once and print its cost as a line of JSON."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    begun, before = time.perf_counter(), time.process_time()
    found = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - before
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(asdict(Cost(seconds, cpu_seconds, used.ru_maxrss / 1024, used.ru_minflt - faults, found))))


def alone(way: str, *options: str) -> Cost:
    """Run one way of the script that is running, in a process of its own."""
    command = [sys.executable, sys.argv[0], "--way", way, *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def in_turns(ways: Sequence[str], rounds: int, *options: str) -> dict[str, list[Cost]]:
    """Every way in turn, ``rounds`` times."""
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            costs[way].append(alone(way, *options))
    return costs


def medians(costs: Sequence[Cost]) -> dict[str, float]:
    """The median of each number."""
    return {
        name: statistics.median(getattr(one, name) for one in costs)
        for name in ("seconds", "cpu_seconds", "peak", "faults")
    }


def seconds_in_turns(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of short works that take turns in this process; a first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def keep(path: Path | None, setting: dict[str, Any], rows: Sequence[dict[str, Any]], compute: Compute = CPU) -> None:
    """Write the record of one run: what was asked, what was found, where and with what."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"setting": setting, "rows": list(rows), **provenance(compute)}
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
