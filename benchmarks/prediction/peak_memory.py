"""Peak memory of exporting 60 classes to 512 × 512 × 500, and the time of its stages: one process, measured
by the kernel.

    python benchmarks/prediction/peak_memory.py [--classes 60] [--shape 500 512 512] [--in-plane 0.5]
    python benchmarks/prediction/peak_memory.py --classes 3 --shape 300 512 512 --volumes 40 56 56

The network is a convolution of single voxels, so that what is measured is everything but the network: the
case, slabs of logits, resampling, the running argmax, the label map and its file. With --network it is the
plan's own, with random weights. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from balrsam_pipeline.allocator import keep_freed_memory
from balrsam_pipeline.dataset import CaseFiles, LabelScheme
from balrsam_pipeline.imageio import Geometry, Image, write_image
from balrsam_pipeline.inference import FileOptions, Predictor, PredictorOptions, predict_files
from balrsam_pipeline.network.model import BalrSam
from balrsam_pipeline.network.volume import VolumeBalrSam
from balrsam_pipeline.plan import ChannelStatistics, Configuration, NetworkPlan, Plan
from balrsam_pipeline.volume_plan import VolumePlan


def make_plan(
    classes: int, spacing_mm: tuple[float, float, float], patch: tuple[int, int], depth: int | None
) -> Plan:
    """A plan with CT normalisation, of slices or (with a depth) of volumes."""
    volume = None
    if depth is not None:
        steps, kernels = ((2, 2, 2),) * 3, ((3, 3, 3),) * 4
        volume = VolumePlan(depth=depth, pooling=steps, kernels=kernels, widths=(16, 32, 64, 96))
    network = NetworkPlan(
        backbone="vit_mini",
        from_scratch=True,
        input_channels=1,
        classes=classes,
        input_size=(448, 448) if volume is None else patch,
        volume=volume,
        lora_rank=0,
        lora_alpha=1.0,
        adapter_rank=0,
        decoder_attention="low_rank",
        decoder_rank=64,
        cden_width=24,
        mask_stride=2,
    )
    configuration = Configuration(
        name="2d",
        transpose=(0, 1, 2),
        spacing_mm=spacing_mm,
        slicing_axes=(0,) if volume is None else (0, 1, 2),
        context_slices=0,
        normalization=("ct",),
        normalize_inside_mask=(False,),
        patch_size=patch,
        batch_size=2,
        mirror_axes=(),
        network=network,
    )
    statistics = ChannelStatistics(
        mean=0, median=0, std=300, min=-1000, max=1000, percentile_00_5=-900, percentile_99_5=900
    )
    return Plan(
        dataset="Dataset999_Large",
        fingerprint_sha256="0" * 64,
        channel_statistics=(statistics,),
        configurations={"2d": configuration},
        default_configuration="2d",
    )


def write_case(folder: Path, shape: tuple[int, int, int]) -> CaseFiles:
    """A smooth volume as int16 NIfTI, written plane by plane of one random slice, so that writing needs
    little memory itself."""
    plane = np.random.default_rng(0).normal(0, 300, shape[1:]).astype(np.int16)
    data = np.broadcast_to(plane, (1, *shape))
    path = folder / "large_0000.nii.gz"
    write_image(path, Image(data, Geometry(dimension=3, shape_zyx=shape, spacing_mm=(1.0, 0.8, 0.8))))
    return CaseFiles("large", (path,))


def main() -> None:
    """Predict one large case and print peak memory, stages, and sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=60)
    parser.add_argument("--shape", type=int, nargs=3, default=(500, 512, 512))
    parser.add_argument(
        "--in-plane",
        type=float,
        default=1.0,
        help="preprocessed pixels a pixel of the image, along each in-plane axis",
    )
    parser.add_argument("--volumes", type=int, nargs=3, metavar=("Z", "Y", "X"), help="patches of volumes")
    parser.add_argument(
        "--network", action="store_true", help="the plan's network instead of a convolution of single voxels"
    )
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    keep_freed_memory()  # as 'balrsam predict' does
    torch.set_num_threads(arguments.threads)
    shape = (arguments.shape[0], arguments.shape[1], arguments.shape[2])
    count = arguments.classes
    labels = LabelScheme(
        names=tuple(f"organ {value}" for value in range(1, count)),
        values=tuple((value,) for value in range(1, count)),
        has_regions=False,
        region_order=(),
        ignore_value=None,
        largest=count - 1,
    )
    spacing = 0.8 / arguments.in_plane
    depth: int | None = None
    patch = (round(shape[1] * arguments.in_plane), round(shape[2] * arguments.in_plane))
    if arguments.volumes:
        depth, patch = arguments.volumes[0], (arguments.volumes[1], arguments.volumes[2])
    plan = make_plan(count, (1.0, spacing, spacing), patch, depth)
    torch.manual_seed(0)
    network: nn.Module = nn.Conv2d(1, count, 1) if depth is None else nn.Conv3d(1, count, 1)
    if arguments.network:
        planned = plan.configuration("2d").network
        network = BalrSam(planned) if planned.volume is None else VolumeBalrSam(planned)
        network.eval()
    predictor = Predictor([network], plan, plan.configuration("2d"), labels, PredictorOptions(device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        files = write_case(Path(folder), shape)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        started = time.perf_counter()
        report = predict_files(predictor, {"large": files}, Path(folder) / "out", FileOptions(workers=1))
        wall = time.perf_counter() - started
    if report.failed:
        raise SystemExit(str(report.failed))
    result = {
        "classes": count,
        "shape_zyx": shape,
        "patch": plan.configuration("2d").patch_shape,
        "logits_gib_if_whole": round(
            count * shape[0] * shape[1] * shape[2] * arguments.in_plane**2 * 4 / 2**30, 1
        ),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "peak_gib_before_predicting": round(before, 2),
        "wall_s": round(wall, 1),
        "stages_s": {name: round(value, 1) for name, value in report.seconds.items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
