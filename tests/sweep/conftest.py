"""What the tests of runs share."""

from types import SimpleNamespace

import pytest

from forks import FORKS


@pytest.fixture
def _forked(monkeypatch):
    """Processes of a run come from one that has loaded torch already."""
    monkeypatch.setattr("modelstitch.sweep.executors.multiprocessing", SimpleNamespace(get_context=lambda _: FORKS))
