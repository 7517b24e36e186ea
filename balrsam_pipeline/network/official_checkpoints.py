"""Official SAM checkpoints: their names, where they come from, and where they are kept. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.paths import checkpoint_cache
from balrsam_pipeline.plan import Backbone

SOURCE = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True, slots=True)
class Official:
    """A published file and the SHA-256 of its bytes. (The digits in its name are the start of its MD5.)"""

    name: str
    sha256: str

    @property
    def url(self) -> str:
        """Where Meta publishes it."""
        return f"{SOURCE}/{self.name}"


# Meta publishes no SHA-256; these are the values that micro-sam and 3D Slicer's SAM extension, among others,
# verify against.
OFFICIAL: dict[Backbone, Official] = {
    "vit_b": Official(
        "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
    ),
    "vit_l": Official(
        "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"
    ),
    "vit_h": Official(
        "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"
    ),
}


def find_checkpoint(backbone: Backbone, folder: Path | None = None) -> Path | None:
    """The official checkpoint of a backbone in the cache folder, or None (vit_mini has
    none: it is trained from scratch)."""
    official = OFFICIAL.get(backbone)
    path = (folder or checkpoint_cache()) / official.name if official else None
    return path if path is not None and path.is_file() else None
