"""From a plan to weights: training a fold, and cross-validation over all folds.

Names load on first use, so that `balrsam train --help` answers at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
