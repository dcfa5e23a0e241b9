"""The sweep: many stitchings in one call.

``calls`` holds what users call for two networks, ``groups`` the stitchings that share a pass over their networks.
A recipe goes through ``plan`` (which jobs), ``material`` (their examples), ``library`` (their networks), ``shop``
(both), ``work`` (one job done), ``engines`` (where), and ``execute``, which alone writes the store; ``outlook`` says
beforehand what it may cost.
"""

from modelstitch.sweep.calls import stitch, stitch_all
from modelstitch.sweep.execute import run_recipe
from modelstitch.sweep.outlook import Outlook, foresee

__all__ = ["Outlook", "foresee", "run_recipe", "stitch", "stitch_all"]
