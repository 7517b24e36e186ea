"""Sharing trained models: one zip with its hashes, safe installation, export to other runtimes."""

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from balrsam_pipeline.inference.sharing.install import install_model
    from balrsam_pipeline.inference.sharing.pack import export_model

__all__ = ["export_model", "install_model"]
__getattr__ = lazy_face(__name__, {"export_model": ".pack", "install_model": ".install"})
