"""How base networks are trained before they are stitched."""

from modelstitch.pretraining.descent import Curve, Schedule
from modelstitch.pretraining.simclr import fit_head, nt_xent, train_simclr
from modelstitch.pretraining.store import (
    METHODS,
    SCHEDULES,
    Method,
    checkpoint_folder,
    data_options,
    default_schedule,
    train_network,
)
from modelstitch.pretraining.supervised import error_percent, train_supervised

__all__ = [
    "METHODS",
    "SCHEDULES",
    "Curve",
    "Method",
    "Schedule",
    "checkpoint_folder",
    "data_options",
    "default_schedule",
    "error_percent",
    "fit_head",
    "nt_xent",
    "train_network",
    "train_simclr",
    "train_supervised",
]
