"""Whether scores mean anything: signs that the wrong folders, or masks with other values, were scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.imageio import format_of, read_label
from balrsam_pipeline.layout import PredictionFolder
from evaluation.pairs import Pair, present_values

LOOKED_AT = 3  # cases, spread over all of them
WHITE = 255  # what masks of 0 and 1 become when they are saved to be looked at


def find_doubts(pairs: Sequence[Pair], labels: LabelScheme) -> tuple[str, ...]:
    """Why the scores of these pairs would mean nothing, each with what fixes it; nothing where there is no
    such sign."""
    some = [pairs[index * (len(pairs) - 1) // max(1, LOOKED_AT - 1)] for index in range(LOOKED_AT)]
    predictions = [pair.prediction for pair in some if pair.prediction is not None]
    references = [pair.reference for pair in some]
    doubts = [_swapped(predictions, references), *map(_lossy, (predictions, references))]
    doubts += _values(_foreground(predictions), _foreground(references), labels)
    return tuple(doubt for doubt in doubts if doubt)


def _swapped(predictions: Sequence[Path], references: Sequence[Path]) -> str:
    """Predictions lie beside the manifest of what made them."""
    if not predictions:
        return ""
    made = [PredictionFolder(path.parent).manifest.is_file() for path in (predictions[0], references[0])]
    if made != [False, True]:
        return ""
    return (
        f"the folders look swapped: the references ({references[0].parent}) hold prediction.json, which "
        "balrsam predict writes; the order is: balrsam evaluate PREDICTIONS REFERENCES"
    )


def _lossy(paths: Sequence[Path]) -> str:
    lossy = [path for path in paths if format_of(path).lossy]
    if not lossy:
        return ""
    return f"{lossy[0]} is a JPEG, which changes label values; save label maps as PNG"


def _foreground(paths: Sequence[Path]) -> set[int]:
    return {value for path in paths for value in present_values(read_label(path).data)} - {0}


def _values(predicted: set[int], referenced: set[int], labels: LabelScheme) -> list[str]:
    """Doubts about label values: of masks that have none in common, or none that is listed."""
    listed = (predicted | referenced) <= labels.allowed_values and WHITE not in predicted | referenced
    if predicted and referenced and not predicted & referenced and not listed:
        return [
            f"predictions hold the values {_listed(predicted)} and references {_listed(referenced)}: none in "
            "common, so nothing can match; give both the same values (0 and 255 become 0 and 1: balrsam "
            "convert --from pairs --value-map '128-255=1', or balrsam verify DATASET --fix NEW_FOLDER)"
        ]
    doubts = []
    for what, values in (("predictions", predicted), ("references", referenced)):
        if values and not values & labels.allowed_values:
            doubts.append(
                f"{what} hold the values {_listed(values)}, of which the list of labels knows none "
                f"({_listed(labels.allowed_values - {0})}); name the right dataset.json with --labels, or "
                "change the values"
            )
    return doubts


def _listed(values: set[int] | frozenset[int]) -> str:
    shown = [str(value) for value in sorted(values)[:5]]
    return ", ".join(shown) + (", …" if len(values) > len(shown) else "")
