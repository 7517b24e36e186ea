"""BALR-SAM pipeline: what nnU-Net is for the U-Net, this is for the Segment Anything Model."""

__version__ = "0.1.0"
