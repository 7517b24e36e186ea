"""A folder of images and one of masks, as annotation tools leave them: generated, for a first try."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from balrsam_pipeline.demo.phantom import make_phantom
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution.whole_folder import scratch_folder

PATIENTS, SIDE = 15, 96
SLICES = (3, 4)  # of SLAB_ZYX, around its middle: two pictures of each patient
SLAB_ZYX, SPACING_MM = (8, SIDE, SIDE), (3.0, 1.0, 1.0)
BRIGHTEST = 900.0  # intensity that becomes white


def generate_pictures(folder: Path, patients: int = PATIENTS, seed: int = 7) -> int:
    """Write `images/patientNN_K.png` (grey) and `masks/patientNN_K_mask.png` (0 and 255); returns how many.

    Args:
        folder: must not exist; appears complete or not at all.
        seed: the only source of randomness.

    Raises:
        UsageError: the folder exists.
    """
    if folder.exists():
        raise UsageError(
            folder, found="it exists", expected="a new folder", fix="choose another name, or remove it first"
        )
    with scratch_folder(folder) as scratch:
        building = scratch / folder.name
        _write_pictures(building, patients, seed)
        building.rename(folder)
    return patients * len(SLICES)


def _write_pictures(folder: Path, patients: int, seed: int) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for patient in range(patients):
        phantom = make_phantom(SLAB_ZYX, SPACING_MM, np.random.default_rng((seed, patient)))
        for number, z in enumerate(SLICES, 1):
            name = f"patient{patient + 1:02d}_{number}"
            grey = (phantom.image_czyx[0, z] * (255 / BRIGHTEST)).clip(0, 255).astype(np.uint8)
            mask = (phantom.label_zyx[z] > 0).astype(np.uint8) * 255
            Image.fromarray(grey).save(folder / "images" / f"{name}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{name}_mask.png")
