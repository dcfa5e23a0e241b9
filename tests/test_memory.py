"""Memory kept between steps, and given back after them."""

import json
import subprocess
import sys

import pytest

# A process of its own: what malloc did for earlier tests would show. glibc says itself how many bytes it holds free
# and how many are mapped one by one; page faults would tell the same, but not every kernel counts them.
SCRIPT = """
import contextlib, ctypes, json, resource, torch
from modelstitch.support.memory import kept_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info

def held():
    return round(mallinfo().fordblks / 2**20)

def mapped():
    blocks = [torch.ones(1 << 20) for _ in range(24)]
    return round(mallinfo().hblkhd / 2**20)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

torch.ones(1 << 10)
before = resident()
with contextlib.suppress(ZeroDivisionError), {manager}:
    found = {{"mapped": mapped(), "held": held(), "kept": resident() - before}}
    {ending}
print(json.dumps({{**found, "after": resident() - before}}))
"""
GLIBC = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is glibc's on Linux alone")


def megabytes(manager, ending="pass"):
    """Of 24 blocks of 4 MB: mapped one by one while in use; held by malloc and resident once freed; resident after."""
    script = SCRIPT.format(manager=manager, ending=ending)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@GLIBC
def test_freed_memory_stays_with_the_process_so_that_no_step_asks_for_it_again():
    found = megabytes("kept_memory()")
    assert found["mapped"] < 10
    assert found["held"] >= 90
    assert found["kept"] >= 90


@GLIBC
def test_it_would_go_back_otherwise():
    found = megabytes("contextlib.nullcontext()")
    assert found["mapped"] >= 90
    assert found["held"] < 10


@GLIBC
@pytest.mark.parametrize("ending", ["pass", "1 / 0"], ids=["in peace", "by an error"])
def test_it_goes_back_at_the_end(ending):
    assert megabytes("kept_memory()", ending)["after"] < 10


@GLIBC
def test_one_that_ends_within_another_gives_nothing_back():
    assert (
        megabytes("kept_memory()", "exec('with kept_memory(): pass'); found['kept'] = resident() - before")["kept"]
        >= 90
    )
