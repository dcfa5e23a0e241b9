"""Processes that find each other as under torchrun, forked as those of ``forks.py`` are."""

import os
import socket
import time
from dataclasses import dataclass

import pytest
import torch

from forks import FORKS


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def several(folder, do, *arguments, count=2, seconds=240):
    """Do one thing in each of several processes; one that hangs fails the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(exist_ok=True)
    processes = [FORKS.Process(target=_one, args=(rank, count, port, folder, do, arguments)) for rank in range(count)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    hang = [process for process in processes if process.exitcode is None]
    for process in hang:
        process.kill()
        process.join()
    said = [[(folder / f"{rank}.{name}").read_text() for name in ("out", "err")] for rank in range(count)]
    if hang:
        pytest.fail(f"{len(hang)} processes hang: {said}")
    return [Ended(process.exitcode, *lines) for process, lines in zip(processes, said, strict=True)]


def _one(rank, count, port, folder, do, arguments):
    torch.set_num_threads(1)
    told = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    # One alone is started by nobody else.
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({name: str(value) for name, value in told.items() if count > 1})
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{rank}.{name}", os.O_WRONLY | os.O_CREAT), number)
    do(*arguments)
