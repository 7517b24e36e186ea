"""Public names and the modules that define them; `__init__.py` reads this table."""

from .generate import DemoSize as DemoSize
from .generate import generate_dataset as generate_dataset
