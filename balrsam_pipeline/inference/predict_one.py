"""Segmenting one image in one line: a file or an array in, a label map out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import write_label
from balrsam_pipeline.inference.case_image import read_case_image
from balrsam_pipeline.inference.chosen_with import rules_of
from balrsam_pipeline.inference.members import Member
from balrsam_pipeline.inference.model_folder import load_predictor
from balrsam_pipeline.inference.postprocessing import apply_postprocessing
from balrsam_pipeline.inference.predict_image import label_of_image, predict_array
from balrsam_pipeline.inference.predictor import Predictor, PredictorOptions
from balrsam_pipeline.protect import require_not_read

File = Path | str
Array = npt.NDArray[np.generic]


def predict(
    image: File | Sequence[File] | Array,
    model: File | Predictor,
    output: File | None = None,
    spacing_mm: Sequence[float] | None = None,
    device: str | None = None,
    base: File | None = None,
) -> npt.NDArray[np.integer]:
    """The label map of an image.

    Args:
        image: a file, one file for each channel, or an array: (y, x), (z, y, x), or with channels first.
            Files are turned by their headers; an array is taken as stored like the training volumes.
        model: a model folder, results/DATASET/CONFIGURATION__balrsam, whose postprocessing is applied to
            files;
            or a predictor that `load_predictor` made, for many images.
        output: also write the label map to this file, with the geometry of the image.
        spacing_mm: of an array, see `predict_array`.
        device: "cuda", "cpu", …; None takes a GPU if there is one.
        base: the SAM checkpoint that the model adapts; None finds it by its hash.

    Returns:
        (z, y, x) of files; of arrays as the array is, without its channels.

    Raises:
        PredictionError: the model or the image does not suit; ImageError: a file cannot be read; UsageError:
            the output is a file that is read, or there is no such device.

    Example (docs/prediction.md runs it):
        label_zyx = predict("scan.nii.gz", "results/Dataset004_Hippocampus/2d__balrsam")
    """
    options = PredictorOptions(device=device)
    predictor = model if isinstance(model, Predictor) else load_predictor(model, options=options, base=base)
    if isinstance(image, np.ndarray):
        if output is not None:
            raise PredictionError(
                "output of an array",
                found=str(output),
                expected="a file as input, whose geometry the label map gets",
                fix="save the label map yourself, or name the image's file",
            )
        return predict_array(predictor, image, spacing_mm)
    files = [Path(image)] if isinstance(image, (str, Path)) else [Path(file) for file in image]
    if output is not None:
        require_not_read([Path(output)], files)
    read = read_case_image(files[0].name, files, predictor)
    label_zyx = label_of_image(files[0].name, read, (Member(predictor),), file=files[0])
    if not isinstance(model, Predictor):
        rules = rules_of(Path(model))
        label_zyx = apply_postprocessing(label_zyx, read.geometry, predictor.labels, rules)
    if output is not None:
        write_label(Path(output), label_zyx, read.geometry, like=files[0])
    return label_zyx
