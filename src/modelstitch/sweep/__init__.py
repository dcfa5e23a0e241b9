"""The sweep: a recipe planned and carried out.

A recipe goes through ``kinds`` (which checks its settings), ``plan`` (which jobs), ``run_data`` (their examples),
``network_store`` (their networks), ``context`` (both), ``jobs`` (one job done), ``executors`` and ``on_ray`` (where),
and ``run``, which alone writes the store; ``estimate`` says beforehand what it may cost.
"""

from modelstitch.sweep.estimate import Estimate, estimate
from modelstitch.sweep.kinds import KINDS
from modelstitch.sweep.run import run_recipe

__all__ = ["KINDS", "Estimate", "estimate", "run_recipe"]
