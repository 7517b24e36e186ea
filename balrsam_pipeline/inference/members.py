"""The members of an ensemble, and what they and an image have to agree in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio.colours import COLOURS
from balrsam_pipeline.inference.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Member:
    """One configuration's predictor in an ensemble, and its weight."""

    predictor: Predictor
    weight: float = 1.0


def require_fit_together(members: Sequence[Member]) -> None:
    """Check that the models of an ensemble segment the same things from the same channels, of volumes in one
    orientation.

    Raises:
        PredictionError: none given, labels or channels differ, or no orientation is common to all.
    """
    if not members:
        raise PredictionError(
            "ensemble", found="no model", expected="at least one", fix="name a model folder: --model FOLDER"
        )
    first = members[0].predictor
    for item in members[1:]:
        if item.predictor.labels != first.labels or item.predictor.channels != first.channels:
            raise PredictionError(
                f"ensemble of {first.configuration.name} and {item.predictor.configuration.name}",
                found=f"{first.channels} channels, labels {first.labels.names}; "
                f"{item.predictor.channels} channels, labels {item.predictor.labels.names}",
                expected="models of one dataset",
                fix="ensemble models that were trained on the same channels and labels",
            )
    common_orientations(members)


def common_orientations(members: Sequence[Member]) -> tuple[str, ...]:
    """Orientations in which every model's training volumes are stored, in the first's order; none where no
    model knows any (pictures, and plans of older versions).

    An image is turned once for all models, so that their logits lie on one grid.

    Raises:
        PredictionError: models know some, and have none in common.
    """
    known = [item.predictor for item in members if item.predictor.plan.orientations]
    if not known:
        return ()
    first = known[0].plan.orientations
    common = tuple(code for code in first if all(code in other.plan.orientations for other in known[1:]))
    if common:
        return common
    raise PredictionError(
        "ensemble of " + " and ".join(_named(predictor) for predictor in known),
        found="training volumes stored "
        + "; ".join(f"{' or '.join(item.plan.orientations)} ({_named(item)})" for item in known),
        expected="an orientation that all of them were trained with, to which an image can be turned",
        fix="predict with each model alone and --save-probabilities, then average: balrsam ensemble "
        "-i FOLDER FOLDER -o OUT",
    )


def _named(predictor: Predictor) -> str:
    return f"{predictor.configuration.name} of {predictor.plan.dataset}"


def require_channels(case: str, channels: int, predictor: Predictor) -> None:
    """Check that an image has as many channels as the model was trained with.

    Args:
        case: named in the message.

    Raises:
        PredictionError: it has others.
    """
    wanted = predictor.channels
    if channels == wanted:
        return
    if wanted == 1 and channels == COLOURS:
        fix = "predict the grey of a colour picture: --grey"
    elif channels > wanted:
        fix = "save a copy with none but the channels of channel_names in the model's dataset.json"
    else:
        fix = (
            "give one file per channel (CASE_0000, CASE_0001, …) in the order of channel_names in the "
            "model's dataset.json"
        )
    raise PredictionError(
        f"case {case}",
        found=f"{channels} channel(s)",
        expected=f"{wanted}, as the model was trained with",
        fix=fix,
    )
