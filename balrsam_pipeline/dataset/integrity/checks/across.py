"""What only shows when all cases are looked at together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from balrsam_pipeline.dataset.description import DatasetDescription
from balrsam_pipeline.dataset.grey_values import has_void
from balrsam_pipeline.dataset.integrity.check_case import CaseFacts
from balrsam_pipeline.dataset.integrity.checks.geometry import is_absurd
from balrsam_pipeline.dataset.integrity.checks.intensities import CONSTANT_FIX
from balrsam_pipeline.dataset.integrity.report import Problem
from balrsam_pipeline.dataset.splits import Fold
from balrsam_pipeline.layout import DESCRIPTION, IMAGES_TS, SPLITS_FINAL

SPACING_FACTOR = 10.0
SHOWN = 6
SHARE_IN_GROUPS = 0.2  # of all cases that must share a stem before names are taken for patient names


def check_duplicates(training: Sequence[CaseFacts], test: Sequence[CaseFacts]) -> Iterator[Problem]:
    """Are there images that occur twice, or in training and test?"""
    seen: dict[str, str] = {}
    for facts in training:
        other = seen.setdefault(facts.image_sha256, facts.case) if facts.image_sha256 else facts.case
        if other != facts.case:
            fix = "keep one of them, or put both in one group in groups.csv so that they share a fold"
            yield Problem(
                "duplicated_image",
                facts.case,
                f"the same voxels as {other}",
                "images of its own",
                fix,
                "warning",
            )
    for facts in test:
        if facts.image_sha256 in seen:
            found = f"the voxels of training case {seen[facts.image_sha256]}"
            fix = "remove it from imagesTs, or from imagesTr if it is to be a test image"
            yield Problem(
                "test_image_in_training",
                f"{IMAGES_TS}/{facts.case}",
                found,
                "test images that were not trained on",
                fix,
                "warning",
            )


def with_void(problems: Sequence[Problem], training: Sequence[CaseFacts]) -> list[Problem]:
    """The same problems; but where other cases hold 255 beside their labels, 255 alone is void too, and not
    the label that `--fix` would make of it."""
    holders = [facts.case for facts in training if facts.label_values and has_void(facts.label_values)]
    if not holders:
        return list(problems)
    fix = f"255 is most likely void here too, as in {holders[0]}: treat it as there"
    return [
        replace(problem, kind="label_unknown_value", fix=fix)
        if problem.kind == "label_of_0_and_255"
        else problem
        for problem in problems
    ]


def constant_channels(problems: Sequence[Problem], training: Sequence[CaseFacts]) -> list[Problem]:
    """The same problems; but a constant fourth channel is no transparency where some case uses it."""
    constant = {problem.case for problem in problems if problem.kind == "constant_alpha"}
    if all(facts.case in constant for facts in training if facts.dimension):
        return list(problems)
    return [
        replace(
            problem,
            kind="constant_channel",
            found=problem.found.partition(", as in all cases")[0],
            expected="an image",
            fix=CONSTANT_FIX,
        )
        if problem.kind == "constant_alpha"
        else problem
        for problem in problems
    ]


def check_consistency(training: Sequence[CaseFacts]) -> Iterator[Problem]:
    """Do all cases have one dimension, one orientation and spacings of one order of magnitude?"""
    readable = [facts for facts in training if facts.dimension]
    if not readable:
        return
    dimensions = Counter(facts.dimension for facts in readable)
    common = dimensions.most_common(1)[0][0]
    for facts in readable:
        if facts.dimension != common:
            fix = "make datasets of their own, or save 2D images as volumes of one slice"
            yield Problem(
                "mixed_dimensions",
                facts.case,
                f"a {facts.dimension}D image",
                f"{common}D, as most cases",
                fix,
            )
    orientations = Counter(facts.orientation for facts in readable if facts.dimension == 3)
    if len(orientations) > 1:
        most = orientations.most_common(1)[0][0]
        for facts in readable:
            if facts.dimension == 3 and facts.orientation != most:
                found, expected = (
                    f"stored {facts.orientation}",
                    f"{most}, as {orientations[most]} of {len(readable)} cases",
                )
                fix = (
                    "reorient images and labels to one orientation (SimpleITK.DICOMOrient), and test "
                    "images likewise"
                )
                yield Problem("mixed_orientations", facts.case, found, expected, fix, "warning")
    median = np.median([facts.spacing_mm for facts in readable], axis=0)
    for facts in readable:
        ratio = np.maximum(np.array(facts.spacing_mm) / median, median / np.maximum(facts.spacing_mm, 1e-9))
        if ratio.max() > SPACING_FACTOR and facts.dimension == common:
            found = f"spacing {' × '.join(f'{value:g}' for value in facts.spacing_mm)} mm"
            expected = f"near the median {' × '.join(f'{value:g}' for value in median)} mm"
            # odd by itself, too: it would be resampled to a size that no machine holds, or to nothing
            wrong = is_absurd(facts.spacing_mm[-facts.dimension :])
            yield Problem(
                "spacing_outlier",
                facts.case,
                found,
                expected,
                "write the spacing in mm into the header (a wrong unit?), or leave the case out"
                if wrong
                else "check the header (a wrong unit?)",
                "error" if wrong else "warning",
            )


def check_label_use(
    training: Sequence[CaseFacts], folds: Sequence[Fold], description: DatasetDescription
) -> Iterator[Problem]:
    """Does every label occur, and in the training and validation part of every fold?"""
    scheme = description.labels
    values_of = {facts.case: facts.label_values for facts in training if facts.label_values is not None}
    for name, values in zip(scheme.names, scheme.values, strict=True):
        wanted = set(values)
        holders = {case for case, found in values_of.items() if not wanted.isdisjoint(found)}
        if values_of and not holders:
            fix = "remove it from labels in dataset.json, or look for cases that have it"
            yield Problem(
                "label_in_no_case",
                DESCRIPTION,
                f"no case has label '{name}'",
                "labels that occur",
                fix,
                "warning",
            )
            continue
        for part in ("train", "val"):
            parts = [
                set(getattr(fold, part)) for fold in folds
            ]  # a case whose label is unreadable might have it
            without = [
                str(index)
                for index, cases in enumerate(parts)
                if cases <= values_of.keys() and not holders & cases
            ]
            if values_of and without:
                where = "to train on" if part == "train" else "to validate on"
                yield Problem(
                    "label_missing_from_fold",
                    "splits",
                    f"label '{name}' ({len(holders)} case(s)) has none {where} in fold {', '.join(without)}",
                    "some cases with it in each fold",
                    "expect no score for it in those folds, or write splits_final.json that spreads its "
                    "cases",
                    "warning",
                )


def check_patients(
    folds: Sequence[Fold], groups: Mapping[str, str] | None, from_file: bool
) -> Iterator[Problem]:
    """Is any patient in the training and the validation part of a fold?

    Args:
        groups: case -> patient, from groups.csv; None where there is no such file and patients are guessed
            from names.
        from_file: whether the folds come from splits_final.json (folds made here keep groups together).
    """
    if not folds:
        return
    cases = sorted({case for fold in folds for case in (*fold.train, *fold.val)})
    patient_of = dict(groups) if groups is not None else guess_patients(cases)
    if not patient_of or (groups is not None and not from_file):
        return
    straddling = sorted(
        {
            patient
            for fold in folds
            for patient in _patients(patient_of, fold.val) & _patients(patient_of, fold.train)
        }
    )
    if straddling:
        shown = ", ".join(straddling[:SHOWN]) + (" …" if len(straddling) > SHOWN else "")
        known = groups is not None
        yield Problem(
            "patient_in_several_folds",
            SPLITS_FINAL if from_file else "splits",
            f"{len(straddling)} "
            f"{'group(s)' if known else 'name(s) shared by several cases, probably patients,'} on both "
            f"sides: {shown}",
            "all images of a patient on one side of a fold",
            "correct splits_final.json, or remove it so that folds are made from groups.csv"
            if known
            else "write groups.csv (case,group) if these are patients; scores are too good otherwise",
            "warning",
        )


def _patients(patient_of: Mapping[str, str], cases: Sequence[str]) -> set[str]:
    return {patient_of[case] for case in cases if case in patient_of}


def guess_patients(cases: Sequence[str]) -> dict[str, str]:
    """Patients by case names such as patient012_frame01: names that agree but for the last part, where many
    do.

    A stem must hold a digit (`hippocampus_001` names no patient) and stand for fewer than half of the cases.
    """
    stems = {
        case: match.group(1) for case in cases if (match := re.fullmatch(r"(.*\d.*?)[_\-.]+[^_\-.]+", case))
    }
    sizes = Counter(stems.values())
    shared = {case: stem for case, stem in stems.items() if 1 < sizes[stem] < len(cases) / 2}
    return shared if len(shared) >= SHARE_IN_GROUPS * len(cases) else {}
