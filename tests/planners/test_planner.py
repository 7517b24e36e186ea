"""Whole plans: overrides, GPUs, reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.fingerprints import make_fingerprint

import balrsam_pipeline.network as network_package
from balrsam_pipeline.dataset import DatasetDescription, LabelScheme
from balrsam_pipeline.describe.page import plan_page
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.plan import Fingerprint, NetworkPlan, read_plan, write_versioned
from planners.hardware import Hardware
from planners.overrides import Overrides
from planners.planner import plan_dataset

LABELS = LabelScheme(
    names=("organ",), values=((1,),), has_regions=False, region_order=(), ignore_value=None, largest=1
)
DESCRIPTION = DatasetDescription(
    name="X", channel_names=("T1",), labels=LABELS, label_names={1: "organ"}, file_ending=".nii.gz"
)
CPU = Hardware(gpu_memory_gb=None)
COLOUR = replace(DESCRIPTION, channel_names=("R", "G", "B"))


def test_every_decision_has_its_reason() -> None:
    plan = plan_dataset(make_fingerprint(), DESCRIPTION, CPU)
    sizes = {"spacing_mm", "patch_size", "mask_stride", "batch_size", "checkpointed_blocks"}
    decisions = {"transpose", "normalization", "mirror_axes", "backbone", "ranks", *sizes}
    for configuration in plan.configurations.values():
        blocks = set() if configuration.network.volume is None else {"checkpointed_blocks"}  # it has none
        assert decisions - blocks <= set(configuration.reasons)
        assert all(configuration.reasons.values())


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = plan_dataset(make_fingerprint(), DESCRIPTION, CPU)
    write_versioned(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan


def test_what_the_user_decided_is_carried_out_and_recorded() -> None:
    overrides = Overrides(backbone="vit_b", input_size=448, batch_size=3, spacing_mm=(2.0, 0.5, 0.5))
    plan = plan_dataset(make_fingerprint(), DESCRIPTION, CPU, overrides)
    configuration = plan.configurations["2d"]
    assert (configuration.network.backbone, configuration.batch_size) == ("vit_b", 3)
    assert max(configuration.network.input_size) == 448
    assert configuration.spacing_mm == (2.0, 0.5, 0.5)
    assert not configuration.network.from_scratch
    assert set(plan.overrides) == {"backbone", "input_size", "batch_size", "spacing_mm"}


def squares(side: int) -> Fingerprint:
    """Colour pictures of `side` × `side` pixels with large objects."""
    return in_colour(make_fingerprint([(1.0, 1.0, 1.0)], (1, side, side)))


def in_colour(fingerprint: Fingerprint) -> Fingerprint:
    """The same with three channels that differ."""
    (grey,) = fingerprint.channel_statistics
    colours = tuple(replace(grey, mean=grey.mean + c) for c in range(3))
    cases = tuple(replace(case, channel_statistics=colours) for case in fingerprint.cases)
    return replace(fingerprint, cases=cases, channel_statistics=colours)


def test_ct_that_its_statistics_would_make_constant_is_refused_by_case() -> None:
    """Six marks for missing data in the label of one case move a deviation, not the percentiles."""
    ct = replace(DESCRIPTION, channel_names=("CT",))
    sound = make_fingerprint([(1.0, 1.0, 1.0)] * 3)
    (own,) = sound.channel_statistics
    marked = replace(own, std=2.2e7, min=-9e8)
    cases = [replace(sound.cases[0], channel_statistics=(marked,)), *sound.cases[1:]]
    broken = replace(sound, cases=tuple(cases), channel_statistics=(marked,))
    with pytest.raises(DatasetError, match="case_000") as refused:
        plan_dataset(broken, ct, CPU)
    assert "-9e+08" in refused.value.found and "case_001" not in str(refused.value)
    assert plan_dataset(sound, ct, CPU).channel_statistics == sound.channel_statistics
    assert plan_dataset(broken, DESCRIPTION, CPU)  # z-scored by case, without these statistics


def test_tiny_vit_on_a_cpu_sees_whole_slices_with_nothing_of_it_trained() -> None:
    plan = plan_dataset(make_fingerprint(), DESCRIPTION, CPU, Overrides(backbone="vit_t"))
    for configuration in (plan.configurations[name] for name in ("2d", "2.5d", "triplanar")):
        network = configuration.network
        assert (network.adapted_stages, network.projection, network.embedding_stride) == (0, "fixed", 4)
        assert max(network.input_size) <= 64
        assert all(configuration.reasons.values())


@pytest.mark.parametrize(
    ("side", "thickness", "backbone"), [(500, 90.0, "vit_t"), (100, 3.0, "vit_t"), (600, 3.0, "cnn")]
)
def test_colour_pictures_seen_whole_take_a_pretrained_encoder_and_tiles_do_not(
    side: int, thickness: float, backbone: str
) -> None:
    fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * 30, (1, side, side), {"organ": thickness}, "2D")
    fingerprint = in_colour(fingerprint)
    network = plan_dataset(fingerprint, COLOUR, CPU).configurations["2d"].network
    assert (network.backbone, network.decoder) == (backbone, "pyramid")
    page = " ".join(plan_page(plan_dataset(fingerprint, COLOUR, CPU), fingerprint, COLOUR).split())
    assert ("a convolutional pyramid that takes in the encoder's output" in page) == (backbone == "vit_t")


@pytest.mark.parametrize(("side", "larger"), [(700, 1000), (700, 800), (230, 300), (200, 290)])
def test_one_larger_picture_does_not_cut_the_others_into_tiles(side: int, larger: int) -> None:
    """It would leave its own thinnest label under four pixels; it is resized by itself, as the others are."""
    shapes = [(1, side, side)] * 29 + [(1, larger, larger)]
    thinnest = {"cell": 4.4 * max(side, 224) / 224}
    fingerprint = in_colour(
        make_fingerprint([(999.0, 1.0, 1.0)] * 30, thickness=thinnest, orientation="2D", shapes=shapes)
    )
    planned = plan_dataset(fingerprint, COLOUR, CPU).configurations["2d"]
    assert (planned.network.backbone, planned.fitted_to) == ("vit_t", (224, 224))
    assert "tiles" not in planned.reasons["backbone"]


def test_greys_in_three_channels_are_no_colours() -> None:
    grey = make_fingerprint([(999.0, 1.0, 1.0)] * 30, (1, 500, 500), {"lung": 90.0}, "2D")
    grey = replace(grey, channel_statistics=grey.channel_statistics * 3)
    configuration = plan_dataset(grey, COLOUR, CPU).configurations["2d"]
    assert configuration.network.backbone == "cnn"
    assert "the same greys" in configuration.reasons["backbone"]


@pytest.mark.parametrize(("coloured", "backbone"), [(1, "cnn"), (4, "vit_t")])
def test_a_few_coloured_marks_make_no_colours(coloured: int, backbone: str) -> None:
    fingerprint = in_colour(make_fingerprint([(999.0, 1.0, 1.0)] * 30, (1, 500, 500), {"lung": 90.0}, "2D"))
    grey = fingerprint.channel_statistics[:1] * 3
    cases = tuple(
        replace(case, channel_statistics=fingerprint.channel_statistics if number < coloured else grey)
        for number, case in enumerate(fingerprint.cases)
    )
    planned = plan_dataset(replace(fingerprint, cases=cases), COLOUR, CPU)
    assert planned.configurations["2d"].network.backbone == backbone


@pytest.mark.parametrize(
    ("pictures", "thickness", "expected"), [(100, 90.0, (2, 1)), (100, 30.0, (1, 0)), (20, 90.0, (1, 0))]
)
def test_many_pictures_of_large_objects_are_seen_smaller_and_adapt_the_last_stage(
    pictures: int, thickness: float, expected: tuple[int, int]
) -> None:
    fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * pictures, (1, 400, 400), {"polyp": thickness}, "2D")
    fingerprint = in_colour(fingerprint)
    plan = plan_dataset(fingerprint, COLOUR, CPU)
    network = plan.configurations["2d"].network
    assert (network.encoder_shrink, network.adapted_stages) == expected
    page = " ".join(plan_page(plan, fingerprint, COLOUR).split())
    assert ("adapters of its last stage train" in page) == (expected[1] == 1)


def test_an_encoder_asked_for_beside_tiles_is_said_to_see_some_of_them() -> None:
    for side, said in ((600, "once for some tiles"), (200, "the encoder runs once for a slice")):
        fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * 30, (1, side, side), {"vessel": 4.0}, "2D")
        fingerprint = in_colour(fingerprint)
        plan = plan_dataset(fingerprint, COLOUR, CPU, Overrides(backbone="vit_t"))
        assert said in plan.configurations["2d"].reasons["ranks"]


def test_where_the_encoder_cannot_be_had_the_plan_does_without_and_says_so() -> None:
    fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * 30, (1, 300, 300), orientation="2D")
    fingerprint = in_colour(fingerprint)
    configuration = plan_dataset(fingerprint, COLOUR, CPU, without="no internet").configurations["2d"]
    assert configuration.network.backbone == "cnn"
    assert "no internet" in configuration.reasons["backbone"]


def test_triplanar_patches_hold_slices_of_every_orientation() -> None:
    configuration = plan_dataset(make_fingerprint(), DESCRIPTION, CPU).configurations["triplanar"]
    assert configuration.slicing_axes == (0, 1, 2)
    assert configuration.mirror_axes == ()  # 35 mm from left to right: one side of a body
    assert configuration.patch_size == (
        64,
        32,
    )  # all of 51 voxels in whole tokens, and 0.85 of 36, where that saves a third


def test_spacings_that_slices_keep_are_not_said_to_be_made_finer() -> None:
    """Few thick slices: the tenth percentile of their distances is what triplanar and 3d resample to."""
    mixed = make_fingerprint([(thick, 0.8, 0.8) for thick in (3.0, 5.0, 5.0, 5.0)], (60, 200, 200))
    planned = plan_dataset(mixed, DESCRIPTION, CPU).configurations
    reasons = {name: configuration.reasons["spacing_mm"] for name, configuration in planned.items()}
    assert "10th percentile" in reasons["3d"] and "keeps its own" not in reasons["3d"]
    for name in ("2d", "2.5d"):
        assert "(5 × 0.8 × 0.8 mm); across slices every case keeps its own" in reasons[name]


def test_context_slices_are_channels() -> None:
    configurations = plan_dataset(make_fingerprint(), DESCRIPTION, CPU).configurations
    assert (configurations["2d"].network.input_channels, configurations["2.5d"].network.input_channels) == (
        1,
        9,
    )


def test_an_adapted_network_gets_batches_of_24_at_most_however_large_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_package, "step_memory", lambda *_: SimpleNamespace(total=1))
    card = Hardware(gpu_memory_gb=80)
    adapted = plan_dataset(make_fingerprint(), DESCRIPTION, card).configurations["2d"]
    scratch = plan_dataset(make_fingerprint(), DESCRIPTION, card, Overrides(backbone="vit_mini"))
    assert (adapted.batch_size, scratch.configurations["2d"].batch_size) == (24, 64)
    assert "more than 24" in adapted.reasons["batch_size"]


def test_the_decoder_of_a_small_embedding_gives_masks_as_fine_as_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_package, "step_memory", lambda *_: SimpleNamespace(total=1))
    planned = plan_dataset(make_fingerprint(), DESCRIPTION, Hardware(gpu_memory_gb=4)).configurations["2d"]
    assert (planned.network.embedding_stride, planned.network.mask_stride) == (4, 1)
    assert "as fine as the input" in planned.reasons["mask_stride"]


@pytest.mark.slow
def test_a_small_card_gets_a_smaller_input_until_a_useful_batch_fits() -> None:
    fingerprint = make_fingerprint([(1.0, 1.0, 1.0)], (100, 800, 800))
    plans = [
        plan_dataset(
            fingerprint, DESCRIPTION, Hardware(gpu_memory_gb=memory), Overrides(backbone="vit_b")
        ).configurations["2d"]
        for memory in (5.7, 6.0, 40.0)
    ]
    assert max(plans[1].network.input_size) < max(plans[2].network.input_size)
    assert all(plan.batch_size >= 2 for plan in plans)


@pytest.mark.parametrize(
    ("memory_gb", "side", "told"),
    [(7.0, 448, "a GPU of 7 GB: at most 448"), (9.0, 672, "a GPU of 9 GB: at most 672"), (20.0, 896, "")],
)
def test_the_size_says_where_memory_chose_it(
    memory_gb: float, side: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_package, "step_memory", lambda *_: SimpleNamespace(total=1))
    planned = plan_dataset(squares(1024), COLOUR, Hardware(gpu_memory_gb=memory_gb)).configurations["2d"]
    assert max(planned.network.input_size) == side
    assert told in planned.reasons["patch_size"]
    assert bool(told) == ("GB" in planned.reasons["patch_size"])


def test_small_slices_are_not_said_to_follow_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_package, "step_memory", lambda *_: SimpleNamespace(total=1))
    planned = plan_dataset(make_fingerprint(), DESCRIPTION, Hardware(gpu_memory_gb=7)).configurations["2d"]
    assert "GB" not in planned.reasons["patch_size"]


def test_the_size_says_where_too_few_samples_of_a_larger_one_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a step took 9 GB a sample at 896 pixels, and 9 GB for all of them at fewer."""

    def step(network: NetworkPlan, _: object, batch: int) -> SimpleNamespace:
        return SimpleNamespace(total=9 * 2**30 * (batch if max(network.input_size) == 896 else 1))

    monkeypatch.setattr(network_package, "step_memory", step)
    planned = plan_dataset(squares(1024), COLOUR, Hardware(gpu_memory_gb=16)).configurations["2d"]
    assert max(planned.network.input_size) == 672
    assert "at 896 too few samples fit into 16 GB" in planned.reasons["patch_size"]


