"""How much work `balrsam run` makes of a dataset, in one word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.run.request import RunRequest

BUDGETS = ("epochs", "max_steps", "max_minutes")  # settings of training
Effort = Literal["quick", "standard", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What an effort stands for.

    Attributes:
        folds: those to train; None trains all.
        cpu_minutes: of training per fold on a CPU, `gpu_minutes` on a GPU; None trains the planned epochs.
        every_configuration: train all that the plan has, not only the one it recommends.
        prefer: what `find_best_configuration` does with candidates within noise of each other; None leaves
            that to the run.
    """

    folds: tuple[int, ...] | None
    cpu_minutes: float | None
    gpu_minutes: float | None
    every_configuration: bool = False
    prefer: str | None = None


EFFORTS: dict[Effort, Choices] = {
    "quick": Choices(folds=(0,), cpu_minutes=10, gpu_minutes=20),
    "standard": Choices(folds=None, cpu_minutes=20, gpu_minutes=None),
    "best": Choices(
        folds=None, cpu_minutes=60, gpu_minutes=None, every_configuration=True, prefer="accuracy"
    ),
}


def with_effort(request: RunRequest, effort: Effort, on_gpu: bool) -> RunRequest:
    """The request with the choices of an effort wherever the user made none.

    Example:
        >>> from pathlib import Path
        >>> from balrsam_pipeline.paths import Roots
        >>> roots = Roots(raw=Path("raw"), preprocessed=Path("preprocessed"), results=Path("results"))
        >>> request = RunRequest(dataset=Path("raw/Dataset001_A"), roots=roots, max_minutes=3)
        >>> quick = with_effort(request, "quick", on_gpu=False)
        >>> quick.folds, quick.max_minutes
        ((0,), 3)
    """
    choices = EFFORTS[effort]
    minutes = choices.gpu_minutes if on_gpu else choices.cpu_minutes
    own_budget = _has_budget(request)
    choosing: dict[str, tuple[str, ...]] = {"--prefer": (choices.prefer,)} if choices.prefer else {}
    choosing |= request.options.get("find_best_configuration", {})
    return replace(
        request,
        folds=request.folds or choices.folds,
        max_minutes=request.max_minutes if own_budget else minutes,
        every_configuration=choices.every_configuration and request.configurations is None,
        options=request.options | {"find_best_configuration": choosing},
    )


def _has_budget(request: RunRequest) -> bool:
    """Whether the user said how long to train, as an option or in the file of settings.

    Raises:
        UsageError: the file cannot be read.
    """
    settings = read_json(request.settings, UsageError) if request.settings else {}
    in_file = isinstance(settings, dict) and any(settings.get(name) is not None for name in BUDGETS)
    as_option = "--max-steps" in request.options.get("train", {})
    return in_file or as_option or request.max_minutes is not None or request.epochs is not None
