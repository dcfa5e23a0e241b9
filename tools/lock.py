"""Resolve pyproject.toml in a fresh environment and write what was chosen: `python tools/lock.py requirements.lock`."""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
HEADER = """\
# Every package of .venv, pinned: what `make` installs. Made by `make lock` from pyproject.toml; do not edit.
# For CPython 3.11 or newer on Linux. No hashes, because CPU and CUDA builds of torch differ: a CUDA build brings
# further packages of its own, which are not listed. On another platform, `pip install -e '.[dev]'` resolves afresh.
"""
# hatchling builds the package and editables links it, both without a network.
BUILD = ("hatchling", "editables")


def main(path: Path) -> None:
    """Write the lock."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"], *BUILD, TORCH]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip"]
        subprocess.run([*pip, "install", "-q", *asked], check=True)
        frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    # A local version such as +cpu names one build of torch; the lock is for all, so CUDA's packages go as well.
    pins = [line.split("+")[0] for line in frozen.splitlines() if not line.startswith(("nvidia-", "cuda-", "triton"))]
    path.write_text(HEADER + "\n".join(pins) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
