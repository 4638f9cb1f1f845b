"""Figures of an analysis or a leaderboard: differences, quality against cost, calibration."""

from workbench.errors import MissingExtraError

try:
    from matplotlib.figure import Figure
except ModuleNotFoundError as exc:
    raise MissingExtraError("notebooks", "drawing plots") from exc

from workbench.plots.canvas import png, png_uri
from workbench.plots.comparisons import forest, quality_cost, trajectories
from workbench.plots.routers import Curve, calibration, quality_cost_curves, routers

__all__ = [
    "Curve",
    "Figure",
    "calibration",
    "forest",
    "png",
    "png_uri",
    "quality_cost",
    "quality_cost_curves",
    "routers",
    "trajectories",
]
