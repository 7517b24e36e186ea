"""What a run trains at the same time, on a cluster, several GPUs or the cores of a CPU, and which
configurations there are to train."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.layout import ResultsFolder
from balrsam_pipeline.plan import Plan
from balrsam_pipeline.plan_names import model_name
from balrsam_pipeline.run.records import read_record
from balrsam_pipeline.run.request import RunRequest

CHOSEN = "folds"  # the setting of such a step that says what it trains


def on_cluster(request: RunRequest) -> str:
    """The name of the step that trains on a cluster."""
    return model_name("train_on_cluster", request.plan)


def on_devices(request: RunRequest) -> str:
    """The name of the step that trains on several devices of this machine."""
    return model_name("train_on_devices", request.plan)


def trained_together_by(needs: Collection[str], request: RunRequest) -> str | None:
    """Which of what a step needs trains its fold; None where it does that itself."""
    return next((name for name in (on_cluster(request), on_devices(request)) if name in needs), None)


def configurations_of(request: RunRequest, plan: Plan, folds: Sequence[FoldName]) -> tuple[str, ...]:
    """The configurations that a run trains: those asked for, else the plan's default, with as many of its
    companions as would leave no device idle, and those that this run trained before on other devices.

    Args:
        folds: those that are trained of each.
    """
    if request.configurations or request.every_configuration:
        return request.configurations or tuple(plan.configurations)
    if not folds:
        return (plan.default_configuration,)
    beside = plan.companions[: max(0, len(request.devices) // len(folds) - 1)]
    before = _begun_before(request, folds)
    return (plan.default_configuration, *(name for name in plan.companions if name in {*beside, *before}))


def words_of(names: Sequence[str], folds: Sequence[FoldName]) -> tuple[str, ...]:
    """What is trained, as words of a command."""
    return ("--configurations", *names, "--folds", *map(str, folds))


def title_of(names: Sequence[str], folds: Sequence[FoldName], devices: Sequence[str]) -> str:
    """The same for people; without devices it is trained on the cluster."""
    what = " and ".join(names) if len(folds) == 1 else "all folds"
    where = "several devices" if devices else "the cluster"
    if devices and set(devices) == {"cpu"}:
        where = f"the CPU, {len(devices)} at a time"
    return f"Train and validate {what} on {where}"


def _begun_before(request: RunRequest, folds: Sequence[FoldName]) -> tuple[str, ...]:
    """Configurations that all these folds were trained of at the same time, or would be if it had not been
    stopped."""
    record = read_record(ResultsFolder(request.results).run, on_devices(request))
    words = shlex.split(record.inputs.get(CHOSEN, "")) if record is not None else []
    if words[:1] != ["--configurations"] or "--folds" not in words:
        return ()
    at = words.index("--folds")
    return tuple(words[1:at]) if {*map(str, folds)} <= {*words[at + 1 :]} else ()
