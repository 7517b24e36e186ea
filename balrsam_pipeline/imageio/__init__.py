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
from balrsam_pipeline.imageio.geometry import (
    THICK_MM,
    Geometry,
    Image,
    direction_differs,
    is_flat,
    origin_differs,
    picture_geometry,
    spacing_differs,
)
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
    "THICK_MM",
    "Format",
    "Geometry",
    "Image",
    "as_label",
    "direction_differs",
    "file_ending_of",
    "format_of",
    "images_among",
    "is_flat",
    "label_ending",
    "origin_differs",
    "picture_geometry",
    "place_held",
    "read_geometry",
    "read_image",
    "read_label",
    "spacing_differs",
    "stored_orientation",
    "unread_images",
    "write_image",
    "write_label",
    "written_beside",
]
