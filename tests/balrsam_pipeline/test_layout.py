"""Names on disk, where links lead elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from balrsam_pipeline.layout import ModelFolder, ResultsFolder


def test_a_model_that_is_a_link_is_called_as_the_link_is(tmp_path: Path) -> None:
    """Two runs of one configuration on another disk, linked as two models."""
    results = ResultsFolder(tmp_path / "results")
    for number, name in enumerate(("2d", "3d")):
        kept = tmp_path / f"run{number}" / "2d__balrsam"
        kept.mkdir(parents=True)
        results.path.mkdir(exist_ok=True)
        results.model(name).path.symlink_to(kept)
    assert [model.name for model in results.models()] == ["2d", "3d"]


def test_a_link_of_another_name_leads_to_the_models_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2d__wide__balrsam" / "fold_0").mkdir(parents=True)
    (tmp_path / "newest").symlink_to(tmp_path / "2d__wide__balrsam")
    linked = ModelFolder(tmp_path / "newest")
    assert (linked.folder_name, linked.configuration, linked.plan_name) == ("2d__wide__balrsam", "2d", "wide")
    monkeypatch.chdir(tmp_path / "2d__wide__balrsam")
    assert ModelFolder(Path()).name == ModelFolder(Path("fold_0/..")).name == "2d__wide"