@pytest.mark.parametrize(("memory_gb", "told"), [(None, "a CPU"), (23.64, "a GPU of 23.6 GB")])
def test_the_page_tells_what_was_planned_for(
    memory_gb: float | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_package, "step_memory", lambda *_: SimpleNamespace(total=1))
    fingerprint = make_fingerprint()
    plan = plan_dataset(fingerprint, DESCRIPTION, Hardware(gpu_memory_gb=memory_gb))
    assert f"Planned for: {told}." in " ".join(plan_page(plan, fingerprint, DESCRIPTION).split())
    assert "Planned for" not in plan_page(replace(plan, gpu_memory_gb=None), fingerprint, DESCRIPTION)


def test_the_page_tells_what_and_why() -> None:
    fingerprint = make_fingerprint()
    page = plan_page(
        plan_dataset(fingerprint, DESCRIPTION, CPU, Overrides(batch_size=5)), fingerprint, DESCRIPTION
    )
    for words in ("volumes", "organ", "cnn, trained from scratch", "batches of 5", "Decided by you"):
        assert words in " ".join(page.split())
    assert all(len(line) <= 130 for line in page.splitlines())


@pytest.mark.parametrize(
    ("shape", "spacing", "companion"),
    [
        ((36, 50, 36), (1.0, 1.0, 1.0), "3d"),  # hippocampi
        ((160, 180, 160), (1.0, 1.0, 1.0), "2d"),  # heads, of which a patch shows a part
        ((10, 230, 210), (10.0, 1.5, 1.5), "2d"),  # hearts
    ],
)
def test_what_trains_beside_the_default_sees_volumes_whole(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], companion: str
) -> None:
    plan = plan_dataset(make_fingerprint([spacing] * 30, shape, {"organ": 8.0}), DESCRIPTION, CPU)
    assert (plan.default_configuration, plan.companions) == ("2.5d", (companion,))


