"""Predicting where a challenge's platform runs a container: images from where it puts them, label maps to
where it looks for them."""

from balrsam_pipeline.inference.challenge.run import CONTRACTS as CONTRACTS
from balrsam_pipeline.inference.challenge.run import main as main

__all__ = ["CONTRACTS", "main"]
