"""Public names and the modules that define them; `__init__.py` reads this table."""

from .page import write_run_page as write_run_page
