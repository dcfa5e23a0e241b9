"""Jobs as tasks of Ray, on this machine or a cluster.

The driver alone writes the store and the folder of networks: workers send everything back. Data and networks travel
through Ray's object store, so workers need modelstitch and nothing of the driver's disk. A worker that dies costs its
job alone, which Ray tries again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelstitch.errors import SettingError
from modelstitch.records import Store
from modelstitch.support.files import write_whole
from modelstitch.sweep.context import Context, Failure, Found
from modelstitch.sweep.executors import collected
from modelstitch.sweep.network_store import NetworkStore
from modelstitch.sweep.plan import Job, Training

_RETRIES = 2
Files = dict[str, bytes]


@dataclass(frozen=True)
class OnRay:
    """Jobs as tasks of Ray.

    Args:
        address: ``local`` for this machine's own, ``auto`` or an address for a cluster that runs already.
        cpus: how many CPUs a task reserves.
        gpus: how many GPUs a task reserves, parts of one included.
    """

    address: str = "local"
    cpus: float = 1
    gpus: float = 0

    def run(self, jobs: Sequence[Job], context: Context, store: Store) -> Iterator[tuple[Job, Found]]:
        """Send all jobs, and give each back as soon as it is done.

        Raises:
            SettingError: Ray is not installed, or cannot be reached.
        """
        ray = _started(self.address)
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": _RETRIES}
        task = ray.remote(**options)(_task)
        # Filled before they travel: a worker need not find the data on its own disk.
        _ = context.data.whole, context.data.split
        data, done = ray.put(context.data), ray.put(store.keys())
        networks = {name: ray.put(context.network(name)) for name in context.plan.names if context.has(name)}
        running = {
            task.remote(job, context.plan, data, done, list(job.needs), *(networks[name] for name in job.needs)): job
            for job in jobs
        }
        while running:
            (ready, *_), _ = ray.wait(list(running))
            job = running.pop(ready)
            try:
                found = ray.get(ready)
            except ray.exceptions.RayError as error:
                yield job, Failure(f"{type(error).__name__}: {str(error).splitlines()[0]}")
                continue
            yield job, _unpacked(found, job, context) if isinstance(found, dict) else found


def _started(address: str) -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        do = "install it: pip install 'modelstitch[ray]'"
        raise SettingError(f"to run on Ray ({address})", "no package ray", do) from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            do = "start a cluster with `ray start --head`, or choose 'local'"
            raise SettingError(f"to run on Ray ({address})", str(error).splitlines()[0], do) from error
    return ray


def _task(job: Job, plan: Any, data: Any, done: frozenset[str], names: list[str], *networks: Any) -> Found | Files:
    """Do one job on whatever machine this is; of a training, give back the files of its folder."""
    with tempfile.TemporaryDirectory() as folder:
        context = Context(plan, data, NetworkStore(Path(folder)), dict(zip(names, networks, strict=True)))
        found = collected(job, context, done)
        if not isinstance(job, Training) or isinstance(found, Failure):
            return found
        root = Path(folder)
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _unpacked(files: Files, job: Job, context: Context) -> Path:
    """Write a network that was trained elsewhere; its configuration last, since that says that all is there."""
    assert isinstance(job, Training)
    for name in sorted(files, key=lambda name: name.endswith("config.json")):
        write_whole(context.networks.root / name, files[name])
    return context.networks.folder(job, context.data)
