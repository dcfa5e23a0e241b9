"""Networks with fresh weights are built for the classes of the data; others are left as they are."""

import pytest
import torch

from modelstitch.data import Samples
from modelstitch.errors import FreshWeights
from modelstitch.networks import Network, is_published, with_outputs_for
from modelstitch.networks.references import suited

THREE = Samples("three", torch.zeros(6, 2), torch.arange(6) % 3, 3)


@pytest.fixture(autouse=True)
def _built(monkeypatch):
    monkeypatch.setattr(suited, "load_network", lambda text: Network(text, torch.nn.Linear(2, 3)))


def found(*references, examples=THREE):
    networks = [Network(text, torch.nn.Linear(2, 1000)) for text in references]
    return [one.name for one in with_outputs_for(networks, references, examples)]


def test_fresh_ones_are_built_anew_and_it_is_said():
    with pytest.warns(FreshWeights, match=r"timm:a is built for the 3 classes of the data: timm:a\?classes=3"):
        assert found("timm:a", "torchvision:b?pretrained") == ["timm:a?classes=3", "torchvision:b?pretrained"]
    with pytest.warns(FreshWeights):
        assert found("timm:a", "timm:a") == ["timm:a?classes=3-A", "timm:a?classes=3-B"]


@pytest.mark.parametrize("reference", ["timm:a?classes=9", "timm:a?download", "hf:a", "nets/a", "py:a:b"])
def test_others_stay(reference):
    assert found(reference) == [reference]


def test_data_without_classes_change_nothing():
    assert found("timm:a", examples=torch.zeros(3)) == ["timm:a"]


@pytest.mark.parametrize(
    ("reference", "it_is"),
    [
        ("timm:a", False),
        ("timm:a?pretrained", True),
        ("torchvision:a?download", True),
        ("hf:a/b", True),
        ("hf:a/b?seed=0", False),
        ("py:a:b", False),
        ("nets/a", False),
    ],
)
def test_published_weights_are_told_by_the_reference(reference, it_is):
    assert is_published(reference) is it_is
