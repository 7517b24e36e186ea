"""Every command that writes, killed before any of its changes to the file system: the same command again
gives the undisturbed bytes, and nothing stray is left."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.moments import Stage
from support.runs import stray_files

from balrsam_pipeline.command import COMMANDS
from balrsam_pipeline.demo import DemoSize, generate_dataset

D = "Dataset999_Demo"
ROOTS = "--raw raw --preprocessed preprocessed --results results"
QUICK = {"verify --fix": 4, "submit --container": 4, "convert": 4, "evaluate": 3, "export_model": 3}
KILLS = 16  # of each command in the slow suite, half of them by SIGTERM
FEW = 4  # of those that take long, or whose writing another row has too
READS_ONLY = {"status", "describe", "completion"}
ELSEWHERE = {"download_checkpoint", "run"}  # test_download.py, for what is published is large; test_chaos.py


@dataclass(frozen=True)
class Row:
    """A command, which of the prepared folders it starts with, and how often it is killed."""

    command: str
    starts_with: str
    kills: int = KILLS

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.command.split())

    @property
    def start(self) -> tuple[str, ...]:
        return tuple(self.starts_with.split())


MODEL = f"results/{D}/2d__balrsam"
TESTS = f"--images raw/{D}/imagesTs"
SHORT = "--device cpu --threads 1 --settings settings.json"
PREDICT = f"predict -i raw/{D}/imagesTs -o predicted --model {MODEL} --device cpu --workers 1"
TABLE = {
    "plan_and_preprocess": Row(
        f"plan_and_preprocess {D} {ROOTS} --workers 1 --gpu-memory-gb 0 --configurations 2d", "raw"
    ),
    "verify --fix": Row(f"verify {D} {ROOTS} --fix raw/Dataset998_Mended --workers 1", "raw"),
    "convert": Row(
        "convert pictures raw/Dataset030_Disks --from pairs --labels disk=1 --workers 1", "pictures"
    ),
    "train": Row(
        f"train {D} {ROOTS} --configuration 2d --max-steps 6 {SHORT}", "raw preprocessed settings.json"
    ),
    "crossval": Row(
        f"crossval {D} {ROOTS} --configuration 2d --folds 0 --max-steps 4 {SHORT}",
        "raw preprocessed settings.json",
    ),
    "predict": Row(PREDICT, "raw results"),
    "predict --save-probabilities": Row(f"{PREDICT} --save-probabilities --no-mirror", "raw results", FEW),
    "ensemble": Row("ensemble -i probable_1 probable_2 -o averaged --workers 1", "probable_1 probable_2"),
    "evaluate": Row(f"evaluate predictions raw/{D}/labelsTs --output scores --workers 1", "raw predictions"),
    "compare": Row("compare scored scored --output comparison", "scored"),
    "find_best_configuration": Row(
        f"find_best_configuration {D} {ROOTS} --folds 0 --device cpu", "raw preprocessed results"
    ),
    "plot": Row(f"plot predictions raw/{D}/labelsTs {TESTS} -o drawn --worst 1", "raw predictions"),
    "postprocess --references": Row(
        f"postprocess -i predictions --references raw/{D}/labelsTs -o rules.json --workers 1",
        "raw predictions",
    ),
    "postprocess --rules": Row(
        "postprocess -i predictions --rules rules.json -o cleaned", "predictions rules.json"
    ),
    "page": Row(f"page {D} {ROOTS}", "raw preprocessed results"),
    "export_model": Row(f"export_model --model {MODEL} --folds 0 -o model.zip", "results"),
    "export_onnx": Row(f"export_onnx --model {MODEL} --fold 0 -o network.onnx", "results", FEW),
    "install_model": Row("install_model shared.zip --results installed", "shared.zip"),
    "submit": Row(f"submit --format msd -p predictions {TESTS} -o sent.zip", "raw predictions"),
    "submit --format rle": Row(
        f"submit --format rle -p predictions {TESTS} -o sent.csv", "raw predictions", FEW
    ),
    "submit --container": Row(
        f"submit --format grand-challenge --container --model {MODEL} --folds 0 -o container", "results"
    ),
    "open": Row(f"open {D} {ROOTS} --no-browser", "raw preprocessed results", FEW),
    "demo --pictures": Row("demo --pictures organs", "settings.json"),
    "check_machine": Row("check_machine --short --device cpu --json machine.json", "pictures", FEW),
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    opened = Stage()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def prepared(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with all that commands start from; each part is made when it is first asked for."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "settings.json").write_text(
        json.dumps({"steps_per_epoch": 2, "quick_validation_patches": 2, "save_every_s": 0})
    )
    makers: dict[str, Callable[[], object]] = {
        "raw": lambda: _generate(folder / "raw"),
        "pictures": lambda: _pictures(folder / "pictures"),
        "preprocessed": lambda: _make(stage, folder, "plan_and_preprocess"),
        "results": lambda: _make(stage, folder, "crossval"),
        "predictions": lambda: _make(stage, folder, "predict", "predicted", "predictions"),
        "probable_1": lambda: _make(stage, folder, "predict --save-probabilities", "predicted", "probable_1"),
        "probable_2": lambda: shutil.copytree(folder / "probable_1", folder / "probable_2"),
        "rules.json": lambda: _rules(folder / "rules.json"),
        "scored": lambda: _make(stage, folder, "evaluate", "scores", "scored"),
        "shared.zip": lambda: _make(stage, folder, "export_model", "model.zip", "shared.zip"),
    }

    def part(name: str) -> Path:
        if not (folder / name).exists():
            for needed in _needs(name):
                part(needed)
            makers[name]()
        return folder / name

    return part


def _needs(name: str) -> tuple[str, ...]:
    commands = {
        "preprocessed": "plan_and_preprocess",
        "results": "crossval",
        "predictions": "predict",
        "probable_1": "predict --save-probabilities",
        "scored": "evaluate",
        "shared.zip": "export_model",
    }
    made = {"probable_2": ("probable_1",)}
    return TABLE[commands[name]].start if name in commands else made.get(name, ())


def _generate(raw: Path) -> None:
    generate_dataset(raw, DemoSize(training_cases=5, test_cases=2, shape_zyx=(6, 32, 32)))


def _pictures(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    row, column = np.mgrid[:24, :24]
    for number in range(3):
        disk = (row - 12) ** 2 + (column - 9 - number) ** 2 < 36
        Image.fromarray((disk * 120 + number).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray((disk * 255).astype(np.uint8)).save(folder / "masks" / f"{number}.png")


def _rules(path: Path) -> None:
    step = {"kind": "largest_component", "names": ["organ"]}
    path.write_text(json.dumps({"schema_version": 1, "steps": [step], "reasons": []}))


def _make(stage: Stage, folder: Path, command: str, made: str = "", name: str = "") -> None:
    ended = stage.run(TABLE[command].words, folder)
    assert ended.code == 0, (folder / "output.txt").read_text()[-3000:]
    if made:
        (folder / made).rename(folder / name)


@dataclass(frozen=True)
class Undisturbed:
    """What a command leaves: every name, and the content of those files that repeat to the byte."""

    names: set[str]
    contents: dict[str, str]
    changes: int


def begin(work: Path, row: Row, prepared: Callable[[str], Path]) -> None:
    """The folder that the command runs in, always at the same place, as it is before."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in row.start:
        source = prepared(name)
        if source.is_dir():
            shutil.copytree(source, work / name)
        else:
            shutil.copy2(source, work / name)
    for path in work.glob("*/*/source.json"):  # says that they were made from the raw dataset that was copied
        path.unlink()


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "output.txt"
    }


