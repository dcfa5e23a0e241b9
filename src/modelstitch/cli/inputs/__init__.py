"""What was typed, turned into what the public functions take, or refused in words."""

from __future__ import annotations

from modelstitch.cli.inputs.data import Named, data_for, example_of, kinds_of, networks_of, places_of, split_of
from modelstitch.cli.inputs.places import compute_of, figures_of, store_of, tables_of, use_threads, with_room
from modelstitch.cli.inputs.settings import choose, chosen, family_of, matching_of, schedule_of, task_of

__all__ = [
    "Named",
    "choose",
    "chosen",
    "compute_of",
    "data_for",
    "example_of",
    "family_of",
    "figures_of",
    "kinds_of",
    "matching_of",
    "networks_of",
    "places_of",
    "schedule_of",
    "split_of",
    "store_of",
    "tables_of",
    "task_of",
    "use_threads",
    "with_room",
]
