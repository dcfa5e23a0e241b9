"""Where jobs run: in this process, or in several on this machine.

Beware: local workers are fresh processes (a fork of a process with threads can hang), each of which imports torch anew,
about three seconds a job.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol, runtime_checkable

import torch

from modelstitch.errors import SettingError
from modelstitch.records import Store
from modelstitch.sweep.context import Context, Failure, Found
from modelstitch.sweep.jobs import Collected
from modelstitch.sweep.plan import Job, PairJob


@runtime_checkable
class Executor(Protocol):
    """Where jobs run."""

    def run(self, jobs: Sequence[Job], context: Context, store: Store) -> Iterator[tuple[Job, Found]]:
        """Do the jobs, in any order; each comes back with what it gave."""


class Here:
    """One job after the other, in this process; records reach the store as soon as they are made."""

    def run(self, jobs: Sequence[Job], context: Context, store: Store) -> Iterator[tuple[Job, Found]]:
        """Do the jobs in order."""
        for job in jobs:
            yield job, context.do(job, store)


@dataclass(frozen=True)
class Processes:
    """Several jobs at once, each in a process of its own; a process that dies costs its job alone.

    Args:
        count: how many at once.

    Raises:
        SettingError: fewer than one.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise SettingError(f"a run in {self.count} processes", "no process to run in", "choose 1 or more")

    def run(self, jobs: Sequence[Job], context: Context, store: Store) -> Iterator[tuple[Job, Found]]:
        """Do the jobs, each as soon as a process is free; one whose process died is tried once more."""
        waiting = [(job, 1) for job in jobs]
        running: dict[Connection, _Running] = {}
        threads = max(1, torch.get_num_threads() // self.count)
        try:
            while waiting or running:
                while waiting and len(running) < self.count:
                    job, tried = waiting.pop(0)
                    seat = min(set(range(self.count)) - {one.seat for one in running.values()})
                    connection, process = _start(job, context, store.keys(), threads, seat)
                    running[connection] = _Running(job, tried, process, seat)
                ready = wait(list(running))
                for connection in [one for one in running if one in ready]:
                    one = running.pop(connection)
                    found = _received(connection, one.process)
                    if found is None and one.tried == 1:
                        waiting.append((one.job, 2))
                    else:
                        yield one.job, found or Failure(f"its process died twice (exit code {one.process.exitcode})")
        finally:
            for one in running.values():
                one.process.kill()
                one.process.join()


@dataclass(frozen=True)
class _Running:
    """A job in a process: how often it was tried, and in which of the seats that processes take turns in."""

    job: Job
    tried: int
    process: BaseProcess
    seat: int


def _start(job: Job, context: Context, done: frozenset[str], threads: int, seat: int) -> tuple[Connection, BaseProcess]:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_worker, args=(theirs, job, context.fresh(), done, threads, seat), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _worker(connection: Connection, job: Job, context: Context, done: frozenset[str], threads: int, seat: int) -> None:
    torch.set_num_threads(threads)
    if context.data.compute.device == "cuda":
        # In each process the word means another GPU, so that side by side they share out all of the machine's.
        torch.cuda.set_device(seat % torch.cuda.device_count())
    connection.send(collected(job, context, done))
    connection.close()


def collected(job: Job, context: Context, done: frozenset[str]) -> Found:
    """Do a job where the store is out of reach, and give back everything that it found.

    Args:
        job: what to do.
        context: what to do it with.
        done: keys of the records that need not be measured again.
    """
    keeper = Collected(done)
    found = context.do(job, keeper)
    return keeper.measured if isinstance(job, PairJob) and not isinstance(found, Failure) else found


def _received(connection: Connection, process: BaseProcess) -> Found | None:
    """What a worker gave; None when it died before it gave anything."""
    try:
        found: Found | None = connection.recv()
    except EOFError:
        found = None
    process.join()
    connection.close()
    return found
