"""What these tests need beside the library: timm, torchvision and transformers, and no download.

On a torch without CUDA, torchvision misses two operators that its own binary would bring; they are never called here.
"""

import importlib.util

import pytest
import torch

NEEDED = ("timm", "torchvision", "transformers", "tokenizers", "datasets")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
collect_ignore = ["test_references.py"] if MISSING else []

if not MISSING:
    OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.write_line(f"LEFT OUT: tests/zoo, for want of {', '.join(MISSING)}", yellow=True)


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """An empty cache of the hub, and no network."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
