"""What every test runs under: one thread, no deadlines, tiny data; the page's tests where there is a browser."""

import os
import shutil
from importlib import import_module
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

settings.register_profile("modelstitch", deadline=None)
settings.load_profile("modelstitch")
# Several threads only get in each other's way on tensors this small.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# Where it is set, a missing browser is a failure: a check that must see the page cannot pass without one.
BROWSER = bool(os.environ.get("MODELSTITCH_BROWSER") or (shutil.which("chromium") and shutil.which("chromedriver")))
collect_ignore = [] if BROWSER else ["report/test_browser.py"]


def pytest_terminal_summary(terminalreporter):
    if not BROWSER:
        left_out = "LEFT OUT: tests/report/test_browser.py, for want of a browser (Debian: chromium chromium-driver)"
        terminalreporter.write_line(left_out, yellow=True)


@pytest.fixture(scope="session")
def fmnist_small():
    """A few hundred real Fashion-MNIST images, as the loader gives the whole of it."""
    from modelstitch.data import load

    return load("fashion_mnist", folder=Path(__file__).parent / "fashion_mnist_small")


@pytest.fixture
def _few_resamples(monkeypatch):
    """Intervals from 50 redrawn sets: of a score that is no mean, each set takes a call, and 2,000 take seconds."""
    penalty = import_module("modelstitch.penalty.penalty")
    counts = penalty._counts
    monkeypatch.setattr(penalty, "_counts", lambda n, seed, resamples: counts(n, seed, min(resamples, 50)))


@pytest.fixture(autouse=True, scope="session")
def _graphs_kept():
    """All graphs that tests export are kept: the same networks are cut in many files."""
    import_module("modelstitch.cut.blueprint")._KEPT = 1000


@pytest.fixture(scope="module")
def _shapes_unchecked():
    """For laws tried on thousands of draws: most of the time would go into shapes that every other test checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
