"""The one command on pieces of real datasets: MRI volumes and RGB photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image
from support.runs import Balrsam, copy_some, roots

QUICK = ("--folds", "0", "--max-minutes", "0.05", "--device", "cpu")


def test_hippocampus_runs_to_predictions_with_identical_geometry(test_data: Path, tmp_path: Path, balrsam: Balrsam) -> None:
    source = test_data / "raw" / "Dataset004_Hippocampus"
    copy_some(source, tmp_path / "raw" / source.name, cases=10, tests=2)
    done = balrsam("run", source.name, *roots(tmp_path), *QUICK)
    assert "anterior" in done.stdout
    predictions = sorted((tmp_path / "results" / source.name / "predictions").glob("*.nii.gz"))
    assert len(predictions) == 2
    for path in predictions:
        image = sitk.ReadImage(str(source / "imagesTs" / path.name.replace(".nii.gz", "_0000.nii.gz")))
        prediction = sitk.ReadImage(str(path))
        for question in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(prediction, question)() == getattr(image, question)()


def test_drive_runs_on_rgb_photographs(test_data: Path, tmp_path: Path, balrsam: Balrsam) -> None:
    source = test_data / "raw" / "Dataset020_DRIVE"
    copy_some(source, tmp_path / "raw" / source.name, cases=5)
    balrsam("run", "20", *roots(tmp_path), *QUICK)
    validated = sorted((tmp_path / "results" / source.name).glob("*/fold_0/validation/*.png"))
    assert len(validated) == 1
    picture = Image.open(validated[0])
    assert picture.size == Image.open(source / "labelsTr" / validated[0].name).size
    assert set(np.unique(np.asarray(picture))) <= {0, 1}
