"""Pictures of predictions: overlays beside the reference, and where the two disagree, as PNG."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
