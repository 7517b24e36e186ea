"""Public names and the modules that define them; `__init__.py` reads this table."""

from .fingerprint import Extraction as Extraction
from .fingerprint import extract_fingerprint as extract_fingerprint
from .hardware import Hardware as Hardware
from .overrides import Overrides as Overrides
from .planner import plan_dataset as plan_dataset
