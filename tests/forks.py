"""Processes for tests, forked from one that has loaded everything heavy already.

A fresh process would load torch and what exports networks for four seconds each.
"""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["torch", "torch._dynamo", "torch.export._trace", "lightning_fabric", "modelstitch.cli", "modelstitch.sweep.run"]
)
