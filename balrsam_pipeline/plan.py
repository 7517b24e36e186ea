"""Fingerprint, Plan, Configuration: what was measured and what was decided, as frozen dataclasses <-> JSON.

Arrays are (channel, z, y, x); spacing is in the same order, in mm. "Transposed" axes are those after
`Configuration.transpose`, which puts the slice axis first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from balrsam_pipeline.common_values import CommonValues
from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.files import write_json
from balrsam_pipeline.fingerprint import COMMON_MEASUREMENTS, SCHEMA_VERSION
from balrsam_pipeline.fingerprint import CaseFingerprint as CaseFingerprint
from balrsam_pipeline.fingerprint import ChannelStatistics as ChannelStatistics
from balrsam_pipeline.fingerprint import Fingerprint as Fingerprint
from balrsam_pipeline.network_plan import ADDED
from balrsam_pipeline.network_plan import TINY_VIT_STAGES as TINY_VIT_STAGES
from balrsam_pipeline.network_plan import Backbone as Backbone
from balrsam_pipeline.network_plan import Decoder as Decoder
from balrsam_pipeline.network_plan import DecoderAttention as DecoderAttention
from balrsam_pipeline.network_plan import Hypernetworks as Hypernetworks
from balrsam_pipeline.network_plan import NetworkPlan as NetworkPlan
from balrsam_pipeline.network_plan import Pixels as Pixels
from balrsam_pipeline.network_plan import Shrink as Shrink
from balrsam_pipeline.network_plan import Surroundings as Surroundings
from balrsam_pipeline.plan_checks import is_folder_name, require
from balrsam_pipeline.plan_history import as_first_written, as_of_today, read_versioned
from balrsam_pipeline.plan_names import option_of
from balrsam_pipeline.serialise import compact_json, from_json, to_json

AXIS_OF = {letter: axis for axis, letters in enumerate(("LR", "PA", "SI")) for letter in letters}
UNHASHED = ("default_configuration", "companions", "orientations", "gpu_memory_gb")
Normalization = Literal["ct", "z_score", "rgb_to_0_1", "rescale_to_0_1", "none"]
LARGEST_PATCH = 2**16  # as for networks: beyond it a plan is damaged or hostile


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How one configuration preprocesses, samples and segments.

    Attributes:
        transpose: order of the volume's axes (z, y, x) that puts the slice axis first.
        spacing_mm: target spacing on the transposed axes.
        slicing_axes: transposed axes along which slices are cut: (0,) for 2d and 2.5d, (0, 1, 2) for
            triplanar, and for 3d, whose patches lie along all of them; (0,) for stacks of slices far apart.
        context_slices: neighbours on each side fed as channels: 0 for 2d.
        normalization: one scheme per channel; `normalize_inside_mask` restricts it to nonzero voxels
            (nnU-Net's rule).
        patch_size: (y, x) in voxels of the target spacing, what is cut for training and tiling; the depth of
            a patch of a volume, or a stack, is the network's.
        mirror_axes: transposed axes that may be mirrored in training and prediction.
        reasons: for each decision, in plain words, why.
        fit_patch: whether each image is resized by itself, its proportions kept, so that its slices just fit
            `fitted_to` (pictures without a common scale); `spacing_mm` is then that of the median image.
        fit_size: (y, x) that images are fitted to where patches are tiles of them; (0, 0): the patch.
        antialias: whether resampling to a coarser grid averages over what it leaves out.
    """

    name: str
    transpose: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    slicing_axes: tuple[int, ...]
    context_slices: int
    normalization: tuple[Normalization, ...]
    normalize_inside_mask: tuple[bool, ...]
    patch_size: tuple[int, int]
    batch_size: int
    mirror_axes: tuple[int, ...]
    network: NetworkPlan
    reasons: dict[str, str] = field(default_factory=dict)
    fit_patch: bool = field(default=False, metadata=ADDED)
    antialias: bool = field(default=False, metadata=ADDED)
    fit_size: tuple[int, int] = field(default=(0, 0), metadata=ADDED)

    def __post_init__(self) -> None:
        require("name", is_folder_name(self.name), self.name, "a plain name, since a folder is called so")
        require(
            "transpose", sorted(self.transpose) == [0, 1, 2], self.transpose, "an order of the axes 0, 1, 2"
        )
        require(
            "spacing_mm", all(value > 0 for value in self.spacing_mm), self.spacing_mm, "positive numbers"
        )
        require("slicing_axes", self.slicing_axes in ((0,), (0, 1, 2)), self.slicing_axes, "[0] or [0, 1, 2]")
        require("context_slices", 0 <= self.context_slices <= 100, self.context_slices, "from 0 to 100")
        require(
            "patch_size",
            all(0 < size <= LARGEST_PATCH for size in self.patch_size),
            self.patch_size,
            f"numbers from 1 to {LARGEST_PATCH}",
        )
        require(
            "fit_size",
            self.fit_size == (0, 0)
            or (self.fit_patch and all(0 < size <= LARGEST_PATCH for size in self.fit_size)),
            self.fit_size,
            "0, 0, or positive numbers where fit_patch is true",
        )
        require("batch_size", 0 < self.batch_size <= 2**16, self.batch_size, "from 1 to 65536")
        require("mirror_axes", set(self.mirror_axes) <= {0, 1, 2}, self.mirror_axes, "axes among 0, 1, 2")
        whole = self.network.volume is None or self.patch_size == self.network.input_size
        require(
            "patch_size", whole, self.patch_size, "the network's input_size, since volumes are not resized"
        )

    @property
    def dimension(self) -> Literal[2, 3]:
        """Whether its network sees slices or volumes."""
        return 3 if self.network.depth else 2

    @property
    def fitted_to(self) -> tuple[int, int] | None:
        """What each image is made to fit, (y, x); None where images keep a common scale."""
        if not self.fit_patch:
            return None
        return self.fit_size if any(self.fit_size) else self.patch_size

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """What is cut for training and tiling: (y, x), or (z, y, x) of a volume."""
        return (self.network.depth, *self.patch_size) if self.network.depth else self.patch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that was decided for one dataset; the interface between any planner and any trainer.

    `default_configuration` is the one to train where a user names none; `balrsam run` trains `companions`
    beside it where processor cores or GPUs would be idle otherwise, for their average to be compared;
    `overrides` records what the user decided instead. `orientations` are those in which training volumes are
    stored, the most frequent first (none for pictures): an image of another one is turned to the first, by
    its header, to be predicted. `gpu_memory_gb` is the memory of the GPU that it was planned for (0: a CPU);
    None where that is not known, as in plans of older versions.
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    fingerprint_sha256: str
    channel_statistics: tuple[ChannelStatistics, ...]
    configurations: dict[str, Configuration]
    default_configuration: str
    companions: tuple[str, ...] = ()
    overrides: dict[str, str] = field(default_factory=dict)
    orientations: tuple[str, ...] = ()
    gpu_memory_gb: float | None = None

    def __post_init__(self) -> None:
        known = self.default_configuration in self.configurations
        require(
            "default_configuration",
            known,
            self.default_configuration,
            f"one of {', '.join(self.configurations)}",
        )
        for name in self.companions:
            beside = name in self.configurations and name != self.default_configuration
            require("companions", beside, name, "other planned configurations than the default")
        for name, configuration in self.configurations.items():
            require("configurations", name == configuration.name, name, f"'{configuration.name}', its name")
        for code in self.orientations:
            require(
                "orientations",
                sorted(AXIS_OF.get(letter, -1) for letter in code) == [0, 1, 2],
                code,
                "codes such as LPS",
            )

    def configuration(self, name: str) -> Configuration:
        """The configuration called `name`.

        Raises:
            PlanError: the plan has no such configuration; the message lists those it has.
        """
        if name not in self.configurations:
            raise PlanError(
                f"configuration '{name}' of {self.dataset}",
                found=f"a plan with {', '.join(self.configurations)}",
                expected="one of those: every configuration that suits the data is planned",
                fix=f"choose one: --configuration {self.default_configuration}"
                + (f" is closest to nnU-Net's {name}" if name.startswith("3d_") else ""),
            )
        return self.configurations[name]

    def decisions(self) -> str:
        """What a user decided instead of the rules, as options of planning: "--spacing 5 1 1"."""
        taken = self.overrides.get("like")  # with what was decided for the plan that was taken over
        decided = self.overrides if taken is None else {"like": taken}
        return " ".join(f"{option_of(name)} {value.replace(' × ', ' ')}" for name, value in decided.items())

    def sha256(self) -> str:
        """A hash of what is planned, the same on every machine; it names the plan in checkpoints and adapter
        files.

        Which configuration is the default does not count: it changes none of them. Nor do orientations and
        the memory planned for: they are facts about images and a machine, and plans of older versions lack
        them.
        """
        # read back, since 1 and 1.0 are the same spacing
        normal = as_first_written(
            to_json(from_json(Plan, to_json(self), "plan"), without_added_defaults=True)
        )
        return json_sha256({name: value for name, value in normal.items() if name not in UNHASHED})


