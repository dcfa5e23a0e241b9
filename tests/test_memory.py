"""Memory kept between steps, and given back after them."""

import resource
import subprocess
import sys

import pytest

from modelstitch.memory import kept_memory

FAULTS = """
import contextlib, resource, torch
from modelstitch.memory import kept_memory
torch.set_num_threads(1)
with {manager}:
    def step():
        blocks = [torch.ones(1 << 20) for _ in range(24)]
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(manager):
    done = subprocess.run([sys.executable, "-c", FAULTS.format(manager=manager)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted so on Linux alone")
def test_a_repeated_step_asks_the_system_for_no_new_pages():
    # 24 blocks of 4 MB, five times: whoever gives them back pays for the same pages at each step.
    assert faults("kept_memory()") < 1000 < 10_000 < faults("contextlib.nullcontext()")


def test_it_ends_also_on_an_error():
    with pytest.raises(ZeroDivisionError, match="division"), kept_memory():
        1 / 0  # noqa: B018
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
