"""What a NIfTI header says twice, and otherwise each time; headers are nibabel's."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from balrsam_pipeline.imageio.geometry import is_orthonormal

CONTRADICTION = 1e-2  # relative difference of two voxel sizes, and of cosines, that no rounding explains
MOVED_VOXELS = 0.1  # the same of two origins


def contradiction(header: Any) -> str | None:
    """What is doubtful: the sform gives another voxel size than pixdim, which is the one that counts, or
    pixdim has none; or sform and qform, of the same code, place the voxels otherwise; None where nothing is.

    Raises:
        ValueError, HeaderDataError: numbers that no program writes.
    """
    axes = min(3, len(header.get_data_shape()))
    pixdim = np.abs(np.asarray(header["pixdim"][1 : axes + 1], dtype=np.float64))
    if not (np.isfinite(pixdim) & (pixdim > 0)).all():
        return f"no voxel size: pixdim is {_mm(pixdim)} (x, y, z), and 1 mm is assumed for what is missing"
    if not int(header["sform_code"]) > 0:
        return None
    sizes = np.linalg.norm(header.get_sform()[:3, :axes], axis=0)
    if not np.isfinite(sizes).all():
        return None
    if np.allclose(sizes, pixdim, rtol=CONTRADICTION, atol=0.0):
        return _placed_otherwise(header) if axes == 3 else None
    return f"voxels of {_mm(sizes)} by its sform and of {_mm(pixdim)} by its pixdim (x, y, z)"


def _placed_otherwise(header: Any) -> str | None:
    """How the sform places the voxels otherwise than the qform, where both are there and of one code, which
    says where they lead to; shear is nothing that a qform could say."""
    if int(header["qform_code"]) != int(header["sform_code"]):
        return None
    try:
        sform, qform = header.get_sform(), header.get_qform()
    except (ValueError, HeaderDataError):  # quaternions of no rotation: ITK takes the sform
        return None
    sizes = np.linalg.norm(sform[:3, :3], axis=0)
    mine, other = sform[:3, :3] / sizes, qform[:3, :3] / np.linalg.norm(qform[:3, :3], axis=0)
    upright = is_orthonormal(tuple(mine.ravel()), CONTRADICTION)
    if upright and not np.allclose(mine, other, rtol=0.0, atol=CONTRADICTION):
        names = ["".join(nib.aff2axcodes(affine)) for affine in (sform, qform)]
        if names[0] == names[1]:
            return f"other directions by its sform than by its qform ({names[0]} both)"
        return f"stored {names[0]} by its sform and {names[1]} by its qform"
    if not np.allclose(sform[:3, 3], qform[:3, 3], rtol=0.0, atol=MOVED_VOXELS * float(sizes.min())):
        places = [f"({', '.join(f'{value:.6g}' for value in affine[:3, 3])}) mm" for affine in (sform, qform)]
        return f"its first voxel at {places[0]} by its sform and at {places[1]} by its qform (RAS)"
    return None


def _mm(sizes: npt.NDArray[np.float64]) -> str:
    return " × ".join(f"{size:.6g}" for size in sizes) + " mm"
