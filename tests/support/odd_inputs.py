"""The catalogue of odd but possible inputs: how each is written, and what must be read from it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

Array = npt.NDArray[Any]
Write = Callable[[Path, Array], None]  # path, voxels (c, z, y, x) of an image or (z, y, x) of a label
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # stored LPS, slices 2 mm apart


def image_of(shape_zyx: tuple[int, int, int], channels: int, seed: int) -> Array:
    """Whole numbers from 1 to 250 with structure, as float64 (c, z, y, x)."""
    noise = np.random.default_rng(seed).normal(100, 20, (channels, *shape_zyx))
    return np.rint(noise + 60 * (label_of(shape_zyx) > 0)).clip(1, 250)


def label_of(shape_zyx: tuple[int, int, int]) -> Array:
    """A block of 1 with a corner of 2, uint8 (z, y, x)."""
    label = np.zeros(shape_zyx, np.uint8)
    label[:, 4:12, 5:13], label[:, 9:12, 10:13] = 1, 2
    return label


def nifti(dtype: npt.DTypeLike = np.int16, kind: Any = nib.Nifti1Image, affine: Array = AFFINE) -> Write:
    """NIfTI through nibabel."""

    def write(path: Path, voxels: Array) -> None:
        nib.save(kind(voxels.reshape(voxels.shape[-3:]).T.astype(dtype), affine), path)

    return write


def nifti_bytes(change: Callable[[bytearray], bytes]) -> Write:
    """NIfTI whose content (header and voxels) is changed before it is packed."""

    def write(path: Path, voxels: Array) -> None:
        content = nib.Nifti1Image(voxels.reshape(voxels.shape[-3:]).T.astype(np.int16), AFFINE).to_bytes()
        path.write_bytes(change(bytearray(content)))

    return write


def header_with(**fields: Any) -> Callable[[bytearray], bytes]:
    """A change of header fields."""

    def change(content: bytearray) -> bytes:
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        for name, value in fields.items():
            header[name] = value
        content[:348] = header.binaryblock
        return gzip.compress(bytes(content))

    return change


def big_endian(path: Path, voxels: Array) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(voxels.reshape(voxels.shape[-3:]).T.astype(">i2"), AFFINE, header), path)


def scaled(path: Path, voxels: Array) -> None:
    """Floats saved as scaled 8-bit integers."""
    image = nib.Nifti1Image(voxels.reshape(voxels.shape[-3:]).T.astype(np.float64), AFFINE)
    image.set_data_dtype(np.uint8)
    nib.save(image, path)


def marked(path: Path, voxels: Array) -> None:
    """Two rows that are no data."""
    changed = voxels.copy().astype(np.float32)
    changed[..., :2, :] = np.finfo(np.float32).min
    nifti(np.float32)(path, changed)


def with_nan(path: Path, voxels: Array) -> None:
    changed = voxels.copy()
    changed[..., 0, 0] = np.nan
    nifti(np.float32)(path, changed)


def four_axes(path: Path, voxels: Array) -> None:
    volume = voxels.reshape(voxels.shape[-3:]).T.astype(np.int16)
    nib.save(nib.Nifti1Image(np.stack([volume, volume], axis=-1), AFFINE), path)


def itk(tags: dict[str, str], compress: bool = True) -> Write:
    """MHA, NRRD or GIPL with tags that its writer took along."""

    def write(path: Path, voxels: Array) -> None:
        image = sitk.GetImageFromArray(voxels.reshape(voxels.shape[-3:]).astype(np.int16))
        image.SetSpacing((1.0, 1.0, 2.0))
        for name, value in tags.items():
            image.SetMetaData(name, value)
        sitk.WriteImage(image, str(path), useCompression=compress)

    return write


def plane(voxels: Array) -> Array:
    """(c, 1, y, x) or (1, y, x) as (y, x) or (y, x, c)."""
    if voxels.ndim == 3:
        return voxels[0]
    return voxels[0, 0] if len(voxels) == 1 else np.moveaxis(voxels[:, 0], 0, -1)


def png(dtype: npt.DTypeLike = np.uint8) -> Write:
    """PNG through Pillow, or imagecodecs for deep colours."""

    def write(path: Path, voxels: Array) -> None:
        picture = np.ascontiguousarray(plane(voxels).astype(dtype))
        if picture.ndim == 3 and picture.dtype == np.uint16:
            import imagecodecs

            path.write_bytes(imagecodecs.png_encode(picture * np.uint16(16)))
        else:
            PillowImage.fromarray(picture).save(path)

    return write


def upside_down(path: Path, voxels: Array) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 3
    turned = np.ascontiguousarray(plane(voxels).astype(np.uint8)[::-1, ::-1])
    PillowImage.fromarray(turned).save(path, exif=exif)


def palette(path: Path, voxels: Array) -> None:
    picture = PillowImage.fromarray(plane(voxels).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    picture.save(path)


def postscript(path: Path, voxels: Array) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n")


def animated(path: Path, voxels: Array) -> None:
    frame = PillowImage.fromarray(plane(voxels).astype(np.uint8))
    frame.save(path, save_all=True, append_images=[frame.transpose(PillowImage.Transpose.ROTATE_180)])


def tiff(dtype: npt.DTypeLike = np.uint8, **options: Any) -> Write:
    """TIFF through tifffile."""

    def write(path: Path, voxels: Array) -> None:
        tifffile.imwrite(path, np.ascontiguousarray(plane(voxels).astype(dtype)), **options)

    return write


def pillow_tiff(mode: str = "", **options: Any) -> Write:
    """TIFF through Pillow."""

    def write(path: Path, voxels: Array) -> None:
        picture = PillowImage.fromarray(plane(voxels).astype(np.uint8))
        (picture.convert(mode) if mode else picture).save(path, **options)

    return write


def preview_first(factor: int) -> Write:
    """A smaller image before the image."""

    def write(path: Path, voxels: Array) -> None:
        picture = plane(voxels).astype(np.uint8)
        with tifffile.TiffWriter(path) as writer:
            small = picture[::factor, ::factor] if factor > 1 else picture[:-3]
            writer.write(small, photometric="minisblack")
            writer.write(picture, photometric="minisblack")

    return write


@dataclass(frozen=True)
class OddInput:
    """One odd input.

    Attributes:
        image, label: how they are written.
        step: by how much values may differ, because the format stores them in steps.
        factor: what stored values are, in units of the image's.
        refused: a word of the message, where the input cannot be used; "" where it must be.
    """

    name: str
    ending: str
    image: Write
    label: Write
    channels: int = 1
    step: float = 0.0
    factor: float = 1.0
    refused: str = ""

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Pictures have one slice."""
        return (1, 20, 18) if self.ending in (".png", ".tif", ".bmp") else (4, 20, 18)


