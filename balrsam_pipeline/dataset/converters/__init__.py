"""Making nnU-Net v2 raw datasets from other formats: the source is only read, the target is whole or not there."""

from balrsam_pipeline.dataset.converters.conversion import Conversion, Converted, Converter
from balrsam_pipeline.dataset.converters.decathlon import convert_decathlon
from balrsam_pipeline.dataset.converters.dicom import convert_dicom
from balrsam_pipeline.dataset.converters.nnunet_v1 import convert_nnunet_v1
from balrsam_pipeline.dataset.converters.pairs import convert_pairs
from balrsam_pipeline.dataset.converters.value_map import parse_value_map

CONVERTERS: dict[str, Converter] = {
    "decathlon": Converter(summary="Medical Segmentation Decathlon: Task01_BrainTumour and its like", convert=convert_decathlon),
    "nnunet_v1": Converter(summary="nnU-Net v1 raw data: Task004_Hippocampus", convert=convert_nnunet_v1),
    "pairs": Converter(summary="a folder of images and one of masks (PNG, JPEG, TIFF, NIfTI …), paired by name", convert=convert_pairs),
    "dicom": Converter(summary="a folder of DICOM series a case, labels as NIfTI or DICOM-SEG", convert=convert_dicom),
}

__all__ = ["CONVERTERS", "Conversion", "Converted", "Converter", "parse_value_map"]
