"""The network: BALR-SAM. `build(plan)` makes it; names are imported when used, so that help needs no
torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
