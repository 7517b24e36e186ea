"""Checking and measuring a dataset in one pass: each case is read once for both."""

from __future__ import annotations

from collections.abc import Set
from concurrent.futures import Executor
from dataclasses import dataclass

from balrsam_pipeline.common_values import CommonValues
from balrsam_pipeline.dataset import (
    COMMON_FACTS,
    CaseFacts,
    CaseFiles,
    DatasetDescription,
    FoundFiles,
    IntegrityReport,
    RawDataset,
    inspect_case,
    problem_of,
    report_of,
)
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import run_cases
from balrsam_pipeline.progress import track
from planners.case_fingerprint import Measurement, measure
from planners.measured import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTask:
    """One case to check, and to `measure` if nothing is wrong with it."""

    files: CaseFiles
    description: DatasetDescription
    measure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedCase:
    """What was found out about a case; `measurement` is None where it was not asked for or the case has
    errors."""

    facts: CaseFacts
    measurement: Measurement | None


def scan_dataset(
    dataset: RawDataset,
    found: FoundFiles,
    to_measure: Set[str],
    measured: Measured,
    executor: Executor | None,
    workers: int,
) -> IntegrityReport:
    """Check every case of a dataset and measure those in `to_measure`; problems are reported, not raised.

    Args:
        found: its files.
        measured: where measurements are added.
    """
    facts: dict[bool, list[CaseFacts]] = {True: [], False: []}
    common = CommonValues()
    for trains, cases in ((True, found.training), (False, found.test)):
        tasks = {
            case: ScanTask(
                files=files, description=dataset.description, measure=trains and case in to_measure
            )
            for case, files in cases.items()
        }
        for outcome in track(
            run_cases(scan_case, tasks, executor, workers, DatasetError), len(tasks), "checking"
        ):
            if outcome.value is not None:
                facts[trains].append(common.shared(outcome.value.facts, *COMMON_FACTS))
                if outcome.value.measurement is not None:
                    measured.add(outcome.value.measurement)
            elif outcome.error is not None:  # nothing known raises; a library or the machine did
                problem = problem_of(outcome.error, "case_failed", outcome.case)
                facts[trains].append(CaseFacts(case=outcome.case, problems=(problem,)))
    return report_of(dataset, found.problems, facts[True], facts[False])


def scan_case(task: ScanTask) -> ScannedCase:
    """Read one case, check it, and measure it if asked to."""
    inspected = inspect_case(task.files, task.description)
    sound = not any(problem.severity == "error" for problem in inspected.facts.problems)
    measurement = None
    if task.measure and sound and inspected.image is not None and inspected.label is not None:
        measurement = measure(task.files, task.description, inspected.image, inspected.label)
    return ScannedCase(facts=inspected.facts, measurement=measurement)
