"""The image of a case with the channels that a model takes, and warnings of what is odd about it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from balrsam_pipeline.imageio import Image, read_image
from balrsam_pipeline.imageio.colours import are_colours, as_colours, as_grey, without_transparency
from balrsam_pipeline.imageio.formats import NATURAL_ENDINGS, known_ending
from balrsam_pipeline.inference.doubts import find_doubts, find_header_doubts
from balrsam_pipeline.inference.predictor import Predictor

LOG = logging.getLogger(__name__)


def read_case_image(case: str, files: Sequence[Path], predictor: Predictor, *, grey: bool = False) -> Image:
    """Read the image of a case. As when a dataset is converted, a picture loses a transparency that the model
    does not take, and for a model of red, green and blue a grey one gets three equal channels.

    What makes the image unlike those of the training is told in warnings.

    Args:
        case: named in messages.
        files: as in `read_image`.
        grey: turn colour pictures into grey ones, for a model of one channel.

    Raises:
        ImageError: as `read_image`.
    """
    image = read_image(files)
    if len(files) == 1 and known_ending(files[0], NATURAL_ENDINGS):
        image = _suited(case, image, files[0], predictor)
    if grey and predictor.channels == 1:
        image = as_grey(image)
    for doubt in chain(
        find_doubts(image, predictor.plan, predictor.configuration), find_header_doubts(files)
    ):
        LOG.warning("CASE %s IS UNLIKE WHAT THE MODEL WAS TRAINED ON: %s", case, doubt)
    return image


def _suited(case: str, image: Image, file: Path, predictor: Predictor) -> Image:
    """The picture in a file with the channels of the model, where it is plain which those are."""
    opaque = without_transparency(image, file, predictor.channels)
    if opaque is not image:
        LOG.info("%s: without the transparency channel of %s", case, file.name)
    coloured = as_colours(opaque) if are_colours(predictor.channel_names) else opaque
    if coloured is not opaque:
        LOG.info("%s: %s is grey, and has three equal channels for this model", case, file.name)
    return coloured
