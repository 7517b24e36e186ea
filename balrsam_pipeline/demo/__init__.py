"""The embedded demo dataset and the command that runs the main job on it."""

from balrsam_pipeline.demo.generate import DemoSize, generate_dataset

__all__ = ["DemoSize", "generate_dataset"]