def test_stacks_of_tiff_lie_any_way() -> None:
    """The format says nothing of how a patient lies, and is a microscope's."""
    stacks = make_fingerprint([(1.0, 1.0, 1.0)] * 3, (60, 60, 60))
    assert plan_dataset(stacks, DESCRIPTION, CPU).configurations["2d"].mirror_axes == ()
    tiff = replace(DESCRIPTION, file_ending=".tif")
    assert plan_dataset(stacks, tiff, CPU).configurations["2d"].mirror_axes == (1, 2)


@pytest.mark.parametrize(("filled", "whole"), [(10, False), (4, True)])
def test_thin_background_between_cells_is_a_thin_label(filled: int, whole: bool) -> None:
    fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * 10, (1, 512, 512), {"cell": 26.0}, "2D")
    cases = tuple(
        replace(
            case,
            label_thickness_px={**case.label_thickness_px, **({"background": 4.7} if n < filled else {})},
        )
        for n, case in enumerate(fingerprint.cases)
    )
    planned = plan_dataset(replace(fingerprint, cases=cases), DESCRIPTION, CPU).configurations["2d"]
    assert ("are seen whole" in planned.reasons["patch_size"]) == whole


@pytest.mark.parametrize(("place", "whole"), [((0.3, 0.5), True), ((0.5, 0.5), False), ((0.5, 0.2), False)])
def test_thin_layers_that_lie_in_one_order_are_seen_whole(place: tuple[float, float], whole: bool) -> None:
    """From top to bottom: a disc on one side of the vessels makes them no thicker."""
    fingerprint = make_fingerprint([(999.0, 1.0, 1.0)] * 10, (1, 496, 768), {"organ": 8.0}, "2D")
    cases = tuple(replace(case, label_centres={"organ": (0.5, *place)}) for case in fingerprint.cases)
    planned = plan_dataset(replace(fingerprint, cases=cases), DESCRIPTION, CPU).configurations["2d"]
    assert ("are seen whole" in planned.reasons["patch_size"]) == whole


