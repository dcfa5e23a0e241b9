"""How base networks are trained before they are stitched."""

from modelstitch.pretraining.store import SCHEDULES, checkpoint_folder, data_options, train_network
from modelstitch.pretraining.supervised import Curve, Schedule, error_percent, train_supervised

__all__ = [
    "SCHEDULES",
    "Curve",
    "Schedule",
    "checkpoint_folder",
    "data_options",
    "error_percent",
    "train_network",
    "train_supervised",
]
