"""Reading and writing images and labels of every format that medical datasets come in, geometry kept."""

from balrsam_pipeline.imageio.formats import (
    ALL_ENDINGS,
    FILE_ENDINGS,
    PICTURE_ENDINGS,
    Format,
    file_ending_of,
    format_of,
    images_among,
    label_ending,
    place_held,
    unread_images,
)
from balrsam_pipeline.imageio.geometry import Geometry, Image, picture_geometry
from balrsam_pipeline.imageio.reading import (
    as_label,
    read_geometry,
    read_image,
    read_label,
    stored_orientation,
)
from balrsam_pipeline.imageio.writing import write_image, write_label, written_beside

__all__ = [
    "ALL_ENDINGS",
    "FILE_ENDINGS",
    "PICTURE_ENDINGS",
    "Format",
    "Geometry",
    "Image",
    "as_label",
    "file_ending_of",
    "format_of",
    "images_among",
    "label_ending",
    "picture_geometry",
    "place_held",
    "read_geometry",
    "read_image",
    "read_label",
    "stored_orientation",
    "unread_images",
    "write_image",
    "write_label",
    "written_beside",
]
