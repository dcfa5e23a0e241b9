"""What every test runs under: one thread, no deadlines, tiny data."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("modelstitch", deadline=None)
settings.load_profile("modelstitch")
# Several threads only get in each other's way on tensors this small.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fmnist_small():
    """A few hundred real Fashion-MNIST images, as the loader gives the whole of it."""
    from modelstitch.data import load

    return load("fashion_mnist", folder=Path(__file__).parent / "fashion_mnist_small")
