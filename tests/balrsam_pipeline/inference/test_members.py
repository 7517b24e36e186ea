"""What the models of an ensemble have to agree in."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.inference import Predictor, PredictorOptions
from balrsam_pipeline.inference.members import Member, common_orientations, require_fit_together
from balrsam_pipeline.inference.predict_image import turn_of_training

LPS = Geometry(dimension=3, shape_zyx=(3, 8, 9), spacing_mm=(1.0, 1.0, 1.0))


def members(fakes: SimpleNamespace, *orientations: tuple[str, ...]) -> list[Member]:
    """Models whose training volumes were stored so; none: a plan that does not say."""
    made = []
    for number, codes in enumerate(orientations):
        plan = dataclasses.replace(fakes.make_plan(name=f"model{number}"), orientations=codes)
        configuration = plan.configuration(f"model{number}")
        options = PredictorOptions(device="cpu")
        made.append(
            Member(Predictor([fakes.PixelNetwork()], plan, configuration, fakes.plain_labels(2), options))
        )
    return made


def test_an_image_is_turned_to_an_orientation_that_all_models_know(fakes: SimpleNamespace) -> None:
    turn = turn_of_training("a", LPS, members(fakes, ("PIR", "RAS"), (), ("RAS", "LPS")))
    assert turn is not None
    assert turn.geometry(LPS).orientation == "RAS"


def test_an_image_that_only_the_first_model_knows_is_turned_for_the_others(fakes: SimpleNamespace) -> None:
    turn = turn_of_training("a", LPS, members(fakes, ("LPS", "RAS"), ("RAS",)))
    assert turn is not None
    assert turn.geometry(LPS).orientation == "RAS"


@pytest.mark.parametrize(
    ("orientations", "common"),
    [
        ([("LPS", "RAS"), ("RAS", "LPS")], ("LPS", "RAS")),
        ([(), ("RAS",)], ("RAS",)),
        ([(), ()], ()),
    ],
)
def test_plans_that_do_not_say_take_any_orientation(
    fakes: SimpleNamespace, orientations: list[tuple[str, ...]], common: tuple[str, ...]
) -> None:
    require_fit_together(members(fakes, *orientations))
    assert common_orientations(members(fakes, *orientations)) == common


def test_models_of_different_orientations_are_refused_by_name(fakes: SimpleNamespace) -> None:
    with pytest.raises(PredictionError) as refusal:
        require_fit_together(members(fakes, ("LPS", "RAS"), ("PIR",)))
    for said in (
        "model0 of Dataset900_Test",
        "model1 of",
        "LPS or RAS (model0",
        "PIR (model1",
        "ensemble -i",
    ):
        assert said in str(refusal.value)
