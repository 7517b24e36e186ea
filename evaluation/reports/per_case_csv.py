"""per_case.csv: one row a case and label, every number that was computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from balrsam_pipeline.files import write_text
from evaluation.summary import Summary

CSV_NAME = "per_case.csv"


def rows_as_records(summary: Summary) -> list[dict[str, Any]]:
    """The rows of a summary as flat records, for a data frame; undefined values are None."""
    return [
        {"case": row.case, "label": row.label, "status": row.status}
        | ({"group": summary.groups[row.case]} if summary.groups else {})
        | row.values
        | {
            "predicted_voxels": row.counts.predicted,
            "reference_voxels": row.counts.referenced,
            "predicted_ml": row.counts.predicted * row.voxel_mm3 / 1000,
            "reference_ml": row.counts.referenced * row.voxel_mm3 / 1000,
            "image_diagonal": row.diagonal,
        }
        for row in summary.rows
    ]


def write_csv(summary: Summary, path: Path) -> None:
    """Write the rows to `path`, atomically; undefined values are empty cells."""
    import pandas as pd  # here, because training scores every fold and only reports need it

    write_text(path, pd.DataFrame(rows_as_records(summary)).to_csv(index=False))