TAGS = {"dim[0]": "3", "0008|0060": "MR", "0029|1010": "x" * 5000, "0010|0010": "Müller^J"}
GZ = ".nii.gz"
plain = nifti()
label8 = nifti(np.uint8)
OBLIQUE = np.array([[-0.8, 0.6, 0, 3], [-0.6, -0.8, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1.0]])
SHEARED = np.array([[-1, 0, 0, 0], [0, -1, 0.7, 0], [0, 0, 1.9, 0], [0, 0, 0, 1.0]])

ODD_INPUTS = (
    *(
        OddInput(f"nifti of {np.dtype(kind).name}", GZ, nifti(kind), label8)
        for kind in (np.uint8, np.uint16, np.int32, np.float32, np.float64)
    ),
    OddInput("uncompressed nifti", ".nii", plain, label8),
    OddInput("nifti-2", GZ, nifti(kind=nib.Nifti2Image), label8),
    OddInput("big-endian nifti", GZ, big_endian, big_endian),
    OddInput("oblique nifti", GZ, nifti(affine=OBLIQUE), nifti(np.uint8, affine=OBLIQUE)),
    OddInput("sheared nifti", GZ, nifti(affine=SHEARED), nifti(np.uint8, affine=SHEARED)),
    OddInput("nifti stored with a scale", GZ, scaled, scaled, step=0.5),
    OddInput(
        "nifti labels next to whole numbers", GZ, plain, lambda p, v: nifti(np.float32)(p, v * 1.0000001)
    ),
    OddInput(
        "gzip of several members",
        GZ,
        nifti_bytes(lambda c: b"".join(gzip.compress(bytes(c[i : i + 300])) for i in range(0, len(c), 300))),
        label8,
    ),
    OddInput(
        "padding behind the voxels", GZ, nifti_bytes(lambda c: gzip.compress(bytes(c) + bytes(999))), label8
    ),
    OddInput(
        "megabytes behind the voxels",
        GZ,
        nifti_bytes(lambda c: gzip.compress(bytes(c) + bytes(2**22), 1)),
        label8,
        refused="packed behind",
    ),
    OddInput("cut short", GZ, nifti_bytes(lambda c: gzip.compress(bytes(c))[:-40]), label8, refused="gzip"),
    OddInput(
        "nan in the sform",
        GZ,
        nifti_bytes(header_with(sform_code=1, srow_x=np.nan)),
        label8,
        refused="header",
    ),
    OddInput("complex voxels", GZ, nifti(np.complex64), label8, refused="complex"),
    OddInput("nan among the voxels", GZ, with_nan, label8, refused="NaN"),
    OddInput("marks for missing data", GZ, marked, label8, refused="missing data"),
    OddInput("four axes", GZ, four_axes, label8, refused="axes"),
    OddInput(
        "labels between whole numbers", GZ, plain, lambda p, v: nifti(np.float32)(p, v * 0.7), refused="whole"
    ),
    OddInput("negative labels", GZ, plain, lambda p, v: plain(p, -v.astype(np.int16)), refused="-"),
    OddInput("mha with tags", ".mha", itk(TAGS), itk(TAGS)),
    OddInput("nrrd with tags", ".nrrd", itk(TAGS), itk(TAGS)),
    OddInput("gipl", ".gipl", itk({}, compress=False), itk({}, compress=False)),
    OddInput("grey png of 16 bits", ".png", png(np.uint16), png()),
    OddInput("colour png of 16 bits", ".png", png(np.uint16), png(), channels=3, factor=16),
    OddInput("colour png", ".png", png(), png(), channels=3),
    OddInput("png that stands upside down", ".png", upside_down, png()),
    OddInput("palette png as label", ".png", png(), palette),
    OddInput("postscript named png", ".png", postscript, png(), refused="PostScript"),
    OddInput("animated png", ".png", animated, png(), refused="animated"),
    OddInput("bmp", ".bmp", png(), png(), channels=3),
    *(
        OddInput(f"tiff with {name}", ".tif", pillow_tiff(compression=name), pillow_tiff(compression=name))
        for name in ("tiff_lzw", "packbits", "tiff_deflate")
    ),
    *(
        OddInput(f"tiff of {np.dtype(kind).name}", ".tif", tiff(kind), tiff())
        for kind in (np.float16, np.float32, np.uint16, np.int32, np.int64)
    ),
    OddInput("palette tiff as label", ".tif", tiff(), palette),
    OddInput("white-is-zero tiff as label", ".tif", tiff(), tiff(photometric="miniswhite")),
    OddInput(
        "tiff that stands upside down",
        ".tif",
        lambda p, v: tiff(extratags=[(274, 3, 1, 3, True)])(p, v[..., ::-1, ::-1]),
        tiff(),
    ),
    OddInput("tiff with a preview first", ".tif", preview_first(3), tiff()),
    OddInput("tiff of two sizes", ".tif", preview_first(1), tiff(), refused="different sizes"),
    OddInput("cmyk tiff", ".tif", pillow_tiff("CMYK"), tiff(), refused="colour mode"),
    OddInput("complex tiff", ".tif", tiff(np.complex64), tiff(), refused="complex"),
)
