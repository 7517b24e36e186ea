"""Public names and the modules that define them; `__init__.py` reads this table."""

from .install import install_model as install_model
from .pack import export_model as export_model
