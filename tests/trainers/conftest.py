"""Small stand-ins of what the other rooms give to training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from balrsam_pipeline.plan import Configuration, NetworkPlan


class MemoryStore:
    """Cases in memory with the face of a CaseStore; voxel values tell where they come from."""

    def __init__(self, shapes: dict[str, tuple[int, int, int]], channels: int = 1) -> None:
        self.images, self.labels = {}, {}
        for number, (case, shape) in enumerate(shapes.items()):
            rng = np.random.default_rng(number)
            self.images[case] = rng.normal(size=(channels, *shape)).astype(np.float32)
            label = np.zeros(shape, np.int16)
            z, y, x = (size // 2 for size in shape)
            label[z - 1 : z + 2, y - 3 : y + 3, x - 3 : x + 3] = 1
            label[z - 1 : z + 2, y - 1 : y + 1, x - 1 : x + 1] = 2
            self.labels[case] = label
            self.images[case][:, label > 0] += 2.0

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(self.images)

    def shape(self, case: str) -> tuple[int, int, int]:
        depth, height, width = self.labels[case].shape
        return depth, height, width

    def read_slice(self, case: str, index: int, context: int = 0, axis: int = 0) -> np.ndarray:
        volume = np.moveaxis(self.images[case], axis + 1, 0)
        picks = [min(max(index + offset, 0), len(volume) - 1) for offset in range(-context, context + 1)]
        return np.concatenate([volume[pick] for pick in picks])

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> np.ndarray:
        return np.take(self.labels[case], index, axis=axis)

    def foreground(self, case: str) -> dict[str, np.ndarray]:
        return {name: np.argwhere(self.labels[case] == value).astype(np.int32) for value, name in ((1, "outer"), (2, "inner"))}


@pytest.fixture
def make_configuration() -> Callable[..., Configuration]:
    """A small configuration; keyword arguments replace its values."""

    def make(**changes: object) -> Configuration:
        context = int(changes.get("context_slices", 0))  # type: ignore[call-overload]
        channels = int(changes.pop("channels", 1))  # type: ignore[call-overload]
        network = NetworkPlan(
            backbone="vit_t",
            from_scratch=True,
            input_channels=channels * (2 * context + 1),
            classes=3,
            input_size=(32, 32),
            lora_rank=0,
            lora_alpha=1.0,
            adapter_rank=0,
            decoder_attention="low_rank",
            decoder_rank=8,
            cden_width=8,
            mask_stride=4,
        )
        values: dict[str, object] = {
            "name": "2d",
            "transpose": (0, 1, 2),
            "spacing_mm": (1.0, 1.0, 1.0),
            "slicing_axes": (0,),
            "context_slices": 0,
            "normalization": ("z_score",) * channels,
            "normalize_inside_mask": (False,) * channels,
            "patch_size": (16, 12),
            "batch_size": 4,
            "mirror_axes": (0, 1, 2),
            "network": network,
        }
        return Configuration(**(values | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_store() -> Callable[..., MemoryStore]:
    """A store of two cases of different shape."""

    def make(channels: int = 1) -> MemoryStore:
        return MemoryStore({"case_a": (9, 20, 14), "case_b": (7, 10, 30)}, channels)

    return make
