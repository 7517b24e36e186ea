"""Do the labels and channels that dataset.json declares make sense?"""

from __future__ import annotations

from collections.abc import Iterator

from balrsam_pipeline.dataset.description import DatasetDescription
from balrsam_pipeline.dataset.integrity.report import Problem
from balrsam_pipeline.layout import DESCRIPTION

WHERE = DESCRIPTION


def check_description(description: DatasetDescription) -> Iterator[Problem]:
    """Look for gaps in label values, names that share a value, and readers that reorient."""
    scheme = description.labels
    declared = sorted({0} | {value for values in scheme.values for value in values})
    if declared != list(range(scheme.largest + 1)):
        gaps = sorted(set(range(scheme.largest + 1)) - set(declared))
        yield Problem(
            "labels_not_consecutive",
            WHERE,
            f"labels {', '.join(map(str, declared))}: no {', '.join(map(str, gaps[:10]))}",
            "0, 1, 2 … without gaps",
            "renumber dataset.json and the label files in a copy of the dataset: balrsam verify DATASET "
            "--fix NEW_FOLDER",
        )
    by_values: dict[tuple[int, ...], list[str]] = {}
    for name, values in zip(scheme.names, scheme.values, strict=True):
        by_values.setdefault(values, []).append(name)
    for values, names in by_values.items():
        if len(names) > 1:
            found = f"{' and '.join(names)} all mean {', '.join(map(str, values))}"
            yield Problem(
                "labels_share_value",
                WHERE,
                found,
                "a value of its own for each",
                "remove all but one of them",
                "warning",
            )
    if description.reader is not None and description.reader.endswith("WithReorient"):
        yield Problem(
            "reader_reorients",
            WHERE,
            f"overwrite_image_reader_writer {description.reader}",
            "images that are stored in one orientation",
            "reorient the files; images are read here as they are stored",
            "warning",
        )
