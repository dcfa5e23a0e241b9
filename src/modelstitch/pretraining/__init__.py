"""How base networks are trained before they are stitched, by any task.

``descent`` is the way downhill; ``supervised`` and ``simclr`` learn by it; ``store`` trains a network once and keeps
it; ``from_data`` says what the data decide about a network.
"""

from modelstitch.pretraining.descent import Curve, Schedule
from modelstitch.pretraining.from_data import data_options, output_options
from modelstitch.pretraining.simclr import fit_head, nt_xent, train_simclr
from modelstitch.pretraining.store import (
    METHODS,
    SCHEDULES,
    Method,
    checkpoint_folder,
    default_schedule,
    train_network,
)
from modelstitch.pretraining.supervised import scores_of, train_supervised

__all__ = [
    "METHODS",
    "SCHEDULES",
    "Curve",
    "Method",
    "Schedule",
    "checkpoint_folder",
    "data_options",
    "default_schedule",
    "fit_head",
    "nt_xent",
    "output_options",
    "scores_of",
    "train_network",
    "train_simclr",
    "train_supervised",
]
