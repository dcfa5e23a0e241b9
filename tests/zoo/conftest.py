"""What these tests need beside the library, timm, torchvision and transformers, is what `make zoo` installs."""

import operators  # noqa: F401
import pytest
import torch


def pytest_configure(config):
    config.addinivalue_line("markers", "quarter: the stable quarter of the catalogue that every check looks at")


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """An empty cache of the hub, and no network."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
