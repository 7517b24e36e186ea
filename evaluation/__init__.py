"""From predictions to numbers: scores of anybody's predictions, their statistics, and reports worth reading. Needs no torch.

Names load on first use, so that `balrsam evaluate --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from evaluation.folders import evaluate_folders, evaluate_pairs
    from evaluation.metrics.score import LabelScore, score_pair
    from evaluation.options import EvaluationOptions
    from evaluation.protocols import PROTOCOLS, Protocol
    from evaluation.reports.summary_json import read_summary
    from evaluation.reports.table import summary_table
    from evaluation.reports.write import write_reports
    from evaluation.summary import Aggregate, Summary, pool

__all__ = [
    "PROTOCOLS",
    "Aggregate",
    "EvaluationOptions",
    "LabelScore",
    "Protocol",
    "Summary",
    "evaluate_folders",
    "evaluate_pairs",
    "pool",
    "read_summary",
    "score_pair",
    "summary_table",
    "write_reports",
]

__getattr__ = lazy_face(
    __name__,
    {
        "PROTOCOLS": ".protocols",
        "Protocol": ".protocols",
        "EvaluationOptions": ".options",
        "LabelScore": ".metrics.score",
        "score_pair": ".metrics.score",
        "Aggregate": ".summary",
        "Summary": ".summary",
        "pool": ".summary",
        "evaluate_folders": ".folders",
        "evaluate_pairs": ".folders",
        "read_summary": ".reports.summary_json",
        "summary_table": ".reports.table",
        "write_reports": ".reports.write",
    },
)
