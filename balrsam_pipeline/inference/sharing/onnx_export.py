"""`export_onnx`: the merged network of one fold as ONNX, checked against PyTorch on the spot.

The file holds the network alone: patch in, logits out. What surrounds it (normalisation, spacing, tiles) is
in a JSON beside it.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import atomic_path, write_json
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.inference.model_folder import load_predictor
from balrsam_pipeline.inference.predictor import Predictor, PredictorOptions
from balrsam_pipeline.serialise import to_json

LOG = logging.getLogger(__name__)
NEEDED = ("onnx", "onnxscript", "onnxruntime")
CHATTY = ("torch.onnx", "torch.export", "onnx_ir", "onnxscript", "onnxruntime")
OPSET = 18
TRIALS = 3
RELATIVE_TOLERANCE = 1e-3  # of the largest logit: fp32 rounding in another order of operations
LARGEST_IN_ONE_FILE = 2**31 - 2**27  # bytes of parameters; protobuf ends at 2 GiB


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxResult:
    """The file, its JSON, and the largest difference from PyTorch over random patches."""

    path: Path
    settings: Path
    shape: tuple[int, ...]
    max_difference: float


def export_onnx(
    folder: Path, fold: FoldName, output: Path, batch_size: int = 1, base: Path | None = None
) -> OnnxResult:
    """Export one fold's network for patches of a fixed shape.

    That is (batch_size, channels × slices, y, x), or (batch_size, channels, z, y, x) of volumes.

    Args:
        base: the SAM checkpoint that the model adapts; None finds it by its hash.

    Raises:
        PredictionError: onnx, onnxscript or onnxruntime is not installed, the network is too large for one
            file, or ONNX Runtime computes other logits than PyTorch.
    """
    _require_packages()
    predictor = load_predictor(folder, [fold], PredictorOptions(device="cpu"), base=base)
    model, configuration = predictor.models[0], predictor.configuration
    _require_size(model, folder)
    channels = configuration.network.input_channels
    shape = (batch_size, channels, *configuration.patch_shape)
    generator = torch.Generator().manual_seed(0)
    patches = [torch.randn(shape, generator=generator) for _ in range(TRIALS)]
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "network.onnx"
        with torch.no_grad(), _quietly():
            torch.onnx.export(
                model,
                (patches[0],),
                str(plain),
                input_names=["image"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        difference = _largest_difference(plain, model, patches, folder)
        with atomic_path(output) as temporary:
            temporary.write_bytes(plain.read_bytes())
    settings = output.with_name(f"{output.name}.json")
    write_json(settings, surroundings(predictor, shape))
    return OnnxResult(path=output, settings=settings, shape=shape, max_difference=difference)


def surroundings(predictor: Predictor, shape: tuple[int, ...]) -> dict[str, object]:
    """What the JSON beside the network says: how an image becomes its patches, and what its logits mean.

    Args:
        shape: of the network's input.
    """
    configuration = predictor.configuration
    return {
        "orientations": list(predictor.plan.orientations),
        "channel_names": list(predictor.channel_names),
        "configuration": to_json(configuration),
        "channel_statistics": to_json(predictor.plan.channel_statistics),
        "labels": to_json(predictor.labels),
        "input": {"name": "image", "shape": list(shape), "dtype": "float32"},
        "output": {
            "name": "logits",
            "shape": [shape[0], predictor.labels.classes, *configuration.patch_shape],
        },
    }


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the exporter tells its developers, hundreds of lines, from the user; errors are raised."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _largest_difference(
    path: Path, model: torch.nn.Module, patches: list[torch.Tensor], where: Path
) -> float:
    """Run both on the same patches.

    Raises:
        PredictionError: they differ by more than rounding.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for patch in patches:
        with torch.inference_mode():
            expected = model(patch).numpy()
        difference = float(np.abs(session.run(None, {"image": patch.numpy()})[0] - expected).max())
        if difference > RELATIVE_TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise PredictionError(
                where,
                found=f"ONNX Runtime's logits differ from PyTorch's by {difference:.3g}",
                expected="a difference of rounding alone",
                fix="update torch, onnx and onnxruntime; do not use the file",
            )
        worst = max(worst, difference)
    return worst


def _require_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PredictionError(
            "export_onnx",
            found=f"{', '.join(missing)} not installed",
            expected=f"{', '.join(NEEDED)}",
            fix=f"pip install {' '.join(missing)}",
        )


def _require_size(model: torch.nn.Module, where: Path) -> None:
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if size > LARGEST_IN_ONE_FILE:
        raise PredictionError(
            where,
            found=f"{size / 2**30:.1f} GiB of weights",
            expected="less than 2 GiB, the most that one ONNX file holds",
            fix="export a smaller backbone",
        )
