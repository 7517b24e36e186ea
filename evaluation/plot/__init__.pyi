"""Public names and the modules that define them; `__init__.py` reads this table."""

from .figure import draw_case as draw_case
from .plot import PlotRequest as PlotRequest
from .plot import plot_cases as plot_cases
