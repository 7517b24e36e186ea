"""What each part of BALR-SAM and of its training is worth: one fold trained for the same core-minutes with
one thing changed a row.

The dataset must be preprocessed. LoRA and adapters have something to adapt only with --checkpoint, a SAM
checkpoint of the plan's backbone whose encoder is then frozen, whatever the plan says; `pretrained.py` makes
one of vit_mini.

    python benchmarks/accuracy/ablation.py Dataset004_Hippocampus --rows full no_cden exact --minutes 5 --raw
    … --preprocessed … --results …
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

import torch
from balrsam import measure
from torch import Tensor, nn

from balrsam_pipeline.network import model as network_model
from balrsam_pipeline.network import preset
from balrsam_pipeline.paths import Roots, find_dataset, resolve_roots
from balrsam_pipeline.plan import Configuration, NetworkPlan, Plan, read_plan, write_versioned
from trainers import TrainingConfig, TrainRequest
from trainers.augmentation_config import AugmentationConfig
from trainers.config import LossConfig

Change = Callable[[Configuration], Configuration]


class NoDetail(nn.Module):
    """In CDEN's place: nothing. Masks are SAM's, a quarter of the input's size, made larger."""

    def __init__(self, network: NetworkPlan, channels: int) -> None:
        super().__init__()
        self.boundary = None

    def forward(
        self, image_bcyx: Tensor, early_bcyx: Tensor, embedding_bcyx: Tensor
    ) -> tuple[Tensor, tuple[()], None]:
        """No detail for the embedding, no maps for the masks, no boundary."""
        return torch.zeros_like(embedding_bcyx), (), None


def network_change(**values: object) -> Change:
    """A configuration with some values of its network replaced."""
    return lambda configuration: dataclasses.replace(
        configuration, network=dataclasses.replace(configuration.network, **values)
    )  # type: ignore[arg-type]


def neighbours(count: int) -> Change:
    """A configuration that sees `count` neighbouring slices on each side."""

    def change(configuration: Configuration) -> Configuration:
        slices = 2 * configuration.context_slices + 1
        channels = configuration.network.input_channels // slices * (2 * count + 1)
        return dataclasses.replace(
            network_change(input_channels=channels)(configuration), context_slices=count
        )

    return change


def adapted(configuration: Configuration) -> Configuration:
    """A configuration whose backbone is frozen and adapted with the published ranks."""
    ranks = preset("vit_b", classes=1)
    return network_change(from_scratch=False, lora_rank=ranks.lora_rank, adapter_rank=ranks.adapter_rank)(
        configuration
    )


def same(configuration: Configuration) -> Configuration:
    """The configuration as planned."""
    return configuration


PLANS: Mapping[str, Change] = {
    "exact": network_change(decoder_attention="exact"),
    "no_context": neighbours(0),
    "one_neighbour": neighbours(1),
    "no_lora": network_change(lora_rank=0),
    "no_adapters": network_change(adapter_rank=0),
    "no_adaptation": network_change(lora_rank=0, adapter_rank=0),
}
SETTINGS: Mapping[str, dict[str, object]] = {
    "no_boundary_loss": {"loss": LossConfig(boundary=0.0)},
    "no_average": {"ema_width": 1e-4},
    "no_augmentation": {"augmentation": AugmentationConfig(enabled=False)},
    "label_smoothing": {"loss": LossConfig(label_smoothing=0.1)},
}
ROWS = ("full", "no_cden", *PLANS, *SETTINGS)


def preprocessed_with(plan: Plan, name: str, source: Path, target: Path, change: Change) -> None:
    """A preprocessed dataset that shares all but the plan with `source`."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.name != "plan.json" and not (target / path.name).exists():
            (target / path.name).symlink_to(path.resolve())
    changed = change(plan.configuration(name))
    write_versioned(
        target / "plan.json", dataclasses.replace(plan, configurations={**plan.configurations, name: changed})
    )


def run_row(
    row: str, dataset: Path, roots: Roots, name: str, config: TrainingConfig, checkpoint: Path | None
) -> dict[str, object]:
    """Train and validate one row."""
    own = dataclasses.replace(
        roots, preprocessed=roots.results / row / "preprocessed", results=roots.results / row
    )
    source = roots.preprocessed / dataset.name
    start, change = (same if checkpoint is None else adapted), PLANS.get(row, same)
    preprocessed_with(
        read_plan(source / "plan.json"),
        name,
        source,
        own.preprocessed / dataset.name,
        lambda plan: change(start(plan)),
    )
    settings = dataclasses.replace(config, **SETTINGS.get(row, {}))  # type: ignore[arg-type]
    request = TrainRequest(
        dataset=dataset,
        roots=own,
        configuration=name,
        fold=0,
        config=settings,
        device="cpu",
        workers=0,
        base=checkpoint,
    )
    without: AbstractContextManager[object] = (
        mock.patch.object(network_model, "Cden", NoDetail) if row == "no_cden" else nullcontext()
    )
    with without:
        result = measure(request)
    return {
        "row": row,
        **{key: result[key] for key in ("configuration", "core_minutes", "steps", "dice", "hd95_mm")},
    }


def main() -> None:
    """Parse, train the rows in turn, print a JSON line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--configuration", default="2.5d")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=["full", "no_cden", "exact"])
    parser.add_argument("--minutes", type=float, default=5.0, help="CPU core-minutes of training a row")
    parser.add_argument("--checkpoint", type=Path, help="freeze and adapt this SAM checkpoint")
    for name in ("raw", "preprocessed", "results"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    roots = resolve_roots(arguments.raw, arguments.preprocessed, arguments.results)
    config = TrainingConfig(max_minutes=arguments.minutes, epochs=None, budget_clock="cpu")
    dataset = find_dataset(arguments.dataset, roots)
    for row in arguments.rows:
        print(
            json.dumps(run_row(row, dataset, roots, arguments.configuration, config, arguments.checkpoint)),
            flush=True,
        )


if __name__ == "__main__":
    main()
