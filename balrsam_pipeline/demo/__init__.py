"""The embedded demo dataset and the command that runs the main job on it."""

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from balrsam_pipeline.demo.generate import DemoSize, generate_dataset

__all__ = ["DemoSize", "generate_dataset"]
__getattr__ = lazy_face(__name__, {"DemoSize": ".generate", "generate_dataset": ".generate"})
