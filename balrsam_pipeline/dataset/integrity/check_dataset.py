"""Checking a whole raw dataset: all problems of all cases in one report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from balrsam_pipeline.common_values import CommonValues
from balrsam_pipeline.dataset.cases import CaseFiles
from balrsam_pipeline.dataset.description import DatasetDescription
from balrsam_pipeline.dataset.integrity.check_case import COMMON_FACTS, CaseFacts, inspect_case
from balrsam_pipeline.dataset.integrity.checks.across import (
    check_consistency,
    check_duplicates,
    check_label_use,
    check_patients,
    constant_channels,
    with_void,
)
from balrsam_pipeline.dataset.integrity.checks.scheme import check_description
from balrsam_pipeline.dataset.integrity.checks.structure import check_files
from balrsam_pipeline.dataset.integrity.report import IntegrityReport, Problem, of_test_case, problem_of
from balrsam_pipeline.dataset.raw import RawDataset, open_dataset
from balrsam_pipeline.dataset.splits import (
    Fold,
    blocks_advice,
    in_which_folds,
    make_folds,
    read_folds,
    read_groups,
    validated_twice,
)
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.layout import DESCRIPTION, GROUPS, IMAGES_TR, SPLITS_FINAL
from balrsam_pipeline.paths import absolute
from balrsam_pipeline.progress import track

SMALL_BYTES = 64 * 2**20  # below, starting workers takes longer than the check


def check_dataset(folder: Path, workers: int = 1) -> IntegrityReport:
    """Check everything about a raw dataset; nothing wrong with it raises.

    Args:
        folder: the raw dataset.
        workers: processes; a small dataset is checked by one whatever this says. Each holds one case in
            memory.
    """
    try:
        dataset = open_dataset(folder)
    except DatasetError as error:
        name = absolute(folder).name
        return IntegrityReport(
            dataset=name,
            training_cases=0,
            test_cases=0,
            problems=(problem_of(error, "dataset_json", DESCRIPTION),),
        )
    found = check_files(dataset)
    inspect = partial(_facts, description=dataset.description)
    training, test = (_all(inspect, cases, workers) for cases in (found.training, found.test))
    return report_of(dataset, found.problems, training, test)


def report_of(
    dataset: RawDataset,
    about_files: Sequence[Problem],
    training: Iterable[CaseFacts],
    test: Iterable[CaseFacts] = (),
) -> IntegrityReport:
    """Complete a check from the facts of cases that were inspected elsewhere (the fingerprint reads every
    case anyway).

    Args:
        about_files: the problems that `check_files` found.
        training: the facts of every training case that it found.
        test: the facts of test cases, where they were inspected.
    """
    training, test = (
        sorted(training, key=lambda facts: facts.case),
        sorted(test, key=lambda facts: facts.case),
    )
    problems = [*about_files, *check_description(dataset.description)]
    for facts in training:
        problems += facts.problems
    for facts in test:
        problems += [of_test_case(problem) for problem in facts.problems]
    problems = constant_channels(with_void(problems, training), training)
    problems += check_duplicates(training, test)
    problems += check_consistency(training)
    problems += _check_folds(dataset, training)
    return IntegrityReport(
        dataset=dataset.name, training_cases=len(training), test_cases=len(test), problems=tuple(problems)
    )


def _facts(files: CaseFiles, description: DatasetDescription) -> CaseFacts:
    return inspect_case(files, description).facts


def _all(inspect: partial[CaseFacts], cases: Mapping[str, CaseFiles], workers: int) -> list[CaseFacts]:
    size = sum(
        path.stat().st_size
        for files in cases.values()
        for path in (*files.images, *([files.label] if files.label else []))
    )
    facts, common = [], CommonValues()
    with local_executor(1 if size < SMALL_BYTES else min(workers, len(cases))) as executor:
        for outcome in track(
            run_cases(inspect, cases, executor, workers, DatasetError), len(cases), "checking"
        ):
            if outcome.value is not None:
                facts.append(common.shared(outcome.value, *COMMON_FACTS))
            elif outcome.error is not None:  # nothing known raises; a library or the machine did
                facts.append(
                    CaseFacts(
                        case=outcome.case, problems=(problem_of(outcome.error, "case_failed", outcome.case),)
                    )
                )
    return facts


def _check_folds(dataset: RawDataset, training: Sequence[CaseFacts]) -> list[Problem]:
    cases = [facts.case for facts in training]
    problems: list[Problem] = []
    groups: dict[str, str] | None = None
    try:
        if (dataset.folder / GROUPS).is_file():
            groups = read_groups(dataset.folder / GROUPS)
            problems += _check_names(GROUPS, "group_unknown_case", groups, cases)
            absent = sorted(set(cases) - set(groups))
            if absent:
                fix = "add a line for each; such a case is a group of its own"
                problems.append(
                    Problem(
                        "group_missing",
                        GROUPS,
                        f"no line for {', '.join(absent[:6])}",
                        "all cases",
                        fix,
                        "warning",
                    )
                )
    except DatasetError as error:
        problems.append(problem_of(error, "groups_file", GROUPS))
    try:
        folds, from_file = _folds(dataset, cases, groups)
    except DatasetError as error:
        kind, where = (
            ("splits_file", SPLITS_FINAL) if "splits" in error.where else ("too_few_cases", IMAGES_TR)
        )
        problem = problem_of(error, kind, where)
        if kind == "too_few_cases" and [facts.dimension for facts in training] == [3]:
            problem = replace(problem, fix=blocks_advice(dataset.description.file_ending))
        return [*problems, problem]
    if from_file:
        problems += _check_splits(folds, cases)
    problems += check_label_use(training, folds, dataset.description)
    problems += check_patients(folds, groups, from_file)
    return problems


def _check_splits(folds: Sequence[Fold], cases: Sequence[str]) -> list[Problem]:
    """What is wrong with the folds of splits_final.json: cases that it invents, leaves out or validates
    twice."""
    named = {case for fold in folds for case in (*fold.train, *fold.val)}
    problems = _check_names(SPLITS_FINAL, "split_unknown_case", named, cases)
    unused = sorted(set(cases) - named)
    if unused:
        found = f"{len(unused)} case(s) in no fold: {', '.join(unused[:6])}"
        fix = "add them to splits_final.json, or leave them out on purpose"
        problems.append(
            Problem("split_missing_case", SPLITS_FINAL, found, "all training cases", fix, "warning")
        )
    twice = validated_twice({number: fold.val for number, fold in enumerate(folds)})
    if twice:
        found = f"{len(twice)} case(s) validated by several folds: {in_which_folds(twice)}"
        fix = "correct splits_final.json, or train such folds alone (train --fold N): they are not pooled"
        once = "a case in the validation of one fold"
        problems.append(Problem("split_repeated_case", SPLITS_FINAL, found, once, fix, "warning"))
    return problems


def _folds(
    dataset: RawDataset, cases: Sequence[str], groups: Mapping[str, str] | None
) -> tuple[tuple[Fold, ...], bool]:
    splits = dataset.folder / SPLITS_FINAL
    if splits.is_file():
        return read_folds(splits), True
    return make_folds(cases, groups), False


def _check_names(file: str, kind: str, named: Iterable[str], cases: Sequence[str]) -> list[Problem]:
    unknown = sorted(set(named) - set(cases))
    if not unknown:
        return []
    found = f"{len(unknown)} case(s) that are not in imagesTr: {', '.join(unknown[:6])}"
    return [
        Problem(
            kind, file, found, "names of training cases", f"correct {file}, or remove it to have folds made"
        )
    ]
