"""What the tests of runs share: networks that are alike are captured once, for all runs of a recipe."""

from types import SimpleNamespace

import pytest

from captures import share_captures
from forks import FORKS


@pytest.fixture(scope="module", autouse=True)
def _captures():
    with pytest.MonkeyPatch.context() as patch:
        share_captures(patch)
        yield


@pytest.fixture
def _forked(monkeypatch):
    """Processes of a run come from one that has loaded torch already."""
    monkeypatch.setattr("modelstitch.sweep.executors.multiprocessing", SimpleNamespace(get_context=lambda _: FORKS))
