"""Figures: a frame goes in, an Altair chart comes out, and every file made of it works offline."""

from modelstitch.figures.connectivity import connectivity_curves
from modelstitch.figures.curves import penalty_curves
from modelstitch.figures.files import check_ending, save_figure
from modelstitch.figures.heatmap import Panel, heatmaps

__all__ = ["Panel", "check_ending", "connectivity_curves", "heatmaps", "penalty_curves", "save_figure"]
