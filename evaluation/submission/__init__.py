"""Leaderboard submissions: every check that a server would make, a deterministic archive, a container
folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
