"""What lies where in raw and in preprocessed datasets; the rest is in `balrsam_pipeline/layout.py`, which
offers these names too.

    raw/DATASET/                        RawFolder
    preprocessed/DATASET/               PreprocessedFolder
        plans/NAME/                     PlanFolder
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.plan_names import UNNAMED

DESCRIPTION, SOURCE = "dataset.json", "source.json"
MADE_OF = ".made_of"  # in a folder that a command makes as a whole: a hash of what it was made of
IMAGES_TR, LABELS_TR, IMAGES_TS, LABELS_TS = "imagesTr", "labelsTr", "imagesTs", "labelsTs"
SPLITS_FINAL, GROUPS = "splits_final.json", "groups.csv"
PLAN, FINGERPRINT, SPLITS = "plan.json", "fingerprint.json", "splits.json"

_PACK = ".safetensors"
_STORED = re.compile(r"(?P<case>.+?)(_label|_foreground)?\.b2nd")


@dataclass(frozen=True, slots=True)
class RawFolder:
    """A raw dataset, in nnU-Net's format."""

    path: Path

    @property
    def description(self) -> Path:
        """Channels, labels and file ending."""
        return self.path / DESCRIPTION

    @property
    def images_tr(self) -> Path:
        """Images of the training cases."""
        return self.path / IMAGES_TR

    @property
    def labels_tr(self) -> Path:
        """Their references."""
        return self.path / LABELS_TR

    @property
    def images_ts(self) -> Path:
        """Images of the test cases."""
        return self.path / IMAGES_TS

    @property
    def labels_ts(self) -> Path:
        """Their references, where they are known."""
        return self.path / LABELS_TS

    @property
    def splits(self) -> Path:
        """The user's own folds."""
        return self.path / SPLITS_FINAL

    @property
    def groups(self) -> Path:
        """Which cases must share a fold."""
        return self.path / GROUPS


@dataclass(frozen=True, slots=True)
class PlanFolder:
    """A plan; each store of cases that it preprocesses is a folder below it."""

    path: Path

    @property
    def plan(self) -> Path:
        """All that was decided."""
        return self.path / PLAN


@dataclass(frozen=True, slots=True)
class PreprocessedFolder(PlanFolder):
    """What `balrsam plan_and_preprocess` makes of a dataset: its unnamed plan, and what all plans share."""

    def planned(self, name: str = UNNAMED) -> PlanFolder:
        """The plan of that name, with its stores."""
        return PlanFolder(self.path / "plans" / name) if name else self

    def plans(self) -> tuple[str, ...]:
        """Names of the plans that are there."""
        named = sorted(path.parent.name for path in self.path.glob(f"plans/*/{PLAN}"))
        return (*((UNNAMED,) if self.plan.is_file() else ()), *named)

    @property
    def folds(self) -> Path:
        """Training and validation cases of every fold."""
        return self.path / SPLITS

    @property
    def description(self) -> Path:
        """A copy of the raw dataset's."""
        return self.path / DESCRIPTION

    @property
    def fingerprint(self) -> Path:
        """What was measured on every case."""
        return self.path / FINGERPRINT

    @property
    def fingerprint_quantiles(self) -> Path:
        """Intensities of every case, from which the dataset's statistics are made."""
        return self.path / "fingerprint_quantiles.npy"

    @property
    def fingerprint_sources(self) -> Path:
        """The state of the files that were measured; its presence says that the fingerprint is complete."""
        return self.path / "fingerprint_sources.json"

    @property
    def integrity(self) -> Path:
        """The last integrity check."""
        return self.path / "integrity.json"

    def features(self, key: str, case: str, view: str) -> Path:
        """What the frozen encoder that `key` names made of one view of a slice of a case."""
        return self.path / "features" / key / case / f"{view}.safetensors"


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of one preprocessed case in a store."""

    store: Path
    case: str

    @property
    def image(self) -> Path:
        """Its image, a blosc2 array."""
        return self.store / f"{self.case}.b2nd"

    @property
    def label(self) -> Path:
        """Its reference."""
        return self.store / f"{self.case}_label.b2nd"

    @property
    def foreground(self) -> Path:
        """Where its foreground is."""
        return self.store / f"{self.case}_foreground.b2nd"

    @property
    def arrays(self) -> tuple[Path, Path, Path]:
        """All that are not JSON."""
        return self.image, self.label, self.foreground

    @property
    def facts(self) -> Path:
        """What was done to it; written last, so its presence says that the case is complete."""
        return self.store / f"{self.case}.json"


def pack_path(store: Path, number: int) -> Path:
    """A file that holds many small cases of a store."""
    return store / f"cases_{number:05d}{_PACK}"


def pack_paths(store: Path) -> tuple[Path, ...]:
    """All files of a store that hold many cases, in order."""
    return tuple(sorted(path for path in store.glob(f"*{_PACK}") if not path.name.startswith(".")))


def stored_files(path: Path) -> StoredFiles | None:
    """The case that an array in a store belongs to; None where the file is no such array."""
    match = _STORED.fullmatch(path.name)
    return StoredFiles(path.parent, match["case"]) if match else None


def stored_as(case: str) -> str:
    """The case that would have the same files in a store: x for a case named x_label; most have theirs to
    themselves."""
    match = _STORED.fullmatch(f"{case}.b2nd")
    return match["case"] if match else case