@pytest.mark.parametrize(("tiles", "times"), [(32, 8), (128, 4), (256, 2)])
def test_tiles_of_volumes_see_their_surroundings(tiles: int, times: int) -> None:
    fingerprint = make_fingerprint([(5.0, 1.0, 1.0)] * 3, (30, 512, 480), {"organ": 100.0, "duct": 2.0})
    planned = plan_dataset(fingerprint, DESCRIPTION, CPU, Overrides(tiles=tiles)).configurations["2.5d"]
    slices = 2 * planned.context_slices + 1
    assert (planned.network.surroundings, planned.network.input_channels) == (times, 2 * slices)
    assert f"{times} times as wide" in planned.reasons["patch_size"]


def test_whole_slices_and_pictures_have_no_surroundings() -> None:
    """What vessels and cells look like does not depend on where they lie (docs/benchmarks.md)."""
    whole = plan_dataset(make_fingerprint(), DESCRIPTION, CPU).configurations["2d"]
    vessels = make_fingerprint([(999.0, 1.0, 1.0)] * 3, (1, 584, 565), {"organ": 4.0}, "2D")
    tiled = plan_dataset(vessels, DESCRIPTION, CPU).configurations["2d"]
    assert tiled.patch_size == (128, 128)
    assert whole.network.surroundings == tiled.network.surroundings == 0


