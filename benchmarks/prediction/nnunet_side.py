"""The peer's side of against_nnunet.py: nnU-Net's own predictor with its own 2d network (random weights),
timed on a folder of images.

Runs inside a virtual environment that has nnunetv2. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def main() -> None:
    """Predict every case once to warm up, then time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preprocessed", type=Path, help="nnUNet_preprocessed/Dataset004_Hippocampus")
    parser.add_argument("output", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--mirror-axes", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--pooled", action="store_true", help="with its worker processes instead of one case after the other"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plans = PlansManager(str(arguments.preprocessed / "nnUNetPlans.json"))
    dataset_json = json.loads((arguments.preprocessed / "dataset.json").read_text())
    configuration = plans.get_configuration("2d")
    channels = determine_num_input_channels(plans, configuration, dataset_json)
    outputs = plans.get_label_manager(dataset_json).num_segmentation_heads
    network = get_network_from_plans(
        configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import, channels, outputs, deep_supervision=False,
    )  # fmt: skip
    axes = tuple(arguments.mirror_axes)
    predictor = nnUNetPredictor(
        use_mirroring=bool(axes),
        device=torch.device("cpu"),
        perform_everything_on_device=False,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], dataset_json, "nnUNetTrainer", axes
    )
    cases = [[image] for image in arguments.images]
    targets = [
        str(arguments.output / Path(image).name.replace("_0000.nii.gz", "")) for image in arguments.images
    ]
    predict = predictor.predict_from_files if arguments.pooled else predictor.predict_from_files_sequential
    predict(cases[:1], targets[:1], save_probabilities=False, overwrite=True)
    started, used = time.perf_counter(), time.process_time()
    predict(cases, targets, save_probabilities=False, overwrite=True)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    print("RESULT", json.dumps({"s_a_case": wall / len(cases), "cpu_s_a_case": cpu / len(cases)}))


if __name__ == "__main__":
    main()
