from __future__ import annotations

from pathlib import Path

import pytest

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.paths import (
    Roots,
    dataset_number,
    find_dataset,
    given_threads,
    is_first_rank,
    launcher_environment,
    model_folder,
    resolve_roots,
)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("Dataset004_Hippocampus", "Dataset020_DRIVE"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "dataset.json").write_text("{}")
    return Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "p", results=tmp_path / "r")


@pytest.mark.parametrize("word", ["Dataset004_Hippocampus", "4", "004"])
def test_a_dataset_is_found_by_name_or_number(roots: Roots, word: str) -> None:
    assert find_dataset(word, roots) == (roots.raw / "Dataset004_Hippocampus").resolve()


def test_a_dataset_is_found_by_path(roots: Roots, tmp_path: Path) -> None:
    elsewhere = Roots(raw=tmp_path / "nowhere", preprocessed=tmp_path, results=tmp_path)
    assert find_dataset(str(roots.raw / "Dataset020_DRIVE"), elsewhere).name == "Dataset020_DRIVE"


@pytest.mark.parametrize("word", ["Dataset005_Heart", "5", "٤", "../x"])
def test_an_unknown_dataset_is_refused_with_those_that_are_there(roots: Roots, word: str) -> None:
    with pytest.raises(UsageError, match="Dataset004_Hippocampus, Dataset020_DRIVE"):
        find_dataset(word, roots)


def test_an_ambiguous_number_is_refused(roots: Roots) -> None:
    (roots.raw / "Dataset004_Other").mkdir()
    with pytest.raises(UsageError, match="several"):
        find_dataset("4", roots)


def test_roots_come_from_arguments_then_the_environment_then_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("balrsam_raw", "balrsam_preprocessed", "balrsam_results", "nnUNet_raw"):
        monkeypatch.delenv(name, raising=False)
    assert resolve_roots().raw == Path("balrsam_data/raw")
    monkeypatch.setenv("nnUNet_raw", "/n")
    assert resolve_roots().raw == Path("/n")
    monkeypatch.setenv("balrsam_raw", "/b")
    assert resolve_roots().raw == Path("/b")
    assert resolve_roots(raw=Path("/a")).raw == Path("/a")
    assert resolve_roots().results == Path("balrsam_data/results")


def test_names_of_folders() -> None:
    roots = Roots(raw=Path("a"), preprocessed=Path("b"), results=Path("c"))
    assert model_folder(roots, "Dataset001_X", "2d") == Path("c/Dataset001_X/2d__balrsam")
    assert dataset_number("Dataset017_Y") == 17
    assert dataset_number("Y") is None


@pytest.mark.parametrize(("said", "expected"), [("", None), ("4", 4), ("8,2", 8), (" 3 ", 3), ("many", None)])
def test_the_threads_that_openmp_is_told(
    said: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert given_threads() == expected


@pytest.mark.parametrize("said", ["abc", "²", "9" * 5000])
def test_a_launchers_variable_that_is_no_number_is_a_message_of_those_who_need_it(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("RANK", said)
    assert is_first_rank()
    with pytest.raises(UsageError, match="unset RANK"):
        launcher_environment()
    monkeypatch.setenv("RANK", "")
    assert is_first_rank() and launcher_environment()["rank"] == 0
    monkeypatch.setenv("RANK", "1")
    assert not is_first_rank() and launcher_environment()["rank"] == 1


@pytest.mark.parametrize(
    ("ranks", "here", "expected"),
    [("32", "8", 8), ("32", "", 32), ("", "", 1), ("", "8", 1), ("4", "0", 1)],
)
def test_how_many_ranks_share_this_machine(
    ranks: str, here: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four machines of eight; a launcher that does not say; one process, also beside leftovers."""
    monkeypatch.setenv("WORLD_SIZE", ranks)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", here)
    assert launcher_environment()["local_world_size"] == expected
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "many")
    with pytest.raises(UsageError, match="unset LOCAL_WORLD_SIZE"):
        launcher_environment()
