"""Pictures of predictions: overlays beside the reference, and where the two disagree, as PNG."""

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from evaluation.plot.figure import draw_case
    from evaluation.plot.plot import PlotRequest, plot_cases

__all__ = ["PlotRequest", "draw_case", "plot_cases"]
__getattr__ = lazy_face(__name__, {"PlotRequest": ".plot", "draw_case": ".figure", "plot_cases": ".plot"})
