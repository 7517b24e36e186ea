"""From predictions to numbers: scores of anybody's predictions, their statistics, and reports worth reading.
Needs no torch.

Names load on first use, so that `balrsam evaluate --help` answers at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
