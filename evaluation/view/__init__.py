"""How images are looked at, everywhere alike: which way they hang, how bright they are, label colours."""

from evaluation.view.brightness import PRESETS, Window, is_ct, shades, window_of
from evaluation.view.colours import coloured, colours_of, disagreement, grey
from evaluation.view.hanging import PLANES, Plane, View, view_of
from evaluation.view.images import image_of_case, images_beside

__all__ = [
    "PLANES",
    "PRESETS",
    "Plane",
    "View",
    "Window",
    "coloured",
    "colours_of",
    "disagreement",
    "grey",
    "image_of_case",
    "images_beside",
    "is_ct",
    "shades",
    "view_of",
    "window_of",
]
