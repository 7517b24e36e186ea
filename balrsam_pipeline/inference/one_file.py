"""`predict -i IMAGE -o MASK.nii.gz`: one case into one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.imageio import (
    ALL_ENDINGS,
    file_ending_of,
    format_of,
    read_label,
    write_label,
    written_beside,
)
from balrsam_pipeline.imageio.tiff import sidecar
from balrsam_pipeline.inference.predict_cases import PredictionReport
from balrsam_pipeline.protect import require_not_read


def names_a_file(output: Path) -> bool:
    """Whether `-o` is the name of an image file rather than a folder."""
    return not output.is_dir() and output.name.lower().endswith(tuple(ALL_ENDINGS))


def predict_one_file(
    output: Path, images: Sequence[Path], cases: int, predict: Callable[[Path], PredictionReport]
) -> PredictionReport:
    """Predict the only case and put its label map at `output`, in the format that its ending says.

    Args:
        images: every file that is read.
        cases: how many cases there are.
        predict: predicts them into a folder.

    Raises:
        UsageError: several cases, a format that changes values, or a file that is there already.
    """
    if cases != 1:
        raise _refused(output, f"{cases} cases for one file", "one case, or the name of a folder")
    if format_of(output).lossy:
        raise _refused(output, "JPEG, which changes values", "a lossless format, such as .png")
    require_not_read([output], images)
    if output.exists() or output.is_symlink():
        raise _refused(output, "a file that is there already", "a new name: no file is replaced")
    spacing_file = next(iter(written_beside(output)), None)
    if spacing_file is not None and spacing_file.exists():
        raise _refused(spacing_file, "a file where the spacing of a stack goes", "a new name")
    with scratch_folder(output) as folder:
        report = predict(folder)
        for path in report.written:
            if file_ending_of(path) == file_ending_of(output):
                beside = sidecar(path) if spacing_file is not None else None
                if beside is not None and spacing_file is not None:
                    beside.replace(spacing_file)
                path.replace(output)
            else:
                label = read_label(path)
                write_label(output, label.data[0], label.geometry, like=images[0])
    return report


def _refused(output: Path, found: str, expected: str) -> UsageError:
    return UsageError(output, found=found, expected=expected, fix="give another -o")