def json_sha256(value: object) -> str:
    """SHA-256 of a JSON value written with sorted keys."""
    return hashlib.sha256(compact_json(value).encode()).hexdigest()


def read_plan(path: Path) -> Plan:
    """Read plan.json.

    Raises:
        PlanError: missing, malformed, contradictory, or of a newer schema than this version knows.
    """
    value = read_versioned(path, "plan", SCHEMA_VERSION)
    return from_json(Plan, as_of_today(value), path)


def read_fingerprint(path: Path) -> Fingerprint:
    """Read fingerprint.json.

    Raises:
        PlanError: missing, malformed, or of a newer schema than this version knows.
    """
    common = CommonValues()

    def case_or_other(value: dict[str, Any]) -> Any:  # case by case, so that 100,000 are not held twice
        if "case" not in value or "content_sha256" not in value:
            return value
        return common.shared(from_json(CaseFingerprint, value, path), *COMMON_MEASUREMENTS)

    value = read_versioned(path, "fingerprint", SCHEMA_VERSION, case_or_other)
    return from_json(Fingerprint, value, path)


def write_versioned(path: Path, value: Plan | Fingerprint) -> None:
    """Write a plan or fingerprint as JSON, atomically.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "fingerprint.json"
        >>> write_versioned(path, Fingerprint(dataset="Dataset001_Empty", cases=(), channel_statistics=()))
        >>> read_fingerprint(path).dataset
        'Dataset001_Empty'
    """
    write_json(path, value)