@pytest.mark.parametrize(("cameras", "fitted"), [(True, (480, 500)), (False, None)])
def test_tiles_of_pictures_of_mixed_sizes_follow_what_their_structures_do(
    cameras: bool, fitted: tuple[int, int] | None
) -> None:
    """Vessels of three cameras are as thick as their pictures are large; cells of one microscope are not."""
    sides = (250, 500, 2000)
    fingerprint = make_fingerprint(
        [(999.0, 1.0, 1.0)] * 9,
        orientation="2D",
        shapes=[(1, round(0.96 * side), side) for side in sides * 3],
    )
    cases = tuple(
        replace(case, label_thickness_px={"organ": 0.01 * case.shape_zyx[2] if cameras else 5.0 + number % 2})
        for number, case in enumerate(fingerprint.cases)
    )
    fingerprint = replace(fingerprint, cases=cases)
    planned = plan_dataset(fingerprint, DESCRIPTION, CPU).configurations["2d"]
    asked = plan_dataset(fingerprint, DESCRIPTION, CPU, Overrides(tiles=112)).configurations["2d"]
    assert (planned.patch_size, asked.patch_size) == ((128, 128), (112, 112))
    assert planned.fitted_to == asked.fitted_to == fitted
    assert ("larger in larger ones" in planned.reasons["patch_size"]) == cameras
