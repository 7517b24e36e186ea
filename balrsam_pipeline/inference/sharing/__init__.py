"""Sharing trained models: one zip with its hashes, safe installation, export to other runtimes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
