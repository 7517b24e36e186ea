"""The members of an ensemble, and what they and an image have to agree in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.inference.predictor import Predictor

COLOUR_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Member:
    """One configuration's predictor in an ensemble, and its weight."""

    predictor: Predictor
    weight: float = 1.0


def require_same_labels(members: Sequence[Member]) -> None:
    """Check that the models of an ensemble segment the same things from the same channels.

    Raises:
        PredictionError: none given, or labels or channels differ.
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


def require_channels(case: str, channels: int, predictor: Predictor) -> None:
    """Check that an image has as many channels as the model was trained with.

    Args:
        case: named in the message.

    Raises:
        PredictionError: it has others.
    """
    if channels != predictor.channels:
        raise PredictionError(
            f"case {case}",
            found=f"{channels} channel(s)",
            expected=f"{predictor.channels}, as the model was trained with",
            fix="predict the grey of a colour picture: --grey"
            if predictor.channels == 1 and channels == COLOUR_CHANNELS
            else "give one file per channel (CASE_0000, CASE_0001, …) in the order of channel_names in the "
            "model's dataset.json",
        )
