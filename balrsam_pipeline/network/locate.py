"""Official SAM checkpoints: their names, where they come from, and where they are kept. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.paths import checkpoint_cache
from balrsam_pipeline.plan import Backbone

SOURCE = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True, slots=True)
class Official:
    """A published file; its name carries the first digits of its SHA-256 (README of segment-anything)."""

    name: str
    sha256_start: str

    @property
    def url(self) -> str:
        """Where Meta publishes it."""
        return f"{SOURCE}/{self.name}"


OFFICIAL: dict[Backbone, Official] = {
    "vit_b": Official("sam_vit_b_01ec64.pth", "01ec64"),
    "vit_l": Official("sam_vit_l_0b3195.pth", "0b3195"),
    "vit_h": Official("sam_vit_h_4b8939.pth", "4b8939"),
}


def find_checkpoint(backbone: Backbone, folder: Path | None = None) -> Path | None:
    """The official checkpoint of a backbone in the cache folder, or None (vit_t has none: it is trained from scratch)."""
    official = OFFICIAL.get(backbone)
    path = (folder or checkpoint_cache()) / official.name if official else None
    return path if path is not None and path.is_file() else None
