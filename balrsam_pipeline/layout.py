"""What lies where on disk: every file and folder name of a dataset, a model and a prediction, once. A class
is one kind of folder and says where its files are; nothing is read or written here.

    raw/DATASET/                        RawFolder
    preprocessed/DATASET/               PreprocessedFolder
    results/DATASET/                    ResultsFolder
        CONFIGURATION__balrsam/         ModelFolder
            fold_N/                     FoldFolder
                validation/             ScoredFolder
            crossval/                   CrossvalFolder
        predictions/                    PredictionFolder
            evaluation/                 ScoredFolder
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DESCRIPTION, SOURCE = "dataset.json", "source.json"
IMAGES_TR, LABELS_TR, IMAGES_TS, LABELS_TS = "imagesTr", "labelsTr", "imagesTs", "labelsTs"
SPLITS_FINAL, GROUPS = "splits_final.json", "groups.csv"
PLAN, FINGERPRINT, SPLITS = "plan.json", "fingerprint.json", "splits.json"
SUMMARY, PER_CASE, REPORT, INDEX = "summary.json", "per_case.csv", "report.html", "index.html"
BEST_CONFIGURATION, POSTPROCESSING = "best_configuration.json", "postprocessing.json"
TEXT_LOG = "log.txt"
PREDICTION, EVALUATION, CROSSVAL = "prediction.json", "evaluation", "crossval"

CheckpointKind = Literal["latest", "previous", "best", "final"]
_MODEL_SUFFIX, _FOLD, _SETTINGS = "__balrsam", "fold_", "settings.json"
_MODEL_NAME = re.compile(rf"[A-Za-z0-9._-]+{_MODEL_SUFFIX}")
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
class PreprocessedFolder:
    """What `balrsam plan_and_preprocess` makes of a dataset; each store of cases is a folder below it."""

    path: Path

    @property
    def plan(self) -> Path:
        """All that was decided."""
        return self.path / PLAN

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


def stored_files(path: Path) -> StoredFiles | None:
    """The case that an array in a store belongs to; None where the file is no such array."""
    match = _STORED.fullmatch(path.name)
    return StoredFiles(path.parent, match["case"]) if match else None


@dataclass(frozen=True, slots=True)
class ScoredFolder:
    """A folder of scores, and where they are of a validation, of the predictions that were scored."""

    path: Path

    @property
    def summary(self) -> Path:
        """All scores; written last, so its presence says that scoring is complete."""
        return self.path / SUMMARY

    @property
    def per_case(self) -> Path:
        """One row per case and label."""
        return self.path / PER_CASE

    @property
    def report(self) -> Path:
        """The same for people."""
        return self.path / REPORT


@dataclass(frozen=True, slots=True)
class CrossvalFolder(ScoredFolder):
    """The pooled scores of all folds."""

    @property
    def postprocessing(self) -> Path:
        """The rules that were chosen on them."""
        return self.path / POSTPROCESSING


@dataclass(frozen=True, slots=True)
class FoldFolder:
    """One trained fold."""

    path: Path

    def checkpoint(self, kind: CheckpointKind | str) -> Path:
        """A checkpoint: latest, previous, best or final; `final` says that training is complete."""
        return self.path / f"checkpoint_{kind}.safetensors"

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint of any kind."""
        return any(self.path.glob(self.checkpoint("*").name))

    @property
    def log(self) -> Path:
        """Every epoch, one JSON object per line."""
        return self.path / "log.jsonl"

    @property
    def text_log(self) -> Path:
        """What was said while it trained and validated, each line with its time."""
        return self.path / TEXT_LOG

    @property
    def progress(self) -> Path:
        """Its curves as a picture."""
        return self.path / "progress.png"

    @property
    def run(self) -> Path:
        """Cases, settings and machine."""
        return self.path / "run.json"

    @property
    def settings(self) -> Path:
        """Settings handed to a process that trains this fold; gone afterwards."""
        return self.path / _SETTINGS

    @property
    def cluster_log(self) -> Path:
        """What training printed on a cluster's worker."""
        return self.path / "cluster.log"

    @property
    def validation(self) -> ScoredFolder:
        """Predictions of the validation cases, and their scores."""
        return ScoredFolder(self.path / "validation")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """All folds of one configuration: `results/DATASET/CONFIGURATION__balrsam`."""

    path: Path

    @property
    def configuration(self) -> str:
        """The configuration that the folder's name says."""
        return self.path.resolve().name.split("__")[0]

    @property
    def plan(self) -> Path:
        """The plan that its folds were trained with."""
        return self.path / PLAN

    @property
    def description(self) -> Path:
        """A copy of the raw dataset's: labels and channels."""
        return self.path / DESCRIPTION

    @property
    def crossval(self) -> CrossvalFolder:
        """Pooled scores."""
        return CrossvalFolder(self.path / CROSSVAL)

    def fold(self, number: int | str) -> FoldFolder:
        """The folder of one fold."""
        return FoldFolder(self.path / f"{_FOLD}{number}")

    def folds(self) -> tuple[int, ...]:
        """The folds that have a folder."""
        matches = (re.fullmatch(rf"{_FOLD}(\d+)", path.name) for path in self.path.glob(f"{_FOLD}*"))
        return tuple(sorted(int(match[1]) for match in matches if match))


def is_model_name(name: str) -> bool:
    """Whether a folder may be a model folder by its name, CONFIGURATION__balrsam."""
    return _MODEL_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class PredictionFolder:
    """Predictions of new images."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What made them."""
        return self.path / PREDICTION

    @property
    def description(self) -> Path:
        """A copy of the model's, which says what the values mean."""
        return self.path / DESCRIPTION

    @property
    def evaluation(self) -> ScoredFolder:
        """Their scores."""
        return ScoredFolder(self.path / EVALUATION)


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """All that was trained and predicted for one dataset: `results/DATASET`."""

    path: Path

    def model(self, configuration: str) -> ModelFolder:
        """The folder of one configuration."""
        return ModelFolder(self.path / f"{configuration}{_MODEL_SUFFIX}")

    def models(self) -> tuple[ModelFolder, ...]:
        """The configurations that have a folder, by name."""
        return tuple(ModelFolder(path) for path in sorted(self.path.glob(f"*{_MODEL_SUFFIX}")))

    @property
    def best_configuration(self) -> Path:
        """What to predict with, and why."""
        return self.path / BEST_CONFIGURATION

    @property
    def predictions(self) -> PredictionFolder:
        """Predictions of the dataset's test images."""
        return PredictionFolder(self.path / "predictions")

    @property
    def ensembles(self) -> Path:
        """Validation predictions of ensembles."""
        return self.path / "ensembles"

    def ensemble(self, configurations: Sequence[str], fold: int) -> Path:
        """Validation predictions of one ensemble, for one fold."""
        return self.ensembles / "__".join(configurations) / f"{_FOLD}{fold}"

    @property
    def submission(self) -> Path:
        """Where a packed submission is suggested to go."""
        return self.path / "submission.zip"

    @property
    def run(self) -> Path:
        """Records of `balrsam run`."""
        return self.path / "run"

    @property
    def index(self) -> Path:
        """One page about all of it."""
        return self.path / INDEX

    @property
    def run_log(self) -> Path:
        """What was said while `balrsam run` was at work, each line with its time."""
        return self.run / TEXT_LOG
