"""What a caller asks of training, and what comes back; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.folds import FoldName, fold_name
from balrsam_pipeline.layout import CheckpointKind, PlanFolder, PreprocessedFolder
from balrsam_pipeline.options import option, words_of
from balrsam_pipeline.paths import Roots, model_folder
from balrsam_pipeline.plan_names import UNNAMED, model_name, plan_name
from trainers.config import TrainingConfig

if TYPE_CHECKING:
    from evaluation import Summary

MOST_PROCESSES = 4096  # or threads: more is a slip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Train one fold of one configuration, or go on where it stopped.

    Attributes:
        dataset: the raw dataset folder.
        configuration: its name; None takes the plan's default.
        plan: the name of the plan; "" is the unnamed one.
        fold: its number, or "all": every case is trained on, and none validates.
        epochs_of_settings: the number of epochs in `config` is one of the file of settings, see `as_begun`.
        device: "cuda", "cuda:1", "cpu", "mps"; None chooses.
        workers: processes that make batches; None chooses, 0 makes them in the training process.
        threads: that compute on the CPU, and as many processes score the validation; None tries in the first
            steps of a busy machine which number of threads is fastest, and scores with all cores. With a
            number, the same settings give the same weights on all machines of a kind.
        accept_changed_settings: go on although settings differ from those the run was started with.
        continue_on_worker_loss: replace a worker process that died instead of ending the training.
        base: the SAM checkpoint to adapt; None looks in the cache.
        only_validate: validate what is trained, whatever was validated before, and train nothing.
        weights: which checkpoint is validated then.
        init_from: a trained checkpoint whose weights are the starting point.
        loggers: names of `trainers.loggers.boards.WATCHERS` to log to as well.

    Raises:
        UsageError: there cannot be as many workers or threads.
    """

    dataset: Path
    roots: Roots
    configuration: str | None = option(
        "2d, 2.5d, triplanar, 3d (default: the one the plan recommends)", default=None, metavar="NAME"
    )
    plan: str = option(
        "the plan, where it has a name (plan_and_preprocess --plan)",
        default=UNNAMED,
        metavar="NAME",
        read=plan_name,
    )
    fold: FoldName = option(
        "the fold to train (default: 0), or all: on every case, without validation",
        default=0,
        metavar="N",
        read=fold_name,
    )
    config: TrainingConfig = field(default_factory=TrainingConfig)
    epochs_of_settings: bool = False
    device: str | None = option("cuda, cuda:1, cpu, mps (default: the best there is)", default=None)
    workers: int | None = option(
        "processes that make batches (default: chosen; 0: none)", default=None, metavar="N"
    )
    threads: int | None = option(
        "threads that compute on the CPU, and processes that score the validation (default: as many threads "
        "as are fastest in the first steps, a process per core)",
        default=None,
        metavar="N",
    )
    accept_changed_settings: bool = option("go on although settings differ from the start", default=False)
    continue_on_worker_loss: bool = option("replace a worker process that was killed", default=False)
    base: Path | None = option(
        "the SAM checkpoint to adapt (default: from the cache)",
        default=None,
        metavar="FILE",
        names=("--checkpoint",),
    )
    init_from: Path | None = option(
        "start from the weights of a trained checkpoint", default=None, metavar="FILE"
    )
    only_validate: bool = option(
        "validate the trained fold again, and train nothing; --checkpoint then says which of its weights: "
        "final (default), best or latest",
        default=False,
    )
    weights: CheckpointKind = "final"
    loggers: tuple[str, ...] = option(
        "log there too (wants the package installed)",
        default=(),
        names=("--loggers", "--watch"),
        choices=("tensorboard", "wandb"),
    )

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("threads", 1)):
            count = getattr(self, name)
            if count is not None and not least <= count <= MOST_PROCESSES:
                raise UsageError(
                    f"--{name}",
                    found=str(count),
                    expected=f"{least} to {MOST_PROCESSES}",
                    fix="correct it, or leave it out: a number that suits the machine will be taken",
                )

    def model_folder(self, configuration: str) -> Path:
        """The results folder of the plan's configuration."""
        return model_folder(self.roots, self.dataset.name, model_name(configuration, self.plan))

    @property
    def planned(self) -> PlanFolder:
        """Where the plan and its preprocessed cases are."""
        return PreprocessedFolder(self.roots.preprocessed / self.dataset.name).planned(self.plan)

    @property
    def planning(self) -> str:
        """The command that makes the plan."""
        return f"balrsam plan_and_preprocess {self.dataset.name}" + (
            f" --plan {self.plan}" if self.plan else ""
        )

    def to_argv(self, settings: Path) -> tuple[str, ...]:
        """The words after `balrsam` that train this fold.

        Args:
            settings: a JSON file that holds `config`.
        """
        roots = self.roots
        where = ("--raw", roots.raw, "--preprocessed", roots.preprocessed, "--results", roots.results)
        words = ("train", self.dataset, *words_of(self), "--settings", settings, *where)
        return tuple(map(str, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """A trained and validated fold: its folder, its scores, and whether all was there already.

    `summary` is None where nothing is validated: of fold "all", and on ranks other than the first.
    """

    folder: Path
    summary: Summary | None
    already_done: bool
