"""Figures that the pages give as examples of a rule are those of the rule."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

from balrsam_pipeline.network import preset
from planners.rules.checkpoint import encoder_shrink
from trainers.config import TrainingConfig
from trainers.data.feature_copies import how_many

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven")


def text(page: str) -> str:
    """A page on one line."""
    return " ".join((PAGES / page).read_text(encoding="utf-8").split())


def test_augmented_copies_of_83_and_of_5_pictures() -> None:
    def copies(minutes: int, pictures: int, shrink: int, stages: int) -> str:
        seen = {"input_size": (224, 224), "encoder_shrink": shrink, "adapted_stages": stages}
        network = dataclasses.replace(preset("vit_t", classes=2), decoder="pyramid", **seen)
        configuration, config = SimpleNamespace(network=network), TrainingConfig(max_minutes=minutes)
        return WORDS[how_many(configuration, config, pictures)]

    (sentence,) = re.findall(r"\b83 pictures of [^.]*\.", text("training.md"))
    given = re.findall(rf"\b(?:{'|'.join(WORDS)})\b", sentence)
    assert given == [
        *(copies(minutes, 83, 1, 0) for minutes in (5, 20)),
        *(copies(minutes, 83, 2, 1) for minutes in (5, 20)),
        copies(5, 5, 1, 0),
    ]


def test_pictures_that_the_encoder_sees_at_half_the_size() -> None:
    first = next(number for number in range(1, 100) if encoder_shrink(number, (224, 224), 100.0).value > 1)
    assert re.findall(r"from (\d+) slices of 224 × 224 pixels", text("planning.md")) == [str(first)]


def test_the_readmes_accuracy_is_that_of_the_short_table_of_benchmarks() -> None:
    def scores(path: Path, heading: str, column: int) -> dict[str, str]:
        """Name of a dataset, as the first column has it -> the number that a column begins with."""
        table = (
            path.read_text(encoding="utf-8").partition(heading)[2].partition("\n| ")[2].partition("\n\n")[0]
        )
        rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines()[2:]]
        return {row[0].split(" (")[0]: row[column].split()[0] for row in rows}

    short = scores(PAGES / "benchmarks.md", "**In short**", 1)
    assert len(short) == 5
    assert scores(ROOT / "README.md", "## What comes out", 3) == short
