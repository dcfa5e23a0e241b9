"""The sweep: many stitchings in one call.

``calls`` holds what users call, ``groups`` the stitchings that share a pass over their networks.
"""

from modelstitch.sweep.calls import stitch, stitch_all

__all__ = ["stitch", "stitch_all"]
