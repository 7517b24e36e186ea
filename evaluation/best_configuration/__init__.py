"""Choosing, on cross-validation, what to predict with: a configuration or an ensemble, and its
postprocessing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
