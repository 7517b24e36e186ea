"""The raw dataset format: dataset.json, cases, labels, splits, integrity, converters. Names are imported
when used, so that help is quick."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
