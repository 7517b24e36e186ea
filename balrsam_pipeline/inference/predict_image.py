"""One image to its label map: preprocessing, logits of every model, export onto the image's own grid.

Suffixes: `image_czyx` channels first, on the image's own axes; the result is (z, y, x).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import THICK_MM, Geometry, Image, is_flat
from balrsam_pipeline.imageio.turning import Turn, turn_to_one_of
from balrsam_pipeline.inference.export import ImageGrid, ProbabilitySink, WeightedSource, export_label
from balrsam_pipeline.inference.grown import require_sensible_growth
from balrsam_pipeline.inference.logits import ArrayLogits, LazyLogits, LogitSource
from balrsam_pipeline.inference.members import Member, common_orientations, require_channels
from balrsam_pipeline.inference.predictor import Predictor
from balrsam_pipeline.inference.probabilities import turned_probabilities, writing_probabilities
from balrsam_pipeline.inference.timing import NetworkLock, StageClock
from balrsam_pipeline.preprocessing import PreprocessedCase, preprocess_image

LOG = logging.getLogger(__name__)
IN_PLANE, IN_SPACE = 2, 3  # numbers of a spacing


def predict_array(
    predictor: Predictor, image: npt.NDArray[np.generic], spacing_mm: Sequence[float] | None = None
) -> npt.NDArray[np.integer]:
    """The label map of an image in memory, shaped as the image without its channels.

    An array has no header that says how it lies in the patient: it is taken as stored like the training
    volumes (`orientations` of their plan.json), and nothing is turned.

    Args:
        image: (channel, z, y, x); a picture (y, x); of three axes a volume (z, y, x) where the model takes
            one channel, else a picture (channel, y, x).
        spacing_mm: of its voxels (z, y, x), or of its pixels (y, x). Pictures without a physical size need
            none. A single slice with three numbers is one of a volume.

    Raises:
        PredictionError: the image has other channels than the model was trained with, or the spacing does not
            fit: a volume has none.

    Example:
        >>> import tempfile
        >>> from balrsam_pipeline.dataset import open_dataset, read_case
        >>> from balrsam_pipeline.demo import DemoSize, generate_dataset
        >>> from planners import Hardware, extract_fingerprint, plan_dataset
        >>> folder = Path(tempfile.mkdtemp())
        >>> size = DemoSize(training_cases=2, shape_zyx=(4, 16, 16))
        >>> dataset = open_dataset(generate_dataset(folder / "raw", size))
        >>> fingerprint = extract_fingerprint(dataset, folder / "preprocessed", None, workers=1).fingerprint
        >>> plan = plan_dataset(fingerprint, dataset.description, Hardware(gpu_memory_gb=None))
        >>> image, label = read_case(dataset.training_cases()["demo_000"], dataset.description)
        >>> labels = dataset.description.labels
        >>> threshold = torch.nn.Conv2d(len(image.data), labels.classes, 1)  # in place of a trained network
        >>> from balrsam_pipeline.inference import PredictorOptions
        >>> options = PredictorOptions(device="cpu")
        >>> predictor = Predictor([threshold], plan, plan.configuration("2d"), labels, options)
        >>> predict_array(predictor, image.data, image.geometry.spacing_mm).shape == image.geometry.shape_zyx
        True
    """
    image_czyx = _with_all_axes(image, predictor)
    geometry = _geometry(image_czyx, spacing_mm)
    label_zyx = label_of_image("array", Image(image_czyx, geometry), (Member(predictor),), turned=False)
    has_channels = image.ndim == 4 or (image.ndim == 3 and predictor.channels > 1)
    return label_zyx.reshape(image.shape[1:] if has_channels else image.shape)


def _with_all_axes(image: npt.NDArray[np.generic], predictor: Predictor) -> npt.NDArray[np.generic]:
    """The image as (channel, z, y, x)."""
    if image.ndim == 4:
        return image
    if image.ndim == 2:
        return image[None, None]
    if image.ndim == 3:
        return image[None] if predictor.channels == 1 else image[:, None]
    raise PredictionError(
        "image array",
        found=f"{image.ndim} axes, shape {image.shape}",
        expected="(y, x), (z, y, x) or (channel, z, y, x)",
        fix="put channels first: image.transpose(2, 0, 1) of a picture (y, x, channel)",
    )


def _geometry(image_czyx: npt.NDArray[np.generic], spacing_mm: Sequence[float] | None) -> Geometry:
    """The grid of an array; spacing along z of a picture, for which none is given, is a convention."""
    depth, height, width = image_czyx.shape[1:]
    numbers = (1.0, 1.0) if spacing_mm is None else tuple(map(float, spacing_mm))
    if len(numbers) == IN_PLANE and depth == 1:
        numbers = (THICK_MM * max(numbers), *numbers)
    if len(numbers) != IN_SPACE:
        raise PredictionError(
            "image array",
            found="a volume without spacing" if spacing_mm is None else f"spacing {numbers}",
            expected="three numbers in mm (z, y, x)" + (", or two (y, x)" if depth == 1 else ""),
            fix="predict_array(predictor, image, spacing_mm=(3.0, 1.0, 1.0))",
        )
    z, y, x = numbers
    return Geometry(
        dimension=2 if depth == 1 and is_flat((z, y, x)) else 3,
        shape_zyx=(depth, height, width),
        spacing_mm=(z, y, x),
    )


@torch.inference_mode()
def label_of_image(
    case: str,
    image: Image,
    members: Sequence[Member],
    *,
    file: Path | None = None,
    clock: StageClock | None = None,
    network_lock: NetworkLock | None = None,
    probabilities: Path | None = None,
    turned: bool = True,
) -> npt.NDArray[np.unsignedinteger]:
    """The label map (z, y, x) of an image, on its own grid, in whatever orientation that is stored.

    Args:
        case: named in messages.
        file: named there too, where the image comes from one.
        clock: counts the stages "preprocess", "network" and "export".
        network_lock: shared by threads that predict at the same time.
        probabilities: write them to this file as well.
        turned: whether its geometry says in which orientation it is stored; else it is taken as stored like
            the training volumes.

    Raises:
        PredictionError: the image has other channels than the model was trained with, or a spacing that
            would blow it up.
    """
    clock = clock or StageClock()
    network_lock = network_lock or NetworkLock(clock)
    require_channels(case, image.data.shape[0], members[0].predictor)
    stored = image.geometry
    turn = turn_of_training(case, stored, members) if turned else None
    for item in members:
        require_sensible_growth(
            f"case {case}" if file is None else f"case {case} ({file})",
            stored if turn is None else turn.geometry(stored),
            item.predictor.configuration,
        )
    if turn is not None:
        with turned_probabilities(probabilities, turn, stored) as turned_path:
            label = _label_of_turned(
                turn.image(image), members, clock=clock, network_lock=network_lock, probabilities=turned_path
            )
        return np.ascontiguousarray(turn.back(label))
    return _label_of_turned(
        image, members, clock=clock, network_lock=network_lock, probabilities=probabilities
    )


def turn_of_training(case: str, geometry: Geometry, members: Sequence[Member]) -> Turn | None:
    """How to turn an image that is stored in another orientation than every training volume; None where it is
    stored as they are, and for pictures."""
    orientations = common_orientations(members)
    turn = turn_to_one_of(geometry, orientations)
    if turn is None:
        return None
    LOG.info(
        "%s is stored %s, training volumes %s: turned by its header, and its mask turned back",
        case,
        geometry.orientation,
        " or ".join(orientations),
    )
    return turn


def _label_of_turned(
    image: Image,
    members: Sequence[Member],
    *,
    clock: StageClock,
    network_lock: NetworkLock,
    probabilities: Path | None,
) -> npt.NDArray[np.unsignedinteger]:
    """The label map of an image that is stored as training volumes are."""
    with clock.stage("preprocess"):
        prepared = _preprocess(image, members)
    grid = _grid(prepared[0])
    sources = [
        WeightedSource(_source(item, case_of_member, grid, network_lock), item.weight)
        for item, case_of_member in zip(members, prepared, strict=True)
    ]
    del prepared
    labels = members[0].predictor.labels
    with clock.stage("export"), ExitStack() as stack:
        sink: ProbabilitySink | None = None
        if probabilities is not None:
            sink = stack.enter_context(writing_probabilities(probabilities, grid, image.geometry, labels))
        with network_lock.hold_sums() if _have_large_sums(members, sources) else nullcontext():
            label = export_label(sources, grid, labels, sink)
            sources.clear()  # and the sums with them, before it is another case's turn
        network_lock.require_wanted()  # before its probabilities are
        return label


def _have_large_sums(members: Sequence[Member], sources: Sequence[WeightedSource]) -> bool:
    """Whether logits are added up, in much memory, over patches of a volume while they are read."""
    return any(
        isinstance(each.source, LazyLogits) and item.predictor.has_large_sums(each.source.shape_zyx)
        for item, each in zip(members, sources, strict=True)
    )


def _preprocess(image: Image, members: Sequence[Member]) -> list[PreprocessedCase]:
    """One preprocessed case per member; members whose configurations preprocess alike share one."""
    done: dict[object, PreprocessedCase] = {}
    prepared = []
    for item in members:
        plan, configuration = item.predictor.plan, item.predictor.configuration
        key = (
            configuration.transpose,
            configuration.spacing_mm,
            configuration.slicing_axes,
            configuration.fitted_to,
            configuration.antialias,
            configuration.normalization,
            configuration.normalize_inside_mask,
            plan.channel_statistics,
        )
        if key not in done:
            done[key] = preprocess_image(image, None, plan, configuration)
        prepared.append(done[key])
    return prepared


def _grid(prepared: PreprocessedCase) -> ImageGrid:
    properties = prepared.properties
    first, second, third = (properties.crop_box[properties.transpose.index(axis)] for axis in range(3))
    return ImageGrid(
        shape_zyx=properties.geometry.shape_zyx,
        crop_zyx=(first, second, third),
        transpose=properties.transpose,
    )


def _source(
    item: Member, prepared: PreprocessedCase, grid: ImageGrid, network_lock: NetworkLock
) -> LogitSource:
    """A member's logits, axes in the order of the grid (configurations of one plan may slice along different
    axes)."""
    transpose = item.predictor.configuration.transpose
    if transpose == grid.transpose:
        return item.predictor.logits(prepared.image_czyx, network_lock)
    whole = item.predictor.logits(prepared.image_czyx, network_lock, in_one_piece=True)
    if not isinstance(whole, ArrayLogits):
        raise TypeError("logits in one piece are an array")
    return whole.transposed(tuple(transpose.index(axis) for axis in grid.transpose))
