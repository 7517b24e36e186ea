"""Planning: from raw cases to a fingerprint, from a fingerprint to a plan; preprocessing of whole datasets.

Names load on first use, so that `balrsam plan_and_preprocess --help` answers at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
