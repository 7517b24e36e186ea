"""The raw dataset format: dataset.json, cases, labels, splits, integrity, converters."""

from balrsam_pipeline.dataset.cases import CaseFiles, image_cases
from balrsam_pipeline.dataset.description import DatasetDescription, read_description
from balrsam_pipeline.dataset.integrity.check_case import CaseFacts, InspectedCase, inspect_case
from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset, report_of
from balrsam_pipeline.dataset.integrity.checks.structure import check_files
from balrsam_pipeline.dataset.integrity.fix import FixResult, fix_dataset
from balrsam_pipeline.dataset.integrity.report import IntegrityReport, Problem, problem_of
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.dataset.parse_labels import parse_labels
from balrsam_pipeline.dataset.raw import RawDataset, check_label_values, label_values, open_dataset, read_case
from balrsam_pipeline.dataset.splits import Fold, folds_of, make_folds, read_folds, read_groups, write_folds

__all__ = [
    "CaseFacts",
    "CaseFiles",
    "DatasetDescription",
    "FixResult",
    "Fold",
    "InspectedCase",
    "IntegrityReport",
    "LabelScheme",
    "Problem",
    "RawDataset",
    "check_dataset",
    "check_files",
    "check_label_values",
    "fix_dataset",
    "folds_of",
    "image_cases",
    "inspect_case",
    "label_values",
    "make_folds",
    "open_dataset",
    "parse_labels",
    "problem_of",
    "read_case",
    "read_description",
    "read_folds",
    "read_groups",
    "report_of",
    "write_folds",
]
