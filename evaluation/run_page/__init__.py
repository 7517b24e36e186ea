"""One page about a whole run: results/DATASET/index.html, written anew while the run goes on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
