"""From options to what predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from balrsam_pipeline.execution import ClusterOptions, ExecutionOptions
from balrsam_pipeline.inference.model_folder import ModelChoice
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.inference.predictor import PredictorOptions
from balrsam_pipeline.inference.request import _elsewhere


def test_paths_of_a_model_are_told_to_a_cluster_as_it_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of a cluster work in other folders than we do."""
    monkeypatch.chdir(tmp_path)
    choice = ModelChoice(
        folders=(Path("2d__balrsam"),),
        weights=(1.0,),
        folds=None,
        checkpoint="final",
        postprocessing=Postprocessing(),
        base=Path("sam.pth"),
    )
    execution = ExecutionOptions(cluster=ClusterOptions(address="tcp://host:8786"))
    runner = _elsewhere(choice, PredictorOptions(), ("",), execution)
    assert runner is not None
    assert runner.models.choice.folders == (tmp_path / "2d__balrsam",)
    assert runner.models.choice.base == tmp_path / "sam.pth"
