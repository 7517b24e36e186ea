"""What lies where on disk: every file and folder name of a dataset, a model and a prediction, once. A class
is one kind of folder and says where its files are; nothing is read or written here.

    raw/DATASET/                        RawFolder (balrsam_pipeline/data_layout.py)
    preprocessed/DATASET/               PreprocessedFolder (there too)
    results/DATASET/                    ResultsFolder
        CONFIGURATION__balrsam/         ModelFolder; CONFIGURATION__NAME__balrsam of the plan NAME
            fold_N/  fold_all/          FoldFolder
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

from balrsam_pipeline.data_layout import DESCRIPTION as DESCRIPTION
from balrsam_pipeline.data_layout import FINGERPRINT as FINGERPRINT
from balrsam_pipeline.data_layout import GROUPS as GROUPS
from balrsam_pipeline.data_layout import IMAGES_TR as IMAGES_TR
from balrsam_pipeline.data_layout import IMAGES_TS as IMAGES_TS
from balrsam_pipeline.data_layout import LABELS_TR as LABELS_TR
from balrsam_pipeline.data_layout import LABELS_TS as LABELS_TS
from balrsam_pipeline.data_layout import MADE_OF as MADE_OF
from balrsam_pipeline.data_layout import PLAN as PLAN
from balrsam_pipeline.data_layout import SOURCE as SOURCE
from balrsam_pipeline.data_layout import SPLITS as SPLITS
from balrsam_pipeline.data_layout import SPLITS_FINAL as SPLITS_FINAL
from balrsam_pipeline.data_layout import PlanFolder as PlanFolder
from balrsam_pipeline.data_layout import PreprocessedFolder as PreprocessedFolder
from balrsam_pipeline.data_layout import RawFolder as RawFolder
from balrsam_pipeline.data_layout import StoredFiles as StoredFiles
from balrsam_pipeline.data_layout import pack_path as pack_path
from balrsam_pipeline.data_layout import pack_paths as pack_paths
from balrsam_pipeline.data_layout import stored_as as stored_as
from balrsam_pipeline.data_layout import stored_files as stored_files
from balrsam_pipeline.folds import ALL, FoldName
from balrsam_pipeline.plan_names import parts_of

SUMMARY, PER_CASE, REPORT, INDEX = "summary.json", "per_case.csv", "report.html", "index.html"
BEST_CONFIGURATION, POSTPROCESSING = "best_configuration.json", "postprocessing.json"
TEXT_LOG = "log.txt"
PREDICTION, EVALUATION, CROSSVAL = "prediction.json", "evaluation", "crossval"
POSTPROCESSED = "postprocessed.json"

CheckpointKind = Literal["latest", "previous", "best", "final"]
_MODEL_SUFFIX, _FOLD, _SETTINGS = "__balrsam", "fold_", "settings.json"
_MODEL_NAME = re.compile(rf"[A-Za-z0-9._-]+{_MODEL_SUFFIX}")


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


def further_cases_folder(report: Path) -> Path:
    """Pages of the cases that a report has no room for."""
    return report.with_name(f"{report.stem}_cases")


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
        return self.validation_with("final")

    def validation_with(self, kind: CheckpointKind) -> ScoredFolder:
        """The same of another checkpoint than the final one, which is validated where that is asked for."""
        return ScoredFolder(self.path / ("validation" if kind == "final" else f"validation_{kind}"))


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """All folds of one configuration of a plan: `results/DATASET/CONFIGURATION__balrsam`."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name without the part that says whose it is: CONFIGURATION or CONFIGURATION__PLAN."""
        return self.folder_name.removesuffix(_MODEL_SUFFIX)

    @property
    def folder_name(self) -> str:
        """What the folder is called: a link by its own name, or where that is no model's, by its target's."""
        own = self.path.absolute().name
        return own if is_model_name(own) else self.path.resolve().name

    @property
    def configuration(self) -> str:
        """The configuration that the folder's name says."""
        return parts_of(self.name)[0]

    @property
    def plan_name(self) -> str:
        """The plan that the folder's name says; "" is the unnamed one."""
        return parts_of(self.name)[1]

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
        """The folds of the cross-validation that have a folder."""
        matches = (re.fullmatch(rf"{_FOLD}(\d+)", path.name) for path in self.path.glob(f"{_FOLD}*"))
        return tuple(sorted(int(match[1]) for match in matches if match))

    def all_folds(self) -> tuple[FoldName, ...]:
        """The same, and last the one that is trained on all cases, where it has a folder."""
        return (*self.folds(), *((ALL,) if self.fold(ALL).path.is_dir() else ()))


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
    def postprocessed(self) -> Path:
        """The rules that cleaned them, where `balrsam postprocess` wrote them."""
        return self.path / POSTPROCESSED

    @property
    def evaluation(self) -> ScoredFolder:
        """Their scores."""
        return ScoredFolder(self.path / EVALUATION)


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """All that was trained and predicted for one dataset: `results/DATASET`."""

    path: Path

    def model(self, name: str) -> ModelFolder:
        """The folder of the model of that name: a configuration, with its plan where that has a name."""
        return ModelFolder(self.path / f"{name}{_MODEL_SUFFIX}")

    def models(self) -> tuple[ModelFolder, ...]:
        """The models that have a folder, by name."""
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
