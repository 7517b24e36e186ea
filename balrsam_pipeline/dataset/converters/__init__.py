"""Making nnU-Net v2 raw datasets from other formats: the source is only read, the target is whole or not
there."""

from balrsam_pipeline.dataset.converters.conversion import Conversion, Converted, Converter
from balrsam_pipeline.dataset.converters.decathlon import convert_decathlon
from balrsam_pipeline.dataset.converters.dicom import convert_dicom
from balrsam_pipeline.dataset.converters.hold_out import HoldOut, read_names
from balrsam_pipeline.dataset.converters.nnunet_v1 import convert_nnunet_v1
from balrsam_pipeline.dataset.converters.npz import convert_npz
from balrsam_pipeline.dataset.converters.pairs import convert_pairs
from balrsam_pipeline.dataset.converters.value_map import parse_value_map

CONVERTERS: dict[str, Converter] = {
    "decathlon": convert_decathlon,
    "nnunet_v1": convert_nnunet_v1,
    "pairs": convert_pairs,
    "dicom": convert_dicom,
    "npz": convert_npz,
}

__all__ = ["CONVERTERS", "Conversion", "Converted", "Converter", "HoldOut", "parse_value_map", "read_names"]
