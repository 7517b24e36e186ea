"""Fingerprints made up for tests of the rules."""

from __future__ import annotations

from collections.abc import Sequence

from balrsam_pipeline.plan import CaseFingerprint, ChannelStatistics, Fingerprint

STATISTICS = ChannelStatistics(
    mean=100, median=100, std=20, min=0, max=300, percentile_00_5=40, percentile_99_5=180
)
Triple = tuple[float, float, float]


def make_case(
    index: int,
    spacing: Triple,
    shape: tuple[int, int, int],
    thickness: dict[str, float],
    orientation: str = "LPS",
    kept: float = 1.0,
) -> CaseFingerprint:
    """One case; `kept` is the share of its slices that the nonzero crop leaves."""
    return CaseFingerprint(
        case=f"case_{index:03d}",
        shape_zyx=shape,
        cropped_shape_zyx=(max(1, round(shape[0] * kept)), shape[1], shape[2]),
        spacing_mm=spacing,
        orientation=orientation,
        dtype="int16",
        content_sha256="0" * 64,
        label_voxels=dict.fromkeys(thickness, 100),
        label_thickness_px=thickness,
        channel_statistics=(STATISTICS,),
    )


def make_fingerprint(
    spacings: Sequence[Triple] = ((1.0, 1.0, 1.0),),
    shape: tuple[int, int, int] = (36, 50, 35),
    thickness: dict[str, float] | None = None,
    orientation: str = "LPS",
    kept: float = 1.0,
    shapes: Sequence[tuple[int, int, int]] | None = None,
) -> Fingerprint:
    """One case per spacing, all of one shape unless `shapes` gives one for each."""
    thickness = thickness or {"organ": 10.0}
    cases = tuple(
        make_case(index, spacing, one, thickness, orientation, kept)
        for index, (spacing, one) in enumerate(zip(spacings, shapes or [shape] * len(spacings), strict=True))
    )
    return Fingerprint(dataset="Dataset001_X", cases=cases, channel_statistics=(STATISTICS,))
