"""Public names and the modules that define them; `__init__.py` reads this table."""

from .find import BestRequest as BestRequest
from .find import find_best_configuration as find_best_configuration
