"""Prediction: sliding window, mirroring, export in bounded memory, ensembles, postprocessing, sharing
models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
