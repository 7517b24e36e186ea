"""The choice of the best configuration may have come with somebody's model: its names become folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fuzz_seeds import SEEDS

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.inference.best_configuration import read_best


@pytest.mark.parametrize("name", ["../../../elsewhere/2d", "/tmp/2d", "..", ""])
def test_a_chosen_configuration_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    best = json.loads(SEEDS["best_configuration.json"]())
    (tmp_path / "best_configuration.json").write_text(json.dumps(best))
    assert read_best(tmp_path).configurations == ("2d",)
    (tmp_path / "best_configuration.json").write_text(json.dumps(best | {"configurations": [name]}))
    with pytest.raises(PredictionError, match="plain name"):
        read_best(tmp_path)
