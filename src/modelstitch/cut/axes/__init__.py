"""Which axis holds the channels, by evidence.

The axes of every tensor of a graph are followed through every operator (``maps``, ``walk``), so that what one operator
says of an axis is known wherever the axis goes, before and after it. Operators with weights say it (``layers``); those
that move axes only hand it on (``views``). Where none says it, or two axes have equal claims, it is unknown.
"""

from modelstitch.cut.axes.channels import Channels

__all__ = ["Channels"]