def undisturbed(stage: Stage, work: Path, row: Row, prepared: Callable[[str], Path]) -> Undisturbed:
    """Run it twice; what differs then (times, logs) is not compared."""
    found = []
    changes = 0
    for _ in range(2):
        begin(work, row, prepared)
        ended = stage.run(row.words, work)
        assert ended.code == 0, (work / "output.txt").read_text()[-3000:]
        found.append(contents(work))
        changes = ended.changes
    same = {name: content for name, content in found[0].items() if found[1].get(name) == content}
    assert len(same) > len(found[0]) / 2
    return Undisturbed(set(found[0]) & set(found[1]), same, changes)


def check(work: Path, expected: Undisturbed, what: str) -> None:
    assert stray_files(work) == [], what
    found = contents(work)
    chance = {name for name in set(found) ^ expected.names if "checkpoint_previous" in name}
    assert (set(found) ^ expected.names) - chance == set(), what
    different = [name for name, content in expected.contents.items() if found.get(name) != content]
    assert different == [], what


def survive(stage: Stage, name: str, kills: int, work: Path, prepared: Callable[[str], Path]) -> int:
    """Kill the command so many times, at moments spread over all its changes; returns how often it was."""
    row, done = TABLE[name], 0
    expected = undisturbed(stage, work, row, prepared)
    moments = np.unique(np.linspace(1, expected.changes, kills).round().astype(int))
    for number, moment in enumerate(moments):
        by = signal.SIGTERM if number % 2 else signal.SIGKILL
        begin(work, row, prepared)
        first = stage.run(row.words, work, int(moment), by)
        what = f"{name}, {signal.Signals(by).name} before change {moment} of {expected.changes}"
        done += first.code != 0
        again = stage.run(row.words, work)
        assert again.code == 0, f"{what}: {(work / 'output.txt').read_text()[-3000:]}"
        assert "Traceback" not in (work / "output.txt").read_text(), what
        check(work, expected, what)
    return done


@pytest.mark.parametrize("name", QUICK)
def test_a_command_killed_at_some_moments_ends_as_if_nothing_had_happened(
    name: str, stage: Stage, tmp_path: Path, prepared: Callable[[str], Path]
) -> None:
    assert survive(stage, name, QUICK[name], tmp_path / "work", prepared) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_a_command_killed_at_many_moments_ends_as_if_nothing_had_happened(
    name: str, stage: Stage, tmp_path: Path, prepared: Callable[[str], Path]
) -> None:
    assert survive(stage, name, TABLE[name].kills, tmp_path / "work", prepared) > 0


def test_the_table_has_every_command_that_writes() -> None:
    assert {row.words[0] for row in TABLE.values()} == set(COMMANDS) - READS_ONLY - ELSEWHERE
    assert sum(row.kills for row in TABLE.values()) >= 200


def test_the_same_command_again_finds_a_whole_folder_done(
    stage: Stage, tmp_path: Path, prepared: Callable[[str], Path]
) -> None:
    work = tmp_path / "work"
    for name in ("verify --fix", "submit --container", "convert"):
        begin(work, TABLE[name], prepared)
        first = stage.run(TABLE[name].words, work)
        before = contents(work)
        again = stage.run(TABLE[name].words, work)
        said = (work / "output.txt").read_text()
        assert (first.code, again.code) == (0, 0), said
        assert "made already" in said
        assert contents(work) == before
