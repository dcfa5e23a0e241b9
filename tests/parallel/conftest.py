"""What the tests of several processes share."""

import pytest
from torch import distributed


@pytest.fixture
def _group():
    """A group of one process: what is summed is summed over it."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()
