"""What schemes have in common: packages that are there or not, fresh weights, and files of the hub's cache."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelstitch.errors import FreshWeights, NetworkNotFound, SettingError
from modelstitch.networks.references.reference import Reference
from modelstitch.support.seeding import seeded


def package(name: str, reference: Reference) -> Any:
    """A package that only some references need.

    Raises:
        SettingError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise SettingError(reference.asked, f"no package {missing}", "pip install 'modelstitch[zoo]'") from error
    # torchvision fails with RuntimeError beside a torch that it was not built for.
    except (ImportError, RuntimeError) as error:
        found = f"{name}, which does not load: {(str(error).splitlines() or [type(error).__name__])[0]}"
        raise SettingError(reference.asked, found, f"install the {name} that belongs to your torch") from error


@contextlib.contextmanager
def fresh_weights(reference: Reference) -> Iterator[None]:
    """Within it, modules are built with the weights of the reference's seed; where none was written, it is said."""
    if not reference.has("seed"):
        told = f"{reference.text} has fresh weights (seed 0): it has learnt nothing"
        do = f"for published weights write {reference.also('pretrained')}, for these {reference.also('seed=0')}"
        warnings.warn(FreshWeights(f"{told}; {do}"), stacklevel=2)
    with seeded("network", reference.number("seed") or 0):
        yield


def hub_file(repository: str, name: str, reference: Reference) -> Path:
    """A file of the hub, from the cache; fetched only where the reference says so.

    Raises:
        NetworkNotFound: the cache lacks it, or it cannot be fetched.
    """
    hub = package("huggingface_hub", reference)
    download = reference.has("download")
    try:
        return Path(hub.hf_hub_download(repository, name, local_files_only=not download))
    # The hub raises errors of many kinds, some of them of the library that it fetches with.
    except Exception as error:
        why = (str(error).splitlines() or [""])[0]
        found = f"no {name} of {repository} in the cache" + (f", and none to fetch: {why}" if download else "")
        raise not_cached(reference, found) from error


def not_cached(reference: Reference, found: str) -> NetworkNotFound:
    """The error for weights that are not on this machine."""
    do = f"write {reference.also('download')} to fetch them"
    return NetworkNotFound(reference.asked, found, "connect to the network" if reference.has("download") else do)
